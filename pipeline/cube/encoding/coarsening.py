"""From blocks of pixels to the pixels of an overview.

    average             mean of the pixels with data; of power it is the mean of linear power, as multilooking takes it
    circular average    direction of the mean of unit vectors, of an angle in radians or degrees (Mardia and Jupp,
                        Directional Statistics, 2000, section 2.2)
    maximum             so that no landslide vanishes
    union of flags      each flag that any pixel of the block has

A block without data has none. Each level is made of the pixels of the layer itself, not of the level before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.cube.schema import Coarsening, Variable

Values = NDArray[Any]

_CIRCLE = {"rad": 2 * math.pi, "degree": 360.0}
"""a full turn, by the unit of an angle"""


@dataclass(frozen=True)
class _Part:
    """A quantity of each pixel that can be combined over a block, and over blocks of blocks."""

    values: Values
    combine: np.ufunc
    neutral: Any
    """what changes nothing where it is combined"""

    wide: Any = None
    """type from the second combination on, which is of a quarter of the values; None: as they are"""

    def blocks(self, factor: int) -> _Part:
        rows = _combined(self, self.values, factor, axis=0)
        if self.wide is not None:
            rows = rows.astype(self.wide, copy=False)
        return _Part(_combined(self, rows, factor, axis=1), self.combine, self.neutral)


@dataclass(frozen=True)
class _Rule:
    parts: Callable[[Values, float], list[_Part]]
    finish: Callable[[list[Values], float], Values]


def coarsened(values: Values, variable: Variable, factors: Sequence[int]) -> dict[int, Values]:
    """Overviews of (y, x) values, by factor, in the variable's type; the edge may cut the last blocks.

    Args:
        factors: pixels along one side of a block, ascending, each a multiple of the one before.
    """
    rule, circle = _RULES[variable.coarsening], _CIRCLE.get(variable.units, 0.0)
    parts = rule.parts(values, circle)
    made: dict[int, Values] = {}
    done = 1
    for factor in factors:
        parts = [part.blocks(factor // done) for part in parts]
        made[factor] = rule.finish([part.values for part in parts], circle).astype(variable.dtype)
        done = factor
    return made


def _combined(part: _Part, values: Values, factor: int, axis: int) -> Values:
    """Every `factor` rows (axis 0) or columns (axis 1) combined into one."""
    shape = list(values.shape)
    length, shape[axis] = shape[axis], -(-shape[axis] // factor)
    made = np.full(shape, part.neutral, dtype=values.dtype)
    for offset in range(min(factor, length)):
        piece = values[offset::factor] if axis == 0 else values[:, offset::factor]
        target = made[: len(piece)] if axis == 0 else made[:, : piece.shape[1]]
        part.combine(target, piece, out=target)
    return made


def _counted(valid: Values) -> _Part:
    # at most 4 rows are combined before the counts are widened
    return _Part(valid.view(np.uint8), np.add, 0, np.int32)


def _sums(values: Values, _: float) -> list[_Part]:
    valid = ~np.isnan(values)
    filled = values if valid.all() else np.where(valid, values, np.float32(0))
    return [_Part(filled, np.add, 0, np.float64), _counted(valid)]


def _mean(found: list[Values], _: float) -> Values:
    total, count = found
    mean: Values = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return mean


def _vectors(values: Values, circle: float) -> list[_Part]:
    turned = values.astype(np.float64) * (2 * math.pi / circle)
    parts = [np.nan_to_num(part(turned), nan=0.0) for part in (np.sin, np.cos)]
    return [*(_Part(part, np.add, 0.0) for part in parts), _counted(~np.isnan(values))]


def _direction(found: list[Values], circle: float) -> Values:
    sine, cosine, count = found
    angle = np.arctan2(sine, cosine) * (circle / (2 * math.pi))
    if circle == 360.0:  # an azimuth; a phase lies between -pi and pi
        angle = angle % 360.0
    return np.where(count > 0, angle, np.nan)


def _candidates(values: Values, _: float) -> list[_Part]:
    if values.dtype.kind != "f":
        return [_Part(values, np.maximum, np.iinfo(values.dtype).min)]
    return [_Part(values, np.fmax, np.nan)]


def _flags(values: Values, _: float) -> list[_Part]:
    return [
        _Part(np.nan_to_num(values, nan=0.0).astype(np.uint8), np.bitwise_or, 0),
        _counted(~np.isnan(values)),
    ]


def _united(found: list[Values], _: float) -> Values:
    flags, count = found
    return np.where(count > 0, flags.astype(np.float64), np.nan)


_RULES: dict[Coarsening, _Rule] = {
    "average": _Rule(_sums, _mean),
    "circular average": _Rule(_vectors, _direction),
    "maximum": _Rule(_candidates, lambda found, _: found[0]),
    "union of flags": _Rule(_flags, _united),
}
