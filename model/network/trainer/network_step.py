"""A step of training: forward, loss, optimiser, learning rate."""

from __future__ import annotations

import math
from typing import Any

from model.network.batches import Tensors
from model.network.inference import NetworkProbability, predictions
from model.network.network import log_odds
from model.network.parts.losses import Loss, masked_loss, own_loss
from model.network.trainer.lightning_guard import lightning, torch
from model.network.training_plan import TrainingPlan
from model.network.training_scene import Scene
from model.scores.scores import Ranking
from pipeline.errors import ModelError


class NetworkStep(lightning.LightningModule):
    """The network that is trained, and what is done with a batch and with a scene that is evaluated."""

    def __init__(self, network: torch.nn.Module, plan: TrainingPlan) -> None:
        super().__init__()
        self.network = network
        self.loss = math.nan
        """training loss of the last step, the mean over all processes"""
        self._plan = plan

    def setup(self, stage: str) -> None:
        """Set up what another process cannot be given: the loss, and a compiled network."""
        self._loss = _loss_of(self._plan)
        if self._plan.compiled and self.device.type == "cuda":
            self.network.compile()

    def configure_optimizers(self) -> dict[str, Any]:
        """The optimiser, and the learning rate of each step."""
        plan = self._plan
        kind = torch.optim.AdamW if plan.optimiser == "adamw" else torch.optim.Adam
        optimiser = kind(self.network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, plan))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: Tensors, _: int) -> torch.Tensor:
        """The loss of a batch.

        Raises:
            ModelError: it is no longer a finite number.
        """
        inputs, targets, masks = batch
        logits = log_odds(self.network(inputs))
        with torch.autocast(self.device.type, enabled=False):
            loss = self._loss(logits.float(), targets, masks)
        self.loss = float(self.trainer.strategy.reduce(loss.detach().clone(), reduce_op="mean"))
        if not math.isfinite(self.loss):
            raise ModelError(
                "The training loss is no longer a finite number.",
                "Train with a lower learning rate (--learning-rate).",
            )
        return loss

    def validation_step(self, scene: Scene, _: int) -> dict[str, float]:
        """The AUPRC on the validation area of a scene."""
        probability = NetworkProbability(self.network, self.device)
        score, truth = predictions(scene, scene.split.boxes("validation"), probability)
        return {"auprc": Ranking.of(score, truth).auprc}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the state of the random numbers, on which dropout depends."""
        checkpoint["random"] = torch.get_rng_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over the state of the random numbers."""
        torch.set_rng_state(checkpoint["random"])


def _loss_of(plan: TrainingPlan) -> Loss:
    if plan.loss:
        own = own_loss(plan.loss)
        return lambda logits, targets, masks: own(logits, targets, masks)
    return lambda logits, targets, masks: masked_loss(logits, targets, masks, plan.dice_weight)


def _rate(step: int, plan: TrainingPlan) -> float:
    """The factor of the learning rate: a linear rise, then half a cosine; or always 1."""
    if plan.schedule == "constant":
        return 1.0
    rise = max(1, round(plan.steps * plan.warm_up))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, plan.steps - rise)))
