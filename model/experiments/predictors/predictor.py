"""Predictors of any kind as one: a function of channels, an object that is fitted, a classifier of scikit-learn."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from model.experiments.predictors.training_pixels import TrainingPixels
from model.inputs.channel import Array
from model.inputs.channel_source import ChannelSource
from model.inputs.channel_statistics import Statistics
from model.inputs.windows import Box
from model.split.leakage import MaskedChannels
from pipeline.errors import ModelError

WINDOW_PX = 512
CONTEXT_PX = 64
"""pixels around a window that a predictor sees, so that its edge is not predicted from padding"""
SIDE_PX = 32
"""the sides of a window are multiples of this, for networks that halve five times"""


@runtime_checkable
class FittedPredictor(Protocol):
    """A predictor that learns from the training part of a fold."""

    def fit(self, training: TrainingPixels, /) -> Any:
        """Learn. What is returned is not used."""

    def predict(self, channels: Array, /) -> Any:
        """(y, x) scores of (channel, y, x) values in the units of the channels, NaN where unknown."""


Predictor = Callable[[Array], Any] | FittedPredictor
"""Higher scores mean landslide. A function is not fitted. An estimator of scikit-learn (it has `get_params`) classifies
single pixels: it is fitted to standardised values of training pixels, at most half of them landslides."""


class FoldPredictor:
    """A predictor in one fold: a fresh copy of what was given, so that nothing is remembered from another fold."""

    def __init__(self, predictor: Predictor) -> None:
        """
        Raises:
            ModelError: it is neither a function, nor an object with `fit` and `predict`.
        """
        fitted = callable(getattr(predictor, "fit", None)) and callable(getattr(predictor, "predict", None))
        if not fitted and not callable(predictor):
            raise ModelError(
                f"A {type(predictor).__name__} cannot predict: it is no function, and has no fit and predict.",
                "Give a function of (channel, y, x) values, or an object with fit(training) and predict(channels).",
            )
        self._own = copy.deepcopy(predictor)
        self._fitted, self._by_pixel = fitted, fitted and hasattr(predictor, "get_params")
        self._statistics: Statistics | None = None

    @property
    def context_px(self) -> int:
        """Pixels around a window that it is given."""
        return 0 if self._by_pixel else CONTEXT_PX

    def fit(self, training: TrainingPixels) -> None:
        """Learn from the training part, where it learns."""
        self._statistics = training.statistics
        own: Any = self._own
        if self._by_pixel:
            own.fit(*training.sample())
        elif self._fitted:
            own.fit(training)

    def scores(self, channels: Array) -> NDArray[np.float32]:
        """(y, x) scores of one window of (channel, y, x) values, NaN where there is none.

        Raises:
            ModelError: what the predictor returns is not of the window's shape.
        """
        own: Any = self._own
        if self._by_pixel:
            return self._by_single_pixels(channels)
        found = _as_array((own.predict if self._fitted else own)(channels))
        if found.shape != channels.shape[1:]:
            raise ModelError(
                f"The predictor returns {found.shape} for channels of the shape {channels.shape}, and not "
                f"{channels.shape[1:]}.",
                "Return one score a pixel, (y, x).",
            )
        return found

    def _by_single_pixels(self, channels: Array) -> NDArray[np.float32]:
        if self._statistics is None:
            raise ModelError("The predictor has not been fitted.", "Call fit before scores.")
        scaled, valid = self._statistics.standardise(channels)
        score = np.full(valid.shape, np.nan, dtype=np.float32)
        if valid.any():
            own: Any = self._own
            values = scaled[:, valid].T
            if hasattr(own, "predict_proba"):
                score[valid] = own.predict_proba(values)[:, 1]
            elif hasattr(own, "decision_function"):
                score[valid] = own.decision_function(values)
            else:
                score[valid] = own.predict(values)
        return score


def predicted(
    predictor: FoldPredictor, channels: ChannelSource, boxes: Sequence[Box], score: NDArray[np.float32]
) -> None:
    """Write the scores of rectangles into (y, x) `score`, window by window, each with the inputs around it.

    Windows are padded with NaN to sides that are multiples of 32.
    """
    height, width = channels.shape
    reach = predictor.context_px
    for box in boxes:
        for top in range(box.top, box.bottom, WINDOW_PX):
            for left in range(box.left, box.right, WINDOW_PX):
                bottom, right = min(top + WINDOW_PX, box.bottom), min(left + WINDOW_PX, box.right)
                first, west = max(top - reach, 0), max(left - reach, 0)
                around = Box(
                    top=first,
                    left=west,
                    height=min(bottom + reach, height) - first,
                    width=min(right + reach, width) - west,
                )
                found = predictor.scores(_padded(channels.read(around)))
                score[top:bottom, left:right] = found[
                    top - first : bottom - first, left - west : right - west
                ]


class ShuffledChannels:
    """Channels of a box, its valid pixels in random order. Satisfies `model.inputs.channel_source.ChannelSource`."""

    def __init__(self, source: ChannelSource, box: Box, rng: np.random.Generator) -> None:
        inside = np.zeros(source.shape, dtype=bool)
        inside[box.slices] = True
        self._outside, self._box, self.shape = MaskedChannels(source, inside), box, source.shape
        self._values = source.read(box).copy()
        valid = np.isfinite(self._values).all(axis=0)
        self._values[:, valid] = self._values[:, valid][:, rng.permutation(int(valid.sum()))]

    def read(self, box: Box) -> Array:
        """(channel, y, x) float32, NaN outside the box."""
        values = self._outside.read(box)
        rows = slice(max(box.top, self._box.top), min(box.bottom, self._box.bottom))
        columns = slice(max(box.left, self._box.left), min(box.right, self._box.right))
        values[
            :, rows.start - box.top : rows.stop - box.top, columns.start - box.left : columns.stop - box.left
        ] = self._values[
            :,
            rows.start - self._box.top : rows.stop - self._box.top,
            columns.start - self._box.left : columns.stop - self._box.left,
        ]
        return values


def _padded(values: Array) -> Array:
    _, height, width = values.shape
    padded = np.pad(
        values, ((0, 0), (0, -height % SIDE_PX), (0, -width % SIDE_PX)), constant_values=np.float32(np.nan)
    )
    padded.setflags(write=False)
    return padded


def _as_array(found: Any) -> NDArray[np.float32]:
    """What a predictor returns, a tensor of torch too, as (y, x) float32."""
    if hasattr(found, "detach"):
        found = found.detach().cpu()
    array = np.asarray(found, dtype=np.float32)
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    return array
