"""What a predictor may learn from in one fold: training pixels alone, and the validation rectangle apart from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.inputs.channel import Array
from model.inputs.channel_source import ChannelSource
from model.inputs.channel_statistics import Statistics
from model.inputs.cubes import UNMAPPED
from model.inputs.windows import Box, tiles, whole
from model.split.folds import Fold
from model.split.leakage import MaskedChannels, assert_no_leak
from model.split.partition import Mask
from pipeline.errors import ModelError

TILE_PX = 512
MOST_PIXELS = 60_000
"""training pixels that a classifier of single pixels is given, at most"""


@dataclass(frozen=True)
class TrainingPixels:
    """The training part of a fold, as `fit` receives it. Arrays are read-only copies.

    A value outside the training part is NaN, and a label there 255: nothing that is tested can be learnt.
    """

    source: ChannelSource
    """the channels, NaN outside the training part"""
    truth: NDArray[np.uint8]
    """(y, x) 1, 0, or 255: not mapped, without valid inputs, or not of the training part"""
    statistics: Statistics
    """mean and standard deviation of each channel over the training part; `standardise` applies them"""
    fold: Fold
    """where the rectangles of validation and test lie"""
    held: tuple[Array, NDArray[np.uint8]]
    """channels and labels of the validation rectangle"""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the channels, in order."""
        return self.statistics.channels

    @property
    def shape(self) -> tuple[int, int]:
        """(y, x) of the scene."""
        return self.source.shape

    def read(self, box: Box) -> Array:
        """(channel, y, x) float32 of a box, in the units of the channels."""
        return _read_only(self.source.read(box))

    @property
    def channels(self) -> Array:
        """(channel, y, x) float32 of the whole scene, in the units of the channels."""
        return self.read(whole(self.shape))

    @property
    def labels(self) -> NDArray[np.uint8]:
        """(y, x) 1 landslide, 0 none, 255 anything that may not be learnt from."""
        return _read_only(self.truth)

    @property
    def validation(self) -> tuple[Array, NDArray[np.uint8]]:
        """Channels and labels of the validation rectangle, by which a training may be stopped, and nothing else."""
        return _read_only(self.held[0]), _read_only(self.held[1])

    def sample(self, most: int = MOST_PIXELS, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """(n, channel) standardised values and (n,) truth of random training pixels, at most half of them landslides.

        Raises:
            ModelError: the training part holds no landslide, or nothing else.
        """
        rng = np.random.default_rng([seed, 4])
        slid, rest = np.argwhere(self.truth == 1), np.argwhere(self.truth == 0)
        if len(slid) == 0 or len(rest) == 0:
            raise ModelError("The training area holds no landslide, or nothing else.", "Use a larger area.")
        share = max(1, most // 2)
        chosen = np.concatenate([pool[rng.permutation(len(pool))[:share]] for pool in (slid, rest)])
        values = np.empty((len(chosen), len(self.names)), dtype=np.float32)
        for tile in tiles(whole(self.shape), TILE_PX):
            inside = ((chosen >= (tile.top, tile.left)) & (chosen < (tile.bottom, tile.right))).all(axis=1)
            if inside.any():
                scaled, _ = self.statistics.standardise(self.source.read(tile))
                rows, columns = (chosen[inside] - (tile.top, tile.left)).T
                values[inside] = scaled[:, rows, columns].T
        return values, self.truth[chosen[:, 0], chosen[:, 1]] == 1


def training_pixels(
    channels: ChannelSource, names: tuple[str, ...], labels: NDArray[np.uint8], scored: Mask, fold: Fold
) -> TrainingPixels:
    """The training part of a fold.

    Args:
        channels: those of the whole scene.
        labels: (y, x) 1, 0, or 255 not mapped.
        scored: (y, x) which pixels count.

    Raises:
        ModelError: training would leak, or no training pixel is valid.
    """
    shape = channels.shape
    train = fold.train_mask(shape)
    seen = MaskedChannels(channels, train)
    statistics = Statistics.of(seen, names, (whole(shape),))
    assert_no_leak(fold, shape, fold.buffer_px, statistics_mask=seen.given)
    truth = np.where(train & scored, labels, np.uint8(UNMAPPED)).astype(np.uint8)
    for tile in tiles(whole(shape), TILE_PX):
        truth[tile.slices][~statistics.valid(seen.read(tile))] = UNMAPPED
    (box,) = fold.boxes("validation")
    held = np.where(scored[box.slices], labels[box.slices], np.uint8(UNMAPPED)).astype(np.uint8)
    return TrainingPixels(seen, truth, statistics, fold, (channels.read(box), held))


def _read_only(values: NDArray[Any]) -> NDArray[Any]:
    values = values.copy()
    values.setflags(write=False)
    return values
