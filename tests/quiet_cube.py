"""A cube in which nothing happens but what a test plants: two tracks, speckle, slopes, passes before and after."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from pyproj import CRS

from tests.small_cube import DAY, EVENT, EVENT_JSON, HOUR

LEVEL_DB = {"vv": -8.0, "vh": -14.0}
TRACKS = {46: "descending", 68: "ascending", 119: "descending"}
LOOKS = 6.0


def quiet_cube(
    size: int = 128,
    *,
    before: int = 8,
    after: int = 1,
    tracks: Sequence[int] = (46,),
    pixel_m: float = 10.0,
    seed: int = 0,
    days: int = 12,
) -> xr.Dataset:
    """Passes of every track each 12 (`days`) days, the first after the event two hours or three days later.

    The terrain is a plane of 20 degrees that faces east; elevations rise from 0 in the east.
    """
    rng = np.random.default_rng(seed)
    passes = sorted(
        (
            EVENT
            + (number - before) * days * DAY
            + (2 + 70 * list(TRACKS).index(track)) * HOUR
            - (number < before) * DAY,
            track,
        )
        for track in tracks
        for number in range(before + after)
    )
    shape = (len(passes), size, size)
    power = {
        name: (10 ** (level / 10) * rng.gamma(LOOKS, 1 / LOOKS, shape)).astype(np.float32)
        for name, level in LEVEL_DB.items()
    }
    height = np.tan(np.deg2rad(20.0)) * pixel_m * np.arange(size)[::-1] * np.ones((size, 1))
    flat = np.ones((size, size), dtype=np.float32)
    return xr.Dataset(
        {
            **{name: (("timestep", "y", "x"), values) for name, values in power.items()},
            "dem": (("y", "x"), height.astype(np.float32)),
            "dem_slope_radians": (("y", "x"), np.float32(np.deg2rad(20.0)) * flat),
            "dem_aspect": (("y", "x"), np.float32(90.0) * flat),
        },
        coords={
            "timestep": np.array([instant for instant, _ in passes]),
            "y": 4_700_000.0 - pixel_m * (0.5 + np.arange(size)),
            "x": 500_000.0 + pixel_m * (0.5 + np.arange(size)),
            "relative_orbit": ("timestep", np.array([track for _, track in passes])),
            "sat:orbit_state": ("timestep", np.array([TRACKS[t] for _, t in passes], dtype=object)),
            "pass_id": ("timestep", np.array([f"pass_{i}" for i in range(len(passes))], dtype=object)),
            "spatial_ref": ((), 0, CRS.from_epsg(32654).to_cf()),
        },
        attrs={"schema": "slidecube-1", "area": "quiet", "event": EVENT_JSON, "license": "CC0-1.0"},
    )


def changed(
    cube: xr.Dataset, where: np.ndarray, passes: Sequence[int], vv_db: float = 0.0, vh_db: float = 0.0
) -> xr.Dataset:
    """The cube with the backscatter of some passes (positions on the time axis) changed in some pixels."""
    result = cube.copy(deep=True)
    for name, change in (("vv", vv_db), ("vh", vh_db)):
        for number in passes:
            result[name].values[number][where] *= np.float32(10 ** (change / 10))
    return result


def later(cube: xr.Dataset, track: int | None = None) -> list[int]:
    """Positions of the passes after the event, in order."""
    mine = (
        np.ones(cube.sizes["timestep"], dtype=bool) if track is None else cube.relative_orbit.values == track
    )
    return np.flatnonzero(mine & (cube.timestep.values > EVENT)).tolist()


def ellipse(size: int, row: float, column: float, rows: float, columns: float) -> np.ndarray:
    """(y, x) True inside."""
    y, x = np.mgrid[:size, :size]
    return ((y - row) / rows) ** 2 + ((x - column) / columns) ** 2 < 1
