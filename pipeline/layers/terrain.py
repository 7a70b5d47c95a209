"""The kind of layer `terrain`: elevation, slope, aspect and curvature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from shapely import box

from pipeline.archives.geotiff import rasters
from pipeline.catalogue.dem_items import DEM_MARGIN_M, DemTile, lost_within, surroundings, tiles_within
from pipeline.cube.layers import LayerRecord, LayerValues, Recipe
from pipeline.cube.schema import TERRAIN
from pipeline.elevation.dem_tiles import SOURCES
from pipeline.grid import Grid
from pipeline.layers import dem_derivatives
from pipeline.layers.kind import Entry, LayerKind, LayerTask, Site, Wanted, share_without
from pipeline.layers.plan_inputs import PlanInputs, static_variables, tile_sources


class TerrainTask(LayerTask):
    """Terrain from the elevation tiles around the grid."""

    tiles: tuple[DemTile, ...]


@dataclass(frozen=True)
class Terrain(LayerKind[TerrainTask]):
    """Elevation on the grid and what is derived from it: one static layer."""

    name = "terrain"
    variables = TERRAIN
    axis = None

    def wanted(self, inputs: PlanInputs) -> Wanted:
        """One layer, if the collection has a tile near the grid."""
        collection = inputs.area.dem.collection
        found = inputs.dem
        if (why := inputs.catalogue.unsearched.get("elevation")) is not None:
            return _undelivered(self, inputs, f"{collection} could not be searched: {why}")
        if lost_within(found, surroundings(inputs.area, DEM_MARGIN_M)):
            reason = "; ".join((*found.left_out, *found.notes))
            return _undelivered(self, inputs, f"the other tiles of {collection} leave a gap: {reason}")
        tiles = tiles_within(inputs.area, found.tiles, DEM_MARGIN_M)
        if not tiles:
            listed = len(inputs.catalogue.dem_items)
            reason = (
                f"none of the {listed} tiles that {collection} lists here is there"
                if listed
                else f"{collection} has no tile here"
            )
            if not tiles_within(inputs.area, inputs.listed_dem.tiles, DEM_MARGIN_M):
                kept = _of_collection(inputs)
                line = f"terrain: {'kept as it was, ' if kept else ''}{reason}"
                return Wanted(kind=self, missing=(line,), staying=kept)
            return _undelivered(self, inputs, reason)
        recipe = Recipe(
            kind=self.name,
            variables=TERRAIN,
            grid=inputs.grid.digest,
            sources=tile_sources(tiles),
            parameters={"collection": collection},
            algorithm=dem_derivatives.ALGORITHM,
        )
        task = TerrainTask(
            kind=self,
            recipe=recipe,
            label=f"terrain from {collection}",
            size_bytes=sum(tile.asset.size_bytes or 0 for tile in tiles),
            promised=inputs.grid.share_within(
                box(*tile.bbox) for tile in (*inputs.listed_dem.tiles, *found.tiles)
            ),
            tiles=tiles,
        )
        return Wanted(kind=self, tasks=(task,), missing=found.left_out, notes=found.notes)

    def credits(self, layers: Mapping[str, LayerRecord], entries: Sequence[Entry]) -> list[str]:
        """What the elevation's publisher asks for."""
        if "dem" not in layers:
            return []
        name = str(layers["dem"].recipe.parameters.get("collection", ""))
        return [SOURCES[name].attribution if name in SOURCES else f"elevation: {name}"]

    def delivered(self, record: LayerRecord, grid: Grid) -> float | None:
        """Share of the grid without voids."""
        return share_without(record, "void_pixels", grid)

    def examine(self, task: TerrainTask, site: Site) -> list[str]:
        """Open the header of each tile."""
        for tile in task.tiles:
            with rasters.open_asset(tile.asset):
                pass
        return []

    def derive(self, task: TerrainTask, site: Site) -> LayerValues:
        """Elevation and its derivatives from the tiles."""
        with ExitStack() as stack:
            tiles = [stack.enter_context(rasters.open_asset(tile.asset)) for tile in task.tiles]
            return dem_derivatives.terrain_strips(tiles, site.grid, collection=site.area.dem.collection)


def _of_collection(inputs: PlanInputs) -> frozenset[str]:
    """The terrain of the latest version that was made from the area's collection, which no longer lists its tiles."""
    previous = inputs.previous
    return frozenset(
        name
        for name in static_variables(previous, TERRAIN)
        if previous is not None
        and previous.records[previous.static[name]].recipe.parameters.get("collection")
        == inputs.area.dem.collection
    )


def _undelivered(kind: Terrain, inputs: PlanInputs, reason: str) -> Wanted:
    """No new terrain, although the archive lists tiles; that of the version before stays."""
    kept = static_variables(inputs.previous, TERRAIN)
    line = f"terrain: {'kept as it was' if kept else 'none'} ({reason})"
    return Wanted(kind=kind, missing=(line,), undelivered=(line,), staying=kept)
