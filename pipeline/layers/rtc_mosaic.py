"""Backscatter of one pass: its slices read by windows, mosaicked first-valid, cleaned, on the cube's grid."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from rasterio.windows import Window

from pipeline.catalogue.assets import Asset
from pipeline.catalogue.passes import Pass
from pipeline.errors import GridError, SourceDataError
from pipeline.grid import Grid
from pipeline.layers.gamma0 import FloatImage, Gamma0, Mask, MaskedRaster, Raster
from pipeline.layers.mosaic_borders import Borders

ALGORITHM = "backscatter-2"
MOST_LOOKS = 100
"""Pixels of a raster across one of the cube; each of the cube's is read as the mean of their square."""
BORDER_EROSION_PX = 3
"""Default width of the rim removed at the outer border of a pass: RTC resampling mixes border noise into it."""
MAX_WINDOW_PIXELS = 4_500_000
MOST_WINDOWS = 8
"""A row of blocks is read whole, unless it has so many times the pixels of a window: then its blocks are read again."""
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
) -> Mosaic:
    """gamma0 of one polarisation of one pass on the grid, linear power, NaN where invalid.

    Slices are taken in order of time and a pixel has the first valid value. A declared scale and offset are applied;
    valid is finite, above 0, not the declared nodata and masked neither by the file nor by the slice's mask of layover
    and shadow. Then `erosion_px` pixels are removed
    along the outer border of the whole pass, never along the seams between its slices. A raster on the grid's own
    lattice is only windowed; one on a finer multiple of it is averaged (multilooked); one in another zone is sampled by
    nearest neighbour at exactly transformed pixel centres, which keeps the speckle's distribution and does not depend
    on how the work is cut into windows.

    Returns:
        The layer, one variable (y, x) float32, which is read while its strips are asked for; `report` has coverage
        (0..1), reached (`Borders.share_reached`), seam_pixels, seam_gap_pixels, eroded_pixels, and the slices used.

    Raises (when its strips are asked for):
        SourceDataError: a raster has pixels coarser than the grid, is in no usable reference system, declares what
            cannot be applied, or holds values that cannot be linear gamma0.
        ArchiveError: a raster cannot be read.
    """
    sources = [
        (piece.id, asset, piece.mask)
        for piece in overflight.slices
        if (asset := piece.assets.get(polarisation))
    ]
    return Mosaic(sources, polarisation, grid, opener, erosion_px)


class Mosaic:
    """One polarisation of one pass, read and mosaicked strip by strip; see `read_backscatter`."""

    files: Mapping[str, bytes] = MappingProxyType({})

    def __init__(
        self,
        sources: list[tuple[str, Asset, Asset | None]],
        polarisation: str,
        grid: Grid,
        opener: Opener,
        erosion_px: int,
    ) -> None:
        self._sources, self._name, self._grid, self._opener = sources, polarisation, grid, opener
        self._borders = Borders(grid, len(sources), erosion_px)
        self._resampled: list[str] = []
        self.attributes = {
            polarisation: {"border_erosion_px": erosion_px, "mosaic": "first valid in order of time"}
        }

    @property
    def report(self) -> dict[str, Any]:
        """Counts of the whole layer."""
        return {
            **self._borders.report(),
            "slices": [name for name, *_ in self._sources],
            "slices_in_another_zone": self._resampled,
        }

    def blanked(self, rows: slice) -> Mask | None:
        """The rim along the outside of the pass."""
        return self._borders.removed(rows)

    def strips(self, rows: Sequence[slice]) -> Iterator[dict[str, FloatImage]]:
        """The mosaic; a strip's memory is used again for the next one."""
        with ExitStack() as stack:
            slices = [self._open(stack, *source) for source in self._sources]
            tallest = max((window.stop - window.start for window in rows), default=0)
            capacity = tallest + MAX_WINDOW_PIXELS // self._grid.width
            buffer = stack.enter_context(_rows_of_thread(self._grid.width, capacity))
            for window in rows:
                for number in range(len(slices)):
                    self._advance(slices, number, window.stop, window.stop, buffer)
                buffer.grow(window.stop)
                values, owner = buffer.part(slice(window.start, window.stop))
                self._borders.add(window, owner)
                yield {self._name: values}
                buffer.drop(window.stop)
            for piece in slices:
                piece.gamma0.check()

    def _open(self, stack: ExitStack, name: str, asset: Asset, mask: Asset | None) -> _SliceReader:
        raster = stack.enter_context(self._opener(asset))
        if mask is not None:
            raster = MaskedRaster(raster, stack.enter_context(self._opener(mask)), name)
        placement = _place(raster, self._grid, name)
        if placement.offset is None:
            self._resampled.append(name)
        extent = _extent_on_grid(raster, placement, self._grid)
        return _SliceReader(Gamma0(raster, f"{name} ({self._name})"), placement, extent)

    def _advance(self, slices: list[_SliceReader], number: int, to: int, limit: int, buffer: _Rows) -> None:
        """Read a slice down to the row `to`, after the earlier slices, whose valid pixels it leaves as they are.

        Windows end on the block edges of the raster, so beyond `limit` where a block does.
        """
        piece = slices[number]
        while piece.top < min(to, piece.rows.stop):
            bottom = piece.window_end(limit)
            for earlier in range(number):
                self._advance(slices, earlier, bottom, limit, buffer)
            buffer.grow(bottom)
            mosaic, owner = buffer.part(slice(piece.top, bottom))
            if not owner[:, piece.columns].all():
                _paste(mosaic[:, piece.columns], owner[:, piece.columns], piece.read(bottom), number + 1)
            piece.top = bottom


class _Rows:
    """Rows of the mosaic and of its owners (the number of the slice, 0: none) that are not written yet."""

    def __init__(self, width: int, capacity: int) -> None:
        self._values: FloatImage = np.empty((capacity, width), np.float32)
        self._owner: NDArray[np.uint8] = np.empty((capacity, width), np.uint8)
        self._first = self._end = 0

    def empty(self, width: int, capacity: int) -> bool:
        """Forget all rows; whether there is memory for just so many."""
        self._first = self._end = 0
        return self._values.shape == (capacity, width)

    def grow(self, end: int) -> None:
        """Have rows up to `end`, without data at first."""
        if end <= self._end:
            return
        held, wanted = self._end - self._first, end - self._first
        if wanted > len(self._values):
            values = np.empty((wanted, self._values.shape[1]), np.float32)
            owner = np.empty(values.shape, np.uint8)
            values[:held], owner[:held] = self._values[:held], self._owner[:held]
            self._values, self._owner = values, owner
        self._values[held:wanted] = np.nan
        self._owner[held:wanted] = 0
        self._end = end

    def part(self, rows: slice) -> tuple[FloatImage, NDArray[np.uint8]]:
        """Values and owners of some rows, to be changed in place."""
        local = slice(rows.start - self._first, rows.stop - self._first)
        return self._values[local], self._owner[local]

    def drop(self, before: int) -> None:
        """Forget the rows before that one."""
        held, gone = self._end - before, before - self._first
        for kept in (self._values, self._owner):
            kept[:held] = kept[gone : gone + held].copy() if held > gone else kept[gone : gone + held]
        self._first = before


_kept = threading.local()


@contextmanager
def _rows_of_thread(width: int, capacity: int) -> Iterator[_Rows]:
    """Rows in memory that this thread used for its last mosaic, where they have that size.

    Memory that is given back and taken again for each layer is cleared by the system page by page, which took some 3 %
    of a build's processor time. A thread of a build keeps it until it ends.
    """
    rows: _Rows | None = getattr(_kept, "rows", None)
    _kept.rows = None  # another mosaic of this thread that is begun meanwhile has its own
    if rows is None or not rows.empty(width, capacity):
        rows = _Rows(width, capacity)
    try:
        yield rows
    finally:
        _kept.rows = rows


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


class _SliceReader:
    """One slice of a pass, read window by window from the top."""

    def __init__(self, gamma0: Gamma0, placement: _Placement, extent: tuple[slice, slice] | None) -> None:
        self.gamma0, self._placement = gamma0, placement
        self.rows, self.columns = extent or (slice(0, 0), slice(0, 0))
        self.top: int = self.rows.start
        """the row of the grid down to which it was read"""

    def window_end(self, limit: int) -> int:
        """Where the next window ends: on an edge of the raster's blocks, so that none is read twice.

        It has `MAX_WINDOW_PIXELS` at most, or one row of blocks, and passes `limit` by less than a block.
        """
        looks = self._placement.looks
        across = (self.columns.stop - self.columns.start) * looks
        end: int = self.top + max(1, MAX_WINDOW_PIXELS // (across * looks))
        last: int = self.rows.stop
        if self._placement.offset is None:
            return min(end, limit, last)
        first: int = self._placement.offset[0]
        block: int = max(1, self.gamma0.raster.block_shape[0])
        beyond = -(-(first + limit * looks) // block) * block - first
        if beyond % looks == 0:
            end = min(end, beyond // looks)
        edge = (first + end * looks) // block * block - first
        if edge // looks <= self.top:  # a row of blocks has more pixels than a window should
            edge += block
            if (edge - self.top * looks) * across > MOST_WINDOWS * MAX_WINDOW_PIXELS:
                return min(end, last)
        if edge % looks == 0:
            end = edge // looks
        return min(end, last)

    def read(self, bottom: int) -> FloatImage:
        """The valid values (rows, columns) from `top` to that row of the grid, NaN elsewhere."""
        looks = self._placement.looks
        fine = (
            slice(self.top * looks, bottom * looks),
            slice(self.columns.start * looks, self.columns.stop * looks),
        )
        offset = self._placement.offset
        values = (
            _sample(self.gamma0, self._placement, fine)
            if offset is None
            else _read_on_lattice(self.gamma0, offset, fine)
        )
        return _multilook(values, looks)


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


def _paste(mosaic: FloatImage, owner: NDArray[np.uint8], values: FloatImage, number: int) -> None:
    """Put the values of a slice where no earlier one has valid values."""
    if values.shape != mosaic.shape:
        raise GridError(f"A window of {values.shape} does not fit {mosaic.shape}.")
    valid = values == values  # NaN differs from itself
    if owner.any():
        valid &= owner == 0
        np.copyto(mosaic, values, where=valid)
    else:
        mosaic[...] = values
    np.copyto(owner, np.uint8(number), where=valid)
