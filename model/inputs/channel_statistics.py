"""Mean and standard deviation of each channel over the training pixels, and standardisation with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from model.inputs.change import mean_of
from model.inputs.channel import DIRECTIONS, Array, Mask
from model.inputs.channel_registry import channel_named, may_lack
from model.inputs.channel_source import ChannelSource
from model.inputs.windows import Box
from pipeline.errors import ModelError
from pipeline.records import Frozen

CLIP_SD = 6.0
"""standardised values are cut at this many standard deviations: single bright scatterers reach 881 in linear gamma0"""

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Statistics(Frozen):
    """Mean and standard deviation of each channel over the valid training pixels that have a value in it."""

    channels: tuple[str, ...] = Field(min_length=1)
    mean: tuple[Finite, ...]
    sd: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...]
    pixels: int = Field(gt=0)
    clip_sd: float = Field(CLIP_SD, gt=0, allow_inf_nan=False)
    without_value: tuple[str, ...] = Field(
        (),
        exclude_if=lambda names: not names,
        description="channels of a view that sees none of these pixels: mean and sd mean nothing",
    )

    @model_validator(mode="after")
    def _one_each(self) -> Statistics:
        if not len(self.channels) == len(self.mean) == len(self.sd):
            raise ValueError("channels, mean and sd differ in length")
        return self

    @classmethod
    def of(
        cls,
        source: ChannelSource,
        names: tuple[str, ...],
        boxes: tuple[Box, ...],
        counted: Mask | None = None,
        *,
        alone: bool = False,
    ) -> Statistics:
        """Statistics over `boxes`, which must not overlap, and over nothing else.

        Args:
            counted: (y, x) of the whole scene, the pixels to use; None: all.
            alone: each channel over every pixel that has a value in it, whatever the others have.

        Raises:
            ModelError: no pixel in them is valid.
        """
        width = len(names)
        lacking, sums = may_lack(names), _Sums(np.zeros(width), np.zeros(width), np.zeros(width), None)
        for box in (tile for area in boxes for tile in _disjoint_tiles(area, 512)):
            values = source.read(box)
            known = np.isfinite(values)
            chosen = known.any(axis=0) if alone else known[~lacking].all(axis=0)
            if counted is not None:
                chosen &= counted[box.slices]
            sums.add(values[:, chosen].astype(np.float64))
        pixels = int(sums.count.max())
        if sums.shift is None or pixels == 0:
            raise ModelError(
                "No training pixel is valid in every channel.",
                "Check the coverage of the passes with `slidecube plan`, or train with fewer variables.",
            )
        mean, sd = sums.mean_and_sd()
        for index, name in enumerate(names):
            if not channel_named(name).standardised:
                mean[index], sd[index] = 0.0, 1.0
        of_views = may_lack(names) & [channel_named(name).no_value != "mean" for name in names]
        return cls(
            channels=names,
            mean=tuple(map(float, mean)),
            sd=tuple(map(float, sd)),
            pixels=pixels,
            without_value=tuple(names[index] for index in np.flatnonzero(of_views & (sums.count == 0))),
        )

    @property
    def directions(self) -> tuple[str, ...]:
        """The directions whose views have values here, of inputs with two views."""
        absent = {name.partition("@")[2] for name in self.without_value}
        return tuple(name for name in DIRECTIONS if name not in absent)

    def valid(self, values: Array) -> Mask:
        """(y, x) whether a pixel has every channel of (channel, y, x) that it may not lack."""
        mask: Mask = np.asarray(np.isfinite(values[~may_lack(self.channels)]).all(axis=0))
        return mask

    def standardise(self, values: Array) -> tuple[Array, Mask]:
        """(channel, y, x) standardised and cut at `clip_sd`, 0 where unknown; (y, x) whether valid."""
        valid = self.valid(values)
        scaled = self._scaled(values)
        scaled[:, ~valid] = 0.0
        for index in np.flatnonzero(may_lack(self.channels)):  # the mean of the training pixels
            scaled[index, ~np.isfinite(scaled[index])] = 0.0
        return scaled.astype(np.float32, copy=False), valid

    def standardise_alone(self, values: Array) -> Array:
        """(channel, y, x) standardised and cut at `clip_sd`; 0 where the channel itself has no value."""
        scaled = self._scaled(values)
        scaled[~np.isfinite(scaled)] = 0.0
        return scaled.astype(np.float32, copy=False)

    def _scaled(self, values: Array) -> Array:
        mean = np.asarray(self.mean, dtype=np.float32)[:, None, None]
        sd = np.asarray(self.sd, dtype=np.float32)[:, None, None]
        scaled: Array = np.clip((values - mean) / sd, -self.clip_sd, self.clip_sd)
        return scaled


def mean_statistics(several: Sequence[Statistics]) -> Statistics:
    """Mean of the means and root of the mean variance, of scenes of the same channels; pixels are those of all."""
    mean = np.mean([one.mean for one in several], axis=0)
    sd = np.sqrt(np.mean(np.square([one.sd for one in several]), axis=0))
    return several[0].model_copy(
        update={
            "mean": tuple(map(float, mean)),
            "sd": tuple(map(float, sd)),
            "pixels": sum(one.pixels for one in several),
        }
    )


@dataclass
class _Sums:
    """Sums over pixels, by channel, about a shift near the mean, which keeps the squares well conditioned."""

    count: NDArray[np.float64]
    total: NDArray[np.float64]
    squares: NDArray[np.float64]
    shift: NDArray[np.float64] | None

    def add(self, values: NDArray[np.float64]) -> None:
        """(channel, pixel) more values; NaN is left out."""
        if values.shape[1] == 0:
            return
        known = np.isfinite(values)
        if self.shift is None:
            self.shift = mean_of(np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1))
            # a channel without values in this box: any shift is correct, also 0
            self.shift = np.nan_to_num(self.shift)
        moved = np.where(known, values - self.shift[:, None], 0.0)
        self.count = self.count + known.sum(axis=1)
        self.total = self.total + moved.sum(axis=1)
        self.squares = self.squares + (moved**2).sum(axis=1)

    def mean_and_sd(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(channel,) each; 0 and 1 for a channel without values, sd 1 for a constant one."""
        shift = np.zeros_like(self.total, dtype=np.float64) if self.shift is None else self.shift
        count = np.maximum(self.count, 1)
        moved = self.total / count
        sd = np.sqrt(np.maximum(self.squares / count - moved**2, 0))
        sd[sd < 1e-6] = 1.0  # a constant channel has no information; leave it at 0
        return np.where(self.count > 0, shift + moved, 0.0), sd


def _disjoint_tiles(area: Box, size: int) -> list[Box]:
    """Boxes of at most `size` that cover `area` once."""
    return [
        Box(top=top, left=left, height=min(size, area.bottom - top), width=min(size, area.right - left))
        for top in range(area.top, area.bottom, size)
        for left in range(area.left, area.right, size)
    ]
