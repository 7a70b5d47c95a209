"""Building a cube is a reconciliation: plan what is missing, fetch it, commit it, publish.

The first build, a resume after a kill, a new pass a week later and a rebuild after reprocessing are the same code with
another plan. Running it twice does nothing the second time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field

from pipeline import backscatter, labels, terrain
from pipeline.aoi import AreaOfInterest
from pipeline.archives import catalogue as archive
from pipeline.archives import inventories, rasters
from pipeline.cube import versions
from pipeline.cube.layers import LayerData, LayerRecord, folder_of, layer_problems, read_record, write_layer
from pipeline.cube.storage import LocalStore
from pipeline.cube.verify import verify_cube
from pipeline.errors import CubeError, SlidecubeError
from pipeline.grid import Grid
from pipeline.passes import Catalogue, Pass
from pipeline.plan import BuildPlan, LayerTask, make_plan, manifest_of, store_of
from pipeline.records import Frozen
from pipeline.settings import settings

__all__ = [
    "BuildPlan",
    "LayerTask",
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
        (), description="layers that could not be built this time, with the reason"
    )


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
        return archive.load_catalogue(replay, area)
    folder = store_of(area).root / "catalogues"
    recent = archive.latest_snapshot(folder, area)
    if recent is not None:
        log.info("replaying the search of %s", recent.searched_at.isoformat())
        return recent
    found = archive.search_catalogue(area)
    archive.save_catalogue(found, folder)
    return found


def build_layer(area: AreaOfInterest, task: LayerTask, catalogue: Catalogue) -> LayerRecord:
    """Fetch, derive and commit one layer; a layer that is held is returned as it is. Safe in threads.

    Raises:
        ArchiveError: a source cannot be read, or changed since the catalogue was made.
        SourceDataError: a source cannot be used.
    """
    store = store_of(area)
    held = read_record(store, task.recipe.digest)
    if held is not None:
        return held
    grid = Grid.of_area(area)
    match task.kind:
        case "backscatter":
            data = _derive_backscatter(area, task, catalogue, grid)
        case "terrain":
            data = _derive_terrain(area, catalogue, grid)
        case "labels":
            data = _derive_labels(area, catalogue, grid, store)
    return write_layer(store, task.recipe, data, grid)


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
            "catalogue": archive.snapshot_name(catalogue),
            "searched_at": catalogue.searched_at.isoformat(),
            "layers_built": len(plan.wanted) - len(failed),
            "failed": sorted(failed.values()),
        }
        if started is not None:
            entry["seconds"] = round(time.monotonic() - started, 1)
        versions.journal(store, number, entry)
    labels_by_digest = {task.recipe.digest: task.label for task in plan.tasks}
    return Published(
        area=area.name,
        version=number,
        uri=str(store.path(versions.version_key(number))),
        new=new,
        layers_built=len(plan.wanted) - len(failed),
        missing=manifest.missing,
        failed=tuple(
            f"{labels_by_digest.get(digest, digest)}: {why}" for digest, why in sorted(failed.items())
        ),
    )


def build(area: AreaOfInterest, replay: Path | None = None, progress: Progress | None = None) -> Published:
    """Search, plan, build every missing layer, publish: all in one process, for the command line.

    Raises:
        ArchiveError, CubeError, SourceDataError: as the steps do. A layer that fails does not stop the others; it is
            named in `failed` of the result.
    """
    started = time.monotonic()
    with writer_lock(area):
        catalogue = find_catalogue(area, replay)
        plan = make_plan(area, catalogue)
        failed: dict[str, str] = {}
        wanted = plan.wanted
        with ThreadPoolExecutor(settings().read_concurrency, thread_name_prefix="layer") as pool:
            futures = {pool.submit(build_layer, area, task, catalogue): task for task in wanted}
            for done, future in enumerate(as_completed(futures), start=1):
                task = futures[future]
                try:
                    future.result()
                except SlidecubeError as error:
                    log.error("%s: %s", task.label, error)
                    failed[task.recipe.digest] = str(error)
                if progress:
                    progress(task.label, done, len(wanted))
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


def _derive_backscatter(area: AreaOfInterest, task: LayerTask, catalogue: Catalogue, grid: Grid) -> LayerData:
    overflight = next(o for o in _passes(area, catalogue) if o.id == task.pass_id)
    return backscatter.read_backscatter(
        overflight, task.recipe.variables[0], grid, rasters.open_asset, area.border_erosion_px
    )


_grouped: tuple[Catalogue, AreaOfInterest, tuple[Pass, ...]] | None = None


def _passes(area: AreaOfInterest, catalogue: Catalogue) -> tuple[Pass, ...]:
    """The passes of a catalogue, grouped once and not for every layer."""
    global _grouped
    held = _grouped
    if held is None or held[0] is not catalogue or held[1] != area:
        held = _grouped = (catalogue, area, archive.passes_of(catalogue, area).passes)
    return held[2]


def _derive_terrain(area: AreaOfInterest, catalogue: Catalogue, grid: Grid) -> LayerData:
    with ExitStack() as stack:
        tiles = [stack.enter_context(rasters.open_raster(t.asset)) for t in archive.dem_tiles_of(catalogue)]
        return terrain.derive_terrain(tiles, grid, collection=area.dem.collection)


def _derive_labels(area: AreaOfInterest, catalogue: Catalogue, grid: Grid, store: LocalStore) -> LayerData:
    assert area.inventory is not None
    path = inventories.fetch_inventory(area.inventory, store.root / "downloads")
    frame = labels.read_inventory(path, area.inventory)
    extent = inventories.mapped_extent(area, store.root / "downloads")
    return labels.rasterise_labels(frame, area.inventory, grid, extent)
