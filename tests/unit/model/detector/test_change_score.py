"""The arithmetic of the change score, with values by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from model.detector.change_score import (
    change_score,
    fused,
    halo_px,
    history,
    left_out_scores,
    smoothed_db,
)

NAN = np.float32(np.nan)


def test_the_spatial_mean_is_of_decibels_over_valid_pixels_and_leaves_holes():
    power = np.full((21, 21), 0.1, dtype=np.float32)
    power[10, 10] = 0.0
    power[3, 3] = np.nan
    found = smoothed_db(power, (2.0, 2.0))
    assert np.isnan(found[10, 10]) and np.isnan(found[3, 3])
    known = np.isfinite(found)
    assert known.sum() == 21 * 21 - 2
    np.testing.assert_allclose(found[known], -10.0, atol=1e-5)
    np.testing.assert_allclose(smoothed_db(power, (0.0, 0.0))[known], -10.0, atol=1e-6)


def test_a_bright_pixel_spreads_by_the_gaussian_in_decibels():
    power = np.ones((31, 31), dtype=np.float32)
    power[15, 15] = 100.0  # 20 dB
    found = smoothed_db(power, (1.0, 2.0))
    offsets = [np.arange(-halo_px(s), halo_px(s) + 1) for s in (1.0, 2.0)]
    weights = [np.exp(-0.5 * (o / s) ** 2) for o, s in zip(offsets, (1.0, 2.0), strict=True)]
    expected = 20.0 * np.outer(*[w / w.sum() for w in weights])
    np.testing.assert_allclose(found[12:19, 9:22], expected, atol=1e-5)


def test_the_variance_is_shrunk_towards_the_scene_by_the_prior():
    before = np.array([[1.0, 5.0], [3.0, NAN], [5.0, NAN]], dtype=np.float32)
    past = history(before, scene_variance=2.0, prior_passes=8.0)
    assert past.count.tolist() == [3, 1]
    assert past.mean[0] == 3.0 and np.isnan(past.mean[1])
    assert past.variance[0] == pytest.approx((8.0 + 8.0 * 2.0) / (2 + 8.0))
    own = history(before[:, :1], scene_variance=2.0, prior_passes=0.0)
    assert own.variance[0] == pytest.approx(4.0)


def test_the_score_is_the_change_over_its_standard_error():
    before = np.array([[1.0], [3.0], [5.0]], dtype=np.float32)
    past = history(before, 2.0, 8.0)
    after = np.array([[9.0], [7.0], [NAN]], dtype=np.float32)
    one = change_score(after[:1], past, np.ones((1, 1), np.float32))
    assert one[0] == pytest.approx(6.0 / np.sqrt(2.4 * (1 / 3 + 1)))
    both = change_score(after, past, np.array([[1.0], [2.0], [1.0]], np.float32))
    assert both[0] == pytest.approx((6.0 / 1 + 4.0 / 2) / 2 / np.sqrt(2.4 * (1 / 3 + 1 / 2)))
    assert np.isnan(change_score(after[2:], past, np.ones((1, 1), np.float32))[0])


def test_a_pass_is_scored_against_the_others():
    before = np.array([[1.0], [3.0], [8.0]], dtype=np.float32)
    found = left_out_scores(before, 2.0, 8.0)
    past = history(before[:2], 2.0, 8.0)
    assert found[2, 0] == pytest.approx(6.0 / np.sqrt(past.variance[0] * (1 / 2 + 1)))


def test_scores_of_more_measurements_are_made_equally_rare():
    one, two = np.array([-3.0, 3.0, NAN], np.float32), np.array([4.0, NAN, NAN], np.float32)
    found = fused([one, two])
    assert found[0] == pytest.approx(5.0 * np.sqrt(chi2.ppf(0.999, 1) / chi2.ppf(0.999, 2)), rel=1e-5)
    assert found[1] == pytest.approx(3.0)
    assert np.isnan(found[2])
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((4, 400_000)).astype(np.float32)
    rare = [np.quantile(fused(list(noise[:count])), 0.999) for count in (1, 2, 4)]
    np.testing.assert_allclose(rare, np.sqrt(chi2.ppf(0.999, 1)), rtol=0.03)
