"""How far around an area elevation is read, and which tiles lie there."""

from __future__ import annotations

from collections.abc import Iterable

import shapely

from pipeline.area import AreaOfInterest
from pipeline.catalogue.dem_items import DemTile, DemTiles
from pipeline.grid import Grid

SLC_DEM_MARGIN_DEG = 0.1
"""Elevation is read this far around the bursts, because their outlines refer to the ellipsoid: high terrain lies
nearer to the radar by up to its height divided by the tangent of the incidence angle, 9 km for 5 km in near range."""


_SEAM_DEG = 1e-4
"""Boxes of neighbouring tiles may lie this far apart: 11 m, less than half a sample."""
DEM_MARGIN_M = 2500.0
"""Elevation is read this far around the grid, for the spline and for filling voids at its edge."""
LOOK_DEM_MARGIN_M = 9000.0
"""The same where the look geometry is computed: terrain as far away as this may shadow the grid."""


def surroundings(area: AreaOfInterest, margin_m: float) -> shapely.Polygon:
    """The box around the area's grid with a margin, in degrees.

    The grid's edges are no meridians and parallels, and it reaches beyond the area.
    """
    west, south, east, north = Grid.of_area(area).bounds_deg(margin_m)
    if west > east:  # only the margin can cross the antimeridian: stay on the area's side
        west, east = (west, 180.0) if area.footprint.centroid.x > 0 else (-180.0, east)
    return shapely.box(west, south, east, north)


def tiles_within(area: AreaOfInterest, tiles: Iterable[DemTile], margin_m: float) -> tuple[DemTile, ...]:
    """The tiles at most `margin_m` from the area's grid, each once, ordered by id."""
    around = surroundings(area, margin_m)
    near = {tile.id: tile for tile in tiles if shapely.box(*tile.bbox).intersects(around)}
    return tuple(near[name] for name in sorted(near))


def lost_within(found: DemTiles, around: shapely.Geometry) -> bool:
    """Whether an item that cannot be used may have held elevation in `around` (degrees) that no other tile has.

    Where it may have, the gap is not sea: elevation must not be made from the other tiles.
    """
    if not found.lost:
        return False
    covered = shapely.union_all([shapely.box(*tile.bbox) for tile in found.tiles]).buffer(_SEAM_DEG)
    gaps = around.difference(covered)
    return (
        any(box is None or bool(gaps.intersects(shapely.box(*box))) for box in found.lost)
        and not gaps.is_empty
    )
