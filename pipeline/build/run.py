"""Building a cube is a reconciliation: plan what is missing, fetch it, commit it, publish.

The first build, a resume after a kill, a new pass a week later and a rebuild after reprocessing are the same code with
another plan. Running it twice does nothing the second time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field

from pipeline.archives import search_area
from pipeline.area import AreaOfInterest
from pipeline.build.plan import BuildPlan, LayerTask, make_plan, manifest_of, store_of
from pipeline.catalogue.catalogue import Catalogue
from pipeline.catalogue.snapshots import load_catalogue, save_catalogue, snapshot_name
from pipeline.cube import versions
from pipeline.cube.layers import LayerRecord, folder_of, layer_problems
from pipeline.cube.verify import verify_cube
from pipeline.errors import CubeError, SlidecubeError
from pipeline.layers.derivation import PairProcessor, build_layer, by_backend
from pipeline.layers.tasks import pairs_in_words
from pipeline.records import Frozen
from pipeline.settings import settings

__all__ = [
    "BuildPlan",
    "LayerTask",
    "PairProcessor",
    "Progress",
    "Published",
    "build",
    "build_layer",
    "discard_damaged",
    "find_catalogue",
    "make_plan",
    "publish",
    "store_of",
    "writer_lock",
]

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with the label of a finished layer, how many are done and how many there are."""


class Published(Frozen):
    """What a build ended with."""

    area: str
    version: int
    uri: str = Field(description="path of the version, which xarray.open_zarr opens")
    new: bool = Field(description="False: the cube was up to date and nothing was done")
    layers_built: int
    missing: tuple[str, ...]
    failed: tuple[str, ...] = Field(
        (), description="layers that could not be built this time, each reason once"
    )
    layers_failed: int = 0


@contextmanager
def writer_lock(area: AreaOfInterest) -> Iterator[bool]:
    """Hold the one writer's place of a cube, waiting for another build; yields whether there was a wait.

    Whoever had to wait plans again, which finds the other's work. A kill frees the place.
    """
    store = store_of(area)
    with store.lock(versions.LOCK, wait=True) as waited:
        for prefix in ("layers", "versions"):
            store.sweep(prefix)
        yield waited


def find_catalogue(area: AreaOfInterest, replay: Path | None = None) -> Catalogue:
    """What the archives hold: `replay` if given, else one search, saved as a dated snapshot beside the cube.

    An answer younger than `SLIDECUBE_SEARCH_INTERVAL_S` is used again instead of searching.

    Raises:
        ArchiveError: the search failed, or the replayed file is not of this area.
    """
    if replay is not None:
        return load_catalogue(replay, area)
    folder = store_of(area).root / "catalogues"
    recent = search_area.latest_snapshot(folder, area)
    if recent is not None:
        log.info("replaying the search of %s", recent.searched_at.isoformat())
        return recent
    found = search_area.search_catalogue(area)
    save_catalogue(found, folder)
    return found


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
        CubeError: no pass is left, or somebody else published meanwhile.
    """
    failed = failed or {}
    store = store_of(area)
    manifest = manifest_of(area, plan, catalogue, failed)
    if not manifest.timesteps:
        reasons = "; ".join(failed.values())
        raise CubeError(
            f"No pass of {area.name!r} could be built ({reasons}).", "Run `slidecube build` again."
        )
    wanted = frozenset(task.recipe.digest for task in plan.tasks)
    number, new = versions.publish(store, manifest, spare=wanted)
    if new:
        entry: dict[str, Any] = {
            "catalogue": snapshot_name(catalogue),
            "searched_at": catalogue.searched_at.isoformat(),
            "layers_built": len(plan.wanted) - len(failed),
            "failed": sorted(set(failed.values())),
        }
        if started is not None:
            entry["seconds"] = round(time.monotonic() - started, 1)
        versions.journal(store, number, entry)
    return Published(
        area=area.name,
        version=number,
        uri=str(store.path(versions.version_key(number))),
        new=new,
        layers_built=len(plan.wanted) - len(failed),
        missing=manifest.missing,
        failed=_by_reason(plan, failed),
        layers_failed=len(failed),
    )


def _by_reason(plan: BuildPlan, failed: dict[str, str]) -> tuple[str, ...]:
    """Each reason once, after the layers that failed for it."""
    tasks = {task.recipe.digest: task for task in plan.tasks}
    found: dict[tuple[bool, str], list[str]] = {}
    for digest, why in sorted(failed.items()):
        task = tasks.get(digest)
        pair = task.pair_id if task else None
        found.setdefault((pair is not None, why), []).append(pair or (task.label if task else digest))
    lines = []
    for (of_pairs, why), names in found.items():
        names.sort()
        several = f"{len(names)} layers: {', '.join(names)}" if len(names) > 1 else names[0]
        lines.append(f"{pairs_in_words(names) if of_pairs else several}: {why}")
    return tuple(lines)


def build(
    area: AreaOfInterest,
    replay: Path | None = None,
    progress: Progress | None = None,
    process: PairProcessor = by_backend,
    *,
    pairs: bool = True,
) -> Published:
    """Search, plan, build every missing layer, publish: all in one process, for the command line.

    Pairs are processed beside the other layers, as many at once as `SLIDECUBE_INSAR_CONCURRENCY` says; `process` makes
    their products. Without `pairs` those that are held stay, and new ones are left for a later build.

    Raises:
        ArchiveError, CubeError, SourceDataError: as the steps do. A layer that fails does not stop the others; it is
            named in `failed` of the result.
    """
    started = time.monotonic()
    with writer_lock(area):
        catalogue = find_catalogue(area, replay)
        plan = make_plan(area, catalogue, pairs)
        failed: dict[str, str] = {}
        with ExitStack() as stack:
            for_layers, for_pairs = (
                stack.enter_context(ThreadPoolExecutor(count, thread_name_prefix=name))
                for count, name in (
                    (settings().read_concurrency, "layer"),
                    (settings().insar_concurrency, "pair"),
                )
            )
            futures: dict[Future[LayerRecord], LayerTask] = {}
            # leaving by an error, what has not begun is not begun
            stack.callback(lambda: [future.cancel() for future in futures])
            for task in plan.wanted:
                pool = for_pairs if task.kind == "interferometry" else for_layers
                futures[pool.submit(build_layer, area, task, catalogue, process)] = task
            for done, future in enumerate(as_completed(futures), start=1):
                task = futures[future]
                try:
                    future.result()
                except SlidecubeError as error:
                    log.error("%s: %s", task.label, error)
                    failed[task.recipe.digest] = str(error)
                if progress:
                    progress(task.label, done, len(futures))
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
        verdict = verify_cube(store.root)
        if not verdict.sound:
            manifest = versions.read_manifest(store, number)
            for digest, record in manifest.records.items():
                if layer_problems(store, record):
                    store.delete(folder_of(digest))
            versions.withdraw(store, number)
        return verdict.problems
