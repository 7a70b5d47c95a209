"""The studies of the command `ladder`: improvements, few labels, other events, any number of passes."""

from __future__ import annotations

from collections.abc import Sequence

from model.experiments.recipes import SCREENING, SCREENING_STEPS, TrainingRecipe, hygiene, improvements
from model.network.training_plan import Case, NetworkSpec
from pipeline.errors import ModelError, number_of


def label_efficiency(
    steps: int = SCREENING_STEPS, network: NetworkSpec = SCREENING, after: int | None = 1
) -> tuple[TrainingRecipe, ...]:
    """Training with 5, 10, 20 and 100 per cent of the labels, with and without self-supervised pretraining."""
    recipes = []
    for percent in (5, 10, 20, 100):
        for pretrained in (False, True):
            name = f"{percent} % of the labels" + (", pretrained" if pretrained else "")
            trial = hygiene(
                steps,
                network,
                after,
                label=name,
                label_share=percent / 100,
                pretraining_steps=steps if pretrained else 0,
            )
            recipes.append(
                TrainingRecipe(
                    name=name,
                    changes="pretrained on the training area without its labels"
                    if pretrained
                    else "labels of a part of the training area, in blocks",
                    against=f"{percent} % of the labels" if pretrained else None,
                    trial=trial,
                )
            )
    return tuple(recipes)


def several_events(
    steps: int = SCREENING_STEPS, network: NetworkSpec = SCREENING, after: int | None = 1
) -> tuple[TrainingRecipe, ...]:
    """Training on other events, on the tested scene itself, and on both; each for the same number of steps."""

    def recipe(name: str, changes: str, against: str | None, **more: object) -> TrainingRecipe:
        trial = hygiene(steps, network, after, label=name)
        return TrainingRecipe.model_validate(
            {"name": name, "changes": changes, "against": against, "trial": trial, **more}
        )

    return (
        recipe("own scene", "trained around the tested rectangle", None),
        recipe(
            "other events",
            "trained on the other events; the tested scene is standardised by its own inputs",
            "own scene",
            training_set="other events",
        ),
        recipe(
            "other events, their statistics",
            "the same, standardised by the mean statistics of the training scenes",
            "other events",
            training_set="other events",
            standardising="training",
        ),
        recipe(
            "own scene and other events",
            "trained on all of them",
            "own scene",
            training_set="own scene and other events",
        ),
    )


def any_passes(
    steps: int = SCREENING_STEPS, network: NetworkSpec = SCREENING, after: int | None = None
) -> tuple[TrainingRecipe, ...]:
    """One network for any number of passes after the event, compared with one trained for just that number.

    Args:
        after: not used; the numbers are 1, 2 and all.
    """
    recipes = []
    every = (Case(after=1), Case(after=2), Case())
    for count in (1, 2, None):
        passes = "all passes" if count is None else number_of(count, "pass")
        for cases, kind in (((), "trained for it"), (every, "trained for any")):
            name = f"{passes} after, {kind}"
            recipes.append(
                TrainingRecipe(
                    name=name,
                    changes="one network for 1, 2 and all passes after"
                    if cases
                    else "a network for this number",
                    against=f"{passes} after, trained for it" if cases else None,
                    trial=hygiene(steps, network, count, label=name, cases=cases),
                )
            )
    return tuple(recipes)


STUDIES = {
    "improvements": improvements,
    "labels": label_efficiency,
    "events": several_events,
    "passes": any_passes,
}
"""the recipes of each study, by its name on the command line"""


def selected(recipes: Sequence[TrainingRecipe], names: Sequence[str]) -> tuple[TrainingRecipe, ...]:
    """The recipes of these names and all those that they are compared with, in order.

    Raises:
        ModelError: a name is unknown.
    """
    known = {recipe.name: recipe for recipe in recipes}
    wanted: set[str] = set()
    for name in names:
        if name not in known:
            raise ModelError(f"There is no recipe {name!r}.", f"Known: {', '.join(known)}.")
        step: str | None = name
        while step is not None:
            wanted.add(step)
            step = known[step].against
    return tuple(recipe for recipe in recipes if recipe.name in wanted)
