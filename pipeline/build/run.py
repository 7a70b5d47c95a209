"""Building a cube is a reconciliation: plan what is missing, fetch it, commit it, publish.

The first build, a resume after a kill, a new pass a week later and a rebuild after reprocessing are the same code with
another plan. Running it twice does nothing the second time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import Field

from pipeline.archives import search_area
from pipeline.areas.area import AreaOfInterest
from pipeline.build.contents import manifest_of, store_of
from pipeline.build.plan import BuildPlan
from pipeline.build.planning import make_plan
from pipeline.catalogue.catalogue import Catalogue
from pipeline.catalogue.snapshots import load_catalogue, snapshot_name
from pipeline.cube import versions
from pipeline.cube.addresses import open_store
from pipeline.cube.layers import LayerRecord, folder_of, layer_problems, read_record
from pipeline.cube.overviews import write_with_overviews
from pipeline.cube.verify import verify_cube
from pipeline.errors import CubeError, DiskError, SlidecubeError, disk_error_of
from pipeline.grid import Grid
from pipeline.layers.kind import LayerTask, Site, failures_by_reason
from pipeline.layers.kinds import KINDS, Kinds
from pipeline.places import download_root
from pipeline.progress import Progress, no_progress
from pipeline.records import Frozen
from pipeline.settings import settings

__all__ = [
    "BuildPlan",
    "LayerTask",
    "LayerWorkers",
    "Outcomes",
    "Published",
    "build",
    "build_layer",
    "build_layers",
    "discard_damaged",
    "examine_sources",
    "find_catalogue",
    "make_plan",
    "publish",
    "store_of",
    "writer_lock",
]

log = logging.getLogger(__name__)


class Published(Frozen):
    """The result of a build."""

    area: str
    version: int
    uri: str = Field(description="path of the version, for xarray.open_zarr")
    new: bool = Field(description="False: the cube was up to date and nothing was done")
    layers_built: int
    missing: tuple[str, ...]
    failed: tuple[str, ...] = Field(
        (), description="layers that could not be built this time, each reason once"
    )
    layers_failed: int = 0
    undelivered: tuple[str, ...] = Field(
        (), description="of `missing`: what the archives list and the version lacks, failed layers among it"
    )

    @property
    def complete(self) -> bool:
        """Whether the version has everything that the archives listed."""
        return not self.failed and not self.undelivered


@contextmanager
def writer_lock(area: AreaOfInterest, *, wait: bool = True) -> Iterator[bool]:
    """Hold the cube's writer lock, waiting for a running build; yields True if it waited.

    A build plans after it has the lock, and so finds the layers of another build. A kill frees the lock.

    Raises:
        BusyError: another build runs and `wait` is false, or it ran for too long.
    """
    store = store_of(area)
    with store.lock(versions.LOCK, wait=wait) as waited:
        for prefix in ("layers", "versions"):
            store.sweep(prefix)
        yield waited


def find_catalogue(area: AreaOfInterest, replay: Path | None = None) -> Catalogue:
    """The area's catalogue: `replay` if given, else one search, saved as a dated snapshot in the cube's folder.

    A snapshot younger than `SLIDECUBE_SEARCH_INTERVAL_S` is used instead of a new search.

    Raises:
        ArchiveError: the search failed, or the replayed file is not of this area.
    """
    if replay is not None:
        return load_catalogue(replay, area)
    store = store_of(area)
    recent = search_area.latest_snapshot(store, area)
    if recent is not None:
        log.info("using the search of %s", recent.searched_at.isoformat())
        return recent
    return search_area.search_catalogue(area, store)


def publish(
    area: AreaOfInterest,
    plan: BuildPlan,
    catalogue: Catalogue,
    failed: dict[str, str] | None = None,
    started: float | None = None,
) -> Published:
    """Make a version of the plan's layers, or find that the latest one is the same.

    `failed` names, by the digest of the recipe, the layers that could not be built and why. A pass of which a layer
    failed stays as it was in the latest version, or is left out; either way it is named in the version's `missing`.

    Raises:
        CubeError: no pass is left, or another writer published meanwhile.
    """
    failed = failed or {}
    store, built = store_of(area), len(plan.wanted) - len(failed)
    manifest = manifest_of(area, plan, catalogue, failed)
    if not manifest.timesteps:
        reasons = "; ".join(line.rstrip(".") for line in failures_by_reason(plan.tasks, failed))
        raise CubeError(
            f"No pass of {area.name!r} could be built ({reasons}).", "Run `slidecube build` again."
        )
    wanted = frozenset(task.recipe.digest for task in plan.tasks)
    number, new = versions.publish(store, manifest, spare=wanted)
    if new:
        entry: dict[str, Any] = {
            "catalogue": snapshot_name(catalogue),
            "searched_at": catalogue.searched_at.isoformat(),
            "layers_built": built,
            "failed": sorted(set(failed.values())),
        }
        if plan.reprocessed:
            entry["reprocessed"] = list(plan.reprocessed)
        if started is not None:
            entry["seconds"] = round(time.monotonic() - started, 1)
        versions.journal(store, number, entry)
    return Published(
        area=area.name,
        version=number,
        uri=store.uri_of(versions.version_key(number)),
        new=new,
        layers_built=built,
        missing=manifest.missing,
        failed=failures_by_reason(plan.tasks, failed),
        layers_failed=len(failed),
        undelivered=manifest.undelivered,
    )


def examine_sources(area: AreaOfInterest, plan: BuildPlan) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Open the sources of the wanted layers, as far as that costs little: what cannot be built and why, and remarks."""
    site = Site(area=area, grid=plan.grid, downloads=download_root(area.name).resolve())
    problems, remarks = [], []
    for task in plan.wanted:
        try:
            remarks += [f"{task.label}: {remark}" for remark in task.kind.examine(task, site)]
        except SlidecubeError as error:
            problems.append(f"{task.label}: {error}")
    return tuple(problems), tuple(remarks)


def build_layer(area: AreaOfInterest, task: LayerTask) -> LayerRecord:
    """Fetch, derive and commit one layer; a layer that the cube has is returned unchanged. Safe in threads.

    Raises:
        ArchiveError: a source cannot be read, or changed since the catalogue was made.
        SourceDataError: a source cannot be used.
        InterferometryError: a pair cannot be processed, or its product cannot be used.
        DiskError: the layer cannot be written; no other layer can be either.
    """
    store = store_of(area)
    # asked first: a worker that lives longer than a build may remember a layer that another process has removed since
    if store.exists(folder_of(task.recipe.digest)):
        existing = read_record(store, task.recipe.digest)
        if existing is not None:
            return existing
    grid = Grid.of_area(area)
    site = Site(area=area, grid=grid, downloads=download_root(area.name).resolve())
    try:
        data = task.kind.derive(task, site)
    except OSError as error:  # of a library that reads or writes a file of its own
        if (disk := disk_error_of(error)) is not None:
            raise disk from error
        raise
    return write_with_overviews(store, task.recipe, data, grid)


Outcomes = Generator[tuple[LayerTask, str | None], None, None]
"""Each task when it has ended, with the reason if it failed."""


class LayerWorkers(Protocol):
    """What makes the layers of a build: threads of this process, or tasks of Prefect."""

    @property
    def processors(self) -> int:
        """How many pairs are processed at once."""
        ...

    def make(self, tasks: Iterable[LayerTask]) -> Outcomes:
        """Begin the tasks in their order, each within the limit of its kind. What has not begun is dropped on close."""
        ...


def build_layers(plan: BuildPlan, workers: LayerWorkers, progress: Progress = no_progress) -> dict[str, str]:
    """Build every layer that the plan wants; returns the reasons of those that failed, by digest of the recipe.

    A layer that fails does not stop the others. The disk decides what failed: a layer that is whole in the cube was
    built, however its worker ended.
    """
    failed: dict[str, str] = {}
    tasks = plan.in_order(workers.processors)
    store = open_store(plan.cube)
    with closing(workers.make(tasks)) as outcomes:
        for done, (task, reason) in enumerate(outcomes, start=1):
            if reason is not None:
                log.error("%s: %s", task.label, reason)
                failed[task.recipe.digest] = reason
            progress(task.label, done, len(tasks))
    absent = [task.recipe.digest for task in tasks if read_record(store, task.recipe.digest) is None]
    return {digest: failed.get(digest, "its worker ended without making it") for digest in absent}


@dataclass(frozen=True)
class _Threads:
    """Workers of this process: one pool for the processor and one for everything else."""

    area: AreaOfInterest
    processors: int

    def make(self, tasks: Iterable[LayerTask]) -> Outcomes:
        with ExitStack() as stack:
            for_layers, for_pairs = (
                stack.enter_context(ThreadPoolExecutor(count, thread_name_prefix=name))
                for count, name in ((settings().read_concurrency, "layer"), (self.processors, "pair"))
            )
            futures: dict[Future[LayerRecord], LayerTask] = {}
            # an error that is not a layer's own, or a full disk, ends the build: the waiting tasks are dropped
            stack.callback(lambda: [future.cancel() for future in futures])
            for task in tasks:
                pool = for_pairs if task.kind.limit == "processor" else for_layers
                futures[pool.submit(build_layer, self.area, task)] = task
            for future in as_completed(futures):
                try:
                    future.result()
                except DiskError:
                    raise
                except SlidecubeError as error:
                    yield futures[future], str(error)
                else:
                    yield futures[future], None


def build(
    area: AreaOfInterest,
    replay: Path | None = None,
    progress: Progress = no_progress,
    *,
    pairs: bool = True,
    kinds: Kinds = KINDS,
) -> Published:
    """Search, plan, build every missing layer, publish: all in one process, for the command line.

    Other layers are built at the same time as pairs, of which at most `SLIDECUBE_INSAR_CONCURRENCY` are processed at
    once. Without `pairs` existing pairs are kept, and new ones are left for a later build.

    Raises:
        ArchiveError, CubeError, SourceDataError: as the steps do. A layer that fails does not stop the others; it is
            named in `failed` of the result.
    """
    started = time.monotonic()
    with writer_lock(area):
        catalogue = find_catalogue(area, replay)
        plan = make_plan(area, catalogue, pairs, kinds=kinds)
        failed = build_layers(plan, _Threads(area, settings().insar_concurrency), progress)
        return publish(area, plan, catalogue, failed, started)


def discard_damaged(area: AreaOfInterest) -> tuple[str, ...]:
    """Verify the latest version and remove it and its layers where they are damaged; the problems found.

    The next build makes them again.
    """
    store = store_of(area)
    with writer_lock(area):
        number = versions.current_version(store)
        if number is None:
            return ()
        verdict = verify_cube(store.uri)
        if not verdict.sound:
            manifest = versions.read_manifest(store, number)
            for digest, record in manifest.records.items():
                if layer_problems(store, record):
                    store.delete(folder_of(digest))
            versions.withdraw(store, number)
        return verdict.problems
