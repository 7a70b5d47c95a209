"""Boxes of pixels: their distance, the tiling of an area, the blending of overlapping boxes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.records import Frozen


class Box(Frozen):
    """Rows `top` to `bottom` (exclusive) and columns `left` to `right` (exclusive) of a cube's grid."""

    top: int = Field(ge=0)
    left: int = Field(ge=0)
    height: int = Field(gt=0)
    width: int = Field(gt=0)

    @property
    def bottom(self) -> int:
        """First row below the box."""
        return self.top + self.height

    @property
    def right(self) -> int:
        """First column right of the box."""
        return self.left + self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """(rows, columns)"""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    def gap(self, other: Box) -> int:
        """Pixels that lie between the two boxes, along the axis where they are further apart; below 0: they overlap."""
        rows = max(other.top - self.bottom, self.top - other.bottom)
        columns = max(other.left - self.right, self.left - other.right)
        return max(rows, columns)

    def inside(self, other: Box) -> bool:
        """Whether every pixel of this box belongs to `other`."""
        return (
            other.top <= self.top
            and other.left <= self.left
            and self.bottom <= other.bottom
            and self.right <= other.right
        )


def whole(shape: tuple[int, int]) -> Box:
    """The box of a whole (y, x) grid."""
    return Box(top=0, left=0, height=shape[0], width=shape[1])


def mask_of(boxes: Iterable[Box], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """(y, x) True in the boxes."""
    mask = np.zeros(shape, dtype=bool)
    for box in boxes:
        mask[box.slices] = True
    return mask


def starts(length: int, size: int, stride: int) -> list[int]:
    """Offsets of windows of `size` that cover `length`, the last of which ends at `length`."""
    if length <= size:
        return [0]
    offsets = list(range(0, length - size, stride))
    return [*offsets, length - size]


def tiles(area: Box, size: int, stride: int | None = None) -> Iterator[Box]:
    """Boxes of `size` x `size` inside `area`, row by row, that cover it; smaller where the area is smaller."""
    step = stride or size
    for row in starts(area.height, size, step):
        for column in starts(area.width, size, step):
            yield Box(
                top=area.top + row,
                left=area.left + column,
                height=min(size, area.height),
                width=min(size, area.width),
            )


def taper(size: int, overlap: int, margin: int, *, first: bool, last: bool) -> NDArray[np.float32]:
    """(size,) blending weight along one axis of a window.

    Next to a neighbour the outermost `margin` pixels have the weight 0, and the weight then rises linearly to 1 at
    `overlap - margin`. The weights of two neighbours that overlap by `overlap` add up to 1. At the area's edge
    (`first`, `last`) there is no neighbour, and the weight is 1.
    """
    weight = np.ones(size, dtype=np.float32)
    if first and last:
        return weight
    ramp = np.clip((np.arange(size) + 0.5 - margin) / max(overlap - 2 * margin, 1e-9), 0.0, 1.0)
    if not first:
        weight = np.minimum(weight, ramp)
    if not last:
        weight = np.minimum(weight, ramp[::-1])
    return weight.astype(np.float32)
