"""The surface through elevation samples: an interpolating cubic spline, the same wherever the window begins."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from rasterio.fill import fillnodata
from scipy import ndimage

from pipeline.elevation.dem_tiles import Array, Lattice, Mask, Samples

MAX_VOID_M = 1000.0
"""A void is filled where it is narrower than this: no square of this side, in nominal samples, fits into it."""
SPLINE_REACH = 24
"""Samples. The prefilter's weights fall as 0.268**n; beyond this they are below 2e-14 and cut off."""


def void_side(lattice: Lattice) -> tuple[int, int]:
    """(rows, columns) of the rectangle of samples that must not fit into a void that is filled; odd."""
    rows, columns = (2 * max(1, math.floor(MAX_VOID_M / step / 2)) + 1 for step in lattice.spacing_m())
    return rows, columns


def margin(lattice: Lattice) -> int:
    """Samples around a point on which its elevation may depend."""
    return SPLINE_REACH + max(void_side(lattice)) + 3


@dataclass(frozen=True)
class Surface:
    """A C2 surface through every sample, with the cells that may not be used and those that are sea."""

    lattice: Lattice
    row: int
    column: int
    coefficients: Array
    """(row, column) of the cubic B-spline"""
    blocked: Mask
    """cells between four samples whose 4 x 4 neighbourhood holds a void that was left"""
    sea: Mask
    """cells between four samples of exactly 0 m"""
    filled: Mask
    """cells with a corner that was a void and is filled"""
    notes: dict[str, Any]

    def at(self, positions: Array) -> tuple[Array, Mask | None, Mask | None]:
        """Elevation in metres (NaN where blocked, 0 over sea), sea, filled, at positions (2, y, x) in the window.

        A mask is None where no pixel of the window is such.
        """
        metres: Array = ndimage.map_coordinates(
            self.coefficients, positions, order=3, prefilter=False, mode="nearest"
        )
        marked = [mask.any() for mask in (self.sea, self.blocked, self.filled)]
        if not any(marked):
            return metres, None, None
        cell = tuple(positions.astype(np.intp))  # positive, hence floor
        sea, blocked, filled = (
            mask[cell] if some else None
            for mask, some in zip((self.sea, self.blocked, self.filled), marked, strict=True)
        )
        if sea is not None:
            metres[sea] = 0.0
        if blocked is not None:
            metres[blocked] = np.nan
        return metres, sea, filled


def surface(samples: Samples) -> Surface:
    """Fill narrow voids and find the spline through all samples.

    Narrow voids (see `MAX_VOID_M`) are filled by GDAL's inverse distance interpolation; wide ones are left and
    block the cells around them. The spline is the interpolating cubic B-spline of Unser (1999), "Splines: a
    perfect fit for signal and image processing": prefilter sqrt(3) z**|n| with z = sqrt(3) - 2 along each axis.
    It is applied as a finite filter, not recursively, so that a value depends on its surroundings alone, bit for
    bit. (GDAL's "cubicspline" has no prefilter and smooths.)
    """
    void = samples.void
    values = samples.values
    wide = np.zeros_like(void)
    if void.any():
        side = void_side(samples.lattice)
        wide = _opening(void, side)
        # wide voids get values too, so that the spline has no cliff at their rim; they are masked afterwards
        values = fillnodata(values.copy(), mask=~void, max_search_distance=max(side), smoothing_iterations=0)
    filled = void & ~wide
    z = math.sqrt(3.0) - 2.0
    taps = math.sqrt(3.0) * z ** np.abs(np.arange(-SPLINE_REACH, SPLINE_REACH + 1))
    coefficients = values.astype(np.float64)
    for axis in (0, 1):
        coefficients = ndimage.correlate1d(coefficients, taps, axis=axis, mode="mirror")
    zero = (samples.values == 0) & ~void
    edge = margin(samples.lattice)
    inner = np.s_[edge:-edge, edge:-edge]
    rows, columns = void_side(samples.lattice)
    return Surface(
        samples.lattice,
        samples.row,
        samples.column,
        coefficients,
        blocked=_any_of(wide, 4),
        sea=~_any_of(~zero, 2),
        filled=_any_of(filled, 2),
        notes={
            "void_samples_filled": int(filled[inner].sum()),
            "void_samples_left": int((wide & samples.covered)[inner].sum()),
            "void_rule": f"filled (inverse distance) where no {rows} x {columns} samples fit, else left NaN",
        },
    )


def _opening(mask: Mask, side: tuple[int, int]) -> Mask:
    """Those samples of `mask` that lie in a rectangle of that size wholly inside it."""
    eroded = ndimage.minimum_filter(mask.view(np.uint8), side, mode="constant", cval=0)
    return np.asarray(ndimage.maximum_filter(eroded, side, mode="constant", cval=0)).astype(bool)


def _any_of(mask: Mask, size: Literal[2, 4]) -> Mask:
    """For each cell (i, i + 1) whether any of its 2 x 2 corners, or of the 4 x 4 samples around it, is set."""
    if not mask.any():
        return np.zeros_like(mask)
    return np.asarray(ndimage.maximum_filter(mask.view(np.uint8), size, origin=-1, mode="nearest")).astype(
        bool
    )
