"""Chips changed in ways that keep them possible: the radar looks from one side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.network.training_plan import Augmentation
from pipeline.errors import ModelError

GAIN_NEPER = 0.3 / (10.0 / np.log(10.0))
"""largest shift of a whole side's backscatter, natural logarithm: 0.3 dB, about what dates differ by in calibration
and moisture"""


def turned_by_mirror(channels: tuple[str, ...]) -> NDArray[np.float32]:
    """(channel,) -1 where a mirror along the track turns the sign of a channel, else 1.

    Rows are mirrored. Sentinel-1 flies within about 10.5 degrees of north-south where landslides are mapped, so that
    the side that it looks from stays; the look of a mirrored chip is up to 21 degrees off. The north component of a
    direction changes its sign; of a direction counted from the look it is the sine.

    Raises:
        ModelError: aspect in degrees is among them, which no sign turns.
    """
    if any(name.split("@")[0] == "aspect_deg" for name in channels):
        raise ModelError(
            "A chip with aspect in degrees cannot be mirrored.",
            "Take aspect as a direction, or train without `mirror along track`.",
        )
    turned = ("aspect_cos", "aspect_to_sensor_sin")
    return np.array([-1.0 if name.split("@")[0] in turned else 1.0 for name in channels], dtype=np.float32)


def gain_side(channel: str) -> tuple[str, ...]:
    """Which sides' gains a channel takes, with their sign: as ('+before',), ('-before', '+after') for a ratio."""
    name = channel.split("@")[0]
    if name.startswith(("vv_", "vh_")):
        side = name[3:]
        if side in ("before", "after"):
            return (f"+{side}",)
        if side == "log_ratio":
            return ("-before", "+after")
    return ()


@dataclass(frozen=True)
class Changes:
    """What is changed in each chip of a batch."""

    mirrored: NDArray[np.bool_]
    """(chip,) whether its rows are mirrored"""
    shift: NDArray[np.float32]
    """(chip, channel) what is added to the standardised values"""

    def of(self, part: slice) -> Changes:
        """Those of some of the chips."""
        return Changes(self.mirrored[part], self.shift[part])


def drawn(
    chips: int,
    channels: tuple[str, ...],
    sd: tuple[float, ...],
    wanted: tuple[Augmentation, ...],
    rng: np.random.Generator,
) -> Changes:
    """Changes by chance.

    Args:
        sd: (channel,) what the standardised values were divided by.
    """
    mirrored = np.zeros(chips, dtype=bool)
    shift = np.zeros((chips, len(channels)), dtype=np.float32)
    for chip in range(chips):
        if "mirror along track" in wanted:
            mirrored[chip] = rng.random() < 0.5
        if "gain" in wanted:
            gains = {side: float(rng.uniform(-GAIN_NEPER, GAIN_NEPER)) for side in ("before", "after")}
            for index, name in enumerate(channels):
                terms = ((1.0 if word[0] == "+" else -1.0) * gains[word[1:]] for word in gain_side(name))
                shift[chip, index] = sum(terms) / sd[index]
    return Changes(mirrored, shift)
