"""Chips: the small windows that a network is trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.channels import ChannelSource, Mask, Statistics
from model.cubes import UNMAPPED
from model.windows import Box, tiles
from pipeline.errors import ModelError

Batch = tuple[NDArray[np.float32], NDArray[np.float32], Mask]
"""(chip, channel, y, x) standardised; (chip, y, x) target 0 or 1; (chip, y, x) whether the pixel counts"""


class ChipTable:
    """The chips of one part of a scene: overlapping windows inside its areas, those with landslides apart."""

    def __init__(
        self, areas: Sequence[Box], labels: NDArray[np.uint8], usable: Mask, size_px: int, stride_px: int
    ) -> None:
        """Chips with at least one pixel that counts (labelled, inputs valid).

        Raises:
            ModelError: an area is smaller than a chip, or no chip holds a landslide.
        """
        self.areas, self.size_px = tuple(areas), size_px
        with_landslide: list[tuple[Box, Box]] = []
        without: list[tuple[Box, Box]] = []
        for area in self.areas:
            if min(area.height, area.width) < size_px:
                raise ModelError(
                    f"An area of {area.height} x {area.width} pixels is smaller than a chip of {size_px}."
                )
            for chip in tiles(area, size_px, stride_px):
                counted = usable[chip.slices] & (labels[chip.slices] != UNMAPPED)
                if not counted.any():
                    continue
                found = bool((counted & (labels[chip.slices] == 1)).any())
                (with_landslide if found else without).append((chip, area))
        if not with_landslide:
            raise ModelError("No chip holds a landslide pixel with valid inputs.", "Use a larger area.")
        self._with, self._without = with_landslide, without

    def __len__(self) -> int:
        return len(self._with) + len(self._without)

    @property
    def with_landslide(self) -> int:
        """Number of chips that hold a landslide pixel."""
        return len(self._with)

    def draw(self, count: int, share_with: float, jitter_px: int, rng: np.random.Generator) -> list[Box]:
        """Random chips, shifted by up to `jitter_px` but never out of their area.

        Args:
            share_with: share drawn among the chips that hold a landslide.
        """
        boxes = []
        for index in range(count):
            from_with = not self._without or index < round(count * share_with)
            pool = self._with if from_with else self._without
            chip, area = pool[int(rng.integers(len(pool)))]
            dy, dx = rng.integers(-jitter_px, jitter_px + 1, 2) if jitter_px else (0, 0)
            boxes.append(
                Box(
                    top=int(np.clip(chip.top + dy, area.top, area.bottom - self.size_px)),
                    left=int(np.clip(chip.left + dx, area.left, area.right - self.size_px)),
                    height=self.size_px,
                    width=self.size_px,
                )
            )
        return boxes


def batch_of(
    boxes: Sequence[Box], source: ChannelSource, labels: NDArray[np.uint8], statistics: Statistics
) -> Batch:
    """Inputs, targets and mask of some chips; pixels without valid inputs or label do not count."""
    inputs, targets, masks = [], [], []
    for box in boxes:
        scaled, valid = statistics.standardise(source.read(box))
        label = labels[box.slices]
        inputs.append(scaled)
        targets.append((label == 1).astype(np.float32))
        masks.append(valid & (label != UNMAPPED))
    return np.stack(inputs), np.stack(targets), np.stack(masks)
