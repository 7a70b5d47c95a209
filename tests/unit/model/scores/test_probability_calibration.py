"""The calibration restores probabilities that were scaled and shifted; pixels of one kind are refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from model.bundle.expected_scores import ExpectedScore, expected_for
from model.scores.probability_calibration import fitted
from pipeline.errors import ModelError


def world(pixels: int = 200_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """True probabilities, and labels drawn from them."""
    rng = np.random.default_rng(seed)
    probability = expit(rng.normal(-3.0, 2.0, pixels))
    return probability, rng.uniform(size=pixels) < probability


@pytest.mark.parametrize(("slope", "shift"), [(1.0, 0.0), (2.5, 2.0), (0.4, -1.0)])
def test_a_stretch_and_a_shift_of_the_log_odds_are_undone(slope, shift):
    probability, truth = world()
    predicted = expit(slope * logit(probability) + shift).astype(np.float32)
    found = fitted(predicted, truth)
    assert found.slope == pytest.approx(1 / slope, rel=0.05)
    assert found.intercept == pytest.approx(-shift / slope, abs=0.1)
    assert np.abs(found.apply(predicted) - probability).max() < 0.03
    assert found.error_after < 0.004
    fresh, happened = world(seed=1)
    calibrated = found.apply(expit(slope * logit(fresh) + shift).astype(np.float32))
    assert abs(calibrated.mean() - happened.mean()) < 0.003


def test_probabilities_of_exactly_0_and_1_do_no_harm():
    _, truth = world(1000)
    found = fitted(truth.astype(np.float32), truth)
    assert np.isfinite([found.slope, found.intercept]).all() and found.error_after < 1e-3


@pytest.mark.parametrize("value", [True, False])
def test_pixels_of_one_kind_cannot_calibrate(value):
    with pytest.raises(ModelError, match="one kind"):
        fitted(np.full(10, 0.5, np.float32), np.full(10, value))


def test_the_expected_score_is_of_the_case_or_of_none():
    rows = tuple(
        ExpectedScore(before=4, after=after, auprc=0.2 * after, prevalence=0.05, f1=0.3, pixels=1000)
        for after in (1, 2)
    )
    row, words = expected_for(rows, 4, 1)
    assert row == rows[0] and "4 passes before" in words and "1 after" in words and "0.200" in words
    row, words = expected_for(rows, 4, 3)
    assert row is None and "never scored" in words and "4 before" in words and "2 after" in words
    assert expected_for((), 1, 1)[0] is None
