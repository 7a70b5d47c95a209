"""What the inputs of a training set were like, channel by channel, and how much of another scene lies outside."""

from __future__ import annotations

import math
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
SAMPLE_PX = 40_000
"""of each training event about so many pixels are looked at, on a lattice, so that each event counts as much"""
EVERY_PX = 4
"""of a mapped scene each fourth pixel of each fourth row is looked at"""
FLAGGED_SHARE = 0.1
"""a channel of which more lies outside is flagged: five times as much as of the training set"""
MEASURED = ("backscatter", "change", "coherence")
"""groups of channels whose level means the same everywhere; the elevation of another place says nothing"""
Value = Annotated[float, Field(allow_inf_nan=False)]


class ChannelRange(Frozen):
    """The range that holds 98 % of a channel."""

    low: Value = Field(description="1 % of the training set lies below")
    high: Value = Field(description="1 % lies above")


class InputRanges(Frozen):
    """The range of each channel of the training set over land, each event counting as much."""

    channels: tuple[str, ...] = Field(min_length=1)
    seen: tuple[ChannelRange, ...] = Field(description="standardised, as the network sees them")
    measured: tuple[ChannelRange, ...] = Field(description="in the channels' own units")

    @model_validator(mode="after")
    def _one_each(self) -> InputRanges:
        if not len(self.channels) == len(self.seen) == len(self.measured):
            raise ValueError("channels and ranges differ in number")
        return self

    @classmethod
    def of(cls, events: Iterable[tuple[ChannelSource, Statistics, tuple[Box, ...]]]) -> InputRanges:
        """From the channels, statistics and training rectangles of each event.

        Raises:
            ValueError: there is no event.
        """
        seen: list[Array] = []
        measured: list[Array] = []
        names: tuple[str, ...] = ()
        for source, statistics, boxes in events:
            names = statistics.channels
            every = max(1, math.isqrt(sum(box.pixels for box in boxes) // SAMPLE_PX))
            for box in (tile for area in boxes for tile in tiles(area, 512)):
                values = source.read(box)[:, ::every, ::every].reshape(len(names), -1)
                measured.append(values)
                seen.append(_scaled(values, statistics))
        if not names:
            raise ValueError("there is no event")
        return cls(channels=names, seen=_ranges(seen), measured=_ranges(measured))


def _ranges(parts: list[Array]) -> tuple[ChannelRange, ...]:
    """Of each channel of (channel, pixel) values; NaN is left out, a channel without a value has the range 0 to 0."""
    found = []
    for values in np.concatenate(parts, axis=1):
        known = values[np.isfinite(values)]
        low, high = np.quantile(known, INSIDE) if known.size else (0.0, 0.0)
        found.append(ChannelRange(low=float(low), high=float(high)))
    return tuple(found)


def _scaled(values: Array, statistics: Statistics) -> Array:
    """(channel, pixel) standardised and cut; NaN where unknown."""
    mean, sd = (np.asarray(one, dtype=np.float32)[:, None] for one in (statistics.mean, statistics.sd))
    scaled: Array = np.clip((values - mean) / sd, -statistics.clip_sd, statistics.clip_sd)
    return scaled


@dataclass
class OutOfRange:
    """Counts, while a scene is mapped, what lies outside the ranges of the training set."""

    ranges: InputRanges
    statistics: Statistics
    """that the scene is standardised with"""

    def __post_init__(self) -> None:
        size = len(self.ranges.channels)
        self._seen, self._measured, self._known = (np.zeros(size, dtype=np.int64) for _ in range(3))

    def add(self, values: Array) -> None:
        """(channel, y, x) values as read; NaN is left out."""
        sample = values[:, ::EVERY_PX, ::EVERY_PX].reshape(len(values), -1)
        self._seen += _outside(_scaled(sample, self.statistics), self.ranges.seen)
        self._measured += _outside(sample, self.ranges.measured)
        self._known += np.isfinite(sample).sum(axis=1)

    def shares(self) -> dict[str, float]:
        """Share of each standardised channel that lies outside, as the network sees it or as it was measured, whichever
        is larger; a channel without a value is left out."""
        found = {}
        for number, name in enumerate(self.ranges.channels):
            channel, known = channel_named(name), int(self._known[number])
            if known and channel.standardised:
                counts = [self._seen[number]]
                counts += [self._measured[number]] if channel.group in MEASURED else []
                found[name] = float(max(counts) / known)
        return found


def _outside(values: Array, ranges: tuple[ChannelRange, ...]) -> NDArray[np.int64]:
    """(channel,) number of (channel, pixel) values outside; rounding of float32 is no difference."""
    low, high = (np.array([getattr(one, name) for one in ranges])[:, None] for name in ("low", "high"))
    edge = 1e-5 * np.maximum(np.abs(low), np.abs(high))
    counts: NDArray[np.int64] = ((values < low - edge) | (values > high + edge)).sum(axis=1)
    return counts
