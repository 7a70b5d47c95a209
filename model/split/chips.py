"""Chips: the small windows that a network is trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.inputs.channel import Mask
from model.inputs.channel_source import ChannelSource
from model.inputs.channel_statistics import Statistics
from model.inputs.cubes import UNMAPPED
from model.inputs.windows import Box
from model.split.partition import Partition
from pipeline.errors import ModelError

Batch = tuple[NDArray[np.float32], NDArray[np.float32], Mask]
"""(chip, channel, y, x) standardised; (chip, y, x) target 0 or 1; (chip, y, x) whether the pixel counts"""


class ChipTable:
    """The training chips of one scene: windows without closed pixels, with and without landslides.

    Windows lie on a lattice of `stride_px`; the last one of a row or column ends where the open area ends. A chip may
    hold pixels that are neither training nor closed (a buffer), as context only.
    """

    def __init__(
        self, parts: Partition, labels: NDArray[np.uint8], usable: Mask, size_px: int, stride_px: int
    ) -> None:
        """
        Args:
            labels: (y, x) 1, 0, or 255 not mapped.
            usable: (y, x) whether the inputs are valid.

        Raises:
            ModelError: no chip fits, or none holds a landslide that counts.
        """
        shape = labels.shape
        self.size_px = size_px
        self.counted: Mask = parts.train_mask(shape) & usable & (labels != UNMAPPED)
        """(y, x) pixels whose labels may enter the loss"""
        if min(shape) < size_px:
            raise ModelError(
                f"A scene of {shape[0]} x {shape[1]} pixels is smaller than a chip of {size_px}."
            )
        self._open = window_sums(parts.closed_mask(shape), size_px) == 0
        if not self._open.any():
            raise ModelError(
                f"No chip of {size_px} pixels fits into the training area.", "Take smaller chips (--chip)."
            )
        known = window_sums(self.counted, size_px)
        slid = window_sums(self.counted & (labels == 1), size_px)
        lattice = self._open & _on_lattice(self._open, stride_px) & (known > 0)
        self._with = np.argwhere(lattice & (slid > 0))
        self._without = np.argwhere(lattice & (slid == 0))
        if len(self._with) == 0:
            raise ModelError("No chip holds a landslide pixel with valid inputs.", "Use a larger area.")

    def __len__(self) -> int:
        return len(self._with) + len(self._without)

    @property
    def with_landslide(self) -> int:
        """Number of chips that hold a landslide pixel."""
        return len(self._with)

    def draw(self, count: int, share_with: float, jitter_px: int, rng: np.random.Generator) -> list[Box]:
        """Random chips, each shifted by up to `jitter_px` if the shifted chip holds no closed pixel.

        Args:
            share_with: share of the chips that is drawn from those with a landslide.
        """
        boxes = []
        for index in range(count):
            from_with = len(self._without) == 0 or index < round(count * share_with)
            pool = self._with if from_with else self._without
            top, left = pool[int(rng.integers(len(pool)))]
            boxes.append(self.shifted(self._box(int(top), int(left)), jitter_px, rng))
        return boxes

    def shifted(self, chip: Box, jitter_px: int, rng: np.random.Generator) -> Box:
        """The chip shifted at random by up to `jitter_px` along each axis; itself if it then held a closed pixel."""
        if not jitter_px:
            return chip
        shift = rng.integers(-jitter_px, jitter_px + 1, 2)
        top, left = np.clip((chip.top + shift[0], chip.left + shift[1]), 0, np.array(self._open.shape) - 1)
        return self._box(int(top), int(left)) if self._open[top, left] else chip

    def all_with_landslide(self) -> list[Box]:
        """Every chip of the lattice that holds a landslide pixel, row by row."""
        return [self._box(int(top), int(left)) for top, left in self._with]

    def every(self) -> list[Box]:
        """Every chip of the lattice."""
        return [self._box(int(top), int(left)) for top, left in (*self._with, *self._without)]

    def _box(self, top: int, left: int) -> Box:
        return Box(top=top, left=left, height=self.size_px, width=self.size_px)


def window_sums(mask: Mask, size: int) -> NDArray[np.int32]:
    """(y - size + 1, x - size + 1) how many pixels of the window that starts there are set."""
    total = np.pad(mask.astype(np.int32).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    sums: NDArray[np.int32] = (
        total[size:, size:] - total[:-size, size:] - total[size:, :-size] + total[:-size, :-size]
    )
    return sums


def _on_lattice(open_: Mask, stride: int) -> Mask:
    """(y, x) window starts on multiples of the stride from the first open one, or at the end of an open run."""
    chosen = np.zeros_like(open_)
    rows, columns = np.flatnonzero(open_.any(axis=1)), np.flatnonzero(open_.any(axis=0))

    def ends(mask: Mask, axis: int) -> Mask:
        following = np.roll(mask, -1, axis=axis)
        edge: list[slice | int] = [slice(None), slice(None)]
        edge[axis] = -1
        following[tuple(edge)] = False
        return np.asarray(mask & ~following)

    on_row = np.zeros(open_.shape[0], dtype=bool)
    on_row[rows[0] :: stride] = True
    on_column = np.zeros(open_.shape[1], dtype=bool)
    on_column[columns[0] :: stride] = True
    row_ok = on_row[:, None] | ends(open_, 0)
    column_ok = on_column[None, :] | ends(open_, 1)
    chosen[row_ok & column_ok] = True
    return chosen


def batch_of(
    boxes: Sequence[Box],
    source: ChannelSource,
    labels: NDArray[np.uint8],
    statistics: Statistics,
    counted: Mask,
) -> Batch:
    """Inputs, targets and mask of some chips; pixels that do not count or lack inputs are masked.

    Args:
        counted: (y, x) pixels whose labels may enter the loss.
    """
    inputs, targets, masks = [], [], []
    for box in boxes:
        scaled, valid = statistics.standardise(source.read(box))
        inputs.append(scaled)
        targets.append((labels[box.slices] == 1).astype(np.float32))
        masks.append(valid & counted[box.slices])
    return np.stack(inputs), np.stack(targets), np.stack(masks)
