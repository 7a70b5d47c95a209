"""Every figure of an evaluation, against scikit-learn, torchmetrics or by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve, roc_auc_score

from model.network.torch_guard import torch
from model.scores.evaluation import ScoredPixels, calibration_error, evaluate
from pipeline.errors import ModelError

PIXEL = (10.0, 10.0)


@pytest.fixture
def scene():
    rng = np.random.default_rng(0)
    labels = np.zeros((200, 260), np.uint8)
    for _ in range(25):
        y, x = rng.integers(0, 180), rng.integers(0, 120)
        labels[y : y + rng.integers(2, 16), x : x + rng.integers(2, 12)] = 1
    score = 1 / (1 + np.exp(-(rng.normal(-3, 1.2, labels.shape) + 3 * labels)))
    counted = rng.random(labels.shape) < 0.95
    counted[:20] = False
    labels[:5] = 255
    return score.astype(np.float32), labels, counted


def test_pixel_scores_are_those_of_scikit_learn(scene):
    score, labels, counted = scene
    found = evaluate(score, ScoredPixels(labels, counted, PIXEL), 0.3)
    truth, values = labels[counted] == 1, score[counted]
    assert found.scene.auprc == pytest.approx(average_precision_score(truth, values), abs=1e-9)
    assert found.scene.f1 == pytest.approx(f1_score(truth, values >= 0.3))
    assert found.scene.pixels == counted.sum()
    assert found.scene.lift == pytest.approx(found.scene.auprc / truth.mean())
    precision, recall, _ = precision_recall_curve(truth, values)
    best = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))
    assert found.best_f1 == pytest.approx(best)
    assert found.best_f1 >= found.scene.f1


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_ties_and_narrow_floats_are_exact(scene, kind):
    score, labels, counted = scene
    coarse = (np.round(score * 8) / 8).astype(kind)
    found = evaluate(coarse, ScoredPixels(labels, counted, PIXEL), 0.375)
    truth, values = labels[counted] == 1, coarse[counted].astype(np.float64)
    assert found.scene.auprc == pytest.approx(average_precision_score(truth, values), abs=1e-12)
    assert found.scene.f1 == pytest.approx(f1_score(truth, values >= 0.375))


def test_a_threshold_between_two_narrow_floats_is_not_rounded():
    score = np.array([[0.3, 0.2, 0.1, 0.1]], np.float16)
    labels = np.array([[1, 0, 0, 0]], np.uint8)
    counted = np.ones((1, 4), bool)
    above = float(score[0, 0]) + 1e-6  # nearest float16 is the score itself
    found = evaluate(score, ScoredPixels(labels, counted, PIXEL), above)
    assert found.scene.recall == 0
    assert sum(c.found for c in found.recall_by_size) == 0


def test_chip_scores_are_over_chips_that_hold_a_landslide(scene):
    score, labels, counted = scene
    found = evaluate(score, ScoredPixels(labels, counted, PIXEL), 0.3, chip_px=64)
    inside = np.zeros(labels.shape, bool)
    empty = 0
    alarms = []
    for top in range(0, 200, 64):
        for left in range(0, 260, 64):
            chip = (slice(top, top + 64), slice(left, left + 64))
            if ((labels[chip] == 1) & counted[chip]).any():
                inside[chip] = True
            elif counted[chip].any():
                empty += 1
                alarms.append((score[chip] >= 0.3)[counted[chip]])
    inside &= counted
    assert 0 < empty == found.empty_chips
    assert found.false_alarm_share == pytest.approx(np.concatenate(alarms).mean())
    assert found.chips.pixels == inside.sum()
    assert found.chips.auprc == pytest.approx(average_precision_score(labels[inside] == 1, score[inside]))
    assert found.chips.prevalence > found.scene.prevalence


def test_cells_of_200_m_take_their_largest_score(scene):
    score, labels, counted = scene
    largest, slid = [], []
    for top in range(0, 200, 20):
        for left in range(0, 260, 20):
            cell = (slice(top, top + 20), slice(left, left + 20))
            if counted[cell].any():
                largest.append(score[cell][counted[cell]].max())
                slid.append(((labels[cell] == 1) & counted[cell]).any())
    found = evaluate(score, ScoredPixels(labels, counted, PIXEL), 0.3)
    assert found.roc_auc_cells == pytest.approx(roc_auc_score(slid, largest))
    squares = np.tile(np.eye(20, dtype=np.uint8), (2, 1))
    everywhere = evaluate(score[20:60, :20], ScoredPixels(squares, np.ones((40, 20), bool), PIXEL), 0.3)
    assert everywhere.roc_auc_cells is None


def test_landslides_are_found_by_half_of_their_pixels_and_counted_once():
    labels = np.zeros((60, 60), np.uint8)
    labels[2:4, 2:4] = 1  # 400 m2
    labels[4, 4] = 1  # connected at the corner: 500 m2
    labels[10:14, 10:15] = 1  # 2000 m2
    labels[20:30, 20:40] = 1  # 20000 m2, two fifths of it counted below
    score = np.zeros(labels.shape, np.float32)
    score[2:4, 2] = 1.0  # two of five
    score[10:14, 10:13] = 0.5
    score[20:30, 20:40] = 1.0
    counted = np.ones(labels.shape, bool)
    counted[:, 28:] = False
    found = evaluate(score, ScoredPixels(labels, counted, PIXEL), 0.5).recall_by_size
    assert [(c.smallest_m2, c.landslides, c.found) for c in found] == [
        (0, 1, 0),
        (1_000, 1, 1),
        (3_000, 0, 0),
        (10_000, 0, 0),
    ]
    rest = evaluate(score, ScoredPixels(labels, ~counted, PIXEL), 0.5).recall_by_size
    assert [c.landslides for c in rest] == [0, 0, 0, 1]


def test_the_calibration_error_is_that_of_torchmetrics():
    from torchmetrics.functional.classification import binary_calibration_error

    rng = np.random.default_rng(1)
    probability = rng.beta(0.5, 3, 5000)
    probability[:3] = 0.0, 1.0, 0.5
    truth = rng.random(5000) < probability**1.5
    oracle = binary_calibration_error(
        torch.from_numpy(probability), torch.from_numpy(truth.astype(int)), n_bins=15
    )
    assert calibration_error(probability, truth) == pytest.approx(float(oracle), abs=1e-6)
    with pytest.raises(ModelError, match="outside"):
        calibration_error(np.array([1.2]), np.array([True]))


def test_what_is_no_probability_has_no_calibration_error(scene):
    score, labels, counted = scene
    assert (
        evaluate(9 * score, ScoredPixels(labels, counted, PIXEL), 3.0, probability=False).calibration_error
        is None
    )


def test_nothing_counted_or_no_number_is_an_error(scene):
    score, labels, counted = scene
    with pytest.raises(ModelError, match="no landslide pixel"):
        evaluate(score, ScoredPixels(np.zeros_like(labels), counted, PIXEL), 0.3)
    score[50, 50], counted[50, 50] = np.nan, True
    with pytest.raises(ModelError, match="not a finite"):
        evaluate(score, ScoredPixels(labels, counted, PIXEL), 0.3)
