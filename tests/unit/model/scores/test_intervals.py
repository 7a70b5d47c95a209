"""Intervals over events hold the true mean as often as they say; the percentile bootstrap of few events does not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap

from model.scores.intervals import BlockCounts, interval, over_events, paired_difference
from pipeline.errors import ModelError

TRIALS = 4000


def coverage(events: int, comparisons: int = 1) -> float:
    """Share of drawn sets of normal values whose interval holds 0."""
    values = np.random.default_rng(events).standard_normal((TRIALS, events))
    found = [over_events(row, comparisons=comparisons) for row in values]
    return float(np.mean([each.lower <= 0 <= each.upper for each in found]))


@pytest.mark.parametrize("events", [3, 5, 8])
def test_the_interval_over_events_holds_the_mean_95_times_in_100(events):
    assert coverage(events) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("events", [3, 8])
def test_twenty_corrected_intervals_hold_together(events):
    assert coverage(events, comparisons=20) == pytest.approx(1 - 0.05 / 20, abs=0.004)


def test_resampling_three_events_holds_the_mean_less_often_than_it_says():
    rng = np.random.default_rng(0)
    held = dict.fromkeys(("percentile", "BCa"), 0)
    for _ in range(300):
        values = rng.standard_normal(3)
        for method in held:
            found = bootstrap((values,), np.mean, n_resamples=300, method=method, rng=rng).confidence_interval
            held[method] += bool(found.low <= 0 <= found.high)
    assert held["percentile"] / 300 < 0.85 and held["BCa"] / 300 < 0.9


def test_one_value_has_no_interval_over_events():
    with pytest.raises(ModelError):
        over_events([0.5])


def made(strength: float, seed: int) -> BlockCounts:
    rng = np.random.default_rng(seed)
    truth = rng.random(4000) < 0.1
    return BlockCounts.of(strength * truth + rng.standard_normal(4000), truth, np.arange(4000) // 250)


def test_several_events_have_an_interval_over_events_and_one_event_over_blocks():
    first = [made(2.0 + 0.3 * number, number) for number in range(4)]
    second = [made(1.0 + 0.3 * number, number) for number in range(4)]
    of_events = interval(first, events="abcd")
    assert (of_events.over, of_events.events, of_events.units) == ("events", 4, 4)
    means = [float(one.auprc()[0]) for one in first]
    assert of_events.mean == pytest.approx(np.mean(means))
    assert of_events.upper - of_events.mean == pytest.approx(3.182446 * np.std(means, ddof=1) / 2, rel=1e-5)
    assert interval(first, events="aaaa").over == "blocks" == interval(first).over
    two_seeds = interval(first, events="aabb")  # the mean of an event's networks counts once
    assert (two_seeds.events, two_seeds.units) == (2, 4) and two_seeds.lower >= 0
    alone = paired_difference(first, second, events="abcd")
    corrected = paired_difference(first, second, events="abcd", comparisons=10)
    assert alone.excludes_zero and corrected.comparisons == 10
    assert corrected.lower < alone.lower < alone.upper < corrected.upper
    blocks, wider = paired_difference(first, second), paired_difference(first, second, comparisons=10)
    assert wider.lower < blocks.lower and wider.upper > blocks.upper and wider.mean == blocks.mean
