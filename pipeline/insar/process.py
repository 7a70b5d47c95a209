"""Process one pair: divide it into jobs, fetch inputs, run the processor, validate the products.

    <data_dir>/insar/<area>/slc/<overflight>/       fetched files, shared by all pairs of an overflight
    <data_dir>/insar/<area>/orbits/                 orbit files
    <data_dir>/insar/<area>/jobs/<pair>_<part>_<digest>/   one job (see `pipeline.insar.job`)

All of it may be deleted while no job runs. The next run then fetches the inputs and processes the jobs again.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from pipeline.archives.geotiff import rasters
from pipeline.archives.slc.orbit_files import fetch_orbit
from pipeline.archives.slc.slc_files import fetch_slc
from pipeline.areas.area import AreaOfInterest, Interferometry
from pipeline.catalogue.dem_items import DemTile
from pipeline.catalogue.slc import Pair, SlcPass
from pipeline.elevation.ellipsoid import DemReport, write_dem
from pipeline.errors import InterferometryError
from pipeline.files import read_regular, write_whole
from pipeline.insar.backends import backend_named
from pipeline.insar.estimates import Estimate, FetchMode, estimate, fetch_mode
from pipeline.insar.isce2.isce2_backend import available_memory_bytes
from pipeline.insar.job import (
    MANIFEST,
    METADATA,
    MOST_BYTES,
    REMOTE,
    Backend,
    JobAcquisition,
    JobLimits,
    JobManifest,
    JobMetadata,
    JobProducts,
    folder_of,
)
from pipeline.insar.job_parts import Box, Part, parts_of
from pipeline.insar.processor import InsarBackend
from pipeline.insar.products.validate import agree, check_products, read_finished
from pipeline.lock import held
from pipeline.places import insar_root
from pipeline.progress import Progress, no_progress
from pipeline.records import Frozen, digest_of_json
from pipeline.settings import settings

__all__ = ["PairOrder", "process_pair"]

log = logging.getLogger(__name__)

GROUND_M = (14.0, 4.0)
"""Spacing of lines and of samples of IW on the ground, metres; the posting of the products follows from it."""
_DEM_REPORT = "dem.json"


class PairOrder(Frozen):
    """The input of `process_pair`: small, so that a task can carry it."""

    area: AreaOfInterest
    pair: Pair
    tiles: tuple[DemTile, ...] = Field(description="elevation tiles around the pair's bursts")

    @property
    def rule(self) -> Interferometry:
        """The area's interferometry settings, or the defaults."""
        return self.area.interferometry or Interferometry()

    @property
    def bbox(self) -> Box:
        """West, south, east, north of the area, degrees."""
        west, south, east, north = self.area.footprint.bounds
        return west, south, east, north

    @property
    def fetch(self) -> FetchMode:
        """Whole granules if the area or the settings ask for them, else bursts."""
        return fetch_mode(self.area)


class _Request(Frozen):
    """The values that identify a job: a different request is a different job."""

    order: PairOrder
    part: Part
    backend: Backend


def process_pair(order: PairOrder, progress: Progress = no_progress) -> tuple[JobProducts, ...]:
    """Finished products of a pair, one job for each part. Finished jobs are not processed again. Thread-safe.

    Raises:
        InterferometryError: too little memory or disk, no processor, or the processor or its products failed.
        ArchiveError: inputs cannot be fetched.
        SourceDataError: inputs or elevation cannot be used.
    """
    chosen = settings().insar_backend
    backend = backend_named(chosen)
    if chosen == "none":  # backend_named has raised for it
        return ()
    requests = [_Request(order=order, part=part, backend=chosen) for part in parts_of(order.pair, order.bbox)]
    return tuple(_process(request, backend, progress) for request in requests)


def _process(request: _Request, backend: InsarBackend, progress: Progress) -> JobProducts:
    root = insar_root(request.order.area.name)
    job = root / "jobs" / job_name(request)
    with held(job.with_name(f".{job.name}.lock"), what=f"the job {job.name}"):
        manifest = _read_manifest(job)
        if manifest is not None:
            metadata = read_finished(job, manifest)
            if metadata is not None:
                return JobProducts(job=job, metadata=metadata)
        backend.ready()  # fetching can take hours
        manifest = _prepare(request, root, job, manifest, progress)
        metadata = _run(job, manifest, backend, progress)
        _clean(job)
    return JobProducts(job=job, metadata=metadata)


def job_name(request: _Request) -> str:
    """Folder name of a job: the pair, the part, and a digest of the request."""
    order, part = request.order, request.part
    asked = {
        "part": part.model_dump(mode="json"),
        "bursts": [
            burst.id
            for overflight in (order.pair.reference, order.pair.secondary)
            for burst in overflight.bursts
            if burst.full_id in part.bursts
        ],
        "dem": [[tile.id, tile.asset.fingerprint] for tile in order.tiles],
        "collection": order.area.dem.collection,
        "backend": request.backend,
        "fetch": order.fetch,
        "looks": [order.rule.azimuth_looks, order.rule.range_looks],
        "esd": order.rule.esd,
    }
    return f"{order.pair.id}_{part.number}_{digest_of_json(asked)[:12]}"


def _read_manifest(job: Path) -> JobManifest | None:
    """The manifest of a prepared job; None if it is absent or unusable."""
    try:
        return JobManifest.model_validate_json(read_regular(job / MANIFEST, MOST_BYTES))
    except (OSError, ValueError):
        return None


def _prepare(
    request: _Request, root: Path, job: Path, former: JobManifest | None, progress: Progress
) -> JobManifest:
    """Fetch the inputs, then write the manifest. The manifest marks the inputs as complete.

    A service fetches them itself: its manifest has the names of the bursts.
    """
    order, part, rule = request.order, request.part, request.order.rule
    cost = estimate(order.pair.model_copy(update={"burst_ids": part.bursts}), order.fetch, request.backend)
    limits = limits_of(cost)
    _check_room(job, cost, limits)
    remote = request.backend in REMOTE
    if former is not None and (remote or _inputs_there(job, former)):
        manifest = former.model_copy(update={"limits": limits})
        write_whole(job / MANIFEST, manifest.model_dump_json(indent=1))
        return manifest
    _remove(job)
    inputs = job / "inputs"
    inputs.mkdir(parents=True)
    acquisitions = {
        name: _names_of_pass(order.pair, part, one)
        if remote
        else _fetch_pass(_Fetching(order, part, root, inputs, progress), name, one)
        for name, one in (("reference", order.pair.reference), ("secondary", order.pair.secondary))
    }
    progress("elevation", 0)
    heights = {"dem": "", "geoid": ""} if remote else {"geoid": _write_dem(order, part, inputs).geoid}
    manifest = JobManifest(
        pair=order.pair.id,
        part=part.number,
        backend=request.backend,
        relative_orbit=order.pair.relative_orbit,
        polarisation=order.pair.polarisation,
        swaths=tuple(sorted({int(burst[-1]) for burst in part.bursts})),
        bursts=part.bursts,
        reference=acquisitions["reference"],
        secondary=acquisitions["secondary"],
        bbox=part.bbox,
        azimuth_looks=rule.azimuth_looks,
        range_looks=rule.range_looks,
        esd=rule.esd,
        posting_m=max(GROUND_M[0] * rule.azimuth_looks, GROUND_M[1] * rule.range_looks),
        limits=limits,
        **heights,
    )
    for folder in folder_of(job).values():
        folder.mkdir(exist_ok=True)
    _protect(inputs)
    write_whole(job / MANIFEST, manifest.model_dump_json(indent=1))
    return manifest


def limits_of(cost: Estimate) -> JobLimits:
    """The limits of a job: its estimated needs, unless the settings give others."""
    configured = settings().insar_memory_gb
    return JobLimits(
        memory_bytes=int(configured * 1e9) if configured is not None else cost.memory_bytes,
        scratch_bytes=max(1, cost.scratch_bytes),
        time_s=settings().insar_hours * 3600,
        cpus=settings().insar_cpus,
    )


def _check_room(job: Path, cost: Estimate, limits: JobLimits) -> None:
    """Refuse a job that needs more memory or disk than is available, before any input is fetched."""
    available = available_memory_bytes()
    if available is not None and limits.memory_bytes > available:
        raise InterferometryError(
            "memory-lacking",
            f"{job.name} needs {limits.memory_bytes / 1e9:.1f} GB of memory, and "
            f"{available / 1e9:.1f} GB are available.",
            "Use a larger machine, end other programs, or set SLIDECUBE_INSAR_MEMORY_GB if the job needs less.",
        )
    wanted = cost.scratch_bytes + cost.bytes_to_fetch
    # files of an earlier run are reused or deleted
    free = shutil.disk_usage(job.parent).free + _size(job)
    if wanted > free:
        raise InterferometryError(
            "disk-lacking",
            f"{job.name} needs {wanted / 1e9:.1f} GB of disk, and {free / 1e9:.1f} GB are free.",
            "Free disk space, or set SLIDECUBE_DATA_DIR to a larger disk.",
        )


@dataclass(frozen=True)
class _Fetching:
    """The sources and folders of a job's inputs."""

    order: PairOrder
    part: Part
    root: Path
    inputs: Path
    progress: Progress


def _fetch_pass(fetching: _Fetching, name: str, one: SlcPass) -> JobAcquisition:
    """Fetch one overflight and hard-link its files into the job's inputs."""
    order, part, root, inputs = fetching.order, fetching.part, fetching.root, fetching.inputs
    files = fetch_slc(
        one,
        part.bursts,
        order.pair.polarisation,
        root / "slc" / one.id,
        order.fetch,
        fetching.progress,
    )
    names = {burst.granule for burst in one.bursts if burst.full_id in part.bursts}
    granules = [granule for granule in one.granules if granule.name in names] or list(one.granules)
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
    return JobAcquisition(
        instant=one.instant,
        platform=one.platform,
        absolute_orbit=one.absolute_orbit,
        layout="safe" if order.fetch == "granules" else "bursts",
        files=tuple(f"inputs/{name}/{file.name}" for file in files),
        orbit_file=f"inputs/orbits/{orbit.path.name}",
        orbit_kind=orbit.kind,
    )


def _names_of_pass(pair: Pair, part: Part, one: SlcPass) -> JobAcquisition:
    """One overflight by the names of its bursts, for a service that fetches them itself."""
    return JobAcquisition(
        instant=one.instant,
        platform=one.platform,
        absolute_orbit=one.absolute_orbit,
        layout="names",
        files=tuple(
            burst.id
            for burst in one.bursts
            if burst.full_id in part.bursts and burst.polarisation == pair.polarisation
        ),
        orbit_file="",
        orbit_kind="unknown",
    )


def _write_dem(order: PairOrder, part: Part, inputs: Path) -> DemReport:
    with ExitStack() as stack:
        tiles = [stack.enter_context(rasters.open_asset(tile.asset)) for tile in order.tiles]
        report = write_dem(tiles, order.area.dem.collection, part.footprint, inputs / "dem.tif")
    write_whole(inputs / _DEM_REPORT, report.model_dump_json(indent=1))
    return report


def _run(job: Path, manifest: JobManifest, backend: InsarBackend, progress: Progress) -> JobMetadata:
    """Run the processor and validate its products, which are read completely."""
    metadata = backend.run(job, manifest, progress)
    path = folder_of(job)["products"] / METADATA
    try:
        agree(metadata, manifest)
        checked = check_products(job, manifest)
        if checked.products != metadata.products:
            raise InterferometryError(
                "metadata-misfit",
                f"The digests in {METADATA} of {job.name} differ from those of its products.",
                "Run the pair again.",
            )
    except InterferometryError:
        path.unlink(missing_ok=True)
        raise
    return metadata


def _inputs_there(job: Path, manifest: JobManifest) -> bool:
    wanted = [manifest.dem]
    for acquisition in (manifest.reference, manifest.secondary):
        wanted += [*acquisition.files, acquisition.orbit_file]
    return all((job / name).exists() for name in wanted)


def _clean(job: Path) -> None:
    """Delete the scratch folder and the links to the inputs; the fetched files stay."""
    folders = folder_of(job)
    kept = _size(folders["products"])
    freed = _size(folders["scratch"])
    for name in ("scratch", "inputs"):
        _remove(folders[name])
    log.info("%s: %.1f MB of products kept, %.1f MB of scratch deleted", job.name, kept / 1e6, freed / 1e6)


def _link(source: Path, target: Path) -> None:
    """Hard-link a file or a folder's files; copy them if the file system has no hard links."""
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
