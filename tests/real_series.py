"""Recorded OPERA RTC-S1 series as cubes: a landslide before and after, and places where nothing happened."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
import xarray as xr
from pyproj import CRS

ENGA_EVENT = "2024-05-24T14:00:00Z"
ENGA = "rtc_enga_after_2024/enga_track9.npz"
ENGA_BEFORE = "rtc_enga_opera/tests/test_data"
CALIFORNIA = "rtc_california_opera/cropped"


def series_cube(
    power: dict[str, np.ndarray],
    instants: Sequence[str],
    corner: tuple[float, float],
    epsg: int,
    *,
    event: str,
    area: str,
    track: int,
    pixel_m: float = 30.0,
) -> xr.Dataset:
    """A cube of one track.

    Args:
        power: (timestep, y, x) gamma0 by polarisation.
        corner: x of the left and y of the upper edge.
    """
    count, height, width = next(iter(power.values())).shape
    return xr.Dataset(
        {name: (("timestep", "y", "x"), values.astype(np.float32)) for name, values in power.items()},
        coords={
            "timestep": np.array([np.datetime64(text, "us") for text in instants]),
            "y": corner[1] - pixel_m * (0.5 + np.arange(height)),
            "x": corner[0] + pixel_m * (0.5 + np.arange(width)),
            "relative_orbit": ("timestep", np.full(count, track)),
            "sat:orbit_state": ("timestep", np.array(["ascending"] * count, dtype=object)),
            "pass_id": ("timestep", np.array([f"{area}_{text}" for text in instants], dtype=object)),
            "spatial_ref": ((), 0, CRS.from_epsg(epsg).to_cf()),
        },
        attrs={
            "schema": "slidecube-1",
            "area": area,
            "event": json.dumps({"start": event, "end": event}),
            "attribution": "contains modified Copernicus Sentinel data; NASA/JPL OPERA RTC-S1",
        },
    )


def enga(shared_data: Path) -> xr.Dataset:
    """Track 9 over the landslide of 24 May 2024, with its outline: 8 passes before and 5 after."""
    data = np.load(shared_data / ENGA)
    cube = series_cube(
        {name: data[name] for name in ("vv", "vh")},
        [f"{day}T08:47:48" for day in data["date"]],
        (float(data["x_left"]), float(data["y_top"])),
        int(data["epsg"]),
        event=ENGA_EVENT,
        area="enga",
        track=9,
    )
    labels = (data["landslide_fraction"] >= 0.5).astype(np.float32)
    return cube.assign(landslides=(("y", "x"), labels))


def quiet_stacks(shared_data: Path) -> dict[str, xr.Dataset]:
    """Recorded stacks in which nothing happened, by name; their event is a placeholder."""
    found = {}
    bursts: dict[str, list[Path]] = {}
    for path in sorted((shared_data / CALIFORNIA).rglob("*_VV.tif")):
        bursts.setdefault(re.findall(r"T137-(\d+)-", path.name)[0], []).append(path)
    for burst, files in bursts.items():
        found[f"California {burst}"] = _stack(files, f"california-{burst}", 137, ("VV", "VH"))
    tests = shared_data / ENGA_BEFORE
    despeckled = sorted((tests / "T009_019294_IW2_cropped_tv").glob("*_VV_*.tif"))
    found["Enga before, despeckled"] = _stack(despeckled, "enga-despeckled", 9, ("VV", "VH"))
    raw = sorted((tests / "T009_019294_IW2_cropped").glob("*_VH_*.tif"))
    found["Enga before, VH as processed"] = _stack(raw, "enga-raw", 9, ("VH",))
    return found


def _stack(files: Sequence[Path], area: str, track: int, polarisations: Sequence[str]) -> xr.Dataset:
    power, first = {}, polarisations[0]
    files = sorted(files, key=lambda path: path.name.split("_")[4])
    for name in polarisations:
        layers = []
        for path in files:
            with rasterio.open(path.with_name(re.sub(f"_{first}(?=[_.])", f"_{name}", path.name))) as source:
                layers.append(source.read(1))
                corner, epsg = (source.transform.c, source.transform.f), source.crs.to_epsg()
        power[name.lower()] = np.stack(layers)
    instants = [
        re.sub(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z", r"\1-\2-\3T\4:\5:\6", p.name.split("_")[4])
        for p in files
    ]
    return series_cube(power, instants, corner, epsg, event="2000-01-01T00:00:00Z", area=area, track=track)


def with_event_before(cube: xr.Dataset, number: int, before: int) -> xr.Dataset:
    """The cube's pass `number` as the first after an event, with the `before` passes before it."""
    part = cube.isel(timestep=slice(max(0, number - before), number + 1))
    instant = str(part.timestep.values[-1] - np.timedelta64(1, "h"))[:19] + "Z"
    return part.assign_attrs(event=json.dumps({"start": instant, "end": instant}))
