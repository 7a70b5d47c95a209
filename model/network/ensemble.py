"""The combination of several predictions of one window: of several networks, or of the window and its mirror image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.network.augmentation import mirror_signs
from model.network.inference import Array, NetworkProbability, Probability
from model.network.torch_guard import torch
from model.network.training_plan import TestTime

SMALLEST = 1e-6
"""probabilities are kept this far from 0 and 1, so that their log-odds are finite"""


def mean_probability(members: Sequence[Array]) -> Array:
    """(y, x) the logistic function of the mean log-odds of (y, x) probabilities.

    The mean is that of the log-odds, not of the probabilities.
    """
    total = np.zeros_like(members[0], dtype=np.float32)
    for member in members:
        kept = np.clip(member, SMALLEST, 1 - SMALLEST)
        total += np.log(kept) - np.log1p(-kept)
    return (1.0 / (1.0 + np.exp(-total / len(members)))).astype(np.float32)


class Ensemble:
    """Several networks as one `Probability`."""

    def __init__(self, members: Sequence[Probability]) -> None:
        if not members:
            raise ValueError("an ensemble needs a member")
        self._members = tuple(members)

    def __call__(self, inputs: Array) -> Array:
        """(channel, y, x), sides multiples of 32, to (y, x) in 0..1."""
        if len(self._members) == 1:
            return self._members[0](inputs)
        return mean_probability([member(inputs) for member in self._members])


class MirrorMean:
    """The mean of a `Probability` over the window and the window mirrored along the track."""

    def __init__(self, probability: Probability, channels: tuple[str, ...]) -> None:
        self._probability = probability
        self._sign = mirror_signs(channels)[:, None, None]

    def __call__(self, inputs: Array) -> Array:
        """(channel, y, x), sides multiples of 32, to (y, x) in 0..1."""
        mirrored = self._probability(np.ascontiguousarray(inputs[:, ::-1] * self._sign))
        return mean_probability([self._probability(inputs), mirrored[::-1]])


def log_odds_rounding(probability: Array) -> NDArray[np.float64]:
    """What one unit in the last place of a float32 probability changes in its log-odds: dp / (p (1 - p)).

    Near 1 it is coarse: 0.06 where the probability is kept from 1.
    """
    kept = np.clip(probability.astype(np.float64), SMALLEST, 1 - SMALLEST)
    rounding: NDArray[np.float64] = np.spacing(np.abs(probability)).astype(np.float64) / (kept * (1 - kept))
    return rounding


def rounding_of(
    networks: Sequence[torch.nn.Module],
    inputs: Array,
    device: torch.device,
    channels: tuple[str, ...],
    test_time: TestTime,
) -> NDArray[np.float64]:
    """(y, x) mean of `log_odds_rounding` over what `probability_of` takes the mean of."""
    members = [NetworkProbability(network, device) for network in networks]
    found = [log_odds_rounding(member(inputs)) for member in members]
    if test_time == "mirrored":
        mirrored = np.ascontiguousarray(inputs[:, ::-1] * mirror_signs(channels)[:, None, None])
        found += [log_odds_rounding(member(mirrored)[::-1]) for member in members]
    mean: NDArray[np.float64] = np.mean(found, axis=0)
    return mean


def probability_of(
    networks: Sequence[torch.nn.Module], device: torch.device, channels: tuple[str, ...], test_time: TestTime
) -> Probability:
    """The networks' mean probability; if `test_time` is mirrored, over the window and its mirror image."""
    together = Ensemble([NetworkProbability(network, device) for network in networks])
    return MirrorMean(together, channels) if test_time == "mirrored" else together
