"""Recipes that compare a training from the weights of a bundle with one from random weights, with few labels."""

from __future__ import annotations

from model.experiments.recipes import SCREENING, SCREENING_STEPS, TrainingRecipe, hygiene
from model.experiments.results.results import Trial
from model.network.training_plan import NetworkSpec
from pipeline.places import SIMULATED_PRIOR

PERCENTS = (5, 20, 100)
LOW_RATE_SHARE = 0.1
"""of the usual learning rate, at which few labels undo less of what the weights of a bundle hold"""


def fine_tuning(
    steps: int = SCREENING_STEPS, network: NetworkSpec = SCREENING, after: int | None = 1
) -> tuple[TrainingRecipe, ...]:
    """Training with 5, 20 and 100 per cent of one event's labels, from random weights and from the bundle
    `simulated-prior`, from the latter also at a tenth of the learning rate.

    Args:
        network: not used: both are the network of the bundle, with its inputs.

    Raises:
        ModelError: the bundle is absent.
    """
    from model.bundle.starting_weights import document_of, network_from, starting_bundle

    start = starting_bundle(SIMULATED_PRIOR)
    document = document_of(start)
    inputs = document.inputs.model_copy(update={"after": after})
    begun = network_from(document)
    random = begun.model_copy(update={"initial_weights": "random"})
    recipes = []
    for percent in PERCENTS:
        base, name = f"{percent} % of the labels", f"{percent} % of the labels, from {SIMULATED_PRIOR}"
        share = percent / 100
        plain = hygiene(steps, random, after, label=base, inputs=inputs, label_share=share)
        tuned = hygiene(steps, begun, after, label=name, inputs=inputs, label_share=share, start=start)
        slow = f"{name}, a tenth of the rate"
        recipes += [
            TrainingRecipe(name=base, changes="from random weights", against=None, trial=plain),
            TrainingRecipe(name=name, changes="from the weights of the bundle", against=base, trial=tuned),
            TrainingRecipe(
                name=slow,
                changes="from them, with a tenth of the learning rate",
                against=base,
                trial=_at_lower_rate(tuned, slow),
            ),
        ]
    return tuple(recipes)


def _at_lower_rate(trial: Trial, label: str) -> Trial:
    assert trial.plan is not None
    plan = trial.plan.model_copy(update={"learning_rate": trial.plan.learning_rate * LOW_RATE_SHARE})
    return trial.model_copy(update={"label": label, "plan": plan})
