"""The calibration restores probabilities that were scaled and shifted; pixels of one kind are refused."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from scipy.special import expit, logit

from model.bundle.expected_scores import ExpectedScore, expected_for, scored_cases
from model.inputs.inputs import EventSpan, Inputs
from model.inputs.pass_subsets import PassSubset, in_directions, limit_passes, passes_by_view
from model.inputs.selection import PassUsed, Selection, View
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
    row, words = expected_for(rows, passes(4, 1))
    assert row == rows[0] and "4 passes before" in words and "1 after" in words and "0.200" in words
    row, words = expected_for(rows, passes(4, 3))
    assert row is None and "never scored" in words and "4 before" in words and "2 after" in words
    assert expected_for((), passes(1, 1))[0] is None


def view(direction: str, before: int, after: int) -> View:
    used = PassUsed(index=0, instant=datetime(2018, 9, 6, tzinfo=UTC), id="p", valid=1.0)
    return View(track=direction, direction=direction, before=before * (used,), after=after * (used,))


def passes(before: int, after: int, *more: View) -> Selection:
    """A descending view of so many passes, and further views."""
    first = view("descending", before, after)
    span = EventSpan(start=first.before[0].instant, end=first.before[0].instant)
    return Selection(
        event=span, track="both", before=first.before, after=first.after, rule="", views=(first, *more)
    )


def test_each_case_of_views_and_passes_has_its_own_score():
    both = passes(4, 2, view("ascending", 3, 1))
    cases = [
        in_directions(both, ["descending"]),
        in_directions(both, ["ascending"]),
        limit_passes(both, 4, 1),
        both,
    ]
    rows = tuple(
        ExpectedScore(
            before=len(case.before), after=len(case.after), views=passes_by_view(case),
            auprc=0.1 * number, prevalence=0.05, f1=0.3, pixels=1000,
        )
        for number, case in enumerate(cases)
    )  # fmt: skip
    for row, case in zip(rows, cases, strict=True):
        found, words = expected_for(rows, case)
        assert found == row
        for each in case.every_view:
            assert f"{len(each.before)} {each.direction} passes before and {len(each.after)} after" in words
    # never scored: fewer passes of one view; the nearest case has the same views
    found, words = expected_for(rows, limit_passes(cases[0], 4, 1))
    assert found is None and "nearest case is 4 descending passes before and 2 after" in words
    assert [case.of(both) for case in scored_cases(both, Inputs(track="both", views="any"))] == [
        limit_passes(cases[0], None, 1), cases[0], cases[1], limit_passes(both, None, 1), both,
    ]  # fmt: skip
    assert len(scored_cases(both, Inputs(track="both"))) == 2
    assert PassSubset(after=3).of(both) is None
    assert PassSubset(after=1, directions=("ascending",)).of(cases[0]) is None
