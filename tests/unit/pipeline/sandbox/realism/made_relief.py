"""Terrain of a known form, for the tests of single effects."""

from __future__ import annotations

import numpy as np

from pipeline.grid import Grid
from pipeline.sandbox.earth.realism.random_fields import Raster
from pipeline.sandbox.earth.topography import Relief

STEP_M = 10.0


def grid_of(shape: tuple[int, int]) -> Grid:
    return Grid(
        epsg=32654, resolution_m=STEP_M, left=500_000.0, top=4_700_000.0, width=shape[1], height=shape[0]
    )


def relief_of(elevation_m: Raster) -> Relief:
    """The terrain without water."""
    rows, columns = np.gradient(elevation_m.astype(np.float64), STEP_M)
    return Relief(
        grid_of((elevation_m.shape[0], elevation_m.shape[1])),
        elevation_m.astype(np.float32),
        np.zeros(elevation_m.shape, dtype=bool),
        np.arctan(np.hypot(rows, columns)).astype(np.float32),
        np.arctan2(-columns, rows).astype(np.float32),
    )


def ridges(shape: tuple[int, int], slope_deg: float, length_px: int) -> Raster:
    """(y, x) roofs whose ridges run from north to south."""
    saw = np.abs((np.arange(shape[1]) % length_px) - length_px / 2)
    return np.tile(saw * STEP_M * np.tan(np.radians(slope_deg)), (shape[0], 1)).astype(np.float32)
