"""Objects of a class raster: landslide pixels that are connected by their edges, of a smallest mapped unit."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

Mask = NDArray[np.bool_]
Labels = NDArray[np.int32]
EDGES = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=bool)
"""pixels of an object are connected by their edges, as its polygon is"""


def labelled(mask: Mask) -> tuple[Labels, int]:
    """(y, x) the number of each pixel's object, 0 none; and how many there are."""
    numbers = np.empty(mask.shape, dtype=np.int32)
    count = label(mask, structure=EDGES, output=numbers)
    return numbers, int(count)


def smallest_pixels(smallest_m2: float, pixel_m2: float) -> int:
    """The number of pixels that a polygon of `smallest_m2` has at least."""
    return max(1, math.ceil(smallest_m2 / pixel_m2 - 1e-9))
