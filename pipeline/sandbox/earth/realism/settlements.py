"""Towns and lone buildings: bright targets whose double bounce depends on the direction of streets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.sandbox.earth.realism.random_fields import fractal_field
from pipeline.sandbox.earth.realism.switches import Settlements

Raster = NDArray[np.float32]
_BUILT = 0.14
"""Share of a town's pixels that hold a bright building."""
_STREETS_PX = 40
"""Side of a district with one direction of streets."""
_LONE_DB = -2.0
"""Lone targets relative to buildings in a town."""


@dataclass(frozen=True)
class Built:
    """Bright targets, each one pixel: rows, columns, dB above the ground (VV), and the direction of its walls."""

    town: NDArray[np.bool_]
    """(y, x)"""
    row: NDArray[np.intp]
    column: NDArray[np.intp]
    gain_db: NDArray[np.float32]
    wall_rad: NDArray[np.float32]
    """azimuth of the walls' normals"""

    def added(self, heading_deg: float, level_db: float, below_db: float) -> Raster:
        """(y, x) linear power added to a pass along that heading, spread over the 20 m of the resolution.

        Args:
            level_db: VV of the ground.
            below_db: how far the polarisation's targets lie below those of VV.
        """
        # walls that face the line of sight: cos² of twice the angle, over a floor of a tenth
        angle = self.wall_rad - np.radians(heading_deg - 90.0)
        facing = 0.1 + 0.9 * np.cos(2 * angle).clip(0) ** 2
        power = 10 ** ((level_db + self.gain_db - below_db) / 10) * facing
        found = np.zeros(self.town.shape, dtype=np.float32)
        np.add.at(found, (self.row, self.column), power.astype(np.float32))
        return np.asarray(ndimage.gaussian_filter(found, 0.65, truncate=3.0), dtype=np.float32)


def settle(
    slope_rad: Raster,
    water: NDArray[np.bool_],
    step_m: float,
    switches: Settlements,
    rng: np.random.Generator,
) -> Built:
    """Towns on the flattest dry ground, and lone targets anywhere on land."""
    shape = slope_rad.shape
    broad = ndimage.gaussian_filter(slope_rad, 6.0) + 0.04 * fractal_field(shape, 2.8, rng)
    broad[water] = np.inf
    town = (broad < np.quantile(broad, switches.town_share)) & ~water
    density = np.where(town, _BUILT, 0.0)
    lone = switches.lone_per_km2 * step_m**2 / 1e6
    chance = rng.random(shape, dtype=np.float32)
    row, column = np.nonzero((chance < np.maximum(density, lone)) & ~water)
    gain = rng.normal(switches.building_db, switches.building_sd_db, len(row))
    inside = town[row, column]
    gain += np.where(inside, 0.0, _LONE_DB)
    districts = rng.uniform(0, np.pi / 2, (shape[0] // _STREETS_PX + 1, shape[1] // _STREETS_PX + 1))
    wall = np.where(
        inside, districts[row // _STREETS_PX, column // _STREETS_PX], rng.uniform(0, np.pi / 2, len(row))
    )
    return Built(town, row, column, gain.astype(np.float32), wall.astype(np.float32))
