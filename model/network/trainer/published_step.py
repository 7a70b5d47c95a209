"""The step of the published experiment: cross entropy, Adam, a rate that falls where the loss of an epoch does not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.network.batches import Tensors
from model.network.network import log_odds
from model.network.parts.losses import masked_loss
from model.network.trainer.lightning_guard import lightning, torch
from model.network.training_plan import PaperPlan
from pipeline.errors import ModelError
from pipeline.progress import Progress


class PublishedStep(lightning.LightningModule):
    """A network as the published code trains it."""

    def __init__(self, network: torch.nn.Module, plan: PaperPlan, progress: Progress) -> None:
        super().__init__()
        self.network = network
        self.losses: list[float] = []
        """mean training loss of each epoch"""
        self._plan, self._progress = plan, progress
        self._epoch: list[tuple[float, int]] = []

    def configure_optimizers(self) -> dict[str, Any]:
        """Adam, and a rate that falls on a plateau of the training loss."""
        plan = self._plan
        optimiser = torch.optim.Adam(
            self.network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay
        )
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimiser, factor=plan.factor, patience=plan.patience, threshold=plan.threshold
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "monitor": "loss"}}

    def training_step(self, batch: Tensors, _: int) -> torch.Tensor:
        """The loss of a batch."""
        inputs, targets, known = batch
        loss = masked_loss(log_odds(self.network(inputs)), targets, known, 0.0)
        self._epoch.append((float(loss.detach()), len(inputs)))
        return loss

    def on_train_epoch_end(self) -> None:
        """The mean loss of the epoch, each batch by its chips, as Lightning averages it in the published code.

        Raises:
            ModelError: it is no finite number.
        """
        losses, sizes = zip(*self._epoch, strict=True)
        self._epoch = []
        mean = float(np.average(losses, weights=sizes))
        if not math.isfinite(mean):
            raise ModelError("The training loss is no finite number.", "Train with a lower learning rate.")
        self.losses.append(mean)
        self.log("loss", torch.tensor(mean, dtype=torch.float64))
        self._progress("train", len(self.losses), self._plan.epochs, f"loss {mean:.3f}")


@dataclass(frozen=True)
class ShuffledChips:
    """The chips in batches, in a new random order each epoch. A batch of one is left out: batch normalisation needs
    two."""

    inputs: torch.Tensor
    """(chip, channel, y, x)"""
    targets: torch.Tensor
    """(chip, y, x)"""
    known: torch.Tensor
    """(chip, y, x)"""
    batch: int

    def __len__(self) -> int:
        whole, rest = divmod(len(self.inputs), self.batch)
        return whole * (self.batch > 1) + (rest > 1)

    def __iter__(self) -> Iterator[Tensors]:
        order = torch.randperm(len(self.inputs))
        for chosen in order.split(self.batch):  # type: ignore[no-untyped-call]
            if len(chosen) > 1:
                where = chosen.to(self.inputs.device)
                inputs = self.inputs[where].contiguous(memory_format=torch.channels_last)
                yield inputs, self.targets[where], self.known[where]
