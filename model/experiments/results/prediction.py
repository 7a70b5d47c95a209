"""What a method says of a scene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model.inputs.selection import Selection
from model.split.partition import Mask

if TYPE_CHECKING:
    pass


if TYPE_CHECKING:
    pass

Score = NDArray[np.float32]


@dataclass(frozen=True)
class Answer:
    """What a method says of a scene, and what is to be told of how it came to it."""

    score: Score
    """(y, x) NaN where it says nothing"""
    selection: Selection
    probability: bool
    parameters: int | None = None
    steps: int | None = None
    best_step: int | None = None
    device: str = "cpu"
    notes: tuple[str, ...] = ()

    def ranked(self) -> Score:
        """(y, x) the scores; where nothing is said, the lowest."""
        silent = ~np.isfinite(self.score)
        lowest = np.float32(0.0 if self.probability or silent.all() else np.nanmin(self.score))
        return np.where(silent, lowest, self.score).astype(np.float32)

    def silence(self, scored: Mask) -> tuple[str, ...]:
        """What is to be told where some of the scored pixels have no score; nothing where all have one."""
        share = float((~np.isfinite(self.score) & scored).sum() / scored.sum())
        if share == 0:
            return ()
        return (f"{100 * share:.2f} % of the scored pixels have no prediction and count as lowest",)
