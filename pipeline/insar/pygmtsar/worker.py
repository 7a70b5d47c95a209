"""The child process: processes one job burst by burst, from its inputs to its products."""

from __future__ import annotations

import io
import os
import re
import resource
import shutil
import sys
import time
import traceback
import warnings
from contextlib import redirect_stdout, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.errors import InterferometryError, disk_error_of
from pipeline.files import read_regular, write_whole
from pipeline.insar.job import (
    METADATA,
    MOST_BYTES,
    Esd,
    JobAcquisition,
    JobManifest,
    JobMetadata,
    Step,
    folder_of,
    read_manifest,
)
from pipeline.insar.job_state import fingerprint
from pipeline.insar.look.orbit_geometry import Orbit
from pipeline.insar.messages import EXIT_DONE, EXIT_FAILED, send_event, send_failure
from pipeline.insar.products.validate import check_products
from pipeline.insar.pygmtsar import estimator, lattice
from pipeline.insar.pygmtsar.burst_annotation import BurstSource, outline
from pipeline.insar.pygmtsar.flattening import Flattening, dense_orbit, no_baseline
from pipeline.insar.pygmtsar.lattice import Lattice
from pipeline.insar.pygmtsar.layout import (
    burst_name,
    find_bursts,
    orbit_vectors,
    write_burst_inputs,
    write_heights,
)
from pipeline.insar.pygmtsar.mosaic import read_burst, write_burst, write_products
from pipeline.insar.pygmtsar.pygmtsar_backend import PACKAGE, REMEDY

ALGORITHM = "pygmtsar-1"
"""Changes when the same inputs give other products. Stored bursts of another algorithm are not reused."""
ALIGNMENT_DEG = 12.0 / 3600
_IMPORTANT = re.compile(r"(?i)\b(warning|error|failed|note)\b")
_UNIMPORTANT = re.compile(
    r"(?i)n_jobs=1|Use scheduler=|Loaded \d+ bursts|workers for|processing is completed"
)
_MOST_LINES = 12
_SPARE_BYTES = 2**30

Box = tuple[float, float, float, float]


def main(job: Path) -> int:
    """Process a job; returns the exit status. A failure is written as an event to standard output."""
    try:
        block_network()
        _run(job)
    except InterferometryError as error:
        send_failure(error)
        return EXIT_FAILED
    except MemoryError:
        send_failure(
            InterferometryError(
                "memory",
                f"{job.name} needs more memory than it may use.",
                "Allow more (SLIDECUBE_INSAR_MEMORY_GB), or process fewer pairs at once (SLIDECUBE_INSAR_CONCURRENCY).",
            )
        )
        return EXIT_FAILED
    except Exception as error:  # any exception is possible for untrusted files
        traceback.print_exc()
        send_failure(_error_of_processor(job, error))
        return EXIT_FAILED
    return EXIT_DONE


def _error_of_processor(job: Path, error: Exception) -> InterferometryError:
    if (disk := disk_error_of(error)) is not None and disk.full:
        return InterferometryError(
            "disk-full",
            f"The disk of {job.name} is full.",
            "Free disk space, or move the data folder to a larger disk; the pair resumes at the interrupted burst.",
        )
    return InterferometryError(
        "processor-failed",
        f"The processor failed on {job.name}: {type(error).__name__}: {' '.join(str(error).split())[:400]}.",
        f"Read scratch/pygmtsar.log in {job}; SLIDECUBE_INSAR_BACKEND=isce2 chooses another processor.",
    )


def block_network() -> None:
    """Refuse all network connections of this process from now on, so that no package downloads anything."""

    def refuse(event: str, _values: Any) -> None:
        if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
            raise PermissionError("a job has no network")

    sys.addaudithook(refuse)


def _run(job: Path) -> None:
    start = time.monotonic()
    folders = folder_of(job)
    manifest = read_manifest(job)
    _limit(manifest)
    scratch, products = folders["scratch"], folders["products"]
    shutil.rmtree(products, ignore_errors=True)
    _discard_other_work(scratch, f"{ALGORITHM} {version(PACKAGE)} {fingerprint(job, manifest)}")
    steps = len(manifest.bursts) + 2
    send_event("step", name="prepare", number=0, of=steps)
    work = _Work(job, manifest, scratch)
    done = [Step(name="prepare", seconds=round(time.monotonic() - start, 2))]
    for number, full_id in enumerate(manifest.bursts, 1):
        send_event("step", name=full_id, number=number, of=steps)
        done.append(work.burst(full_id))
    send_event("step", name="mosaic", number=steps - 1, of=steps)
    begun = time.monotonic()
    write_products(work.bursts, work.lattice, manifest.bbox, products)
    checked = check_products(job, manifest)
    done.append(Step(name="mosaic", seconds=round(time.monotonic() - begun, 2)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    metadata = JobMetadata(
        pair=manifest.pair,
        part=manifest.part,
        backend="pygmtsar",
        versions={name: version(name) for name in (PACKAGE, "insardev_toolkit", "numpy", "opencv-python")},
        parameters=work.parameters(),
        steps=tuple(done),
        bursts=manifest.bursts,
        orbits={"reference": manifest.reference.orbit_kind, "secondary": manifest.secondary.orbit_kind},
        esd=Esd(applied=False, reason="the in-process processor aligns by orbits alone"),
        products=checked.products,
        valid_fraction=checked.valid_fraction,
        coherence_mean=checked.coherence_mean,
        peak_memory_bytes=max([peak, *(step.peak_memory_bytes or 0 for step in done)]),
    )
    write_whole(products / METADATA, metadata.model_dump_json(indent=1))
    send_event("step", name="done", number=steps, of=steps)


def _limit(manifest: JobManifest) -> None:
    """Limit the process's memory itself, since the caller checks it only at intervals."""
    most = int(manifest.limits.memory_bytes * 1.25) + _SPARE_BYTES
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def _discard_other_work(scratch: Path, mark: str) -> None:
    """Delete stored work of other inputs or of another algorithm."""
    path = scratch / "claim.txt"
    with suppress(OSError):
        if read_regular(path, MOST_BYTES) == mark.encode():
            return
    shutil.rmtree(scratch / "bursts", ignore_errors=True)
    shutil.rmtree(scratch / "work", ignore_errors=True)
    write_whole(path, mark)


class _Work:
    """Processes the bursts of a job."""

    def __init__(self, job: Path, manifest: JobManifest, scratch: Path) -> None:
        try:
            import joblib
            from insardev_pygmtsar import S1, utils_satellite
        except ImportError as error:
            raise InterferometryError(
                "backend-missing", f"The package {PACKAGE} does not load ({error}).", REMEDY
            ) from error
        self._processor: Any = S1
        self._geometry: Any = utils_satellite
        # the processor would start a process for each core of the machine; use threads of this process instead
        self._threads: Any = joblib.parallel_config(backend="threading")
        cpus = manifest.limits.cpus
        os.cpu_count = lambda: cpus
        self.manifest = manifest
        self.bursts = scratch / "bursts"
        self.bursts.mkdir(exist_ok=True)
        self._work = scratch / "work"
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir()
        acquisitions = manifest.reference, manifest.secondary
        self._found = [find_bursts(job, acquisition, manifest) for acquisition in acquisitions]
        self._orbits = [job / acquisition.orbit_file for acquisition in acquisitions]
        for acquisition in acquisitions:
            _check_orbit(job, acquisition)
        self.lattice = Lattice.of(manifest)
        self._dem = self._work / "heights.nc"
        write_heights(job / manifest.dem, self._dem)

    def burst(self, full_id: str) -> Step:
        """Process a burst unless it is stored already; returns its step."""
        target = self.bursts / full_id
        if target.is_dir():
            return read_burst(target).step
        begun = time.monotonic()
        sources = [found[full_id] for found in self._found]
        folder = self._work / full_id
        orbits = [
            dense_orbit(orbit_vectors(path), source.start, source.end)
            for path, source in zip(self._orbits, sources, strict=True)
        ]
        lines = self._transform(folder, sources, orbits)
        result = lattice.estimates(
            folder / "out" / full_id,
            [burst_name(source, self.manifest.polarisation) for source in sources],
            self.lattice,
            orbits[0],
        )
        step = Step(
            name=full_id,
            seconds=round(time.monotonic() - begun, 2),
            lines=lines,
            peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        )
        write_burst(target, result, step)
        shutil.rmtree(folder)
        return step

    def _transform(self, folder: Path, sources: list[BurstSource], orbits: list[Orbit]) -> tuple[str, ...]:
        """Write the co-registered SLCs of one burst as Zarr below `folder`/out; returns the important log lines."""
        manifest = self.manifest
        midnight = sources[0].start.replace(hour=0, minute=0, second=0, microsecond=0)
        # the processor looks up both functions by name at each call
        self._geometry.flat_earth_topo_phase = Flattening(orbits[0], orbits[1], midnight).phase
        self._geometry.satellite_baseline = no_baseline
        write_burst_inputs(folder / "in", sources, self._orbits, manifest.polarisation)
        output = io.StringIO()
        try:
            with self._threads, redirect_stdout(output), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                reader = self._processor(str(folder / "in"), DEM=str(self._dem))
                reader.transform(
                    str(folder / "out"),
                    ref=f"{sources[0].start:%Y-%m-%d}",
                    epsg=self.lattice.epsg,
                    resolution=(self.lattice.step_y_m, self.lattice.step_x_m),
                    remove_tidal_phase=False,  # needs tables from the network
                    alignment_spacing=ALIGNMENT_DEG,
                    bbox=self.lattice.crop(manifest.bbox, outline(sources[0])),
                    n_jobs=1,
                )
        finally:
            print(output.getvalue(), flush=True)
        important = [line.strip() for line in output.getvalue().splitlines() if _IMPORTANT.search(line)]
        return tuple(line[:300] for line in important if not _UNIMPORTANT.search(line))[:_MOST_LINES]

    def parameters(self) -> dict[str, Any]:
        """The parameters of the metadata."""
        manifest, grid = self.manifest, self.lattice
        window_m = [estimator.WINDOW * grid.step_y_m, estimator.WINDOW * grid.step_x_m]
        return {
            "azimuth_looks": manifest.azimuth_looks,
            "range_looks": manifest.range_looks,
            "looks_along": "north and east",
            "sample_m": [grid.step_y_m, grid.step_x_m],
            "pixel_m": [grid.pixel_y_m, grid.pixel_x_m],
            "epsg": grid.epsg,
            "coherence": estimator.DESCRIPTION,
            "coherence_window_samples": [estimator.WINDOW, estimator.WINDOW],
            "coherence_window_m": window_m,
            "coherence_reach_m": [
                window_m[0] + grid.pixel_y_m - grid.step_y_m,
                window_m[1] + grid.pixel_x_m - grid.step_x_m,
            ],
            "interferogram": "mean of s1 s2* over the looks; flat earth and topography removed; not filtered",
            "amplitude": "mean of sqrt(|s1| |s2|) over the looks, digital numbers, not calibrated",
            "incidence": "at the ellipsoid's normal, from the reference orbit, at the DEM's height",
            "interpolation": "Lanczos 8 x 8 of the deramped SLC",
            "flattening": "path difference between both orbits and the DEM's ground, exact; not the processor's own",
            "alignment": "plane fitted to offsets from orbits and DEM",
            "solid_earth_tide_removed": False,
            "geoid": manifest.geoid,
            "polarisation": manifest.polarisation,
            "algorithm": ALGORITHM,
        }


def _check_orbit(job: Path, acquisition: JobAcquisition) -> None:
    if not (job / acquisition.orbit_file).is_file():
        raise InterferometryError(
            "inputs-missing",
            f"{acquisition.orbit_file} is missing.",
            "Delete the job's folder and run the pair again.",
        )
