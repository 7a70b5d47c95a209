"""Rectangles that cover a scene once, and buffers that only reduce the training area."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from model.inputs.windows import Box
from model.split.folds import Fold, FoldPlan, folds, one_fold
from pipeline.errors import ModelError


def scene(height=300, width=420, seed=0, share=0.02):
    rng = np.random.default_rng(seed)
    labels = (rng.random((height, width)) < share).astype(np.uint8)
    labels[:, -5:] = 255
    return labels, np.ones(labels.shape, dtype=bool)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(260, 500), st.integers(260, 500), st.integers(3, 9), st.integers(0, 50), st.integers(0, 12)
)
def test_every_pixel_is_tested_once_and_no_training_pixel_is_near(height, width, count, seed, buffer):
    labels, usable = scene(height, width, seed)
    made = folds(labels, usable, FoldPlan(count=count, buffer_px=buffer, shortest_px=32))
    tested = np.zeros(labels.shape, dtype=int)
    assert len(made) == count
    for fold in made:
        tested[fold.test.slices] += 1
        train, closed = fold.train_mask(labels.shape), fold.closed_mask(labels.shape)
        assert closed.sum() == fold.test.pixels + fold.validation.pixels
        rows, columns = np.nonzero(train)
        nearest = []
        for box in (fold.test, fold.validation):
            between = np.maximum(
                np.maximum(box.top - rows - 1, rows - box.bottom),
                np.maximum(box.left - columns - 1, columns - box.right),
            )
            nearest.append(between.min())
        assert min(nearest) == buffer  # and the buffer is not larger than asked for
    assert (tested == 1).all()


def test_rectangles_hold_about_as_many_landslide_pixels():
    labels, usable = scene(600, 500)
    labels[:300] = np.where(np.random.default_rng(1).random((300, 500)) < 0.2, 1, labels[:300])
    shares = [
        (labels[fold.test.slices] == 1).sum() / (labels == 1).sum()
        for fold in folds(labels, usable, FoldPlan())
    ]
    assert min(shares) > 0.15
    assert max(shares) < 0.35


def test_the_cut_is_repeatable_and_a_scene_without_landslides_is_cut_in_the_middle():
    labels, usable = scene(400, 400, share=0.0)
    labels[:] = 0
    made = folds(labels, usable, FoldPlan())
    assert made == folds(labels, usable, FoldPlan())
    assert {(fold.test.height, fold.test.width) for fold in made} == {(200, 200)}


def test_a_pixel_that_cannot_be_scored_does_not_move_the_cut():
    labels, usable = scene(400, 400)
    without = labels.copy()
    labels[:100], usable[:100] = 1, False
    without[:100] = 0
    assert folds(labels, usable, FoldPlan()) == folds(without, usable, FoldPlan())


def test_landslides_in_one_corner_leave_room_for_every_rectangle():
    labels = np.zeros((300, 300), np.uint8)
    labels[:10, :10] = 1
    sides = [
        min(f.test.height, f.test.width)
        for f in folds(labels, np.ones(labels.shape, bool), FoldPlan(count=5))
    ]
    assert min(sides) >= 64


def test_a_scene_that_is_too_small_is_refused_with_the_way_out():
    labels, usable = scene(100, 300)
    with pytest.raises(ModelError, match=r"100 x 300 .*\b101\b.*larger area"):
        folds(labels, usable, FoldPlan(shortest_px=101))
    with pytest.raises(ModelError, match=r"Fold \d .*\b400 pixels"):
        one_fold(labels, usable, FoldPlan(buffer_px=400), 0)


def test_rectangles_that_overlap_are_no_fold():
    box = Box(top=0, left=0, height=10, width=10)
    with pytest.raises(ValidationError, match="overlaps"):
        Fold(index=0, shape=(100, 100), test=box, validation=box, buffer_px=0)
    with pytest.raises(ValidationError, match="out of"):
        Fold(index=0, shape=(10, 15), test=box, validation=box.model_copy(update={"left": 10}), buffer_px=0)
