"""The seams and the outer border of a pass, found while its mosaic is read strip by strip.

Only one bit a pixel is kept of rows that have passed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.grid import Grid

SQUARE_M, LEAST_SQUARES, LEAST_SHARE = 1000.0, 16, 0.1
"""Squares by which a mosaic is judged: their side, how many a side of the grid has at least, and the share of pixels
from which a square counts as one with data."""
SEAM_REACH_PX = 2
"""Invalid pixels at most this far from two slices are a seam, not the border of the pass."""

Mask = NDArray[np.bool_]
Owner = NDArray[np.uint8]


class Bits:
    """A mask (y, x) of the whole grid, a bit a pixel; false where nothing was set."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self._packed = np.zeros((shape[0], -(-shape[1] // 8)), np.uint8)

    def __setitem__(self, rows: slice, mask: Mask) -> None:
        self._packed[rows] = np.packbits(mask, axis=1)

    def __getitem__(self, rows: slice) -> Mask:
        return np.unpackbits(self._packed[rows], axis=1, count=self.shape[1]).view(np.bool_)


class Squares:
    """How many pixels with data each square of the grid has."""

    def __init__(self, grid_shape: tuple[int, int], resolution_m: float) -> None:
        self._shape = grid_shape
        self._side = max(1, min(round(SQUARE_M / resolution_m), min(grid_shape) // LEAST_SQUARES))
        self._rows, self._columns = (np.arange(0, count, self._side) for count in grid_shape)
        self._counts = np.zeros((len(self._rows), len(self._columns)), np.int64)

    def add(self, first: int, valid: Mask, sign: int = 1) -> None:
        """Count (or with `sign` -1 discount) rows that begin with row `first` of the grid."""
        row, last = first, first + len(valid)
        while row < last:
            square = row // self._side
            # 255 rows at most, so that counts down a column are bytes
            end = min((square + 1) * self._side, row + 255, last)
            down = np.add.reduce(valid[row - first : end - first].view(np.uint8), axis=0, dtype=np.uint8)
            self._counts[square] += sign * np.add.reduceat(down, self._columns, dtype=np.int64)
            row = end

    @property
    def total(self) -> int:
        """Pixels with data."""
        return int(self._counts.sum())

    @property
    def share_reached(self) -> float:
        """Share of the grid in squares that hold data, 0..1.

        Radar shadow and layover, which some products mask, are narrow: they empty few squares. An absent slice, or one
        cut short, empties all of its own.
        """
        sizes = np.outer(
            *(
                np.diff([*starts, count])
                for starts, count in zip((self._rows, self._columns), self._shape, strict=True)
            )
        )
        return float(sizes[self._counts >= LEAST_SHARE * sizes].sum() / sizes.sum())


class Borders:
    """What is counted of a mosaic and removed from it at its border.

    A rim of `erosion_px` is removed along the outside of the pass. Outside are invalid pixels that are connected to the
    grid's edge without crossing a seam: around invalid pixels inside (water, shadow) nothing is removed.
    """

    def __init__(self, grid: Grid, slices: int, erosion_px: int) -> None:
        self._shape, self._slices, self._erosion_px = grid.shape, slices, erosion_px
        self._valid, self._gaps = Bits(grid.shape), Bits(grid.shape)
        self._squares = Squares(grid.shape, grid.resolution_m)
        self._strips: list[slice] = []
        self._waiting: Owner = np.zeros((0, grid.width), np.uint8)
        """rows that the seams of the next strip touch"""
        self._next = 0
        """the first row of which the seams are not known"""
        self._seam_pixels = self._gap_pixels = self._eroded = 0
        self._removed: Bits | None = None
        self._finished = False

    def add(self, rows: slice, owner: Owner) -> None:
        """Note the next rows; `owner` (rows, x) is the number of each pixel's slice, 0 where it is invalid."""
        valid = owner != 0
        self._valid[rows] = valid
        self._squares.add(rows.start, valid)
        self._strips.append(rows)
        if self._slices > 1:
            self._find_seams(rows, owner)

    def _find_seams(self, rows: slice, owner: Owner) -> None:
        """Find the seams of rows of which all neighbours are known: in a strip all but the last, unless it ends."""
        reach = SEAM_REACH_PX
        known = np.concatenate([self._waiting, owner])
        first = rows.stop - len(known)
        begin = self._next
        end = rows.stop if rows.stop == self._shape[0] else rows.stop - reach
        self._waiting, self._next = known[-2 * reach :].copy(), max(begin, end)
        for start, stop in _near_two_slices(known, begin - first, end - first):
            around = slice(max(0, start - reach), min(len(known), stop + reach))
            inner = slice(start - around.start, stop - around.start)
            gaps, adjacent = _seams(known[around])
            self._gaps[first + start : first + stop] = gaps[inner]
            self._gap_pixels += int(np.count_nonzero(gaps[inner]))
            self._seam_pixels += int(np.count_nonzero(adjacent[inner]))

    def _finish(self) -> None:
        """Once all rows are known."""
        if self._finished:
            return
        self._finished = True
        if self._erosion_px <= 0 or not self._reaches_edge():
            return
        outside = self._outside()
        self._removed = Bits(self._shape)
        for rows in self._strips:
            around = slice(
                max(0, rows.start - self._erosion_px), min(self._shape[0], rows.stop + self._erosion_px)
            )
            inner = slice(rows.start - around.start, rows.stop - around.start)
            width = 2 * self._erosion_px + 1
            rim = ndimage.maximum_filter(outside[around].view(np.uint8), width, mode="constant", cval=0)
            removed = rim[inner].view(np.bool_) & self._valid[rows]
            self._eroded += int(np.count_nonzero(removed))
            self._squares.add(rows.start, removed, -1)
            self._removed[rows] = removed

    def _invalid(self, rows: slice) -> Mask:
        return ~(self._valid[rows] | self._gaps[rows])

    def _reaches_edge(self) -> bool:
        """Whether an invalid pixel that is no seam lies on the grid's edge."""
        ends = (slice(0, 1), slice(self._shape[0] - 1, self._shape[0]))
        if any(self._invalid(rows).any() for rows in ends):
            return True
        return any(self._invalid(rows)[:, [0, -1]].any() for rows in self._strips)

    def _outside(self) -> Bits:
        """Invalid pixels that are connected to the grid's edge, by their sides.

        Regions are labelled strip by strip, and those that touch across two strips are joined (Rosenfeld and Pfaltz
        1966, "Sequential operations in digital picture processing").
        """
        joined, first = _Regions(), np.zeros(self._shape[1], np.int64)
        offsets: list[int] = []
        for rows in self._strips:
            labels, count = ndimage.label(self._invalid(rows))
            offsets.append(joined.count)
            joined.extend(count)
            top, bottom = (_numbered(line, offsets[-1]) for line in (labels[0], labels[-1]))
            touching = (first > 0) & (top > 0)
            joined.join(first[touching], top[touching])
            joined.mark(_numbered(labels[:, [0, -1]], offsets[-1]))
            if rows.start == 0:
                joined.mark(top)
            if rows.stop == self._shape[0]:
                joined.mark(bottom)
            first = bottom
        outside, marked = Bits(self._shape), joined.marked()
        for rows, offset in zip(self._strips, offsets, strict=True):
            labels, count = ndimage.label(self._invalid(rows))
            of_strip = np.concatenate([[False], marked[offset + 1 : offset + 1 + count]])
            outside[rows] = of_strip[labels]
        return outside

    def removed(self, rows: slice) -> Mask | None:
        """Pixels (rows, x) of the rim; None: none of these rows are."""
        self._finish()
        if self._removed is None:
            return None
        mask = self._removed[rows]
        return mask if mask.any() else None

    def report(self) -> dict[str, Any]:
        """Counts, and shares of the grid, after the rim was removed."""
        self._finish()
        return {
            "coverage": float(self._squares.total / (self._shape[0] * self._shape[1])),
            "reached": self._squares.share_reached,
            "seam_pixels": self._seam_pixels,
            "seam_gap_pixels": self._gap_pixels,
            "eroded_pixels": self._eroded,
        }


class _Regions:
    """Numbered regions, from 1, which are joined and marked."""

    def __init__(self) -> None:
        self._parent = [0]
        self._marked: set[int] = set()

    @property
    def count(self) -> int:
        return len(self._parent) - 1

    def extend(self, count: int) -> None:
        self._parent += range(len(self._parent), len(self._parent) + count)

    def _root(self, number: int) -> int:
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number

    def join(self, ones: NDArray[np.int64], others: NDArray[np.int64]) -> None:
        for one, other in {*zip(ones.tolist(), others.tolist(), strict=True)}:
            self._parent[self._root(one)] = self._root(other)

    def mark(self, numbers: NDArray[np.int64]) -> None:
        self._marked |= {*np.unique(numbers).tolist()} - {0}

    def marked(self) -> Mask:
        """By number: whether the region, or one that it is joined with, was marked."""
        roots = {self._root(number) for number in self._marked}
        return np.array([False, *(self._root(number) in roots for number in range(1, len(self._parent)))])


def _numbered(labels: NDArray[Any], offset: int) -> NDArray[np.int64]:
    """Labels of a strip as numbers of the grid's regions; 0 stays."""
    return np.where(labels > 0, labels.astype(np.int64) + offset, 0)


def _near_two_slices(owner: Owner, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """The runs of rows from `begin` to `end` that have two slices within the reach of a seam."""
    highest = owner.max(axis=1)
    lowest = (owner - np.uint8(1)).min(axis=1)  # 255 where there is no slice
    size = 2 * SEAM_REACH_PX + 1
    near = ndimage.maximum_filter1d(highest, size, mode="nearest")
    far = ndimage.minimum_filter1d(lowest, size, mode="nearest")
    found = np.flatnonzero((near > 0) & (near - np.uint8(1) != far))
    found = found[(found >= begin) & (found < end)]
    for run in np.split(found, np.flatnonzero(np.diff(found) > 1) + 1) if found.size else ():
        yield int(run[0]), int(run[-1]) + 1


def _seams(part: Owner) -> tuple[Mask, Mask]:
    """Invalid pixels between two slices, and valid pixels next to another slice; (rows, x) each."""
    adjacent = np.zeros(part.shape, dtype=bool)
    for first, second in (
        (np.s_[:-1, :], np.s_[1:, :]),
        (np.s_[:, :-1], np.s_[:, 1:]),
    ):
        touching = (part[first] != part[second]) & (part[first] != 0) & (part[second] != 0)
        adjacent[first] |= touching
        adjacent[second] |= touching
    if part.all():
        return np.zeros_like(adjacent), adjacent
    size = 2 * SEAM_REACH_PX + 1
    highest = ndimage.maximum_filter(part, size=size)
    lowest = ndimage.minimum_filter(part - np.uint8(1), size=size)
    return (part == 0) & (highest > 0) & (highest - np.uint8(1) != lowest), adjacent
