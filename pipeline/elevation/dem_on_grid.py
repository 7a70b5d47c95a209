"""Elevation at the pixels of a grid, from tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from shapely import Geometry
from shapely.geometry import Polygon

from pipeline.elevation.dem_spline import Surface, margin, surface
from pipeline.elevation.dem_tiles import (
    SOURCES,
    Array,
    DemSource,
    Lattice,
    Mask,
    assume_sea,
    missing_tiles,
    read_samples,
    vertical_datum_of,
)
from pipeline.elevation.geoid import is_ellipsoidal
from pipeline.elevation.sample_positions import SamplePositions
from pipeline.errors import SourceDataError
from pipeline.grid import Grid

BLOCK_PIXELS = 1 << 18

Float = NDArray[np.float32]


def elevation_on(
    tiles: Sequence[rasterio.DatasetReader],
    grid: Grid,
    *,
    collection: str,
    vertical_datum: str | None = None,
) -> Elevation:
    """Elevation at the pixels of a grid, as `derive_terrain` describes.

    Raises:
        SourceDataError, ArchiveError: as `derive_terrain`.
    """
    ground = ground_under(tiles, grid, collection=collection, vertical_datum=vertical_datum)
    elevation = ground.rows(slice(0, grid.height), 0)
    return Elevation(elevation, ground.source, ground.report)


def ground_under(
    tiles: Sequence[rasterio.DatasetReader],
    grid: Grid,
    *,
    collection: str,
    vertical_datum: str | None = None,
) -> Ground:
    """The elevation surface under a grid, from tiles that are read now; its rows are found when they are asked for.

    Raises:
        SourceDataError, ArchiveError: as `derive_terrain`.
    """
    source = source_of(tiles, collection, vertical_datum)
    if not tiles:
        raise SourceDataError(
            f"There are no elevation tiles of {collection} for the area.",
            f"{collection} covers land between {source.latitudes[0]:g} and {source.latitudes[1]:g} degrees; "
            "choose another collection in the area file (dem.collection).",
        )
    west, _south, east, _north = grid.bounds_deg()
    lattice = Lattice.of_tiles(tiles, middle=(west + (east if east >= west else east + 360)) / 2)
    to_tiles = Transformer.from_crs(
        grid.epsg, CRS.from_user_input(lattice.crs).to_2d(), always_xy=True, allow_ballpark=False
    )
    outline = _outline(grid, lattice, to_tiles)
    left, top, right, bottom = outline.bounds
    edge = margin(lattice) + 2
    window = int(top) - edge, int(left) - edge, int(bottom) + edge + 2, int(right) + edge + 2
    samples = read_samples(tiles, lattice, window)
    assumed = assume_sea(samples, source)
    missing = missing_tiles(samples, outline.buffer(3.0, join_style="mitre"))
    if missing:
        raise SourceDataError(
            f"Elevation tiles of {collection} are missing: {', '.join(missing)}. They do not count as sea, "
            "because the terrain next to them is not at sea level or the collection does not reach there.",
            "Plan again without --catalogue, or choose another collection (dem.collection) in the area file.",
        )
    fitted = surface(samples)
    notes = {
        "collection": collection,
        "vertical_datum": source.vertical_datum,
        **samples.notes,
        **fitted.notes,
        "margin_samples_without_tile": int(np.count_nonzero(~samples.covered)),
        "tiles_assumed_sea": assumed,
    }
    positions = SamplePositions(grid, lattice, to_tiles)
    return Ground(grid, source, fitted, positions, _points_per_pixel(grid, lattice), notes)


@dataclass(frozen=True)
class Elevation:
    """Elevation on a grid, its source, and counts."""

    elevation_m: Float
    """(y, x) above the source's vertical datum, NaN where void"""
    source: DemSource
    report: dict[str, Any]


def source_of(
    tiles: Sequence[rasterio.DatasetReader], collection: str, vertical_datum: str | None = None
) -> DemSource:
    """The properties of a collection; the vertical reference that the tiles themselves state outranks its own.

    Raises:
        SourceDataError: tiles state different references, or none is known.
    """
    own = vertical_datum_of(tiles)
    source = _stated(collection, own or vertical_datum)
    # sea is at 0 m above a geoid alone
    return replace(source, ocean_left_out=False) if own and is_ellipsoidal(own) else source


def _stated(collection: str, vertical_datum: str | None) -> DemSource:
    if collection in SOURCES:
        known = SOURCES[collection]
        return DemSource(
            known.name, vertical_datum or known.vertical_datum, known.ocean_left_out, known.latitudes
        )
    if vertical_datum is None:
        raise SourceDataError(
            f"The vertical datum of the elevation collection {collection!r} is not known.",
            f"State vertical_datum, or choose one of {', '.join(SOURCES)}.",
        )
    return DemSource(collection, vertical_datum, ocean_left_out=False)


def _outline(grid: Grid, lattice: Lattice, to_tiles: Transformer) -> Geometry:
    """Outline of the grid in sample positions, x = column, y = row."""
    left, bottom, right, top = grid.bounds
    step = max(grid.width, grid.height) * grid.resolution_m / 128
    ring = Polygon([(left, top), (right, top), (right, bottom), (left, bottom)]).segmentize(step).exterior
    x, y = (np.asarray(v) for v in ring.xy)
    rows, columns = lattice.index(*to_tiles.transform(x, y))
    if not (np.isfinite(rows).all() and np.isfinite(columns).all()):
        raise SourceDataError(
            f"The grid (EPSG:{grid.epsg}) cannot be transformed to the CRS of the elevation tiles.",
            "Give tiles that cover the area.",
        )
    return Polygon(np.column_stack([columns, rows]))


def _points_per_pixel(grid: Grid, lattice: Lattice) -> int:
    """Points along each edge of a pixel whose mean is its elevation: 1 unless it is coarser than the samples."""
    return max(1, round(grid.resolution_m / min(lattice.spacing_m())))


@dataclass
class Ground:
    """The elevation surface under a grid."""

    grid: Grid
    source: DemSource
    surface: Surface
    positions: SamplePositions
    points_per_side: int
    """points along each edge of a pixel, whose mean is its elevation"""
    notes: dict[str, Any]
    sea_pixels: int = 0
    filled_pixels: int = 0

    @property
    def report(self) -> dict[str, Any]:
        """Notes, and the counts of the rows found so far."""
        counts = {"sea_pixels": self.sea_pixels, "pixels_beside_filled_voids": self.filled_pixels}
        return {**self.notes, **counts}

    def rows(self, rows: slice, halo_px: int) -> Float:
        """(rows, x) elevation, NaN where void; counted without `halo_px` on each of the four sides."""
        grid = self.grid
        elevation = np.empty((rows.stop - rows.start, grid.width), np.float32)
        step = max(1, BLOCK_PIXELS // grid.width)
        for first in range(rows.start, rows.stop, step):
            last = min(first + step, rows.stop)
            metres, sea, filled = self._block(grid.x, grid.y[first:last])
            elevation[first - rows.start : last - rows.start] = metres
            counted = slice(
                max(rows.start + halo_px - first, 0), max(min(last, rows.stop - halo_px) - first, 0)
            )
            own = counted, slice(halo_px, grid.width - halo_px)
            if sea is not None:
                self.sea_pixels += int(sea[own].sum())
            if filled is not None:
                self.filled_pixels += int((filled & ~np.isnan(metres))[own].sum())
        return elevation

    def _block(self, x: Array, y: Array) -> tuple[Array, Mask | None, Mask | None]:
        """Means over the points of each pixel; where all are sea, where any is filled."""
        origin = self.surface.row, self.surface.column
        if self.points_per_side == 1:
            return self.surface.at(self.positions.at(x, y, origin))
        points = (np.arange(self.points_per_side) + 0.5) / self.points_per_side - 0.5
        offsets = points * self.grid.resolution_m
        total = np.zeros((len(y), len(x)))
        all_sea, any_filled = np.ones(total.shape, bool), np.zeros(total.shape, bool)
        for dy in offsets:
            for dx in offsets:
                metres, sea, filled = self.surface.at(self.positions.at(x + dx, y + dy, origin))
                total += metres
                all_sea &= sea if sea is not None else False
                any_filled |= filled if filled is not None else False
        return total / self.points_per_side**2, all_sea, any_filled
