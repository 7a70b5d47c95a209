"""The terrain for look geometry: elevation above the ellipsoid, on the grid with a margin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from pipeline.catalogue.state_vectors import OrbitFile
from pipeline.elevation.dem_on_grid import elevation_on
from pipeline.elevation.dem_tiles import Lattice, read_samples
from pipeline.elevation.geoid import Model, geoid_grid, model_of, undulation_m
from pipeline.grid import Grid
from pipeline.insar.look.orbit_geometry import Orbit
from pipeline.insar.look.range_lines import Across, Projection, incidence_range_deg

LOOK_MARGIN_M = 8000.0
"""Largest margin of terrain around the area: relief of 4400 m has this effect at 29 degrees of incidence."""
ROWS_AT_ONCE = 128
SLACK_PX = 3

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Ground:
    """Terrain on a grid with a margin, in metres above the WGS 84 ellipsoid."""

    elevation_m: Float
    """(y, x) on `grid.padded(margin_px)`, NaN where void"""
    margin_px: int
    notes: dict[str, Any] = field(default_factory=dict)
    """JSON-able remarks for the layer's report"""


def look_margin_px(relief_m: float, incidence_deg: tuple[float, float], resolution_m: float) -> int:
    """Width in pixels of the margin in which terrain can cause shadow or layover on a grid.

    `relief_m` is the highest minus the lowest elevation, grid and margin together; `incidence_deg` the least and
    largest ellipsoidal incidence. A summit shadows level ground over relief x tan(incidence), and its
    layover extends up to relief / tan(incidence) towards the sensor.
    """
    least, largest = (math.tan(math.radians(angle)) for angle in incidence_deg)
    # 2 % for the Earth's curvature, and some pixels for interpolation and the slope's neighbourhood
    return math.ceil(1.02 * relief_m * max(largest, 1 / least) / resolution_m) + SLACK_PX


def read_ground(
    tiles: Sequence[rasterio.DatasetReader],
    grid: Grid,
    collection: str,
    orbit_file: OrbitFile,
    instant: datetime,
) -> Ground:
    """Elevation from tiles on the grid, with the margin that its relief needs, at most `LOOK_MARGIN_M`.

    The surface is that of the cube's `dem`; the geoid's height is added.

    Raises:
        SourceDataError: tiles are missing or unusable; the collection's geoid is not installed; the orbit file does
            not cover the instant.
        ArchiveError: a tile cannot be read.
        InterferometryError: the orbit does not cover the area.
    """
    most_px = math.ceil(LOOK_MARGIN_M / grid.resolution_m) + SLACK_PX
    incidence = incidence_range_deg(grid, Orbit.over(orbit_file, instant))
    relief = _relief_of_tiles(tiles, grid.padded(most_px)) if tiles else 0.0
    margin_px = min(most_px, look_margin_px(relief, incidence, grid.resolution_m))
    wide = grid.padded(margin_px)
    found = elevation_on(tiles, wide, collection=collection)
    model = model_of(found.source.vertical_datum)
    _add_undulation(found.elevation_m, wide, model)
    kept = ("collection", "vertical_datum", "tiles", "tiles_assumed_sea", "void_samples_filled")
    notes = {**{name: found.report[name] for name in kept}, "geoid": geoid_grid(model).source}
    return Ground(found.elevation_m, margin_px, notes)


def _relief_of_tiles(tiles: Sequence[rasterio.DatasetReader], grid: Grid) -> float:
    """Highest minus lowest sample of the tiles over a grid, metres, plus the surface's possible overshoot.

    Without a tile the ground may be sea.
    """
    west, _south, east, _north = grid.bounds_deg()
    lattice = Lattice.of_tiles(tiles, middle=(west + (east if east >= west else east + 360)) / 2)
    to_tiles = Transformer.from_crs(
        grid.epsg, CRS.from_user_input(lattice.crs).to_2d(), always_xy=True, allow_ballpark=False
    )
    left, bottom, right, top = grid.bounds
    x, y = np.meshgrid(np.linspace(left, right, 33), np.linspace(bottom, top, 33))
    rows, columns = lattice.index(*to_tiles.transform(x, y))
    samples = read_samples(
        tiles,
        lattice,
        (int(rows.min()) - 2, int(columns.min()) - 2, int(rows.max()) + 3, int(columns.max()) + 3),
    )
    known = samples.values[~samples.void]
    if not known.size:
        return 0.0
    lowest = float(known.min()) if samples.covered.all() else min(float(known.min()), 0.0)
    return 1.05 * (float(known.max()) - lowest)


def _add_undulation(elevation: Float, grid: Grid, model: Model) -> None:
    """Convert heights above the geoid to ellipsoidal heights, in place; the geoid is smooth over kilometres."""
    across, projection = Across(grid.width), Projection(grid.epsg)
    x, y = np.meshgrid(grid.left + (across.columns + 0.5) * grid.resolution_m, grid.y)
    longitude, latitude = projection.degrees(x, y)
    undulation = across.fit(undulation_m(latitude, longitude, model))
    for first in range(0, grid.height, ROWS_AT_ONCE):
        last = first + ROWS_AT_ONCE
        elevation[first:last] += across.at(undulation[first:last], 0, grid.width)
