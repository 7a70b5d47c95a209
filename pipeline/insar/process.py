"""One pair from the archive to finished products: parts, job folders, inputs, the processor, the proof.

    <data_dir>/insar/<area>/slc/<overflight>/       what was fetched, shared by all pairs of an overflight
    <data_dir>/insar/<area>/orbits/                 orbit files
    <data_dir>/insar/<area>/jobs/<pair>_<part>_<digest>/   one job (see `pipeline.insar.job`)

Everything here may be deleted when nothing runs: finished jobs are then processed again, inputs fetched again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from pydantic import Field

from pipeline.archives import rasters
from pipeline.archives.slc.orbit_files import fetch_orbit
from pipeline.archives.slc.slc_files import fetch_slc
from pipeline.area import AreaOfInterest, Interferometry
from pipeline.catalogue.dem_items import DemTile
from pipeline.catalogue.slc import Pair, SlcPass
from pipeline.elevation.ellipsoid import DemReport, write_dem
from pipeline.errors import InterferometryError
from pipeline.insar.backends import backend_named
from pipeline.insar.estimates import Estimate, FetchMode, estimate, fetch_mode
from pipeline.insar.isce2.isce2_backend import available_memory_bytes
from pipeline.insar.job import (
    MANIFEST,
    METADATA,
    Backend,
    JobLimits,
    JobManifest,
    JobMetadata,
    JobProducts,
    JobSide,
    folder_of,
)
from pipeline.insar.job_parts import Box, Part, parts_of
from pipeline.insar.job_state import write_text
from pipeline.insar.processor import InsarBackend, Progress
from pipeline.insar.products.validate import agree, check_products, read_finished
from pipeline.progress import no_progress
from pipeline.records import Frozen
from pipeline.settings import settings

__all__ = ["PairOrder", "process_pair"]

log = logging.getLogger(__name__)

GROUND_M = (14.0, 4.0)
"""A line and a sample of IW on the ground, from which the posting of the products follows."""
_DEM_REPORT = "dem.json"


class PairOrder(Frozen):
    """Everything that a pair needs to be processed: small enough to be handed to a task."""

    area: AreaOfInterest
    pair: Pair
    tiles: tuple[DemTile, ...] = Field(description="elevation tiles around the pair's bursts")

    @property
    def rule(self) -> Interferometry:
        """What the area says of interferometry; the defaults where it says nothing."""
        return self.area.interferometry or Interferometry()

    @property
    def bbox(self) -> Box:
        """West, south, east, north of the area, degrees."""
        west, south, east, north = self.area.footprint.bounds
        return west, south, east, north

    @property
    def fetch(self) -> FetchMode:
        """Whole granules where the area or the settings ask for them, else bursts."""
        return fetch_mode(self.area)


class _Request(Frozen):
    """What a job is asked for; another request is another job."""

    order: PairOrder
    part: Part
    backend: Backend


def process_pair(order: PairOrder, progress: Progress | None = None) -> tuple[JobProducts, ...]:
    """Finished products of a pair, one job for each part; what is finished is not done again. Safe in threads.

    Raises:
        InterferometryError: by its code: no room, no processor, or the processor or its product failed.
        ArchiveError: inputs cannot be fetched.
        SourceDataError: inputs or elevation cannot be used.
    """
    chosen = settings().insar_backend
    backend = backend_named(chosen)
    assert chosen != "none"  # of which there is no backend
    requests = [_Request(order=order, part=part, backend=chosen) for part in parts_of(order.pair, order.bbox)]
    return tuple(_process(request, backend, progress) for request in requests)


def _process(request: _Request, backend: InsarBackend, progress: Progress | None) -> JobProducts:
    root = settings().insar_root(request.order.area.name)
    job = root / "jobs" / job_name(request)
    job.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(job.with_name(f".{job.name}.lock")):
        manifest = _read_manifest(job)
        if manifest is not None:
            metadata = read_finished(job, manifest)
            if metadata is not None:
                return JobProducts(job=job, metadata=metadata)
        backend.ready()  # before hours of fetching
        manifest = _prepare(request, root, job, manifest, progress)
        metadata = _run(job, manifest, backend, progress)
        _clean(job)
    return JobProducts(job=job, metadata=metadata)


def job_name(request: _Request) -> str:
    """Folder of a job: the pair, the part, and a digest of all that was asked for."""
    order, part = request.order, request.part
    asked = {
        "part": part.model_dump(mode="json"),
        "bursts": [
            burst.id
            for side in (order.pair.reference, order.pair.secondary)
            for burst in side.bursts
            if burst.full_id in part.bursts
        ],
        "dem": [[tile.id, tile.asset.fingerprint] for tile in order.tiles],
        "collection": order.area.dem.collection,
        "backend": request.backend,
        "fetch": order.fetch,
        "looks": [order.rule.azimuth_looks, order.rule.range_looks],
        "esd": order.rule.esd,
    }
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]
    return f"{order.pair.id}_{part.number}_{digest}"


def _read_manifest(job: Path) -> JobManifest | None:
    """The manifest of a prepared job; None where it is not there or not usable."""
    try:
        return JobManifest.model_validate_json((job / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return None


def _prepare(
    request: _Request, root: Path, job: Path, held: JobManifest | None, progress: Progress | None
) -> JobManifest:
    """Inputs, then the manifest, which says that they are all there."""
    order, part, rule = request.order, request.part, request.order.rule
    cost = estimate(order.pair.model_copy(update={"burst_ids": part.bursts}), order.fetch, request.backend)
    limits = limits_of(cost)
    _check_room(job, cost, limits)
    if held is not None and _inputs_there(job, held):
        manifest = held.model_copy(update={"limits": limits})
        write_text(job / MANIFEST, manifest.model_dump_json(indent=1))
        return manifest
    _remove(job)
    inputs = job / "inputs"
    inputs.mkdir(parents=True)
    sides = {
        name: _fetch_pass(_Fetching(order, part, root, inputs, progress), name, one)
        for name, one in (("reference", order.pair.reference), ("secondary", order.pair.secondary))
    }
    if progress is not None:
        progress("elevation", 0, None)
    report = _write_dem(order, part, inputs)
    manifest = JobManifest(
        pair=order.pair.id,
        part=part.number,
        backend=request.backend,
        relative_orbit=order.pair.relative_orbit,
        polarisation=order.pair.polarisation,
        swaths=tuple(sorted({int(burst[-1]) for burst in part.bursts})),
        bursts=part.bursts,
        reference=sides["reference"],
        secondary=sides["secondary"],
        geoid=report.geoid,
        bbox=part.bbox,
        azimuth_looks=rule.azimuth_looks,
        range_looks=rule.range_looks,
        esd=rule.esd,
        posting_m=max(GROUND_M[0] * rule.azimuth_looks, GROUND_M[1] * rule.range_looks),
        limits=limits,
    )
    for folder in folder_of(job).values():
        folder.mkdir(exist_ok=True)
    _protect(inputs)
    write_text(job / MANIFEST, manifest.model_dump_json(indent=1))
    return manifest


def limits_of(cost: Estimate) -> JobLimits:
    """What a job may use: what it is expected to take, unless the settings say otherwise."""
    configured = settings().insar_memory_gb
    return JobLimits(
        memory_bytes=int(configured * 1e9) if configured is not None else cost.memory_bytes,
        scratch_bytes=max(1, cost.scratch_bytes),
        time_s=settings().insar_hours * 3600,
        cpus=settings().insar_cpus,
    )


def _check_room(job: Path, cost: Estimate, limits: JobLimits) -> None:
    """Refuse a job that cannot fit, before anything is fetched."""
    available = available_memory_bytes()
    if available is not None and limits.memory_bytes > available:
        raise InterferometryError(
            "memory-lacking",
            f"{job.name} wants {limits.memory_bytes / 1e9:.1f} GB of memory, and "
            f"{available / 1e9:.1f} GB are available.",
            "Use a larger machine, end what else runs, or set SLIDECUBE_INSAR_MEMORY_GB if you know better.",
        )
    wanted = cost.scratch_bytes + cost.bytes_to_fetch
    # what is there of an earlier run is used again
    free = shutil.disk_usage(job.parent).free + _size(job)
    if wanted > free:
        raise InterferometryError(
            "disk-lacking",
            f"{job.name} wants {wanted / 1e9:.1f} GB of disk, and {free / 1e9:.1f} GB are free.",
            "Free room, or set SLIDECUBE_DATA_DIR to a larger disk.",
        )


@dataclass(frozen=True)
class _Fetching:
    """Where the inputs of a job come from and go to."""

    order: PairOrder
    part: Part
    root: Path
    inputs: Path
    progress: Progress | None


def _fetch_pass(fetching: _Fetching, name: str, one: SlcPass) -> JobSide:
    """Fetch one overflight, and put it into the job's inputs by hard links."""
    order, part, root, inputs = fetching.order, fetching.part, fetching.root, fetching.inputs
    files = fetch_slc(
        one,
        part.bursts,
        order.pair.polarisation,
        root / "slc" / one.id,
        order.fetch,
        fetching.progress or no_progress,
    )
    held = {burst.granule for burst in one.bursts if burst.full_id in part.bursts}
    granules = [granule for granule in one.granules if granule.name in held] or list(one.granules)
    orbit = fetch_orbit(
        one.platform,
        min(granule.start for granule in granules),
        max(granule.end for granule in granules),
        root / "orbits",
        scene=granules[0].name,
    )
    target = inputs / name
    target.mkdir()
    for file in files:
        for source in [file] if order.fetch == "granules" else [file, file.with_suffix(".xml")]:
            _link(source, target / source.name)
    (inputs / "orbits").mkdir(exist_ok=True)
    _link(orbit.path, inputs / "orbits" / orbit.path.name)
    return JobSide(
        instant=one.instant,
        platform=one.platform,
        absolute_orbit=one.absolute_orbit,
        layout="safe" if order.fetch == "granules" else "bursts",
        files=tuple(f"inputs/{name}/{file.name}" for file in files),
        orbit_file=f"inputs/orbits/{orbit.path.name}",
        orbit_kind=orbit.kind,
    )


def _write_dem(order: PairOrder, part: Part, inputs: Path) -> DemReport:
    with ExitStack() as stack:
        tiles = [stack.enter_context(rasters.open_raster(tile.asset)) for tile in order.tiles]
        report = write_dem(tiles, order.area.dem.collection, part.footprint, inputs / "dem.tif")
    write_text(inputs / _DEM_REPORT, report.model_dump_json(indent=1))
    return report


def _run(job: Path, manifest: JobManifest, backend: InsarBackend, progress: Progress | None) -> JobMetadata:
    """Run the processor and believe nothing: the products are read to their ends before they count."""
    metadata = backend.run(job, manifest, progress)
    path = folder_of(job)["products"] / METADATA
    try:
        agree(metadata, manifest)
        checked = check_products(job, manifest)
        if checked.products != metadata.products:
            raise InterferometryError(
                "metadata-misfit",
                f"{METADATA} of {job.name} states other digests than its products have.",
                "Run the pair again.",
            )
    except InterferometryError:
        path.unlink(missing_ok=True)
        raise
    return metadata


def _inputs_there(job: Path, manifest: JobManifest) -> bool:
    wanted = [manifest.dem]
    for side in (manifest.reference, manifest.secondary):
        wanted += [*side.files, side.orbit_file]
    return all((job / name).exists() for name in wanted)


def _clean(job: Path) -> None:
    """Delete what is of no use once the products are there: inputs (the fetched files stay) and scratch."""
    folders = folder_of(job)
    kept = _size(folders["products"])
    freed = _size(folders["scratch"])
    for name in ("scratch", "inputs"):
        _remove(folders[name])
    log.info("%s keeps %.1f MB of products; %.1f MB of scratch deleted", job.name, kept / 1e6, freed / 1e6)


def _link(source: Path, target: Path) -> None:
    """The same bytes under another name; a copy where the file system has no links."""
    if source.is_dir():
        target.mkdir()
        for child in sorted(source.iterdir()):
            _link(child, target / child.name)
        return
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def _protect(folder: Path) -> None:
    """Make inputs read-only: a processor that writes there would spoil what other jobs share."""
    paths: Sequence[Path] = sorted(folder.rglob("*"), reverse=True)
    for path in (*paths, folder):
        path.chmod(0o555 if path.is_dir() else 0o444)


def _remove(folder: Path) -> None:
    """Delete a folder, read-only ones inside it as well."""
    if not folder.exists():
        return
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)


def _size(folder: Path) -> int:
    return (
        sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) if folder.is_dir() else 0
    )
