"""The control of a predictor: on the same pixels in random order, what it knows beyond their channels shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.experiments.predictors.predictor import FoldPredictor, ShuffledChannels, predicted
from model.inputs.channel_source import ChannelSource
from model.inputs.windows import Box
from model.scores.evaluation import ScoredPixels
from model.scores.scores import Ranking
from pipeline.errors import ModelError

TURNS = 200
"""shifts of the labels by which chance is measured"""
LEAST_LIFT = 2.0
"""times the prevalence that the control must exceed, besides chance"""


def control_auprc(predictor: FoldPredictor, channels: ChannelSource, tested: ScoredPixels, box: Box) -> float:
    """AUPRC of a predictor on the tested rectangle whose valid pixels are in random order.

    A function of channels cannot tell where a landslide was: its score is that of chance, which is the prevalence. A
    predictor that scores higher knows the labels, or the place, in another way. One that finds the label of a pixel by
    the pixel's own values (in a copy of the cube) is not recognised by this.

    Raises:
        ModelError: the score is above that of chance: twice the prevalence, and above all of 200 random shifts of the
            labels, which are as clustered as the true ones.
    """
    rng = np.random.default_rng([box.top, box.left, 6])
    score = np.full(channels.shape, np.nan, dtype=np.float32)
    predicted(predictor, ShuffledChannels(channels, box, rng), (box,), score)
    counted = tested.scored[box.slices] & np.isfinite(score[box.slices])
    values, truth = score[box.slices], tested.truth[box.slices]
    if not truth[counted].any():
        return 0.0
    found = Ranking.of(values[counted], truth[counted]).auprc
    prevalence = float(truth[counted].mean())
    if found > LEAST_LIFT * prevalence and found > _by_chance(values, truth, counted, rng):
        raise ModelError(
            f"The predictor leaks: on tested pixels in random order its AUPRC is {found:.3f} at a prevalence of "
            f"{prevalence:.4f}. It knows labels or places that are not in the channels.",
            "Do not use its results; give a predictor that sees nothing but the channels.",
        )
    return found


def _by_chance(
    values: NDArray[np.float32],
    truth: NDArray[np.bool_],
    counted: NDArray[np.bool_],
    rng: np.random.Generator,
) -> float:
    """The largest AUPRC against labels that are shifted at random within the rectangle."""
    best = 0.0
    for _ in range(TURNS):
        shift = (int(rng.integers(truth.shape[0])), int(rng.integers(truth.shape[1])))
        turned = np.roll(truth, shift, axis=(0, 1))[counted]
        if turned.any():
            best = max(best, Ranking.of(values[counted], turned).auprc)
    return best
