"""A scene as training reads it, and what training returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.inputs.channel import Mask
from model.inputs.channel_source import ChannelSource
from model.inputs.channel_statistics import Statistics
from model.network.torch_guard import torch
from model.network.training_plan import Check
from model.split.partition import Partition


@dataclass(frozen=True)
class Scene:
    """Channels, labels and their division."""

    channels: ChannelSource
    labels: NDArray[np.uint8]
    """(y, x) 1, 0, or 255 not mapped"""
    usable: Mask
    """(y, x) whether the inputs are valid"""
    split: Partition
    statistics: Statistics


@dataclass(frozen=True)
class Trained:
    """The result of a training."""

    network: torch.nn.Module
    """with the best weights, in evaluation mode"""
    history: tuple[Check, ...]
    best: Check
    parameters: int
    chips: int
    device: str
