"""Where water and debris go: catchment areas, and paths of steepest descent."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.grid import Grid

Raster = NDArray[np.float32]
_COARSE_M = 50.0
_FULL_PULL = 0.35
"""Slope, as a tangent, from which the terrain pulls with all its strength."""
_KEPT, _AGAINST = 1.5, 0.3
"""Weight of the direction that a mass has, and how steeply the ground may rise against it."""
_NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


def catchment_km2(elevation_m: Raster, step_m: float) -> Raster:
    """(y, x) area in km² that drains through the pixel, found on a lattice of about 50 m.

    Every cell drains to the neighbour from which a flood that rises from the edges reached it first: priority-flood,
    Barnes, Lehman and Mulla (2014), Computers & Geosciences 62, 117. Pits therefore drain too.
    """
    factor = max(1, round(_COARSE_M / step_m))
    coarse = ndimage.zoom(elevation_m, 1 / factor, order=1) if factor > 1 else elevation_m
    height, width = coarse.shape
    levels: list[float] = coarse.ravel().tolist()
    target = [-1] * len(levels)
    order: list[int] = []
    seen = bytearray(len(levels))
    queue: list[tuple[float, int]] = []
    for row in range(height):
        for column in range(width) if row in (0, height - 1) else (0, width - 1):
            cell = row * width + column
            if not seen[cell]:
                seen[cell] = 1
                heapq.heappush(queue, (levels[cell], cell))
    while queue:
        level, cell = heapq.heappop(queue)
        order.append(cell)
        row, column = divmod(cell, width)
        for down, right in _NEIGHBOURS:
            y, x = row + down, column + right
            if 0 <= y < height and 0 <= x < width and not seen[y * width + x]:
                other = y * width + x
                seen[other] = 1
                target[other] = cell
                heapq.heappush(queue, (max(level, levels[other]), other))
    area = [(_pixel_km2(step_m * factor))] * len(levels)
    for cell in reversed(order):
        if target[cell] >= 0:
            area[target[cell]] += area[cell]
    found = np.asarray(area, dtype=np.float32).reshape(height, width)
    rows = np.minimum(np.arange(elevation_m.shape[0]) // factor, height - 1)
    columns = np.minimum(np.arange(elevation_m.shape[1]) // factor, width - 1)
    return np.asarray(found[rows[:, None], columns[None, :]], dtype=np.float32)


def _pixel_km2(step_m: float) -> float:
    return step_m**2 / 1e6


@dataclass(frozen=True)
class Descent:
    """Paths of steepest descent on a smoothed terrain."""

    grid: Grid
    downslope_rad: Raster
    """(y, x) azimuth of steepest descent, clockwise from north"""
    pull: Raster
    """(y, x) how strongly the slope turns a moving mass, 0 on flat ground to 1"""

    @classmethod
    def on(cls, grid: Grid, elevation_m: Raster) -> Descent:
        """Over terrain (y, x) in metres, smoothed over 20 m: a slide does not follow every bump."""
        smooth = ndimage.gaussian_filter(elevation_m, 20.0 / grid.resolution_m)
        rows, columns = np.gradient(smooth, grid.resolution_m)
        pull = np.minimum(np.hypot(rows, columns) / _FULL_PULL, 1.0)
        return cls(grid, np.arctan2(-columns, rows).astype(np.float32), pull.astype(np.float32))

    def path(self, x: float, y: float, length_m: float, uphill: bool = False) -> list[tuple[float, float]]:
        """Points in the grid's projection, a pixel apart, from (x, y) down the slope (or up) for at most `length_m`.

        A mass in motion keeps much of its direction, and all of it on flat ground. A path uphill ends at the crest, a
        path downhill where the ground rises against it, each at the grid's edge.
        """
        grid, step = self.grid, self.grid.resolution_m
        height, width = grid.shape
        points = [(x, y)]
        east = north = 0.0
        for _ in range(int(length_m / step)):
            row, column = int((grid.top - y) / step), int((x - grid.left) / step)
            if not (0 <= row < height and 0 <= column < width):
                break
            azimuth = float(self.downslope_rad[row, column]) + (math.pi if uphill else 0.0)
            pull = float(self.pull[row, column])
            down, right = math.cos(azimuth), math.sin(azimuth)
            if len(points) > 1 and pull * (east * right + north * down) < -_AGAINST:
                break
            east, north = _KEPT * east + pull * right, _KEPT * north + pull * down
            size = math.hypot(east, north)
            if size < 1e-3:
                break
            east, north = east / size, north / size
            x, y = x + east * step, y + north * step
            points.append((x, y))
        return points
