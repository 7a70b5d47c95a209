"""Every kind of leak is refused."""

from __future__ import annotations

import numpy as np
import pytest

from model.inputs.channel_statistics import Statistics
from model.inputs.windows import Box, whole
from model.split.folds import FoldPlan, folds
from model.split.leakage import MaskedChannels, assert_no_leak
from model.split.split import SplitPlan, divide
from pipeline.errors import ModelError

SHAPE = (320, 400)


@pytest.fixture
def fold():
    labels = (np.random.default_rng(0).random(SHAPE) < 0.05).astype(np.uint8)
    return folds(labels, np.ones(SHAPE, bool), FoldPlan(buffer_px=20))[0]


class Leaky:
    """A fold to whose training area pixels can be added."""

    def __init__(self, fold):
        self.fold, self.more = fold, np.zeros(SHAPE, bool)
        self.boxes, self.closed_mask = fold.boxes, fold.closed_mask

    def train_mask(self, shape):
        return self.fold.train_mask(shape) | self.more


class Grid:
    shape = SHAPE

    def read(self, box):
        return np.arange(SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(1, *SHAPE)[:, *box.slices]


def test_an_honest_division_passes(fold):
    train = fold.train_mask(SHAPE)
    rows, columns = np.nonzero(train)
    chip = Box(top=int(rows[-1]) - 31, left=int(columns[-1]) - 31, height=32, width=32)
    assert_no_leak(fold, SHAPE, 20, [chip], train)
    labels = (np.random.default_rng(0).random((600, 600)) < 0.05).astype(np.uint8)
    split = divide(labels, np.ones((600, 600), bool), SplitPlan(), 0)
    assert_no_leak(split, (600, 600), 32, split.train, split.train_mask((600, 600)))


def test_a_training_pixel_that_is_tested_or_near_is_named(fold):
    leaky = Leaky(fold)
    y, x = fold.test.top + 3, fold.test.left + 5
    leaky.more[y, x] = True
    with pytest.raises(ModelError, match=rf"\b1, .*\({y}, {x}\)"):
        assert_no_leak(leaky, SHAPE, 20)
    assert_no_leak(fold, SHAPE, 20)
    with pytest.raises(ModelError, match="within 21"):
        assert_no_leak(fold, SHAPE, 21)


def test_a_chip_that_holds_a_tested_pixel_is_caught(fold):
    edge = fold.validation
    inside = Box(top=edge.top, left=edge.left, height=32, width=32)
    with pytest.raises(ModelError, match=r"1024, "):
        assert_no_leak(fold, SHAPE, 20, [inside])


def test_statistics_of_more_than_the_training_area_are_caught(fold):
    mask = fold.train_mask(SHAPE)
    source = MaskedChannels(Grid(), mask)
    honest = Statistics.of(source, ("dem",), (whole(SHAPE),))
    assert honest.pixels == mask.sum()
    assert honest.mean[0] == pytest.approx(float(np.nonzero(mask.ravel())[0].mean()), rel=1e-6)
    assert np.array_equal(source.given, mask)
    assert_no_leak(fold, SHAPE, 20, statistics_mask=source.given)

    everything = MaskedChannels(Grid(), np.ones(SHAPE, bool))
    Statistics.of(everything, ("dem",), (whole(SHAPE),))
    with pytest.raises(ModelError, match="statistics"):
        assert_no_leak(fold, SHAPE, 20, statistics_mask=everything.given)
