"""From scores to objects: what lies above the threshold, grown to its edge, cleaned, of a smallest mapped unit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, binary_fill_holes

from model.scores.mapped_objects import EDGES, Mask, labelled

Array = NDArray[np.float32]


def objects_of(score: Array, threshold: float, edge: float, smallest_px: int) -> Mask:
    """(y, x) objects of a score.

    An object is connected, lies above `edge`, and holds at least `smallest_px` pixels above `threshold`: hysteresis
    (Canny 1986). Gaps of one pixel are closed and holes of at most `smallest_px` pixels filled where a score is known.
    """
    known = np.isfinite(score)
    strong = known & (score >= threshold)
    numbers, count = labelled(known & (score >= min(edge, threshold)))
    cores = np.bincount(numbers[strong], minlength=count + 1)
    kept = cores >= smallest_px
    kept[0] = False
    mask: Mask = kept[numbers]
    del numbers
    mask = (binary_closing(mask, structure=EDGES) | mask) & known & (score > 0)
    return mask | (_small_holes(mask, smallest_px) & known & (score > 0))


def _small_holes(mask: Mask, largest_px: int) -> Mask:
    numbers, count = labelled(binary_fill_holes(mask) & ~mask)
    small = np.bincount(numbers.ravel(), minlength=count + 1) <= largest_px
    small[0] = False
    holes: Mask = small[numbers]
    return holes
