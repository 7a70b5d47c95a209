"""Training as the published code does it: no augmentation, no choice of weights, a rate that falls on a plateau."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.network.network import build, choose_device, log_odds, parameters
from model.network.torch_guard import torch
from model.network.training_plan import NetworkSpec, PaperPlan
from pipeline.errors import ModelError, number_of
from pipeline.progress import Progress, no_progress


@dataclass(frozen=True)
class PaperChips:
    """Chips as the published experiment trains on them."""

    inputs: NDArray[np.float32]
    """(chip, channel, y, x) standardised"""
    targets: NDArray[np.float32]
    """(chip, y, x) 0 or 1"""
    known: NDArray[np.bool_]
    """(chip, y, x) whether the pixel counts in the loss"""


@dataclass(frozen=True)
class PaperNetwork:
    """The network after the last epoch."""

    network: torch.nn.Module
    device: str
    parameters: int
    steps: int
    losses: tuple[float, ...]
    """mean training loss of each epoch"""

    def probability(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """(channel, y, x) standardised inputs of one chip to (y, x) in 0..1."""
        with torch.inference_mode():
            values = torch.from_numpy(inputs[None]).to(self.device)
            found: NDArray[np.float32] = (
                torch.sigmoid(log_odds(self.network(values)))[0].float().cpu().numpy()
            )
        return found


def published_order(count: int, seed: int) -> list[int]:
    """The published random order of `count` chips."""
    order: list[int] = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
    return order


def train_as_published(
    spec: NetworkSpec, plan: PaperPlan, seed: int, chips: PaperChips, progress: Progress = no_progress
) -> PaperNetwork:
    """Train for `plan.epochs` epochs; nothing is chosen during training.

    Raises:
        ModelError: the loss is no finite number, no batch has two chips, or the initial weights are not available.
    """
    from model.network.trainer.epochs import run_epochs  # which imports Lightning
    from model.network.trainer.published_step import PublishedStep, ShuffledChips

    device = choose_device(plan.device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        network = build(spec).to(device)
        step = PublishedStep(network, plan, progress)
        shuffled = ShuffledChips(
            torch.from_numpy(chips.inputs).to(device),
            torch.from_numpy(chips.targets).to(device),
            torch.from_numpy(chips.known).to(device),
            plan.batch,
        )
        if not len(shuffled):
            raise ModelError(
                f"Of {number_of(len(chips.inputs), 'chip')} no batch of two or more can be made, which batch "
                "normalisation needs.",
                "Use a larger area, smaller chips or larger batches.",
            )
        run_epochs(step, shuffled, device, count=plan.epochs)
    return PaperNetwork(
        network=network.to(device).eval(),
        device=str(device),
        parameters=parameters(network),
        steps=plan.epochs * len(shuffled),
        losses=tuple(step.losses),
    )
