"""Classes of terrain, by which a pass's own steps (rain, thaw, snow line, gain) are found and removed."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Classes = NDArray[np.uint8]
SLOPES_DEG = (5.0, 15.0, 25.0)
"""limits of the classes of slope; below the first one the aspect does not count"""
SECTORS = 4
"""sectors of aspect, around north, east, south and west: facing the radar, along the track, and away from it"""
ELEVATION_CLASSES = 20
SMALLEST_CLASS_PX = 500
"""a class of fewer sampled pixels has the step of the whole scene"""
ROUNDS = 3
"""rounds of the median polish (Tukey 1977) of steps by ground and by elevation"""
LEAST_STEP_DB = 0.5
LEAST_RATIO = 1.5
"""A class keeps a step below 0.5 dB, and noise below 1.5 times the scene's: many landslides shift and spread the
changes of their own class a little, and removing that always cost 0.02 of average precision on simulated events."""
MAD = 1.4826
"""standard deviation of a normal distribution for one unit of its median absolute deviation"""


@dataclass(frozen=True)
class TerrainClasses:
    """How pixels are classed: by slope and aspect, and by elevation. Limits are those of the scene's own elevations."""

    elevations_m: tuple[float, ...]
    """limits between the classes of elevation; empty: one class"""

    @classmethod
    def of(cls, dem: Array | None) -> TerrainClasses:
        """Elevation classes of equal numbers of the sampled pixels, of at least twice `SMALLEST_CLASS_PX`."""
        known = dem[np.isfinite(dem)] if dem is not None else np.zeros(0)
        count = min(ELEVATION_CLASSES, known.size // (2 * SMALLEST_CLASS_PX))
        if count < 2:
            return cls(())
        limits = np.unique(np.quantile(known, np.arange(1, count) / count))
        return cls(tuple(float(limit) for limit in limits))

    def ground(self, slope: Array | None, aspect: Array | None, like: tuple[int, ...]) -> Classes:
        """Class of each pixel by slope (radians) and aspect (degrees from north); 0 where the slope is not known."""
        if slope is None:
            return np.zeros(like, dtype=np.uint8)
        steep = np.digitize(np.nan_to_num(np.degrees(slope)), SLOPES_DEG)
        turned = np.zeros(like) if aspect is None else np.nan_to_num(aspect)
        sector = np.floor((turned / 360.0 * SECTORS + 0.5) % SECTORS).astype(np.intp)
        found = np.where(steep == 0, 0, 1 + (steep - 1) * SECTORS + sector)
        return found.astype(np.uint8)

    def elevation(self, dem: Array | None, like: tuple[int, ...]) -> Classes:
        """Class of each pixel by elevation; where that is not known, the lowest."""
        if dem is None or not self.elevations_m:
            return np.zeros(like, dtype=np.uint8)
        return np.digitize(np.nan_to_num(dem), self.elevations_m).astype(np.uint8)


GROUND_CLASSES = 1 + len(SLOPES_DEG) * SECTORS


@dataclass(frozen=True)
class ByClass:
    """A value for each class of ground, and one for each class of elevation."""

    ground: Array
    elevation: Array

    def total(self, ground: Classes, elevation: Classes) -> Array:
        """The sum of the two values of each pixel."""
        result: Array = self.ground[ground] + self.elevation[elevation]
        return result

    def largest(self, ground: Classes, elevation: Classes) -> Array:
        """The larger of the two values of each pixel."""
        result: Array = np.maximum(self.ground[ground], self.elevation[elevation])
        return result


def steps_of(change: Array, ground: Classes, elevation: Classes, *, by_class: bool = True) -> ByClass:
    """The steps of one pass: the change's median over the scene, and by class what differs from it.

    Args:
        change: (pixel,) dB; NaN does not count.
    """
    whole = _median(change)
    on_ground = np.full(GROUND_CLASSES, whole, dtype=np.float32)
    by_height = np.zeros(ELEVATION_CLASSES, dtype=np.float32)
    if not by_class:
        return ByClass(on_ground, by_height)
    rest = change - np.float32(whole)
    for _ in range(ROUNDS):
        for values, classes in ((by_height, elevation), (on_ground, ground)):
            found = _by_class(rest, classes, len(values), 0.0)
            values += found
            rest = rest - found[classes]
    return ByClass(whole + _beyond(on_ground - whole), _beyond(by_height))


def _beyond(steps: Array) -> Array:
    """The part of each step that exceeds `LEAST_STEP_DB`; a sudden limit would make the sample decide."""
    part: Array = (np.sign(steps) * np.maximum(np.abs(steps) - LEAST_STEP_DB, 0)).astype(np.float32)
    return part


def spreads_of(score: Array, ground: Classes, elevation: Classes, *, by_class: bool = True) -> ByClass:
    """By how much a pass is noisier than the spread before the event says: at least 1.

    Args:
        score: (pixel,) change of the pass in standard deviations, steps removed.
    """
    size = np.abs(score)
    whole = max(1.0, MAD * _median(size))
    on_ground = np.full(GROUND_CLASSES, whole, dtype=np.float32)
    by_height = np.full(ELEVATION_CLASSES, whole, dtype=np.float32)
    if by_class:
        for values, classes in ((on_ground, ground), (by_height, elevation)):
            found = MAD * _by_class(size, classes, len(values), whole / MAD)
            values[:] = np.where(found > LEAST_RATIO * whole, found, whole)
    return ByClass(on_ground, by_height)


def _median(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else 0.0


def _by_class(values: Array, classes: Classes, count: int, otherwise: float) -> Array:
    """Median of each class; `otherwise` where it has too few pixels."""
    result = np.full(count, otherwise, dtype=np.float32)
    known = np.isfinite(values)
    chosen, of = values[known], classes[known]
    order = np.argsort(of, kind="stable")
    chosen, limits = chosen[order], np.searchsorted(of[order], np.arange(count + 1))
    for number, (first, last) in enumerate(itertools.pairwise(limits)):
        if last - first >= SMALLEST_CLASS_PX:
            result[number] = np.median(chosen[first:last])
    return result
