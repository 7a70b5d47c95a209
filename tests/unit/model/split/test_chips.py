"""Chips without closed pixels, batches in which only training pixels count, and valid augmentation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from model.inputs.channel_statistics import Statistics
from model.inputs.windows import Box, whole
from model.network.augmentation import GAIN_NEPER, draw_changes
from model.network.batches import apply_changes
from model.network.torch_guard import torch
from model.split.chips import ChipTable, batch_of
from model.split.split import Split
from pipeline.errors import ModelError


def split_of(*train):
    far = Box(top=900, left=900, height=4, width=4)
    return Split(
        train=train, validation=(far,), test=(Box(top=950, left=950, height=4, width=4),), buffer_px=8
    )


@dataclass
class Masks:
    """Partition of any shape."""

    train: np.ndarray
    closed: np.ndarray

    def boxes(self, part):
        return ()

    def train_mask(self, shape):
        return self.train

    def closed_mask(self, shape):
        return self.closed


def everywhere(shape):
    return np.ones(shape, bool)


def test_chips_never_leave_the_training_areas_of_a_split():
    labels = np.zeros((300, 300), np.uint8)
    labels[30:40, 30:40] = 1
    areas = (Box(top=10, left=20, height=200, width=150), Box(top=220, left=0, height=64, width=300))
    table = ChipTable(split_of(*areas), labels, everywhere(labels.shape), 64, 32)
    chips = table.draw(400, 0.5, 16, np.random.default_rng(0))
    assert all(any(chip.inside(area) for area in areas) for chip in chips)
    assert {(chip.height, chip.width) for chip in chips} == {(64, 64)}
    assert 0 < table.with_landslide < len(table)
    assert len({(chip.top, chip.left) for chip in chips}) > 100
    with pytest.raises(ModelError, match="No chip of 64"):
        ChipTable(split_of(Box(top=0, left=0, height=63, width=90)), labels, everywhere(labels.shape), 64, 32)
    with pytest.raises(ModelError, match="landslide"):
        ChipTable(split_of(areas[1]), labels, everywhere(labels.shape), 64, 32)
    with pytest.raises(ModelError, match="40 x 300"):
        ChipTable(split_of(areas[0]), labels[:40], everywhere((40, 300)), 64, 32)


def test_every_open_pixel_of_an_area_lies_in_some_chip():
    labels = np.zeros((200, 210), np.uint8)
    labels[100, 100] = 1
    area = Box(top=7, left=5, height=150, width=170)
    table = ChipTable(split_of(area), labels, everywhere(labels.shape), 64, 32)
    seen = np.zeros(labels.shape, bool)
    for chip in table.draw(3000, 0.1, 0, np.random.default_rng(1)):
        seen[chip.slices] = True
    assert seen[area.slices].all() and seen.sum() == area.pixels


def test_a_chip_may_reach_into_a_buffer_as_context_but_holds_no_closed_pixel_and_does_not_learn_there():
    shape = (128, 256)
    closed = np.zeros(shape, bool)
    closed[:, 160:] = True
    train = np.zeros(shape, bool)
    train[:, :128] = True  # 128 to 160 is the buffer
    labels = np.zeros(shape, np.uint8)
    labels[:, 120:140] = 1
    table = ChipTable(Masks(train, closed), labels, everywhere(shape), 64, 16)
    chips = table.draw(300, 1.0, 8, np.random.default_rng(0))
    assert max(chip.right for chip in chips) > 128
    assert not any(closed[chip.slices].any() for chip in chips)

    class Source:
        def read(self, box):
            return np.ones((1, box.height, box.width), np.float32)

    statistics = Statistics(channels=("dem",), mean=(0,), sd=(1,), pixels=1)
    box = Box(top=0, left=96, height=64, width=64)
    _, target, mask = batch_of([box], Source(), labels, statistics, table.counted)
    assert mask[0, 0].tolist() == [column < 128 for column in range(96, 160)]
    assert target[0, 0, 30] == 1


def test_pixels_without_label_or_input_do_not_count_in_a_batch():
    values = np.ones((2, 8, 8), np.float32)
    values[:, 0, :] = np.nan
    labels = np.zeros((8, 8), np.uint8)
    labels[1], labels[2] = 255, 1

    class Source:
        shape = (8, 8)

        def read(self, box):
            return values[:, box.slices[0], box.slices[1]]

    statistics = Statistics(channels=("dem", "slope"), mean=(0, 0), sd=(1, 1), pixels=1)
    inputs, target, mask = batch_of([whole((8, 8))], Source(), labels, statistics, labels != 255)
    assert np.isfinite(inputs).all()
    np.testing.assert_array_equal(mask[0].all(axis=1), [False, False, *[True] * 6])
    np.testing.assert_array_equal(target[0][:, 0], labels[:, 0] == 1)


CHANNELS = ("vv_before", "vv_after", "vv_log_ratio", "aspect_sin", "aspect_cos", "slope")


def batch(seed=0):
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((6, len(CHANNELS), 8, 8)).astype(np.float32)
    inputs[:, 2] = inputs[:, 1] - inputs[:, 0]
    targets = (rng.random((6, 8, 8)) < 0.3).astype(np.float32)
    return inputs, targets, rng.random((6, 8, 8)) < 0.9


def augmented(numbers, sd, wanted):
    changes = draw_changes(6, CHANNELS, sd, (wanted,), np.random.default_rng(3))
    tensors = tuple(torch.from_numpy(part) for part in numbers)
    return [part.numpy() for part in apply_changes(tensors, changes, CHANNELS)]


def test_a_mirror_along_the_track_turns_the_north_component_and_keeps_the_look():
    before = batch()
    inputs, targets, masks = augmented(batch(), (1.0,) * 6, "mirror along track")
    mirrored = 0
    for chip in range(6):
        if np.array_equal(targets[chip], before[1][chip]):
            np.testing.assert_array_equal(inputs[chip], before[0][chip])
            continue
        mirrored += 1
        expected = before[0][chip, :, ::-1].copy()
        expected[4] *= -1
        np.testing.assert_array_equal(inputs[chip], expected)
        np.testing.assert_array_equal(targets[chip], before[1][chip, ::-1])
        np.testing.assert_array_equal(masks[chip], before[2][chip, ::-1])
    assert 0 < mirrored < 6


def test_a_gain_moves_a_side_as_a_whole_and_the_ratio_with_it():
    sd = (2.0, 2.0, 0.5, 1.0, 1.0, 1.0)
    before = batch()[0]
    inputs, targets, _ = augmented(batch(), sd, "gain")
    np.testing.assert_array_equal(targets, batch()[1])
    moved = (inputs - before) * np.array(sd, np.float32)[:, None, None]
    assert np.ptp(moved, axis=(2, 3)).max() < 1e-5
    shift = moved[:, :, 0, 0]
    assert 0 < np.abs(shift[:, :2]).max() <= GAIN_NEPER + 1e-6
    np.testing.assert_allclose(shift[:, 2], shift[:, 1] - shift[:, 0], atol=1e-5)
    assert np.abs(shift[:, 3:]).max() == 0
