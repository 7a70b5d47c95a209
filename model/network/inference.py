"""Probabilities from overlapping windows, blended and streamed row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.inputs.channel_source import ChannelSource
from model.inputs.channel_statistics import Statistics
from model.inputs.cubes import UNMAPPED
from model.inputs.windows import Box, starts, taper
from model.network.network import log_odds
from model.network.torch_guard import torch
from model.network.training_plan import STRIDE_PX, InferencePlan
from model.network.training_scene import Scene
from pipeline.progress import Progress, no_progress

Array = NDArray[np.float32]


class Probability(Protocol):
    """A function of standardised inputs that returns probabilities."""

    def __call__(self, inputs: Array) -> Array:
        """(channel, y, x), sides multiples of 32, to (y, x) in 0..1."""


class NetworkProbability:
    """A torch network as `Probability`."""

    def __init__(self, network: torch.nn.Module, device: torch.device) -> None:
        self._network, self._device = network.to(device).eval(), device

    def __call__(self, inputs: Array) -> Array:
        """(channel, y, x), sides multiples of 32, to (y, x) in 0..1."""
        with torch.inference_mode():
            batch = torch.from_numpy(inputs[None]).to(self._device, memory_format=torch.channels_last)
            result: Array = torch.sigmoid(log_odds(self._network(batch)))[0].float().cpu().numpy()
        return result


class Strip:
    """Finished rows of a prediction."""

    __slots__ = ("box", "channels", "probability")

    def __init__(self, box: Box, probability: Array, channels: Array) -> None:
        self.box = box
        self.probability = probability
        """(y, x) NaN where an input is invalid"""
        self.channels = channels
        """(channel, y, x) as read, not standardised"""


def predict(
    source: ChannelSource,
    area: Box,
    statistics: Statistics,
    probability: Probability,
    plan: InferencePlan | None = None,
    progress: Progress = no_progress,
) -> Iterator[Strip]:
    """Probabilities of `area` in strips of full width, from top to bottom, each row once.

    Only pixels of `area` are read. Two rows of windows are in memory at a time, so that memory grows with the width of
    the scene and not with its height. Every pixel of the area is covered; a pixel whose inputs are invalid is NaN.

    Windows begin at multiples of the network's stride, so that its halvings fall on the same pixels in all of them. The
    last one ends at the end of the area, rounded up to such a multiple. If the network's receptive field reaches no
    further than the margin, the blend equals one prediction of the whole area.
    """
    plan = plan or InferencePlan()
    size = plan.window_px
    tops, lefts = _aligned(area.height, plan), _aligned(area.width, plan)
    rows = _RowReader(source, area)
    total = np.zeros((min(size, area.height), area.width), dtype=np.float32)
    weights = np.zeros_like(total)
    done = 0
    for number, top in enumerate(tops):
        height = min(size, area.height - top)
        raw = rows.read(top, height)
        vertical = _weights(tops, number, plan)[:height]
        for position, left in enumerate(lefts):
            window = raw[:, :, left : left + size]
            width = window.shape[2]
            scaled, valid = statistics.standardise(window)
            weight = vertical[:, None] * _weights(lefts, position, plan)[None, :width]
            if valid.any():
                found = probability(_padded(scaled))[:height, :width]
                total[:height, left : left + width] += weight * found
            weights[:height, left : left + width] += weight
            done += 1
            progress("map", done, len(tops) * len(lefts))
        finished = (tops[number + 1] if number + 1 < len(tops) else area.height) - top
        blended = total[:finished] / weights[:finished]
        channels = raw[:, :finished]
        blended[~statistics.valid(channels)] = np.nan
        yield Strip(
            Box(top=area.top + top, left=area.left, height=finished, width=area.width),
            blended,
            channels,
        )
        for buffer in (total, weights):
            left_over = len(buffer) - finished
            buffer[:left_over] = buffer[finished:].copy()
            buffer[left_over:] = 0.0


def _aligned(length: int, plan: InferencePlan) -> list[int]:
    """Offsets of windows at multiples of the network's stride that cover `length`, with at least the planned
    overlap."""
    step = plan.window_px - plan.overlap_px
    if step >= STRIDE_PX:
        step -= step % STRIDE_PX
    return starts(length + -length % STRIDE_PX, plan.window_px, step)


def _weights(offsets: list[int], number: int, plan: InferencePlan) -> Array:
    """(window_px,) weight of window `number` along an axis; the last window may overlap its neighbour by more."""
    first, last = number == 0, number == len(offsets) - 1
    return taper(plan.window_px, plan.overlap_px, plan.margin_px, first=first, last=last)


def _padded(values: Array) -> Array:
    """Values with sides padded to multiples of the network's stride by 0, the value of an invalid pixel."""
    _, height, width = values.shape
    return np.pad(values, ((0, 0), (0, -height % STRIDE_PX), (0, -width % STRIDE_PX)))


class _RowReader:
    """Full-width rows of channels, each read once although windows overlap."""

    def __init__(self, source: ChannelSource, area: Box, columns_px: int = 512) -> None:
        self._source, self._area, self._columns_px = source, area, columns_px
        self._first, self._rows = 0, np.zeros((0, 0, 0), dtype=np.float32)

    def read(self, top: int, height: int) -> Array:
        """(channel, height, x) rows from `top` on, counted in the area; `top` never decreases."""
        kept = self._rows[:, top - self._first :] if self._rows.size else self._rows
        have = kept.shape[1]
        if have < height:
            fresh = self._fresh(top + have, height - have)
            kept = np.concatenate([kept, fresh], axis=1) if have else fresh
        self._first, self._rows = top, kept
        return kept[:, :height]

    def _fresh(self, top: int, height: int) -> Array:
        area = self._area
        return np.concatenate(
            [
                self._source.read(
                    Box(
                        top=area.top + top,
                        left=left,
                        height=height,
                        width=min(self._columns_px, area.right - left),
                    )
                )
                for left in range(area.left, area.right, self._columns_px)
            ],
            axis=2,
        )


def predictions(
    scene: Scene, areas: Sequence[Box], probability: Probability
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(n,) probability and (n,) truth of every labelled pixel with valid inputs in `areas`."""
    return labelled_pixels(predicted_areas(scene, areas, probability))


def predicted_areas(
    scene: Scene, areas: Sequence[Box], probability: Probability, plan: InferencePlan | None = None
) -> list[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
    """(y, x) probability, NaN where an input is not valid, and (y, x) labels of each of `areas`.

    Each area is predicted from its own pixels alone.
    """
    found = []
    for area in areas:
        strips = predict(scene.channels, area, scene.statistics, probability, plan)
        predicted = np.concatenate([strip.probability for strip in strips])
        found.append((predicted, scene.labels[area.slices]))
    return found


def labelled_pixels(
    predicted: Sequence[tuple[NDArray[np.float32], NDArray[np.uint8]]],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(n,) probability and (n,) truth of the pixels of (y, x) probabilities and labels that have both."""
    scores, truths = [], []
    for probability, labels in predicted:
        counted = np.isfinite(probability) & (labels != UNMAPPED)
        scores.append(probability[counted])
        truths.append(labels[counted] == 1)
    return np.concatenate(scores), np.concatenate(truths)
