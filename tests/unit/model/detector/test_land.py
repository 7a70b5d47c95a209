"""Statistics of a scene over land only."""

from __future__ import annotations

import numpy as np
import pytest

from model.detector.land import OverLand
from model.inputs.channel_statistics import Statistics
from model.inputs.cube_channels import CubeChannels
from model.inputs.inputs import Inputs
from model.inputs.selection import select
from model.inputs.windows import Box, whole
from tests.small_cube import small_cube

SEA = np.s_[100:200, 60:160]


def statistics(cube, inputs: Inputs, *, land: bool) -> dict[str, tuple[float, float]]:
    source = CubeChannels(cube, inputs, select(cube, inputs))
    given = OverLand(source, inputs.channels, cube) if land else source
    found = Statistics.of(given, inputs.channels, (whole(source.shape),))
    return dict(zip(found.channels, zip(found.mean, found.sd, strict=True), strict=True))


def test_open_water_does_not_count_in_the_statistics_of_a_scene():
    dry, inputs = small_cube(256), Inputs(terrain=("dem",))
    wet = dry.copy(deep=True)
    wet.vv.values[(slice(None), *SEA)] *= 10**-1.5  # 15 dB darker
    wet.vh.values[(slice(None), *SEA)] *= 10**-1.5
    wet.dem_slope_radians.values[SEA] = 0.0
    with_sea, over_land = (statistics(wet, inputs, land=land) for land in (False, True))
    before = statistics(dry, inputs, land=True)
    assert with_sea["vv_before"][1] > 1.5 * before["vv_before"][1]
    assert over_land["vv_before"][1] == pytest.approx(before["vv_before"][1], rel=0.05)
    assert over_land["vv_before"][0] == pytest.approx(before["vv_before"][0], abs=0.05)
    assert before == statistics(dry, inputs, land=False)  # no water: nothing is left out


def test_dark_steep_ground_is_land_and_inputs_without_backscatter_know_no_water():
    cube = small_cube(128)
    cube.vv.values[:] *= 1e-2
    cube.vh.values[:] *= 1e-2
    cube.dem_slope_radians.values[:] = 0.0
    cube.dem_slope_radians.values[:64] = np.radians(20)
    inputs = Inputs(terrain=("dem",))
    source = CubeChannels(cube, inputs, select(cube, inputs))
    values = OverLand(source, inputs.channels, cube).read(Box(top=50, left=20, height=30, width=30))
    assert np.isfinite(values[:, :14]).all() and np.isnan(values[:, 14:]).all()
    plain = Inputs(backscatter=(), terrain=("dem", "slope"))
    source = CubeChannels(cube, plain, select(cube, plain))
    box = whole((128, 128))
    np.testing.assert_array_equal(OverLand(source, plain.channels, cube).read(box), source.read(box))
