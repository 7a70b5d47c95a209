"""What the inputs of a training set were like, channel by channel, and how much of another scene lies outside."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from model.inputs.channel import Array
from model.inputs.channel_registry import channel_named
from model.inputs.channel_source import ChannelSource
from model.inputs.channel_statistics import Statistics
from model.inputs.windows import Box, tiles
from pipeline.records import Frozen

INSIDE = (0.01, 0.99)
"""quantiles of the training set at the ends of a channel's range"""
BINS = 1200
"""classes of standardised values between the cuts at `Statistics.clip_sd`"""
EVERY_PX = 4
"""of a mapped scene each fourth pixel of each fourth row is looked at"""
FLAGGED_SHARE = 0.1
"""a channel of which more lies outside is flagged: five times as much as of the training set"""
Value = Annotated[float, Field(allow_inf_nan=False)]


class InputRanges(Frozen):
    """The range of each channel of the training set: standardised, over land, each event counting as much."""

    channels: tuple[str, ...] = Field(min_length=1)
    low: tuple[Value, ...] = Field(description="1 % of the training set lies below")
    high: tuple[Value, ...] = Field(description="1 % lies above")

    @model_validator(mode="after")
    def _one_each(self) -> InputRanges:
        if not len(self.channels) == len(self.low) == len(self.high):
            raise ValueError("channels, low and high differ in length")
        return self

    @classmethod
    def of(cls, events: Iterable[tuple[ChannelSource, Statistics, Iterable[Box]]]) -> InputRanges:
        """From the channels, statistics and training rectangles of each event.

        Raises:
            ValueError: there is no event.
        """
        shares: list[NDArray[np.float64]] = []
        names: tuple[str, ...] = ()
        for source, statistics, boxes in events:
            names, edge = statistics.channels, statistics.clip_sd
            counts = np.zeros((len(names), BINS))
            for box in (tile for area in boxes for tile in tiles(area, 512)):
                values = source.read(box)[:, ::EVERY_PX, ::EVERY_PX]
                for number, scaled in enumerate(_scaled(values, statistics)):
                    counts[number] += np.histogram(scaled[np.isfinite(scaled)], BINS, (-edge, edge))[0]
            shares.append(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
        if not shares:
            raise ValueError("there is no event")
        total = np.cumsum(np.sum(shares, axis=0), axis=1)
        edges = np.linspace(-edge, edge, BINS + 1)
        low, high = (
            tuple(float(edges[int(np.searchsorted(row, share * row[-1])) + add]) for row in total)
            for share, add in ((INSIDE[0], 0), (INSIDE[1], 1))
        )
        return cls(channels=names, low=low, high=high)


def _scaled(values: Array, statistics: Statistics) -> Array:
    """(channel, y, x) standardised and cut; NaN where unknown."""
    mean, sd = (np.asarray(one, dtype=np.float32)[:, None, None] for one in (statistics.mean, statistics.sd))
    scaled: Array = np.clip((values - mean) / sd, -statistics.clip_sd, statistics.clip_sd)
    return scaled


@dataclass
class OutOfRange:
    """Counts, while a scene is mapped, what lies outside the ranges of the training set."""

    ranges: InputRanges
    statistics: Statistics
    """that the scene is standardised with"""

    def __post_init__(self) -> None:
        self._outside = np.zeros(len(self.ranges.channels), dtype=np.int64)
        self._known = np.zeros_like(self._outside)

    def add(self, values: Array) -> None:
        """(channel, y, x) values as read; NaN is left out."""
        scaled = _scaled(values[:, ::EVERY_PX, ::EVERY_PX], self.statistics)
        low, high = (np.asarray(one)[:, None, None] for one in (self.ranges.low, self.ranges.high))
        # a step of the histogram is no difference
        step = 2 * self.statistics.clip_sd / BINS
        self._outside += ((scaled < low - step) | (scaled > high + step)).sum(axis=(1, 2))
        self._known += np.isfinite(scaled).sum(axis=(1, 2))

    def shares(self) -> dict[str, float]:
        """Share of each standardised channel that lies outside; a channel without a value is left out."""
        return {
            name: float(outside / known)
            for name, outside, known in zip(self.ranges.channels, self._outside, self._known, strict=True)
            if known and channel_named(name).standardised
        }
