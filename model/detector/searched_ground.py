"""What is not searched: flat terrain, water, and what a track does not see."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from model.detector.detector_plan import DetectorPlan
from model.inputs.selection import View
from model.inputs.windows import Box

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

WATER_DB = {"vv": -12.0, "vh": -23.0}
"""Water is darker than this in every polarisation, in the mean of the passes before the event. VH of open water lies
near the noise of Sentinel-1 (noise equivalent sigma0 at most -22 dB, ESA's Sentinel-1 product specification), and wind
hardly raises it; VV rises with the wind, so that its limit alone would take in dry bare ground."""
WATER_ALONE_DB = {"vv": -17.0, "vh": -24.0}
"""the limits where the cube has one polarisation"""
STEEPEST_WATER_DEG = 10.0
"""steeper ground is no water: elevation models leave some relief on rivers and shores"""


def layer(cube: xr.Dataset, name: str, box: Box) -> Array | None:
    """(y, x) values of a variable without a time axis; None where the cube does not have it."""
    if name not in cube:
        return None
    rows, columns = box.slices
    return np.asarray(cube[name].isel(y=rows, x=columns).values, dtype=np.float32)


def unseen(cube: xr.Dataset, view: View, box: Box) -> Mask | None:
    """(y, x) layover and shadow of a track; None where the cube does not have them."""
    name = "layover_shadow"
    if name not in cube or cube[name].dims != ("track", "y", "x") or "track" not in cube.coords:
        return None
    known = [int(v) for v in cube["track"].values]
    if view.relative_orbit not in known:
        return None
    rows, columns = box.slices
    values = cube[name].isel(track=known.index(int(view.relative_orbit or 0)), y=rows, x=columns).values
    return np.asarray(values) > 0


def water(before_db: dict[str, Array], slope: Array | None) -> Mask:
    """Persistently dark in every polarisation that the cube has, and not steep where the slope is known.

    Args:
        before_db: mean of the passes before the event, for each polarisation; NaN does not count as dark.
    """
    limits = WATER_DB if len(before_db) > 1 else WATER_ALONE_DB
    dark = np.ones(next(iter(before_db.values())).shape, dtype=bool)
    for name, values in before_db.items():
        dark &= values < limits[name]  # a comparison with NaN is False
    if slope is not None:
        dark &= ~(np.degrees(slope) >= STEEPEST_WATER_DEG)
    return dark


def slope_weight(slope: Array | None, plan: DetectorPlan) -> Array | None:
    """By how much a change of this size counts on each pixel, in `plan.gentle_weight` to 1; 1 where the slope is not
    known.

    Landslides of earthquakes and of rain are rare on gentle slopes, where fields, rivers and towns change.
    """
    if slope is None or plan.gentle_weight == 1:
        return None
    limits = plan.gentle_slope_deg, plan.steep_slope_deg
    found = np.interp(np.degrees(slope), limits, (plan.gentle_weight, 1.0)).astype(np.float32)
    return np.where(np.isfinite(slope), found, np.float32(1))


def flat(slope: Array | None, smallest_deg: float) -> Mask | None:
    """Flatter than the limit; where the slope is not known, it does not count as flat."""
    return None if slope is None else np.degrees(slope) < smallest_deg
