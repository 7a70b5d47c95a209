"""The evaluations of a training: its history, and the weights with the best validation AUPRC."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from model.network.trainer.lightning_guard import lightning, torch
from model.network.trainer.network_step import NetworkStep
from model.network.training_plan import Check, TrainingPlan
from pipeline.progress import Progress

log = logging.getLogger(__name__)


class Evaluations(lightning.Callback):
    """Reports each step, and keeps the best weights, which the network has at the end.

    It stands before the mean of the weights among the callbacks: the network that it sees evaluated has the mean ones.
    """

    def __init__(self, plan: TrainingPlan, progress: Progress) -> None:
        self.history: list[Check] = []
        self.best: Check | None = None
        self._plan, self._progress = plan, progress
        self._best_weights: dict[str, torch.Tensor] = {}
        self._losses: list[float] = []
        self._scores: list[float] = []

    def on_train_start(self, trainer: lightning.Trainer, module: NetworkStep) -> None:
        """Log again what was evaluated before the training was killed: loggers begin a new file."""
        for check in self.history:
            _log(trainer, check)

    def on_train_batch_end(self, trainer: lightning.Trainer, module: NetworkStep, *_: Any) -> None:
        """Report the step."""
        if trainer.is_global_zero:
            self._losses.append(module.loss)
            best = f", best AUPRC {self.best.validation_auprc:.3f}" if self.best else ""
            self._progress("train", trainer.global_step, self._plan.steps, f"loss {module.loss:.3f}{best}")

    def on_validation_batch_end(
        self, trainer: lightning.Trainer, module: NetworkStep, outputs: dict[str, float], *_: Any
    ) -> None:
        """Note the score of a scene."""
        self._scores.append(outputs["auprc"])

    def on_validation_epoch_end(self, trainer: lightning.Trainer, module: NetworkStep) -> None:
        """Keep the weights if they are the best so far. Pixels of scenes are not pooled: their scores are averaged."""
        auprc = float(np.mean(self._scores))
        check = Check(step=trainer.global_step, loss=float(np.mean(self._losses)), validation_auprc=auprc)
        self._scores, self._losses = [], []
        self.history.append(check)
        log.info("step %d: loss %.4f, validation AUPRC %.4f", check.step, check.loss, check.validation_auprc)
        if self.best is None or auprc > self.best.validation_auprc:
            self.best = check
            state = module.network.state_dict()
            self._best_weights = {name: value.detach().cpu().clone() for name, value in state.items()}
        _log(trainer, check)

    def on_fit_end(self, trainer: lightning.Trainer, module: NetworkStep) -> None:
        """Give the network the best weights."""
        if self._best_weights:
            module.network.load_state_dict(self._best_weights)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "history": [check.model_dump() for check in self.history],
            "best": self.best.model_dump() if self.best else None,
            "best_weights": self._best_weights,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
        self.history = [Check.model_validate(check) for check in state_dict["history"]]
        self.best = Check.model_validate(state_dict["best"]) if state_dict["best"] else None
        self._best_weights = state_dict["best_weights"]


def _log(trainer: lightning.Trainer, check: Check) -> None:
    for logger in trainer.loggers:
        logger.log_metrics(check.model_dump(exclude={"step"}), step=check.step)
        logger.save()
