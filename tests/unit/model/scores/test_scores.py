"""Average precision against torchmetrics, and the threshold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.network.torch_guard import torch
from model.scores.scores import Ranking, Tally
from pipeline.errors import ModelError


def reference_auprc(score, truth):
    from torchmetrics.functional.classification import binary_average_precision

    # scores outside 0..1 would be squashed, and ties made, by torchmetrics
    return float(
        binary_average_precision(
            torch.from_numpy(score.astype(np.float64)), torch.from_numpy(truth.astype(int))
        )
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 400), st.integers(0, 1000), st.sampled_from([2, 5, 1000]), st.floats(0.02, 0.9))
def test_average_precision_is_that_of_torchmetrics(size, seed, levels, share):
    rng = np.random.default_rng(seed)
    truth = rng.random(size) < share
    truth[0] = True
    score = (np.round((rng.random(size) * 0.7 + 0.3 * truth) * levels) / levels).astype(np.float32)
    assert Ranking.of(score, truth).auprc == pytest.approx(reference_auprc(score, truth), abs=1e-6)


def test_a_constant_map_scores_the_prevalence_and_a_perfect_one_scores_1():
    truth = np.arange(1000) < 30
    flat = Ranking.of(np.full(1000, 0.5, np.float32), truth).scores()
    assert flat.auprc == flat.prevalence == 0.03
    assert flat.lift == 1
    perfect = Ranking.of(truth.astype(np.float32), truth).scores()
    assert (perfect.auprc, perfect.f1, perfect.threshold) == (1, 1, 1)


def test_the_threshold_is_the_one_with_the_largest_f1():
    rng = np.random.default_rng(1)
    truth = rng.random(3000) < 0.1
    score = (rng.normal(0, 1, 3000) + 1.5 * truth).astype(np.float32)
    chosen = Ranking.of(score, truth).scores()

    def f1(threshold):
        mapped = score >= threshold
        return 2 * (mapped & truth).sum() / (mapped.sum() + truth.sum())

    assert chosen.f1 == pytest.approx(f1(chosen.threshold))
    assert chosen.f1 == pytest.approx(max(f1(t) for t in np.unique(score)))
    elsewhere = Ranking.of(score, truth).scores(threshold=0.123)
    assert elsewhere.f1 == pytest.approx(f1(0.123))
    assert Ranking.of(score, truth).scores(threshold=99.0).recall == 0
    assert len(chosen.curve) <= 202
    recalls = [point.recall for point in chosen.curve]
    assert recalls == sorted(recalls)
    assert recalls[-1] == 1


def test_counting_in_classes_is_good_to_a_ten_thousandth():
    rng = np.random.default_rng(2)
    truth = rng.random(50_000) < 0.03
    score = (1 / (1 + np.exp(-(rng.normal(-4, 1.5, truth.size) + 3 * truth)))).astype(np.float32)
    tally = Tally(1.0)
    for part in np.array_split(np.arange(truth.size), 7):
        tally.add(score[part], truth[part])
    assert tally.ranking().auprc == pytest.approx(Ranking.of(score, truth).auprc, abs=1e-4)
    assert tally.ranking().pixels == truth.size
    assert not Tally(1.0).has_landslides


def test_nothing_to_score_is_an_error():
    with pytest.raises(ModelError, match="no landslide"):
        Ranking.of(np.zeros(5, np.float32), np.zeros(5, bool))
    with pytest.raises(ModelError, match="no landslide"):
        Ranking.of(np.zeros(0, np.float32), np.zeros(0, bool))
    with pytest.raises(ModelError, match="finite"):
        Ranking.of(np.array([np.nan], np.float32), np.ones(1, bool))
