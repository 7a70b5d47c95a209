"""A small synthetic cube for the tests of the model stage: in our schema, and in the form of the published ones."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import xarray as xr
from pyproj import CRS
from scipy.ndimage import gaussian_filter

EVENT = np.datetime64("2018-09-05T18:07:59", "us")
EVENT_JSON = json.dumps(
    {"kind": "earthquake", "start": "2018-09-05T18:07:59Z", "end": "2018-09-05T18:07:59Z", "source": "test"}
)
HOUR = np.timedelta64(3_600_000_000, "us")
DAY = 24 * HOUR
BORDER_PX = 6
"""columns at the left without data in any pass"""


def small_cube(size: int = 256, *, seed: int = 0, before: int = 3, after: int = 2) -> xr.Dataset:
    """Two tracks: 46 descending with `before` and `after` passes, 68 ascending with two passes before.

    The newest pass of track 46 is two hours after the event, on the same UTC day. Landslides are ellipses whose VV
    rises by 5 dB. The left border is without data, a stripe on the right was not mapped, one block of one pass is 0.
    """
    rng = np.random.default_rng(seed)
    shape = (size, size)
    dem = 500 + 80 * _smooth(rng, shape, 20)
    south, east = np.gradient(dem, 10.0)
    slope = np.arctan(np.hypot(south, east))
    aspect = np.degrees(np.arctan2(-east, south)) % 360
    labels = _ellipses(rng, shape)
    times, orbits, states, vv, vh = [], [], [], [], []
    steps = [(EVENT - (before - i) * 12 * DAY, 46, False) for i in range(before)]
    steps += [(EVENT - i * 12 * DAY - 9 * HOUR, 68, False) for i in (1, 2)]
    steps += [(EVENT + 2 * HOUR + i * 12 * DAY, 46, True) for i in range(after)]
    for instant, orbit, later in sorted(steps, key=lambda step: step[0]):
        times.append(instant)
        orbits.append(orbit)
        states.append("descending" if orbit == 46 else "ascending")
        speckle = rng.gamma(8.0, 1 / 8.0, (2, *shape))
        change = 5.0 * labels if later else 0.0
        vv.append(10 ** ((-8 + 0.5 * _smooth(rng, shape, 4) + change) / 10) * speckle[0])
        vh.append(10 ** ((-14 + 0.5 * _smooth(rng, shape, 4)) / 10) * speckle[1])
    power = np.stack([vv, vh]).astype(np.float32)
    power[..., :BORDER_PX] = np.nan
    power[:, 0, 40:50, 40:50] = 0.0
    mapped = labels.astype(np.float32)
    mapped[:, -8:] = np.nan
    return xr.Dataset(
        {
            "vv": (("timestep", "y", "x"), power[0]),
            "vh": (("timestep", "y", "x"), power[1]),
            "dem": (("y", "x"), dem.astype(np.float32)),
            "dem_slope_radians": (("y", "x"), slope.astype(np.float32)),
            "dem_aspect": (("y", "x"), aspect.astype(np.float32)),
            "dem_curvature": (("y", "x"), (100 * _smooth(rng, shape, 3)).astype(np.float32)),
            "landslides": (("y", "x"), mapped),
        },
        coords={
            "timestep": np.array(times),
            "y": 4_700_000.0 - 5 - 10.0 * np.arange(size),
            "x": 500_005.0 + 10.0 * np.arange(size),
            "relative_orbit": ("timestep", np.array(orbits)),
            "sat:orbit_state": ("timestep", np.array(states, dtype=object)),
            "pass_id": ("timestep", np.array([f"pass_{i}" for i in range(len(times))], dtype=object)),
            "spatial_ref": ((), 0, CRS.from_epsg(32654).to_cf()),
        },
        attrs={
            "schema": "slidecube-1",
            "area": "small",
            "event": EVENT_JSON,
            "simulated": True,
            "license": "CC0-1.0",
            "attribution": "labels by a test",
        },
    )


def _smooth(rng: np.random.Generator, shape: tuple[int, int], pixels: float) -> np.ndarray:
    field = gaussian_filter(rng.standard_normal(shape), pixels, mode="wrap")
    return field / field.std()


def _ellipses(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    labels = np.zeros(shape, dtype=bool)
    for top in range(16, shape[0], 32):
        for left in range(16, shape[1], 32):
            dy, dx = rows - top - rng.integers(-8, 9), columns - left - rng.integers(-8, 9)
            labels |= (dy / 7) ** 2 + (dx / 3.5) ** 2 < 1
    return labels


def write(cube: xr.Dataset, path: Path) -> Path:
    """As Zarr v3."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # strings in Zarr v3 have no specification yet
        cube.to_zarr(path, zarr_format=3, mode="w")
    return path


def write_published(cube: xr.Dataset, path: Path) -> Path:
    """Track 46 as the published cubes are: Zarr v2, orbit states 'd', unsorted times, label NaN outside, no event."""
    published = cube.isel(timestep=np.flatnonzero(cube.relative_orbit.values == 46))
    published = published.isel(timestep=slice(None, None, -1))
    count = published.sizes["timestep"]
    published = published.drop_vars(["relative_orbit", "pass_id", "spatial_ref", "sat:orbit_state"])
    published = published.assign_coords(
        {"sat:orbit_state": ("timestep", np.array(["d"] * count, dtype="U1"))}
    )
    published = published.assign_coords(epsg=32654)
    published["landslides"] = published.landslides.where(published.landslides > 0)
    published.attrs = {}
    for name in published.variables:
        published[name].encoding.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        published.to_zarr(path, zarr_format=2, mode="w", consolidated=True)
    return path
