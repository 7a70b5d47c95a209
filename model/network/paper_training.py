"""Training as the published code does it: no augmentation, no choice of weights, a rate that falls on a plateau."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.network.network import build, choose_device, log_odds, parameters
from model.network.parts.losses import masked_loss
from model.network.torch_guard import torch
from model.network.training_plan import NetworkSpec, PaperPlan
from pipeline.errors import ModelError
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
        ModelError: the loss is no finite number, or the initial weights are not available.
    """
    device = choose_device(plan.device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        network = build(spec).to(device)
        optimiser = torch.optim.Adam(
            network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay
        )
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimiser, factor=plan.factor, patience=plan.patience, threshold=plan.threshold
        )
        inputs = torch.from_numpy(chips.inputs).to(device)
        targets = torch.from_numpy(chips.targets).to(device)
        masks = torch.from_numpy(chips.known).to(device)
        steps, means = 0, []
        for epoch in range(1, plan.epochs + 1):
            network.train()
            losses: list[float] = []
            sizes: list[int] = []
            order = torch.randperm(len(inputs))
            for chosen in order.split(plan.batch):  # type: ignore[no-untyped-call]
                if len(chosen) < 2:
                    continue  # batch normalisation needs two
                where = chosen.to(device)
                batch = inputs[where].contiguous(memory_format=torch.channels_last)
                loss = masked_loss(log_odds(network(batch)), targets[where], masks[where], 0.0)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                losses.append(float(loss.detach()))
                sizes.append(len(chosen))
                steps += 1
            if not losses or not np.isfinite(losses).all():
                raise ModelError(
                    "The training loss is no finite number.", "Train with a lower learning rate."
                )
            means.append(
                float(np.average(losses, weights=sizes))
            )  # as the code's framework averages an epoch
            schedule.step(means[-1])
            progress("train", epoch, plan.epochs, f"loss {means[-1]:.3f}")
    return PaperNetwork(
        network=network.eval(),
        device=str(device),
        parameters=parameters(network),
        steps=steps,
        losses=tuple(means),
    )
