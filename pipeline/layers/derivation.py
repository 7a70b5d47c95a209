"""Deriving one layer: its sources fetched, its values computed, the result committed to the store."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from pipeline.archives import inventories, rasters
from pipeline.archives.slc import orbit_files
from pipeline.area import AreaOfInterest
from pipeline.catalogue.catalogue import Catalogue, dem_tiles_of, passes_of, slc_dem_tiles_of
from pipeline.catalogue.dem_items import DemTile
from pipeline.catalogue.dem_margins import DEM_MARGIN_M, LOOK_DEM_MARGIN_M, tiles_within
from pipeline.catalogue.pairs import choose_pairs
from pipeline.catalogue.passes import Pass
from pipeline.catalogue.slc import Pair
from pipeline.catalogue.slc_passes import slc_passes
from pipeline.catalogue.state_vectors import read_orbit_file
from pipeline.cube.layers import LayerData, LayerRecord, read_record, write_layer
from pipeline.cube.storage import LocalStore
from pipeline.errors import InterferometryError
from pipeline.grid import Grid
from pipeline.insar.job import JobProducts
from pipeline.insar.look import look
from pipeline.insar.process import PairOrder, process_pair
from pipeline.insar.products import products
from pipeline.layers import backscatter, labels, terrain
from pipeline.layers.tasks import LayerTask, store_of, tiles_of_pair
from pipeline.places import insar_root

PairProcessor = Callable[[AreaOfInterest, Pair, tuple[DemTile, ...]], tuple[JobProducts, ...]]
"""Makes the products of a pair, one job after the other, from the elevation tiles around its bursts."""


def by_backend(area: AreaOfInterest, pair: Pair, tiles: tuple[DemTile, ...]) -> tuple[JobProducts, ...]:
    """The products of a pair by the processor that the settings choose; see `pipeline.insar.process`."""
    return process_pair(PairOrder(area=area, pair=pair, tiles=tiles))


def build_layer(
    area: AreaOfInterest, task: LayerTask, catalogue: Catalogue, process: PairProcessor = by_backend
) -> LayerRecord:
    """Fetch, derive and commit one layer; a layer that is held is returned as it is. Safe in threads.

    `process` makes the products of a pair.

    Raises:
        ArchiveError: a source cannot be read, or changed since the catalogue was made.
        SourceDataError: a source cannot be used.
        InterferometryError: a pair cannot be processed, or its product cannot be used.
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
        case "interferometry":
            data = _derive_interferometry(area, task, catalogue, grid, process)
        case "look":
            data = _derive_look(area, task, catalogue, grid)
    return write_layer(store, task.recipe, data, grid)


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
        held = _grouped = (catalogue, area, passes_of(catalogue, area).passes)
    return held[2]


def _derive_interferometry(
    area: AreaOfInterest, task: LayerTask, catalogue: Catalogue, grid: Grid, process: PairProcessor
) -> LayerData:
    pairs = choose_pairs(area, slc_passes(catalogue, area).passes).pairs
    pair = next(one for one in pairs if one.id == task.pair_id)
    try:
        jobs = process(area, pair, tiles_of_pair(pair, slc_dem_tiles_of(catalogue)))
    except OSError as error:  # a job is gigabytes of files; the layers of backscatter need none of that room
        raise InterferometryError(
            "disk-full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "disk-failed",
            f"The files of pair {pair.id} cannot be kept below {insar_root(area.name)} "
            f"({error.strerror or type(error).__name__}).",
            "Free some room, or set SLIDECUBE_DATA_DIR to another disk.",
        ) from error
    others = sorted({job.metadata.backend for job in jobs} - {task.backend})
    if others:
        raise InterferometryError(
            "other-backend",
            f"Pair {pair.id} was planned for {task.backend} and made by {', '.join(others)}.",
            "Build again with one setting of SLIDECUBE_INSAR_BACKEND.",
        )
    return products.to_grid(jobs, grid)


def _derive_look(area: AreaOfInterest, task: LayerTask, catalogue: Catalogue, grid: Grid) -> LayerData:
    order = task.look
    assert order is not None
    start, end = order.orbit_span
    fetched = orbit_files.fetch_orbit(
        order.platform, start, end, insar_root(area.name) / "orbits", scene=order.scene
    )
    orbit = read_orbit_file(fetched.path)
    every = [*dem_tiles_of(catalogue), *slc_dem_tiles_of(catalogue)]
    with ExitStack() as stack:
        near = tiles_within(area, every, LOOK_DEM_MARGIN_M)
        tiles = [stack.enter_context(rasters.open_raster(t.asset)) for t in near]
        ground = look.read_ground(tiles, grid, area.dem.collection, orbit, order.instant)
    data = look.derive_look(ground, grid, orbit, order.instant)
    coverage = float(np.isfinite(data.arrays["local_incidence_deg"]).mean())
    return replace(data, report={"coverage": coverage, **data.report})


def _derive_terrain(area: AreaOfInterest, catalogue: Catalogue, grid: Grid) -> LayerData:
    near = tiles_within(area, dem_tiles_of(catalogue), DEM_MARGIN_M)
    with ExitStack() as stack:
        tiles = [stack.enter_context(rasters.open_raster(t.asset)) for t in near]
        return terrain.derive_terrain(tiles, grid, collection=area.dem.collection)


def _derive_labels(area: AreaOfInterest, catalogue: Catalogue, grid: Grid, store: LocalStore) -> LayerData:
    assert area.inventory is not None
    path = inventories.fetch_inventory(area.inventory, store.root / "downloads")
    frame = labels.read_inventory(path, area.inventory)
    extent = inventories.mapped_extent(area, store.root / "downloads")
    return labels.rasterise_labels(frame, area.inventory, grid, extent)
