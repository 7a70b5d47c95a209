"""The scores that a method gives to the pixels of a scene, and their figures under a protocol."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.inputs.selection import Selection
from model.inputs.windows import Box
from model.scores.evaluation import Evaluation, ScoredPixels
from model.scores.scores import Scores
from model.split.partition import Mask

Score = NDArray[np.float32]


@dataclass(frozen=True)
class Prediction:
    """The scores of a method for a scene, and how the method came to them."""

    score: Score
    """(y, x) higher means landslide; NaN where there is no prediction"""
    selection: Selection
    probability: bool
    """whether the scores are probabilities"""
    parameters: int | None = None
    steps: int | None = None
    best_step: int | None = None
    device: str = "cpu"
    notes: tuple[str, ...] = ()
    switches: dict[str, str] = field(default_factory=dict)
    """named defects of the published experiment that are not as the trial asks, because the cube does not allow it"""

    def filled(self) -> Score:
        """(y, x) the scores; pixels without a prediction get the lowest one (0 for probabilities)."""
        missing = ~np.isfinite(self.score)
        lowest = np.float32(0.0 if self.probability or missing.all() else np.nanmin(self.score))
        return np.where(missing, lowest, self.score).astype(np.float32)

    def missing_notes(self, scored: Mask) -> tuple[str, ...]:
        """A note on the share of the scored pixels that have no prediction; none where all have one."""
        share = float((~np.isfinite(self.score) & scored).sum() / scored.sum())
        if share == 0:
            return ()
        return (f"{100 * share:.2f} % of the scored pixels have no prediction and count as lowest",)


@dataclass(frozen=True)
class Outcome:
    """A prediction and its figures under a protocol: the outcome of a trial before it is written."""

    prediction: Prediction
    tested: ScoredPixels
    box: Box
    """the rectangle that holds the tested pixels; its scores are kept"""
    evaluation: Evaluation
    validation: Scores | None
    protocol_digest: str
    scored_digest: str
    notes: tuple[str, ...] = ()
    """in addition to those of the prediction"""
    switches: dict[str, str] | None = None
    """the named defects of the published experiment"""
