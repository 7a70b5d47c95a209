"""`cube.slidecube`: decibels, passes before and after the event, log-ratio, plot."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import pipeline.cube.accessor  # noqa: F401
from pipeline.errors import CubeError
from tests.small_cube import EVENT, small_cube


@pytest.fixture(scope="module")
def cube() -> xr.Dataset:
    return small_cube(96)


def test_decibels_are_ten_times_the_logarithm_and_none_where_there_is_no_power(cube: xr.Dataset) -> None:
    decibels = cube.slidecube.db("vv")
    value = float(cube.vv[0, 60, 60])
    assert float(decibels[0, 60, 60]) == pytest.approx(10 * np.log10(value))
    assert np.isnan(decibels[:, 45, 45]).sum() == 1 and decibels.attrs["units"] == "dB"


def test_passes_are_separated_by_the_event_and_by_track(cube: xr.Dataset) -> None:
    assert (cube.slidecube.before().timestep < EVENT).all() and (
        cube.slidecube.after().timestep > EVENT
    ).all()
    assert cube.slidecube.before().sizes["timestep"] + cube.slidecube.after().sizes["timestep"] == 7
    assert cube.slidecube.tracks == (46, 68)
    assert set(cube.slidecube.before(track=68).relative_orbit.values) == {68}


def test_a_pass_during_a_long_event_is_neither_before_nor_after(cube: xr.Dataset) -> None:
    first = np.datetime_as_string(cube.timestep.values[0], unit="s")
    long = cube.assign_attrs(event=f'{{"start": "{first}Z", "end": "2018-09-05T21:07:59+00:00"}}')
    assert long.slidecube.before().sizes["timestep"] == 0
    assert long.slidecube.after().sizes["timestep"] == 1


def test_the_log_ratio_is_the_change_of_medians_on_one_track(cube: xr.Dataset) -> None:
    change = cube.slidecube.log_ratio("vv")
    assert change.dims == ("y", "x") and change.attrs["track"] == 46
    landslide = cube.landslides == 1
    assert float(change.where(landslide).median()) == pytest.approx(5.0, abs=0.7)
    assert float(change.where(cube.landslides == 0).median()) == pytest.approx(0.0, abs=0.5)
    assert np.isnan(change[:, 0]).all()
    gaps = cube.vv.values.copy()
    gaps[np.random.default_rng(1).random(gaps.shape) < 0.3] = np.nan
    gapped = cube.assign(vv=(cube.vv.dims, gaps))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # pixels that no pass sees
        after, before = (
            np.nanmedian(passes.slidecube.db("vv").values, axis=0)
            for passes in (gapped.slidecube.after(46), gapped.slidecube.before(46))
        )
    for given in (gapped, gapped.chunk(timestep=1, y=16)):
        np.testing.assert_allclose(given.slidecube.log_ratio("vv").values, after - before, atol=1e-5)


@pytest.mark.parametrize(
    ("spoil", "call"),
    [
        (lambda c: c.assign_attrs(event="yesterday"), lambda c: c.slidecube.event),
        (lambda c: c.drop_vars("vh"), lambda c: c.slidecube.db("vh")),
        (lambda c: c, lambda c: c.slidecube.before(track=7)),
        (lambda c: c, lambda c: c.slidecube.log_ratio(track=68)),
        (lambda c: c.isel(timestep=slice(0, 3)), lambda c: c.slidecube.log_ratio()),
        (lambda c: c.drop_vars("relative_orbit"), lambda c: c.slidecube.tracks),
        (lambda c: c, lambda c: c.slidecube.plot("vv")),
    ],
)
def test_what_a_cube_lacks_is_named(cube: xr.Dataset, spoil: object, call: object) -> None:
    with pytest.raises(CubeError):
        call(spoil(cube))  # type: ignore[operator]


def test_a_map_is_plotted_over_hillshade_with_outlines(cube: xr.Dataset, tmp_path: Path) -> None:
    from matplotlib import pyplot

    axes = cube.slidecube.plot()
    assert len(axes.images) == 2 and axes.collections
    assert axes.get_xlim() == (500_000.0, 500_960.0)
    axes.figure.savefig(tmp_path / "map.png")
    pyplot.close(axes.figure)
