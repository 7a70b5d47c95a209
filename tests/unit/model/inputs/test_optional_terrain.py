"""Channels by which one network takes cubes with and without an elevation model."""

from __future__ import annotations

import numpy as np
import pytest

from model.inputs.channel_statistics import Statistics
from model.inputs.channels.terrain_channels import SLOPE_IF_KNOWN, SLOPE_STEP
from model.inputs.cube_channels import CubeChannels
from model.inputs.inputs import Inputs
from model.inputs.selection import select
from model.inputs.windows import whole
from pipeline.errors import ModelError
from tests.small_cube import small_cube

INPUTS = Inputs(terrain=(), further=SLOPE_IF_KNOWN)


def channels_of(cube):
    """(channel, y, x) standardised by the scene, and whether valid; channels as read"""
    source = CubeChannels(cube, INPUTS, select(cube, INPUTS))
    values = source.read(whole(source.shape))
    scaled, valid = Statistics.of(source, INPUTS.channels, (whole(source.shape),)).standardise(values)
    return values, scaled, valid


def test_a_known_slope_is_given_in_its_own_units():
    cube = small_cube(64)
    values, scaled, valid = channels_of(cube)
    slope, known = values[-2:]
    assert np.allclose(slope[valid], cube.dem_slope_radians.values[valid] / SLOPE_STEP)
    assert (known[valid] == 1).all()
    assert np.allclose(scaled[-2:, valid], values[-2:, valid])


def test_a_cube_without_a_slope_is_told_apart_and_stays_valid():
    cube = small_cube(64)
    with_slope = channels_of(cube)[2]
    values, scaled, valid = channels_of(cube.drop_vars(["dem", "dem_slope_radians"]))
    assert np.array_equal(valid, with_slope) and valid.any()
    assert (values[-1, valid] == 0).all() and (scaled[-2:, valid] == 0).all()


def test_pixels_without_a_slope_stay_valid():
    cube = small_cube(64)
    holes = cube.dem_slope_radians.copy()
    holes[20:30, 20:30] = np.nan
    values, scaled, valid = channels_of(cube.assign(dem_slope_radians=holes))
    assert valid[20:30, 20:30].all()
    assert (values[-1, 20:30, 20:30] == 0).all() and (scaled[-2, 20:30, 20:30] == 0).all()


def test_a_cube_must_have_what_is_not_optional():
    assert "dem_slope_radians" in INPUTS.variables and "dem_slope_radians" not in INPUTS.required
    needing = Inputs(terrain=("slope",), further=SLOPE_IF_KNOWN)
    assert "dem_slope_radians" in needing.required
    with pytest.raises(ModelError, match="dem_slope_radians"):
        needing.require(small_cube(64).drop_vars("dem_slope_radians"))
