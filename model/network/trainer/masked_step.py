"""The step of pretraining: a network fills in what is hidden of its inputs."""

from __future__ import annotations

import math
from typing import Any

from model.network.trainer.lightning_guard import lightning, torch
from pipeline.errors import ModelError
from pipeline.progress import Progress

Hidden = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""(chip, channel, y, x) each: inputs with parts set to 0, the whole values, weights of the values that are hidden"""


class MaskedStep(lightning.LightningModule):
    """A network that fills in hidden values."""

    def __init__(
        self, network: torch.nn.Module, learning_rate: float, steps: int, progress: Progress
    ) -> None:
        super().__init__()
        self.network = network
        self.losses: list[float] = []
        """of each step"""
        self._rate, self._steps, self._progress = learning_rate, steps, progress

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW with one cycle of the learning rate."""
        optimiser = torch.optim.AdamW(self.network.parameters(), lr=self._rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, self._rate, total_steps=self._steps + 1, pct_start=0.1
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: Hidden, _: int) -> torch.Tensor:
        """The mean squared error of the hidden values.

        Raises:
            ModelError: it is no longer a finite number.
        """
        seen, values, weight = batch
        loss: torch.Tensor = ((self.network(seen) - values) ** 2 * weight).sum() / weight.sum().clamp(min=1.0)
        self.losses.append(float(loss.detach()))
        if not math.isfinite(self.losses[-1]):
            raise ModelError("The loss of pretraining is no longer a finite number.", "Take a lower rate.")
        self._progress("pretrain", len(self.losses), self._steps, f"loss {self.losses[-1]:.3f}")
        return loss
