"""The trial that takes the place of one which this machine cannot run as it is. Its result has a name of its own."""

from __future__ import annotations

import logging
from functools import cache

from model.experiments.results.results import Trial
from pipeline.errors import ModelError

log = logging.getLogger(__name__)


def substitute_for(trial: Trial) -> tuple[Trial, tuple[str, ...]]:
    """The trial that runs here, which is the given one where nothing is lacking; and notes on what is replaced.

    The published experiment starts from ImageNet weights. Where these are not available, the protocol `paper` starts
    from random ones; the protocol `strict` refuses. Mixed precision needs a GPU; a CPU computes in float32. Each is
    another trial with another digest, so that its result never answers the trial that was asked for.
    """
    notes: list[str] = []
    if trial.network is not None and trial.plan is not None and trial.plan.precision != "float32":
        from model.network.network import plan_as_run

        trial = trial.model_copy(update={"plan": plan_as_run(trial.plan)})
    if (
        trial.protocol == "paper"
        and trial.network is not None
        and trial.network.initial_weights == "imagenet"
    ):
        from model.network.network import build

        try:
            build(trial.network)
        except ModelError as error:
            notes.append(f"training starts from random weights, not as published: {error.message}")
            _say_once(notes[-1])
            random = trial.network.model_copy(update={"initial_weights": "random"})
            trial = trial.model_copy(update={"network": random})
    return trial, tuple(notes)


@cache
def _say_once(note: str) -> None:
    """Warn of a substitute; the trials of an ablation have the same."""
    log.warning("%s", note)
