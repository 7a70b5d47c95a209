"""Cross validation over one scene: contiguous rectangles, each tested once, with a buffer cut from training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from model.inputs.cubes import UNMAPPED
from model.inputs.windows import Box, mask_of, whole
from model.split.partition import Mask
from pipeline.errors import ModelError
from pipeline.records import Frozen

AREA_WEIGHT = 0.1
"""share of a cut's weight that is given to area; the rest goes to landslide pixels"""


class FoldPlan(Frozen):
    """How a scene is cut for cross validation. There is no seed: the same labels give the same cut."""

    count: int = Field(
        4, ge=3, le=32, description="rectangles; one for test, one for validation, the rest for training"
    )
    buffer_px: int = Field(32, ge=0, description="pixels between a training pixel and a tested one, at least")
    shortest_px: int = Field(64, ge=1, description="shortest side of a rectangle")


class Fold(Frozen):
    """One rectangle for test, the next one for validation, everything beyond the buffer of both for training.

    Satisfies `model.split.partition.Partition`.

    The validation rectangle touches the test rectangle. It decides only when training stops and which threshold is
    used. A training chip may hold pixels of the buffer as context: their labels do not enter the loss, and their values
    do not enter the statistics. A training chip holds no pixel of either rectangle.
    """

    index: int = Field(ge=0)
    shape: tuple[int, int] = Field(description="(y, x) of the scene")
    test: Box
    validation: Box
    buffer_px: int = Field(ge=0)

    @model_validator(mode="after")
    def _apart(self) -> Fold:
        if self.test.gap(self.validation) < 0:
            raise ValueError("the test rectangle overlaps the validation rectangle")
        if not all(box.inside(whole(self.shape)) for box in (self.test, self.validation)):
            raise ValueError("a rectangle reaches out of the scene")
        return self

    def boxes(self, part: str) -> tuple[Box, ...]:
        """The rectangle of `validation` or `test`.

        Raises:
            KeyError: training has no rectangle; see `train_mask`.
        """
        return ({"validation": self.validation, "test": self.test}[part],)

    def train_mask(self, shape: tuple[int, int]) -> Mask:
        """(y, x) pixels with at least `buffer_px` others between them and both rectangles."""
        mask = np.ones(shape, dtype=bool)
        for box in (self.test, self.validation):
            top, left = max(box.top - self.buffer_px, 0), max(box.left - self.buffer_px, 0)
            mask[top : box.bottom + self.buffer_px, left : box.right + self.buffer_px] = False
        return mask

    def closed_mask(self, shape: tuple[int, int]) -> Mask:
        """(y, x) both rectangles."""
        return mask_of((self.test, self.validation), shape)


def folds(labels: NDArray[np.uint8], usable: Mask, plan: FoldPlan) -> tuple[Fold, ...]:
    """Cut a scene into rectangles that cover it once, with about as many landslide pixels in each.

    A rectangle is cut across its longer side where the landslide pixels (and, for a tenth of the weight, the area)
    divide in proportion to the number of rectangles wanted on either side, until there are as many as wanted.

    Args:
        labels: (y, x) 1 landslide, 0 none, 255 not mapped.
        usable: (y, x) whether a pixel may be scored.

    Raises:
        ModelError: no pixel is both labelled and usable, or the scene is too small.
    """
    height, width = labels.shape
    slid = ((labels == 1) & usable).astype(np.float64)
    known = ((labels != UNMAPPED) & usable).astype(np.float64)
    if not known.any():
        raise ModelError(
            "No pixel of the cube has both a label and valid data: nothing can be trained or scored.",
            "Name an inventory that covers the area in the area file; `slidecube map CUBE` works without labels.",
        )
    weight = AREA_WEIGHT * known / known.sum()
    if slid.any():
        weight = weight + (1 - AREA_WEIGHT) * slid / slid.sum()
    boxes = _bisected(weight, whole((height, width)), plan.count, plan.shortest_px)
    if min(min(box.height, box.width) for box in boxes) < plan.shortest_px:
        raise ModelError(
            f"The cube ({height} x {width} pixels) is too small for {plan.count} rectangles of at least "
            f"{plan.shortest_px} pixels.",
            "Take a larger area, or fewer or smaller rectangles.",
        )
    return tuple(
        Fold(
            index=index,
            shape=(height, width),
            test=box,
            validation=boxes[(index + 1) % len(boxes)],
            buffer_px=plan.buffer_px,
        )
        for index, box in enumerate(boxes)
    )


def one_fold(labels: NDArray[np.uint8], usable: Mask, plan: FoldPlan, number: int) -> Fold:
    """One of the folds of a scene; see `folds`.

    Raises:
        ModelError: as `folds`; or there is no such fold, or the buffers leave it no training pixel.
    """
    divided = folds(labels, usable, plan)
    if not 0 <= number < len(divided):
        raise ModelError(f"There is no fold {number}; there are {len(divided)}, from 0.")
    fold, (height, width) = divided[number], labels.shape
    if not (fold.train_mask(labels.shape) & (labels != UNMAPPED) & usable).any():
        raise ModelError(
            f"Fold {number} has no training pixel: the buffers of {plan.buffer_px} pixels cover all labelled ground "
            f"in the rest of the cube ({height} x {width} pixels).",
            "Take a larger area or a smaller buffer.",
        )
    return fold


def _bisected(weight: NDArray[np.float64], area: Box, count: int, shortest: int) -> list[Box]:
    """`count` boxes that tile `area`; successive boxes in the list are adjacent."""
    if count == 1:
        return [area]
    first = count // 2
    down = area.height >= area.width
    length, across = (area.height, area.width) if down else (area.width, area.height)
    profile = weight[area.slices].sum(axis=1 if down else 0).cumsum()
    wanted = profile[-1] * first / count
    cut = int(np.searchsorted(profile, wanted)) + 1
    lowest, highest = _needed(first, across, shortest), length - _needed(count - first, across, shortest)
    cut = int(np.clip(cut, min(lowest, length - 1), max(min(highest, length - 1), 1)))
    if down:
        one = area.model_copy(update={"height": cut})
        two = area.model_copy(update={"top": area.top + cut, "height": length - cut})
    else:
        one = area.model_copy(update={"width": cut})
        two = area.model_copy(update={"left": area.left + cut, "width": length - cut})
    return _bisected(weight, one, first, shortest) + _bisected(weight, two, count - first, shortest)


def _needed(count: int, across: int, shortest: int) -> int:
    """Length that `count` boxes need where they may lie next to each other."""
    return -(-count // max(1, across // shortest)) * shortest
