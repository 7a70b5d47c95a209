"""The picture of a version: which passes it shows, and which of them are before the event."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr

from pipeline.cube.cube_quicklook import MAX_PASSES, draw


def cube(passes: int) -> xr.Dataset:
    times = np.datetime64("2018-06-01T00", "us") + np.arange(passes) * np.timedelta64(6, "D")
    values = np.random.default_rng(0).gamma(4.4, 0.05, (passes, 20, 30)).astype("float32")
    values[0, :5] = np.nan
    return xr.Dataset(
        {"vv": (("timestep", "y", "x"), values), "dem": (("y", "x"), np.ones((20, 30), "float32"))},
        coords={
            "timestep": times,
            "x": np.arange(30) * 10.0,
            "y": -np.arange(20) * 10.0,
            "sat:orbit_state": ("timestep", ["descending"] * passes),
            "relative_orbit": ("timestep", [46] * passes),
        },
        attrs={"event": json.dumps({"start": "2018-09-05T18:00:00Z", "end": "2018-09-05T18:00:00Z"})},
    )


def titles(passes: int) -> list[str]:
    return [axis.get_title() for axis in draw(cube(passes)).axes if axis.get_title()]


def test_every_pass_of_a_small_cube_has_a_panel() -> None:
    assert len(titles(4)) == 5
    assert all("before" in title for title in titles(4)[1:])


def test_of_many_passes_those_nearest_to_the_event_are_shown() -> None:
    shown = titles(30)[1:]
    assert len(shown) == MAX_PASSES
    assert {title.split(", ")[-1] for title in shown} == {"before", "after"}
    assert "2018-06-01" not in " ".join(shown)
