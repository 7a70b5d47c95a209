"""Warps a product once from its own geometry to the cube's grid, with exact positions and valid neighbours only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from rasterio.errors import RasterioError
from rasterio.windows import Window

from pipeline.errors import InterferometryError
from pipeline.grid import Grid

STRIP_POINTS = 1_000_000
"""Points in a strip; the result does not depend on it."""
MOST_POINTS = 16
"""Largest number of samples along each side of a grid's pixel, also for a finer product."""

FloatImage = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Warped:
    """One job's products on the grid."""

    coherence: NDArray[np.float32]
    """(y, x), NaN for no data"""
    interferogram: NDArray[np.complex64]
    """(y, x), NaN for no data"""
    points: int
    """samples along each side of a grid's pixel: 1 bilinear, more than that averaged"""
    pixel_m: float
    """side of the product's pixel on the ground, metres"""


@dataclass(frozen=True)
class _Positions:
    """Positions of the grid's points in a product: fractional (row, column); pixel centres are whole numbers."""

    rows: FloatImage
    columns: FloatImage


def warp_products(
    coherence: Path, interferogram: Path, grid: Grid, strip_points: int = STRIP_POINTS
) -> Warped:
    """Coherence and complex interferogram of one job on the grid.

    A pixel has a value if the product's pixel at its centre has one, so values never extend beyond the footprint or
    into a hole. The value is bilinear over the valid ones of the four neighbours, with weights normalised to a sum of
    1. An interferogram is sampled as a complex number. Where the product's pixels are finer than the
    grid's, `points` x `points` such samples are averaged, of which half must be valid.

    Every position is transformed exactly, so that the result does not depend on the strips (`strip_points`).

    Raises:
        InterferometryError: a product cannot be read, has no reference system, or the two differ in geometry.
    """
    try:
        with ExitStack() as stack:
            first, second = (
                # only the GeoTIFF driver is allowed for a product
                stack.enter_context(rasterio.open(path, driver="GTiff", sharing=False))
                for path in (coherence, interferogram)
            )
            _check(first, second, coherence.parent)
            return _warp(first, second, grid, strip_points)
    except (RasterioError, ProjError, OSError) as error:
        raise InterferometryError(
            "product-unreadable",
            f"The products in {coherence.parent} cannot be read ({error}).",
            "Delete the job's folder, so that the pair is processed again.",
        ) from error


def _warp(coherence: Any, interferogram: Any, grid: Grid, strip_points: int) -> Warped:
    pixel_m = _pixel_m(coherence, grid)
    points = min(MOST_POINTS, max(1, round(grid.resolution_m / pixel_m)))
    fine = grid.finer(points)
    level = np.full(grid.shape, np.nan, dtype=np.float32)
    phasor = np.full(grid.shape, np.nan, dtype=np.complex64)
    for rows, positions in _strips(coherence, grid, fine, strip_points):
        level[rows] = _average(_bilinear(coherence, positions), points)
        phasor[rows] = _average(_bilinear(interferogram, positions), points)
    np.clip(level, 0, 1, out=level)
    return Warped(level, phasor, points, pixel_m)


def _check(coherence: Any, interferogram: Any, folder: Path) -> None:
    problem = None
    if coherence.crs is None or interferogram.crs is None:
        problem = "a product has no coordinate reference system"
    elif (coherence.crs, coherence.transform, coherence.shape) != (
        interferogram.crs, interferogram.transform, interferogram.shape,
    ):  # fmt: skip
        problem = "coherence and interferogram are not on one grid"
    elif coherence.transform.determinant == 0:
        problem = "a product has no geotransform"
    elif not np.issubdtype(np.dtype(coherence.dtypes[0]), np.floating):
        problem = f"the coherence is {coherence.dtypes[0]}, not float32"
    elif not np.issubdtype(np.dtype(interferogram.dtypes[0]), np.complexfloating):
        problem = f"the interferogram is {interferogram.dtypes[0]}, not complex64"
    if problem:
        raise InterferometryError(
            "product-misfit",
            f"The products in {folder} cannot be used: {problem}.",
            "Delete the job's folder, so that the pair is processed again.",
        )


def _pixel_m(raster: Any, grid: Grid) -> float:
    """Side of a product's pixel at the grid's centre, metres: the square root of its area there."""
    step = grid.resolution_m
    left, bottom, right, top = grid.bounds
    x = np.array([(left + right) / 2, (left + right) / 2 + step, (left + right) / 2])
    y = np.array([(bottom + top) / 2, (bottom + top) / 2, (bottom + top) / 2 + step])
    found = _index(raster, grid, x, y)
    along_x = found.rows[1] - found.rows[0], found.columns[1] - found.columns[0]
    along_y = found.rows[2] - found.rows[0], found.columns[2] - found.columns[0]
    pixels = abs(along_x[0] * along_y[1] - along_x[1] * along_y[0])
    return float(step / np.sqrt(pixels))


def _index(raster: Any, grid: Grid, x: FloatImage, y: FloatImage) -> _Positions:
    """Positions in the raster of points in the grid's coordinates."""
    source = CRS.from_user_input(raster.crs)
    if source != CRS.from_epsg(grid.epsg):
        x, y = Transformer.from_crs(grid.epsg, source, always_xy=True).transform(x, y, errcheck=True)
    inverse = ~raster.transform
    if source.is_geographic:
        # a product across the date line has longitudes above 180 or below -180
        west = min(raster.bounds.left, raster.bounds.right)
        east = max(raster.bounds.left, raster.bounds.right)
        x = np.where((x < west) & (x + 360 <= east), x + 360, x)
        x = np.where((x > east) & (x - 360 >= west), x - 360, x)
    columns = inverse.a * x + inverse.b * y + inverse.c - 0.5
    rows = inverse.d * x + inverse.e * y + inverse.f - 0.5
    return _Positions(rows, columns)


def _strips(raster: Any, grid: Grid, fine: Grid, strip_points: int) -> Iterator[tuple[slice, _Positions]]:
    """Strips of the grid's rows that the product may cover, with the positions of the fine grid's centres."""
    points = fine.width // grid.width
    height = max(1, strip_points // (fine.width * points))
    for top in range(0, grid.height, height):
        rows = slice(top, min(top + height, grid.height))
        x, y = np.meshgrid(fine.x, fine.y[rows.start * points : rows.stop * points])
        found = _index(raster, grid, x, y)
        inside = (
            (found.rows >= -0.5) & (found.rows < raster.height - 0.5)
            & (found.columns >= -0.5) & (found.columns < raster.width - 0.5)
        )  # fmt: skip
        if inside.any():
            yield rows, found


def _bilinear(raster: Any, positions: _Positions) -> NDArray[Any]:
    """Samples at the positions, float64 or complex128; NaN where the nearest pixel is invalid or outside."""
    row, column = np.floor(positions.rows), np.floor(positions.columns)
    down, across = positions.rows - row, positions.columns - column
    r0, c0 = row.astype(np.int64), column.astype(np.int64)
    top, left = max(0, int(r0.min())), max(0, int(c0.min()))
    bottom, right = min(raster.height, int(r0.max()) + 2), min(raster.width, int(c0.max()) + 2)
    values = raster.read(1, window=Window(left, top, right - left, bottom - top))
    valid = _valid(values, raster.nodata)
    values = np.where(valid, values, 0)
    complex_ = np.iscomplexobj(values)
    total = np.zeros(r0.shape, dtype=np.complex128 if complex_ else np.float64)
    weights = np.zeros(r0.shape)
    covered: Mask = np.zeros(r0.shape, dtype=bool)
    for dr in (0, 1):
        for dc in (0, 1):
            r, c = r0 + (dr - top), c0 + (dc - left)
            there = (r >= 0) & (r < values.shape[0]) & (c >= 0) & (c < values.shape[1])
            r, c = np.where(there, r, 0), np.where(there, c, 0)
            usable = there & valid[r, c]
            weight = np.where(usable, (down if dr else 1 - down) * (across if dc else 1 - across), 0)
            total += weight * values[r, c]
            weights += weight
            nearest = ((down >= 0.5) == bool(dr)) & ((across >= 0.5) == bool(dc))
            covered |= nearest & usable
    # the nearest of four has a weight of a quarter or more
    return np.where(covered, total / np.where(covered, weights, 1), np.nan)


def _valid(values: NDArray[Any], nodata: float | None) -> Mask:
    valid: Mask = np.isfinite(values)
    if nodata is not None and np.isfinite(nodata):
        valid &= values != nodata
    if np.iscomplexobj(values):
        valid &= values != 0  # zero has no phase
    return valid


def _average(values: NDArray[Any], points: int) -> NDArray[Any]:
    """Mean of the valid ones of points x points samples; NaN where fewer than half are valid."""
    if points == 1:
        return values
    height, width = values.shape[0] // points, values.shape[1] // points
    blocks = values.reshape(height, points, width, points)
    valid = ~np.isnan(blocks)
    count = valid.sum(axis=(1, 3))
    total = np.where(valid, blocks, 0).sum(axis=(1, 3))
    return np.where(2 * count >= points * points, total / np.maximum(count, 1), np.nan)
