"""Layover and shadow, active and passive, from the order of slant ranges and look angles along range lines.

Method: Kropatsch and Strobl (1990), "The generation of SAR layover and shadow maps from digital elevation models",
IEEE Transactions on Geoscience and Remote Sensing 28(1), 98-107; Meier, Frei and Nüesch (1993), "Precise terrain
corrected geocoded images", in Schreier (ed.), "SAR Geocoding: Data and Systems", chapter 7.

A point lies in layover if it shares its slant range with another point of its line. That is the case exactly if a
point at smaller ground range has at least its slant range, or a point at larger ground range has at most its slant
range (slant range is continuous along the line and grows over level ground). A point lies in shadow if a point at
smaller ground range has at least its look angle. Both conditions include the slopes that cause layover or shadow
(active) and the other ground that they affect (passive). Ground in shadow counts as a partner in layover: the codes
describe geometry, not the received signal.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.insar.look.orbit_geometry import Array
from pipeline.insar.look.range_lines import RangeLines

LAYOVER, SHADOW = 1, 2
BLOCK_LINES = 48
"""Lines in a block; they need about 100 bytes of memory per line and column."""

Float = NDArray[np.float32]


def layover_shadow(elevation_m: Float, lines: RangeLines, block_lines: int = BLOCK_LINES) -> Float:
    """(y, x) 0 none, 1 layover, 2 shadow, 3 both; NaN for unknown elevation.

    `elevation_m` (y, x) is metres above the ellipsoid on the lines' grid, NaN where void; voids cause
    neither layover nor shadow.

    Along every range line the terrain is sampled at each column, linear between rows. Three extremes are converted to
    threshold heights: largest slant range and look angle at smaller ground range, smallest slant range at larger ground
    range. A point above the first threshold or below the last is in layover, a point below the second in shadow. The
    thresholds are interpolated between the two lines around a pixel, so that no pixel is rounded to a line.
    """
    ground = np.ascontiguousarray(lines.view.turn(elevation_m))
    codes = np.where(np.isnan(ground), np.float32(np.nan), np.float32(0))
    count = len(lines.times_s)
    for first in range(0, count - 1, block_lines):
        _classify(ground, lines, first, min(first + block_lines, count - 1), codes)
    return np.ascontiguousarray(lines.view.turn_back(codes))


def _classify(ground: Float, lines: RangeLines, first: int, last: int, codes: Float) -> None:
    """Write the codes of the pixels from line `first` to just before line `last`."""
    rows, columns = ground.shape
    here = slice(first, last + 1)
    ends = lines.across.at(lines.row[[first, last]], 0, columns)
    inside = np.flatnonzero((ends[1] >= 0) & (ends[0] <= rows - 1))
    if not inside.size:
        return
    begin, end = int(inside[0]), int(inside[-1]) + 1
    row = lines.across.at(lines.row[here], begin, end)
    thresholds = _thresholds(_sampled(ground, row, begin), lines, here, begin, end)
    # a pixel belongs to the line at or before it; the lines are less than a row apart, so at most one pixel does
    pixel_row = np.ceil(row[:-1])
    own = (pixel_row < row[1:]) & (pixel_row >= 0) & (pixel_row <= rows - 1)
    line, column = np.nonzero(own)
    at = pixel_row[line, column].astype(np.intp), column + begin
    before = row[line, column]
    share = (at[0] - before) / (row[line + 1, column] - before)
    height = ground[at]
    nearer, farther, hidden = (
        t[line, column] * (1 - share) + t[line + 1, column] * share for t in thresholds
    )
    # comparisons with NaN are false: unknown elevation, or no other ground on the line
    found = np.where((height >= nearer) | (height <= farther), np.float32(LAYOVER), np.float32(0))
    found += np.where(height <= hidden, np.float32(SHADOW), np.float32(0))
    found[np.isnan(height)] = np.nan
    codes[at] = found


def _sampled(ground: Float, row: Array, begin: int) -> Array:
    """(lines, columns) elevation along lines, linear between rows; NaN outside the image and next to voids."""
    rows, columns = ground.shape
    above = np.floor(row)
    outside = (above < 0) | (above >= rows - 1)
    share = row - above
    above[outside] = 0
    index = above.astype(np.intp) * columns + np.arange(begin, begin + row.shape[1])
    flat = ground.reshape(-1)
    upper = flat[index].astype(np.float64)
    lower = flat[index + columns]
    upper += share * (lower - upper)
    upper[outside] = np.nan
    return np.asarray(upper)


def _thresholds(
    height: Array, lines: RangeLines, here: slice, begin: int, end: int
) -> tuple[Array, Array, Array]:
    """Three arrays (lines, columns) of threshold heights; NaN without other ground.

    At or above the first: layover with ground at smaller ground range. At or below the second: layover with ground at
    larger ground range. At or below the third: shadow.
    """
    range2, rise, tangent, lift, sink = (
        lines.across.at(known[here], begin, end)
        for known in (lines.range2, lines.rise, lines.tangent, lines.lift, lines.sink)
    )
    squared = range2 + height * (height - 2 * rise)
    look = tangent + height * lift / (1 + height * sink)
    farthest = _before(np.fmax.accumulate(squared, axis=1))
    nearest = _before(np.fmin.accumulate(squared[:, ::-1], axis=1))[:, ::-1]
    steepest = _before(np.fmax.accumulate(look, axis=1))
    steepest -= tangent
    return (
        _height_at(range2 - farthest, rise),
        _height_at(range2 - nearest, rise),
        steepest / (lift - steepest * sink),
    )


def _before(running: Array) -> Array:
    """The running extreme of the previous columns, for each column."""
    shifted = np.empty_like(running)
    shifted[:, 0] = np.nan
    shifted[:, 1:] = running[:, :-1]
    return shifted


def _height_at(closer: Array, rise: Array) -> Array:
    """Height at which the squared slant range is smaller by `closer` than at height 0.

    It is the smaller root of h^2 - 2 h rise + closer = 0.
    """
    return closer / (rise + np.sqrt(rise * rise - closer))
