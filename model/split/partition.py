"""The interface that every division of a scene into training, validation and test has."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.inputs.windows import Box

Mask = NDArray[np.bool_]


class Partition(Protocol):
    """A division of one scene into training, validation and test."""

    def boxes(self, part: str) -> tuple[Box, ...]:
        """The rectangles of `validation` or `test`."""

    def train_mask(self, shape: tuple[int, int]) -> Mask:
        """(y, x) pixels whose values enter the statistics and whose labels enter the loss."""

    def closed_mask(self, shape: tuple[int, int]) -> Mask:
        """(y, x) pixels that no training chip may hold, not even as context."""
