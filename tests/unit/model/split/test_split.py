"""Areas that share no pixel, and chips that lie inside them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from model.inputs.windows import Box, tiles, whole
from model.split.split import PARTS, Split, SplitPlan, divide
from pipeline.errors import ModelError


def scattered(shape, seed=0, share=0.05):
    return (np.random.default_rng(seed).random(shape) < share).astype(np.uint8)


def claimed(split, shape):
    """(y, x) 0 none, 1 train, 2 validation, 3 test"""
    owner = np.zeros(shape, dtype=np.uint8)
    for number, part in enumerate(PARTS, start=1):
        for box in split.boxes(part):
            assert box.inside(whole(shape))
            owner[box.slices] = number
    return owner


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(200, 700),
    width=st.integers(200, 700),
    buffer_px=st.integers(0, 40),
    seed=st.integers(0, 5),
)
def test_no_pixel_of_one_part_is_nearer_to_another_than_the_buffer(height, width, buffer_px, seed):
    labels = scattered((height, width), seed)
    plan = SplitPlan(buffer_px=buffer_px, shortest_px=64)
    split = divide(labels, np.ones(labels.shape, bool), plan, seed)
    owner = claimed(split, labels.shape)
    for number in (1, 2, 3):
        assert (labels[owner == number] == 1).any()
        # Chebyshev distance from every pixel of a part to the others, by growing the part
        reach = np.zeros_like(owner, dtype=bool)
        for box in split.boxes(PARTS[number - 1]):
            reach[
                max(box.top - buffer_px, 0) : box.bottom + buffer_px,
                max(box.left - buffer_px, 0) : box.right + buffer_px,
            ] = True
        assert not (reach & (owner != 0) & (owner != number)).any()


def test_the_same_seed_gives_the_same_split_and_shares_come_near_the_plan():
    labels = scattered((900, 900))
    usable = np.ones(labels.shape, bool)
    splits = [divide(labels, usable, SplitPlan(), seed) for seed in (3, 3, 0, 1, 2)]
    assert splits[0] == splits[1]
    assert len({split.model_dump_json() for split in splits}) > 1
    for split in splits:
        shares = {p: sum(labels[b.slices].sum() for b in split.boxes(p)) / labels.sum() for p in PARTS}
        assert shares["train"] == pytest.approx(0.6, abs=0.1)
        assert shares["validation"] == pytest.approx(0.15, abs=0.06)
        assert shares["test"] == pytest.approx(0.25, abs=0.08)


def test_a_planted_leak_is_refused():
    near = {
        "train": (Box(top=0, left=0, height=100, width=100),),
        "validation": (Box(top=200, left=0, height=50, width=100),),
        "test": (Box(top=0, left=120, height=100, width=50),),
    }
    assert Split(**near, buffer_px=20)
    with pytest.raises(ValidationError, match=r"train .*test .*\b20 pixels"):
        Split(**near, buffer_px=21)
    overlap = {**near, "validation": (Box(top=99, left=99, height=50, width=20),)}
    with pytest.raises(ValidationError, match="apart"):
        Split(**overlap, buffer_px=0)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros((400, 400), np.uint8), "no landslide"),
        (np.full((400, 400), 255, np.uint8), "no landslide"),
        (scattered((150, 150)), "too small"),
        (np.pad(np.ones((40, 40), np.uint8), ((0, 360), (0, 360))), "cannot be split"),
    ],
)
def test_a_scene_that_cannot_be_divided_is_refused_by_name(labels, words):
    with pytest.raises(ModelError, match=words):
        divide(labels, np.ones(labels.shape, bool), SplitPlan(), 0)


def test_landslides_without_inputs_do_not_count():
    labels = scattered((400, 400))
    with pytest.raises(ModelError, match="valid inputs"):
        divide(labels, labels == 0, SplitPlan(), 0)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(10, 100), st.integers(8, 100))
def test_tiles_cover_every_pixel_and_none_outside(height, width, size, stride):
    stride = min(stride, size)
    area = Box(top=7, left=3, height=height, width=width)
    covered = np.zeros((height + 20, width + 20), int)
    for box in tiles(area, size, stride):
        assert box.inside(area)
        covered[box.slices] += 1
    assert (covered[area.slices] > 0).all()
    assert covered.sum() == covered[area.slices].sum()
