"""Channels of a pixel's surroundings: the change at several scales, and passes after the multi-temporal filter."""

from __future__ import annotations

import numpy as np
import pytest

from model.inputs.change import QUEGAN_PX, SCALES_PX, local_mean, multitemporal
from model.inputs.cube_channels import CubeChannels
from model.inputs.inputs import Inputs
from model.inputs.selection import select
from model.inputs.windows import Box, whole
from pipeline.errors import ModelError
from tests.small_cube import small_cube

INPUTS = Inputs(change=("log_ratio", "scales", "quegan"), terrain=("slope",))


def test_a_window_has_the_surroundings_of_the_whole_scene():
    cube = small_cube(160)
    source = CubeChannels(cube, INPUTS, select(cube, INPUTS))
    every = source.read(whole(source.shape))
    for box in (Box(top=50, left=60, height=31, width=40), Box(top=0, left=120, height=20, width=40)):
        np.testing.assert_allclose(source.read(box), every[:, *box.slices], rtol=1e-5, atol=1e-6)
    names = list(INPUTS.channels)
    ratio = every[names.index("vv_log_ratio")]
    for size in SCALES_PX:
        around = every[names.index(f"vv_log_ratio_{size}")]
        half = size // 2
        box = np.s_[80 - half : 80 + half + 1, 90 - half : 90 + half + 1]
        assert around[80, 90] == pytest.approx(np.nanmean(ratio[box]), rel=1e-4)
        assert (np.isfinite(around) == np.isfinite(ratio)).all()


def test_the_filter_smooths_speckle_keeps_means_and_what_all_passes_share():
    rng = np.random.default_rng(0)
    bright = np.ones((64, 64))
    bright[30:34, 30:34] = 8.0
    passes = [bright * rng.gamma(4.0, 1 / 4.0, bright.shape) for _ in range(12)]
    before, after = multitemporal(passes[:6], passes[6:])
    plain = np.log(passes[6:]).mean(axis=0)
    assert after[:20].std() < 0.75 * plain[:20].std()
    assert after[:20].mean() == pytest.approx(0.0, abs=0.05)  # ln of the mean power, not the mean of ln
    assert after[31:33, 31:33].mean() > 1.0
    # what is common to all passes leaves their difference: that is the change of the local means
    local = [np.log(local_mean(one, QUEGAN_PX)) for one in passes]
    expected = np.mean(local[6:], axis=0) - np.mean(local[:6], axis=0)
    np.testing.assert_allclose(after - before, expected, atol=1e-5)
    with pytest.raises(ModelError):
        multitemporal([], passes)


def test_a_pixel_without_data_has_no_filtered_value_and_spoils_no_neighbour():
    passes = [np.ones((20, 20)) for _ in range(4)]
    for one in passes:
        one[5, 5] = np.nan
    before, after = multitemporal(passes[:2], passes[2:])
    assert np.isnan(before[5, 5]) and np.isnan(after[5, 5])
    assert np.isfinite(np.delete(after.ravel(), 5 * 20 + 5)).all()
    np.testing.assert_allclose(after[4, 4], 0.0, atol=1e-6)
