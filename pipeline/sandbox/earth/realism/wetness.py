"""Rain and moisture, and wet snow, by pass and cover."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.sandbox.earth.realism.random_fields import Raster, smooth_field
from pipeline.sandbox.earth.realism.switches import Rain, Snow

_TRANSITION_M = 25.0


def rain_db(
    rain: Rain, open_ground: Raster, step_m: float, polarisation: str, rng: np.random.Generator
) -> Raster:
    """(y, x) change in dB of one pass by rain: a field of that pass, weaker over forest and in VH.

    `open_ground` (y, x) is 0 over forest and 1 over open ground. The two polarisations of a pass share the field: give
    them generators of one seed. A dry pass has none.
    """
    wet, strength, extent = (
        rng.uniform(),
        rng.uniform(*rain.strength_db),
        rng.uniform(*np.log(rain.extent_km)),
    )
    if wet >= rain.wet_passes:
        return np.zeros(open_ground.shape, dtype=np.float32)
    # the extent of a cell of rain is about four times the correlation length
    field = smooth_field(open_ground.shape, max(1.0, 250.0 * float(np.exp(extent)) / step_m), rng)
    # the rms of mean and deviation together is the strength
    response = np.float32(rain.forest) + np.float32(1 - rain.forest) * open_ground
    scale = np.float32(strength * (rain.vh if polarisation == "vh" else 1.0))
    return np.asarray(scale * response * (np.float32(0.6) + np.float32(0.8) * field), dtype=np.float32)


def snow_db(
    snow: Snow,
    elevation_m: Raster,
    line_m: float,
    open_ground: Raster,
    rng: np.random.Generator,
) -> Raster:
    """(y, x) change in dB of one pass by wet snow above a line around `line_m`; a pass without wet snow has none."""
    wet, line = rng.uniform(), line_m + rng.normal(0, snow.wander_m)
    if wet >= snow.passes:
        return np.zeros(elevation_m.shape, dtype=np.float32)
    above = 1 / (1 + np.exp(-np.clip((elevation_m - line) / _TRANSITION_M, -30, 30)))
    ground = np.float32(snow.forest_db) + np.float32(snow.open_db - snow.forest_db) * open_ground
    return np.asarray(above * ground, dtype=np.float32)


def snow_line_m(snow: Snow, elevation_m: Raster, water: NDArray[np.bool_]) -> float:
    """Elevation in metres below which the stated share of the land lies."""
    return float(np.quantile(elevation_m[~water], snow.line))
