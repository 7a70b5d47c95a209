"""Where the pixels of a grid lie among elevation samples: exact at nodes, interpolated between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from pipeline.elevation.dem_tiles import Array, Lattice
from pipeline.grid import Grid

NODE_M, NODE_PIXELS = 640.0, 8
"""Distance of the nodes in metres, and in pixels at least.

The error of cubic interpolation is 9/384 of the fourth derivative times the fourth power of this distance; a map
projection's derivative is of the order of 1 / radius**3: 1e-12 of a sample of 30 m, less than rounding.
"""


class SamplePositions:
    """Positions of points of a grid as (row, column) of a lattice of samples.

    The transform of a map projection is exact at nodes, which lie at multiples of their distance from the projection's
    origin, and Lagrange's cubic polynomial through four nodes each way gives the points between: a position does not
    depend on where the grid begins or ends.
    """

    def __init__(self, grid: Grid, lattice: Lattice, to_tiles: Transformer) -> None:
        self._step = max(NODE_M, NODE_PIXELS * grid.resolution_m)
        left, bottom, right, top = grid.bounds
        self._first = [int(np.floor(low / self._step)) - 1 for low in (bottom, left)]
        last = [int(np.floor(high / self._step)) + 2 for high in (top, right)]
        y, x = (np.arange(low, high + 1) * self._step for low, high in zip(self._first, last, strict=True))
        self._nodes = np.stack(lattice.index(*to_tiles.transform(*np.meshgrid(x, y))))

    def at(self, x: Array, y: Array, origin: tuple[int, int]) -> NDArray[np.float64]:
        """(2, y, x): row and column, counted from the sample `origin`, of all points with these coordinates."""
        of_y, of_x = (self._between(v, first) for v, first in zip((y, x), self._first, strict=True))
        found = np.empty((2, len(y), len(x)))
        part = np.empty((len(y), len(x)))
        for nodes, target, begin in zip(self._nodes, found, origin, strict=True):
            lines = sum(weight[:, None] * nodes[index] for index, weight in of_y)
            for number, (index, weight) in enumerate(of_x):
                np.take(lines, index, axis=1, out=target if number == 0 else part, mode="clip")
                if number == 0:
                    target *= weight
                else:
                    np.multiply(part, weight, out=part)
                    target += part
            target -= begin
        return found

    def _between(self, points: Array, first: int) -> list[tuple[NDArray[np.intp], Array]]:
        """The four nodes around each point, and their weights."""
        position = points / self._step
        cell = np.floor(position)
        t = position - cell
        index = cell.astype(np.intp) - first
        weights = (
            -t * (t - 1) * (t - 2) / 6,
            (t + 1) * (t - 1) * (t - 2) / 2,
            -(t + 1) * t * (t - 2) / 2,
            (t + 1) * t * (t - 1) / 6,
        )
        return [(index + offset, weight) for offset, weight in zip((-1, 0, 1, 2), weights, strict=True)]
