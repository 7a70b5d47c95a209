"""Backscatter of one pass: its slices read by windows, mosaicked first-valid, cleaned, on the cube's grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from rasterio.windows import Window
from scipy import ndimage

from pipeline.catalogue.assets import Asset
from pipeline.catalogue.passes import Pass
from pipeline.cube.layers import LayerData
from pipeline.errors import GridError, SourceDataError
from pipeline.grid import Grid
from pipeline.layers.gamma0 import FloatImage, Gamma0, Mask, Raster

ALGORITHM = "backscatter-2"
MOST_LOOKS = 100
"""Pixels of a raster across one of the cube; each of the cube's is read as the mean of their square."""
SQUARE_M, LEAST_SQUARES, LEAST_SHARE = 1000.0, 16, 0.1
"""Squares by which a mosaic is judged: their side, how many a side of the grid has at least, and the share of pixels
from which a square counts as one with data."""

BORDER_EROSION_PX = 3
"""Default width of the rim removed at the outer border of a pass: RTC resampling mixes border noise into it."""
SEAM_REACH_PX = 2
"""Invalid pixels at most this far from two slices are a seam, not the border of the pass."""
MAX_WINDOW_PIXELS = 4_500_000
Opener = Callable[[Asset], AbstractContextManager[Raster]]


@dataclass(frozen=True)
class _Placement:
    """How a raster lies on the grid refined `looks` times (so that its pixels are about as large)."""

    looks: int
    fine: Grid
    offset: tuple[int, int] | None
    """(row, column) of the fine grid's corner in the raster; None: another lattice or zone, sampled exactly"""


def read_backscatter(
    overflight: Pass, polarisation: str, grid: Grid, opener: Opener, erosion_px: int = BORDER_EROSION_PX
) -> LayerData:
    """gamma0 of one polarisation of one pass on the grid, linear power, NaN where invalid.

    Slices are taken in order of time and a pixel has the first valid value. A declared scale and offset are applied;
    valid is finite, above 0, not the declared nodata and not masked by the file. Then `erosion_px` pixels are removed
    along the outer border of the whole pass, never along the seams between its slices. A raster on the grid's own
    lattice is only windowed; one on a finer multiple of it is averaged (multilooked); one in another zone is sampled by
    nearest neighbour at exactly transformed pixel centres, which keeps the speckle's distribution and does not depend
    on how the work is cut into windows.

    Returns:
        LayerData with one array (y, x) float32; `report` has coverage (0..1), reached (`share_reached`), seam_pixels,
        seam_gap_pixels, eroded_pixels, and the slices used.

    Raises:
        SourceDataError: a raster has pixels coarser than the grid, is in no usable reference system, declares what
            cannot be applied, or holds values that cannot be linear gamma0.
        ArchiveError: a raster cannot be read.
    """
    mosaic = np.full(grid.shape, np.nan, dtype=np.float32)
    owner = np.zeros(grid.shape, dtype=np.uint8)
    used: list[str] = []
    resampled: list[str] = []
    for number, piece in enumerate(overflight.slices, start=1):
        asset = piece.assets.get(polarisation)
        if asset is None:
            continue
        with opener(asset) as raster:
            placement = _place(raster, grid, piece.id)
            if placement.offset is None:
                resampled.append(piece.id)
            gamma0 = Gamma0(raster, f"{piece.id} ({polarisation})")
            for window, values in _windows(gamma0, placement, grid, owner):
                _paste(mosaic, owner, window, values, number)
            gamma0.check()
        used.append(piece.id)
    gaps, seams = _seams(owner, len(used))
    eroded = _erode_border(mosaic, gaps, erosion_px)
    return LayerData(
        arrays={polarisation: mosaic},
        attributes={
            polarisation: {"border_erosion_px": erosion_px, "mosaic": "first valid in order of time"}
        },
        report={
            "coverage": float(np.count_nonzero(~np.isnan(mosaic)) / mosaic.size),
            "reached": share_reached(~np.isnan(mosaic), grid.resolution_m),
            "slices": used,
            "slices_in_another_zone": resampled,
            "seam_pixels": seams,
            "seam_gap_pixels": int(np.count_nonzero(gaps)),
            "eroded_pixels": eroded,
        },
    )


def share_reached(valid: NDArray[np.bool_], resolution_m: float) -> float:
    """Share of (y, x) in squares that hold data, 0..1.

    Radar shadow and layover, which some products mask, are narrow: they empty few squares. An absent slice, or one cut
    short, empties all of its own.
    """
    side = max(1, min(round(SQUARE_M / resolution_m), min(valid.shape) // LEAST_SQUARES))
    rows, columns = (np.arange(0, count, side) for count in valid.shape)
    counts = np.add.reduceat(np.add.reduceat(valid, rows, axis=0, dtype=np.int64), columns, axis=1)
    sizes = np.outer(
        *(np.diff([*starts, count]) for starts, count in zip((rows, columns), valid.shape, strict=True))
    )
    return float(sizes[counts >= LEAST_SHARE * sizes].sum() / valid.size)


def _place(raster: Raster, grid: Grid, item: str) -> _Placement:
    if raster.crs is None:
        raise SourceDataError(
            f"The raster of {item} has no reference system.", "Leave the item out of the search."
        )
    transform = raster.transform
    if transform.b or transform.d or transform.a <= 0 or transform.e >= 0:
        raise SourceDataError(f"The raster of {item} is not north-up.", "Leave the item out of the search.")
    crs = CRS.from_user_input(raster.crs)
    if not crs.is_projected:
        raise SourceDataError(f"The raster of {item} is in degrees.", "Only projected RTC rasters are read.")
    ratio = grid.resolution_m / transform.a
    if ratio < 0.67:
        raise SourceDataError(
            f"The raster of {item} has pixels of {transform.a:g} m, the cube {grid.resolution_m:g} m.",
            f"Set resolution_m to {transform.a:g} or more in the area file.",
        )
    if ratio > MOST_LOOKS:
        raise SourceDataError(
            f"The raster of {item} has pixels of {transform.a:g} m, more than {MOST_LOOKS} times as fine as the cube.",
            "Leave the item out of the search.",
        )
    looks = max(1, round(ratio))
    fine = grid.finer(looks)
    same_pixel = (
        crs.to_epsg() == grid.epsg
        and math.isclose(transform.a, fine.resolution_m, rel_tol=1e-9)
        and math.isclose(-transform.e, fine.resolution_m, rel_tol=1e-9)
    )
    offset = None
    if same_pixel:
        column, row = ~transform @ (grid.left, grid.top)
        # a thousandth of a pixel: UTM coordinates in float64 are exact to far less
        if abs(row - round(row)) < 1e-3 and abs(column - round(column)) < 1e-3:
            offset = round(row), round(column)
    return _Placement(looks, fine, offset)


def _windows(
    gamma0: Gamma0, placement: _Placement, grid: Grid, owner: NDArray[np.uint8]
) -> Iterator[tuple[tuple[slice, slice], FloatImage]]:
    """Windows of the grid (y, x) and the raster's valid values there (NaN elsewhere), each source block read once."""
    extent = _extent_on_grid(gamma0.raster, placement, grid)
    if extent is None:
        return
    rows, columns = extent
    for top, bottom in _strips(gamma0.raster, placement, rows, columns):
        window = (slice(top, bottom), columns)
        if (owner[window] != 0).all():
            continue
        fine = (
            slice(top * placement.looks, bottom * placement.looks),
            slice(columns.start * placement.looks, columns.stop * placement.looks),
        )
        values = (
            _read_on_lattice(gamma0, placement.offset, fine)
            if placement.offset
            else _sample(gamma0, placement, fine)
        )
        yield window, _multilook(values, placement.looks)


def _extent_on_grid(raster: Raster, placement: _Placement, grid: Grid) -> tuple[slice, slice] | None:
    """Rows and columns of the grid that the raster may touch."""
    height, width = raster.shape
    if placement.offset is not None:
        row, column = placement.offset
        top, left = -row / placement.looks, -column / placement.looks
        bottom, right = (height - row) / placement.looks, (width - column) / placement.looks
    else:
        to_grid = Transformer.from_crs(raster.crs, grid.epsg, always_xy=True)
        west, north = raster.transform @ (0, 0)
        east, south = raster.transform @ (width, height)
        x0, y0, x1, y1 = to_grid.transform_bounds(west, south, east, north, densify_pts=101)
        left, top = ~grid.affine @ (x0, y1)
        right, bottom = ~grid.affine @ (x1, y0)
        left, top, right, bottom = left - 2, top - 2, right + 2, bottom + 2
    rows = slice(max(0, math.floor(top)), min(grid.height, math.ceil(bottom)))
    columns = slice(max(0, math.floor(left)), min(grid.width, math.ceil(right)))
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def _strips(raster: Raster, placement: _Placement, rows: slice, columns: slice) -> Iterator[tuple[int, int]]:
    """Rows of the grid in strips that end on the raster's block edges, so that no block is read twice."""
    looks = placement.looks
    across = (columns.stop - columns.start) * looks
    wanted = max(1, MAX_WINDOW_PIXELS // (across * looks))
    row_offset = placement.offset[0] if placement.offset else 0
    block = max(1, raster.block_shape[0])
    top = rows.start
    while top < rows.stop:
        bottom = top + wanted
        edge = (row_offset + bottom * looks) // block * block - row_offset
        if placement.offset and edge // looks > top and edge % looks == 0:
            bottom = edge // looks
        bottom = min(bottom, rows.stop)
        yield top, bottom
        top = bottom


def _read_on_lattice(gamma0: Gamma0, offset: tuple[int, int], fine: tuple[slice, slice]) -> FloatImage:
    row, column = offset
    height, width = gamma0.raster.shape
    top, bottom = max(0, fine[0].start + row), min(height, fine[0].stop + row)
    left, right = max(0, fine[1].start + column), min(width, fine[1].stop + column)
    shape = fine[0].stop - fine[0].start, fine[1].stop - fine[1].start
    if top >= bottom or left >= right:
        return np.full(shape, np.nan, dtype=np.float32)
    read = gamma0.read(Window(left, top, right - left, bottom - top))
    if read.shape == shape:
        return read
    values: FloatImage = np.full(shape, np.nan, dtype=np.float32)
    y, x = top - row - fine[0].start, left - column - fine[1].start
    values[y : y + bottom - top, x : x + right - left] = read
    return values


def _sample(gamma0: Gamma0, placement: _Placement, fine: tuple[slice, slice]) -> FloatImage:
    """Nearest neighbour at the exactly transformed centres of the fine grid's pixels."""
    raster = gamma0.raster
    to_raster = Transformer.from_crs(placement.fine.epsg, raster.crs, always_xy=True)
    x, y = np.meshgrid(placement.fine.x[fine[1]], placement.fine.y[fine[0]])
    east, north = to_raster.transform(x, y)
    inverse = ~raster.transform
    # a pixel holds its left and upper edge
    column = np.floor(inverse.a * east + inverse.c)
    row = np.floor(inverse.e * north + inverse.f)
    height, width = raster.shape
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    values = np.full(x.shape, np.nan, dtype=np.float32)
    if not inside.any():
        return values
    r, c = row[inside].astype(np.intp), column[inside].astype(np.intp)
    window = Window(c.min(), r.min(), c.max() - c.min() + 1, r.max() - r.min() + 1)
    values[inside] = gamma0.read(window)[r - r.min(), c - c.min()]
    return values


def _multilook(values: FloatImage, looks: int) -> FloatImage:
    """Mean power of the valid pixels among looks x looks; NaN where fewer than half are valid."""
    if looks == 1:
        return values
    height, width = values.shape[0] // looks, values.shape[1] // looks
    blocks = values.reshape(height, looks, width, looks)
    valid = ~np.isnan(blocks)
    count = valid.sum(axis=(1, 3))
    total = np.where(valid, blocks, 0).sum(axis=(1, 3), dtype=np.float64)
    mean = total / np.maximum(count, 1)
    return np.where(2 * count >= looks * looks, mean, np.nan).astype(np.float32)


def _paste(
    mosaic: FloatImage, owner: NDArray[np.uint8], window: tuple[slice, slice], values: FloatImage, number: int
) -> None:
    if values.shape != mosaic[window].shape:
        raise GridError(f"A window of {values.shape} does not fit {mosaic[window].shape}.")
    taken = owner[window]
    if not taken.any():
        mosaic[window] = values
        np.copyto(taken, np.uint8(number), where=values == values)  # NaN differs from itself
        return
    valid = (values == values) & (taken == 0)
    np.copyto(mosaic[window], values, where=valid)
    np.copyto(taken, np.uint8(number), where=valid)


def _seams(owner: NDArray[np.uint8], slices: int) -> tuple[Mask, int]:
    """Invalid pixels between two slices (y, x), and how many valid pixels are next to another slice."""
    gaps: Mask = np.zeros(owner.shape, dtype=bool)
    if slices < 2:
        return gaps, 0
    mixed = np.flatnonzero(owner.min(axis=1) != owner.max(axis=1))
    changing = np.flatnonzero(owner[1:, 0] != owner[:-1, 0])
    rows = np.concatenate([mixed, changing])
    if rows.size == 0:
        return gaps, 0
    # seams lie in few rows of a large scene
    reach = 2 * SEAM_REACH_PX + 1
    band = slice(max(0, int(rows.min()) - reach), min(owner.shape[0], int(rows.max()) + reach + 1))
    part = owner[band]
    adjacent = np.zeros(part.shape, dtype=bool)
    for first, second in (
        (np.s_[:-1, :], np.s_[1:, :]),
        (np.s_[:, :-1], np.s_[:, 1:]),
    ):
        touching = (part[first] != part[second]) & (part[first] != 0) & (part[second] != 0)
        adjacent[first] |= touching
        adjacent[second] |= touching
    if (part == 0).any():
        highest = ndimage.maximum_filter(part, size=reach)
        lowest = ndimage.minimum_filter(np.where(part == 0, np.uint8(255), part), size=reach)
        gaps[band] = (part == 0) & (highest != lowest) & (highest != 0)
    return gaps, int(np.count_nonzero(adjacent))


def _erode_border(mosaic: FloatImage, gaps: Mask, erosion_px: int) -> int:
    """Remove a rim along the outside of the pass from `mosaic` itself; returns the number of pixels.

    Outside are invalid pixels that are connected to the grid's edge without crossing a seam: around invalid pixels
    inside (water, shadow) nothing is removed.
    """
    if erosion_px <= 0:
        return 0
    rim_of_grid = (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1])
    if not any((np.isnan(mosaic[line]) & ~gaps[line]).any() for line in rim_of_grid):
        return 0
    invalid = np.isnan(mosaic) & ~gaps
    edge = np.zeros(mosaic.shape, dtype=bool)
    for line in rim_of_grid:
        edge[line] = invalid[line]
    regions, _ = ndimage.label(invalid)
    outside = np.isin(regions, np.unique(regions[edge]))
    rim = ndimage.binary_dilation(outside, structure=np.ones((3, 3), dtype=bool), iterations=erosion_px)
    removed = rim & ~np.isnan(mosaic)
    mosaic[removed] = np.nan
    return int(np.count_nonzero(removed))
