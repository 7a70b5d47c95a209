"""The studies of the command `ladder`: improvements, few labels, other events, any passes and views, events left
out."""

from __future__ import annotations

from collections.abc import Sequence

from model.experiments.fine_tuning import fine_tuning
from model.experiments.recipes import SCREENING, SCREENING_STEPS, TrainingRecipe, hygiene, improvements
from model.inputs.inputs import Inputs
from model.inputs.pass_subsets import PassSubset
from model.network.training_plan import Case, NetworkSpec
from model.scores.scores import Method
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
        own = f"{passes} after, trained for it"
        trial = hygiene(steps, network, count, label=own)
        recipes.append(
            TrainingRecipe(name=own, changes="a network for this number", against=None, trial=trial)
        )
        tested = PassSubset(after=count) if count else None
        name = f"{passes} after, trained for any"
        trial = hygiene(steps, network, None, label=name, cases=every, tested=tested)
        changes = "one network for 1, 2 and all passes after"
        recipes.append(TrainingRecipe(name=name, changes=changes, against=own, trial=trial))
    return tuple(recipes)


VIEW_CASES: dict[str, tuple[dict[str, object], PassSubset]] = {
    "one descending pass": (
        {"track": "descending", "after": 1},
        PassSubset(after=1, directions=("descending",)),
    ),
    "one ascending pass": (
        {"track": "ascending", "after": 1},
        PassSubset(after=1, directions=("ascending",)),
    ),
    "one pass of each": ({"track": "both", "after": 1}, PassSubset(after=1)),
    "four of each": ({"track": "both", "before": 4, "after": 4}, PassSubset(before=4, after=4)),
}
"""passes after the event: the inputs of a network for just this case, and what a network for any case is scored with"""


def any_views(
    steps: int = SCREENING_STEPS, network: NetworkSpec = SCREENING, after: int | None = None
) -> tuple[TrainingRecipe, ...]:
    """One network for any views and passes, compared with one trained for just these.

    Args:
        after: not used; the cases are those of `VIEW_CASES`.
    """
    change = {"before": None, "after": None, "change": ("log_ratio",)}
    every = Inputs.model_validate({**change, "track": "both", "views": "any"})
    cases = (Case(after=1), Case(before=4, after=2), Case())
    recipes = []
    for words, (own_inputs, tested) in VIEW_CASES.items():
        own, name = f"{words}, trained for it", f"{words}, trained for any"
        inputs = Inputs.model_validate({**change, **own_inputs})
        trial = hygiene(steps, network, None, label=own, inputs=inputs)
        recipes.append(
            TrainingRecipe(name=own, changes="a network for these passes", against=None, trial=trial)
        )
        trial = hygiene(steps, network, None, label=name, inputs=every, cases=cases, tested=tested)
        changes = "one network for any views and passes"
        recipes.append(TrainingRecipe(name=name, changes=changes, against=own, trial=trial))
    return tuple(recipes)


def left_out(
    steps: int = SCREENING_STEPS, network: NetworkSpec = SCREENING, after: int | None = 1
) -> tuple[TrainingRecipe, ...]:
    """Each of the cubes left out in turn: the default inputs, methods without a network on the very same inputs, and
    changes of network and channels that are tried against the default.
    """
    base = "network"
    inputs = Inputs(before=None, after=after, track="both", views="any", change=("log_ratio",))

    def recipe(name: str, changes: str, **more: object) -> TrainingRecipe:
        trial = hygiene(steps, network, after, label=name, inputs=inputs).model_copy(update=more)
        against = None if name == base else base
        return TrainingRecipe(
            name=name, changes=changes, against=against, trial=trial, training_set="other events"
        )

    def without_network(name: Method, changes: str) -> TrainingRecipe:
        return recipe(name, changes, method=name, network=None, plan=None)

    def other_network(name: str, changes: str, architecture: str) -> TrainingRecipe:
        other = NetworkSpec.model_validate({**network.model_dump(), "architecture": architecture})
        return recipe(name, changes, network=other)

    def with_change(name: str, changes: str, *words: str) -> TrainingRecipe:
        fields = {**inputs.model_dump(), "change": ("log_ratio", *words)}
        return recipe(name, changes, inputs=Inputs.model_validate(fields))

    return (
        recipe(base, "the default inputs, trained on the other events"),
        without_network("log-ratio", "change detector, no training"),
        without_network("boosting", "boosted pixels of the same inputs, trained on the other events"),
        recipe(
            "every view needed", "a pixel is used where both directions see it", inputs=_needing_all(inputs)
        ),
        other_network("full resolution", "a first level at full resolution", "unet-full"),
        other_network("one encoder", "one encoder for both directions, the ascending mirrored", "unet-views"),
        with_change("scales", "the log-ratio averaged over 3, 9 and 21 pixels too", "scales"),
        with_change("quegan", "passes after the multi-temporal filter too", "quegan"),
    )


def _needing_all(inputs: Inputs) -> Inputs:
    return inputs.model_copy(update={"views": "every"})


STUDIES = {
    "improvements": improvements,
    "labels": label_efficiency,
    "events": several_events,
    "passes": any_passes,
    "views": any_views,
    "left-out": left_out,
    "fine-tuning": fine_tuning,
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
