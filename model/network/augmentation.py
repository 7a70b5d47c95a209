"""Augmentation of chips that keeps the geometry of a side-looking radar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.inputs.channel import DIRECTIONS
from model.inputs.channel_registry import channel_named, name_in_view
from model.inputs.channels.coherence_channels import SEEN
from model.network.training_plan import Augmentation, TrainingPlan
from pipeline.errors import ModelError

GAIN_NEPER = 0.3 / (10.0 / np.log(10.0))
"""largest shift of the backscatter of all passes before, or of all after, natural logarithm: 0.3 dB, about the
difference between dates in calibration and moisture"""


def mirror_signs(channels: tuple[str, ...]) -> NDArray[np.float32]:
    """(channel,) -1 where a mirror along the track flips the sign of a channel, else 1.

    Rows are mirrored. Sentinel-1 flies within about 10.5 degrees of north-south where landslides are mapped, so a
    mirrored chip is seen from the same side; its look direction is up to 21 degrees off.

    Raises:
        ModelError: a channel among them cannot be mirrored, or is unknown.
    """
    rules = [channel_named(name).mirror for name in channels]
    refused = [name for name, rule in zip(channels, rules, strict=True) if rule == "impossible"]
    if refused:
        raise ModelError(
            f"A chip with {', '.join(refused)} cannot be mirrored.",
            "Take aspect as a direction, or train without `mirror along track`.",
        )
    return np.array([-1.0 if rule == "sign flipped" else 1.0 for rule in rules], dtype=np.float32)


@dataclass(frozen=True)
class Changes:
    """The random changes of each chip of a batch."""

    mirrored: NDArray[np.bool_]
    """(chip,) whether its rows are mirrored"""
    shift: NDArray[np.float32]
    """(chip, channel) the shift that is added to the standardised values"""
    shown: NDArray[np.bool_] | None = None
    """(chip, view) which views are shown; None: the network needs all of them"""

    @classmethod
    def together(cls, several: Sequence[Changes]) -> Changes:
        """The changes of the chips of several draws, which show all views."""
        return cls(
            np.concatenate([one.mirrored for one in several]), np.concatenate([one.shift for one in several])
        )

    def of(self, part: NDArray[np.int64]) -> Changes:
        """The changes of the chips of these numbers."""
        return Changes(
            self.mirrored[part], self.shift[part], None if self.shown is None else self.shown[part]
        )


@dataclass(frozen=True)
class ViewChannels:
    """Where the channels of each view lie among those of a network that takes any view."""

    seen: tuple[int, ...]
    """(view,) the channel that is 1 where the view sees a pixel"""
    view: NDArray[np.int64]
    """(channel,) the view of a channel; the number of views for a channel that depends on none"""

    @classmethod
    def of(cls, channels: tuple[str, ...]) -> ViewChannels | None:
        """None: the network needs every view, or has one only."""
        names = [name_in_view(SEEN, direction) for direction in DIRECTIONS]
        if not set(names) <= set(channels):
            return None
        views = {f"@{direction}": number for number, direction in enumerate(DIRECTIONS)}
        found = [
            next((number for end, number in views.items() if name.endswith(end)), len(views))
            for name in channels
        ]
        return cls(tuple(channels.index(name) for name in names), np.array(found))


def draw_shown(chips: int, plan: TrainingPlan, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(chip, view) which views of each chip are shown: all, or one alone."""
    shown = np.ones((chips, len(DIRECTIONS)), dtype=bool)
    for chip in np.flatnonzero(rng.random(chips) < plan.one_view_share):
        shown[chip] = np.arange(len(DIRECTIONS)) == rng.integers(len(DIRECTIONS))
    return shown


def draw_changes(
    chips: int,
    channels: tuple[str, ...],
    sd: tuple[float, ...],
    wanted: tuple[Augmentation, ...],
    rng: np.random.Generator,
) -> Changes:
    """Draw random changes.

    Args:
        sd: (channel,) standard deviations that the values were divided by.
    """
    mirrored = np.zeros(chips, dtype=bool)
    shift = np.zeros((chips, len(channels)), dtype=np.float32)
    for chip in range(chips):
        if "mirror along track" in wanted:
            mirrored[chip] = rng.random() < 0.5
        if "gain" in wanted:
            gains = {side: float(rng.uniform(-GAIN_NEPER, GAIN_NEPER)) for side in ("before", "after")}
            for index, name in enumerate(channels):
                terms = (sign * gains[side] for side, sign in channel_named(name).gain)
                shift[chip, index] = sum(terms) / sd[index]
    return Changes(mirrored, shift)
