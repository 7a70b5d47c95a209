"""Terrain: elevation on the cube's grid, and its slope, aspect and curvature."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
import richdem
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from scipy import ndimage
from shapely import Geometry
from shapely.geometry import Polygon

from pipeline.cube.layers import LayerData
from pipeline.elevation.dem_spline import Surface, margin, surface
from pipeline.elevation.dem_tiles import SOURCES, DemSource, Lattice, assume_sea, missing_tiles, read_samples
from pipeline.errors import SourceDataError
from pipeline.grid import Grid

log = logging.getLogger(__name__)

ALGORITHM = "terrain-1"
FLAT_RAD = 1e-4
"""Below this slope (1 m in 10 km) the direction is that of rounding: the aspect is NaN."""
BLOCK_PIXELS = 1 << 20
_NODATA = -9999.0
_HALO = 1
_PROGRESS = re.compile(rb"\r?\x1b\[2K(?:\[[^\]\n]*\] ?\([^)\n]*\))?")
_silence = threading.Lock()

Float = NDArray[np.float32]


def derive_terrain(
    tiles: Sequence[rasterio.DatasetReader],
    grid: Grid,
    *,
    collection: str,
    vertical_datum: str | None = None,
) -> LayerData:
    """Elevation (m), slope (radians), aspect (degrees clockwise from north), curvature x 100; each (y, x) float32.

    The tiles, open and in one CRS, are read in one window; an interpolating cubic spline through their samples is
    evaluated at the exact position of every pixel's centre (or the mean of several points where the pixel is
    coarser than the tiles). No result depends on blocks, on the order of tiles or on where the grid ends.
    Slope and aspect are Horn's (1981), curvature Zevenbergen and Thorne's (1987), by RichDEM from the float32
    elevation that is stored, with one pixel more on every side.

    Sea is 0 m with slope 0. Aspect is NaN where the slope is below `FLAT_RAD`. Voids that were left are NaN, and
    so are the derivatives beside them. `vertical_datum` must be given for a collection that is not in
    `pipeline.elevation.dem_tiles.SOURCES`.

    Raises:
        SourceDataError: no tiles, tiles that do not fit together, or an area that they do not cover (named).
        ArchiveError: a tile cannot be read.
    """
    found = elevation_on(
        tiles, grid.padded(_HALO), collection=collection, vertical_datum=vertical_datum, halo_px=_HALO
    )
    elevation = found.elevation_m
    slope, aspect, curvature, flat = _derivatives(elevation, grid.resolution_m)
    inner = np.s_[_HALO:-_HALO, _HALO:-_HALO]
    arrays = {
        "dem": np.ascontiguousarray(elevation[inner]),
        "dem_slope_radians": slope,
        "dem_aspect": aspect,
        "dem_curvature": curvature,
    }
    report = {
        **found.report,
        "flat_pixels": flat,
        "void_pixels": int(np.isnan(arrays["dem"]).sum()),
    }
    if report["void_pixels"]:
        log.warning("%d pixels of the DEM are void and stay NaN", report["void_pixels"])
    return LayerData(arrays, _attributes(found.source), report)


@dataclass(frozen=True)
class Elevation:
    """Elevation on a grid, where it comes from, and what was met on the way."""

    elevation_m: Float
    """(y, x) above the source's vertical datum, NaN where void"""
    source: DemSource
    report: dict[str, Any]


def elevation_on(
    tiles: Sequence[rasterio.DatasetReader],
    grid: Grid,
    *,
    collection: str,
    vertical_datum: str | None = None,
    halo_px: int = 0,
) -> Elevation:
    """Elevation at the pixels of a grid, as `derive_terrain` describes; `halo_px` of its rim do not enter the counts.

    Raises:
        SourceDataError, ArchiveError: as `derive_terrain`.
    """
    source = _source(collection, vertical_datum)
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
            f"Elevation tiles of {collection} are missing: {', '.join(missing)}. They are not taken for sea "
            f"because the ground beside them is not at sea level or the collection does not reach there.",
            "Plan again without --catalogue, or choose another collection (dem.collection) in the area file.",
        )
    ground = surface(samples)
    elevation, counts = _on_grid(ground, grid, to_tiles, _points_per_pixel(grid, lattice), halo_px)
    report = {
        "collection": collection,
        "vertical_datum": source.vertical_datum,
        **samples.notes,
        **ground.notes,
        "margin_samples_without_tile": int(np.count_nonzero(~samples.covered)),
        "tiles_assumed_sea": assumed,
        **counts,
    }
    return Elevation(elevation, source, report)


def _source(collection: str, vertical_datum: str | None) -> DemSource:
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
            f"The grid (EPSG:{grid.epsg}) cannot be taken to the CRS of the elevation tiles.",
            "Give tiles that hold the area.",
        )
    return Polygon(np.column_stack([columns, rows]))


def _points_per_pixel(grid: Grid, lattice: Lattice) -> int:
    """Points along each side of a pixel whose mean is its elevation: 1 unless it is coarser than the samples."""
    return max(1, round(grid.resolution_m / min(lattice.spacing_m())))


def _on_grid(
    ground: Surface, grid: Grid, to_tiles: Transformer, per_side: int, halo_px: int
) -> tuple[Float, dict[str, Any]]:
    """(y, x) elevation on the grid, NaN where void; and the counts of sea and filled pixels without the halo."""
    elevation = np.empty(grid.shape, np.float32)
    sea_pixels = filled_pixels = 0
    offsets = ((np.arange(per_side) + 0.5) / per_side - 0.5) * grid.resolution_m
    rows = max(1, BLOCK_PIXELS // grid.width)
    for first in range(0, grid.height, rows):
        last = min(first + rows, grid.height)
        x, y = np.meshgrid(grid.x, grid.y[first:last])
        total = np.zeros(x.shape)
        sea, filled = np.ones(x.shape, bool), np.zeros(x.shape, bool)
        for dy in offsets:
            for dx in offsets:
                metres, at_sea, was_void = ground.at(*to_tiles.transform(x + dx, y + dy))
                total += metres
                sea &= at_sea
                filled |= was_void
        elevation[first:last] = total / per_side**2
        rows_counted = slice(max(halo_px - first, 0), max(min(last, grid.height - halo_px) - first, 0))
        own = rows_counted, slice(halo_px, grid.width - halo_px)
        sea_pixels += int(sea[own].sum())
        filled_pixels += int((filled & ~np.isnan(total))[own].sum())
    return elevation, {"sea_pixels": sea_pixels, "pixels_beside_filled_voids": filled_pixels}


def _derivatives(elevation: Float, resolution_m: float) -> tuple[Float, Float, Float, int]:
    """Slope, aspect and curvature without the halo of one pixel, and the number of flat pixels."""
    height, width = elevation.shape[0] - 2 * _HALO, elevation.shape[1] - 2 * _HALO
    slope, aspect, curvature = (np.empty((height, width), np.float32) for _ in range(3))
    flat_pixels = 0
    rows = max(1, BLOCK_PIXELS // width)
    for first in range(0, height, rows):
        last = min(first + rows, height)
        band = elevation[first : last + 2 * _HALO]
        void = np.isnan(band)
        dem = richdem.rdarray(
            np.where(void, np.float32(_NODATA), band),
            no_data=_NODATA,
            geotransform=(0.0, resolution_m, 0.0, 0.0, 0.0, -resolution_m),
        )
        inner = np.s_[_HALO:-_HALO, _HALO:-_HALO]
        with quiet_richdem():
            found = [
                np.array(richdem.TerrainAttribute(dem, name), np.float32)[inner]
                for name in ("slope_radians", "aspect", "curvature")
            ]
        unknown = ndimage.binary_dilation(void, np.ones((3, 3)))[inner]
        flat = ~unknown & (found[0] < FLAT_RAD)
        for target, values in zip((slope, aspect, curvature), found, strict=True):
            values[unknown] = np.nan
            target[first:last] = values
        aspect[first:last][flat] = np.nan
        flat_pixels += int(flat.sum())
    return slope, aspect, curvature, flat_pixels


@contextmanager
def quiet_richdem() -> Iterator[None]:
    """Keep RichDEM's progress bar, which it draws on the process's standard error, from the terminal.

    What other threads write there meanwhile is passed on afterwards.
    """
    with _silence, tempfile.TemporaryFile() as kept:
        sys.stderr.flush()
        terminal = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            kept.seek(0)
            rest = _PROGRESS.sub(b"", kept.read())
            if rest.strip(b"\r"):
                os.write(terminal, rest)
            os.close(terminal)


def _attributes(source: DemSource) -> dict[str, dict[str, Any]]:
    by_richdem = "RichDEM, from variable dem at the cube's resolution, with a margin"
    return {
        "dem": {
            "standard_name": "height_above_geopotential_datum",
            "source": source.name,
            "vertical_datum": source.vertical_datum,
            "method": "interpolating cubic spline through the samples, at the exact position of each pixel's centre",
            "sea": "0 m between samples of exactly 0 m; ocean tiles that the collection leaves out count as 0 m",
        },
        "dem_slope_radians": {"method": f"Horn (1981), {by_richdem}"},
        "dem_aspect": {
            "method": f"Horn (1981), {by_richdem}",
            "convention": "direction of steepest descent, degrees clockwise from grid north",
            "flat": f"NaN where the slope is below {FLAT_RAD:g} rad",
        },
        "dem_curvature": {
            "method": f"Zevenbergen and Thorne (1987), {by_richdem}",
            "convention": "standard curvature times 100, per metre; positive where the ground is convex upwards",
        },
    }
