"""What can be measured besides the ladder: few labels, other events, any number of passes."""

from __future__ import annotations

from collections.abc import Sequence

from model.experiments.recipes import SCREENING, SCREENING_STEPS, Rung, hygiene, ladder
from model.network.training_plan import Case, NetworkSpec
from pipeline.errors import ModelError


def label_efficiency(
    steps: int = SCREENING_STEPS, network: NetworkSpec = SCREENING, after: int | None = 1
) -> tuple[Rung, ...]:
    """Self-supervised pretraining by how few labels do: 5, 10, 20 and 100 per cent of them, with and without."""
    rungs = []
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
            rungs.append(
                Rung(
                    name=name,
                    changes="pretrained on the training area without its labels"
                    if pretrained
                    else "labels of a part of the training area, in blocks",
                    against=f"{percent} % of the labels" if pretrained else None,
                    trial=trial,
                )
            )
    return tuple(rungs)


def several_events(
    steps: int = SCREENING_STEPS, network: NetworkSpec = SCREENING, after: int | None = 1
) -> tuple[Rung, ...]:
    """What it costs to know only other events, and what they add to one's own; each for as many steps."""

    def rung(name: str, changes: str, against: str | None, **more: object) -> Rung:
        trial = hygiene(steps, network, after, label=name)
        return Rung.model_validate(
            {"name": name, "changes": changes, "against": against, "trial": trial, **more}
        )

    return (
        rung("own scene", "trained around the tested rectangle", None),
        rung(
            "other events",
            "trained on the other events; the tested scene is standardised by its own inputs",
            "own scene",
            learns_from="other events",
        ),
        rung(
            "other events, their statistics",
            "the same, standardised by the mean statistics of the others",
            "other events",
            learns_from="other events",
            standardising="training",
        ),
        rung(
            "own scene and other events",
            "trained on all of them",
            "own scene",
            learns_from="own scene and other events",
        ),
    )


def any_passes(
    steps: int = SCREENING_STEPS, network: NetworkSpec = SCREENING, after: int | None = None
) -> tuple[Rung, ...]:
    """One network for any number of passes after the event, beside one that was trained for just that number.

    Args:
        after: not used; the numbers are 1, 2 and all.
    """
    rungs = []
    every = (Case(after=1), Case(after=2), Case())
    for count in (1, 2, None):
        words = "all passes" if count is None else f"{count} {'pass' if count == 1 else 'passes'}"
        for cases, kind in (((), "trained for it"), (every, "trained for any")):
            name = f"{words} after, {kind}"
            rungs.append(
                Rung(
                    name=name,
                    changes="one network for 1, 2 and all passes after"
                    if cases
                    else "a network for this number",
                    against=f"{words} after, trained for it" if cases else None,
                    trial=hygiene(steps, network, count, label=name, cases=cases),
                )
            )
    return tuple(rungs)


STUDIES = {
    "improvements": ladder,
    "labels": label_efficiency,
    "events": several_events,
    "passes": any_passes,
}
"""what can be measured, by the word of the command line"""


def chosen(rungs: Sequence[Rung], names: Sequence[str]) -> tuple[Rung, ...]:
    """The rungs of these names and all below them that they are measured against, in order.

    Raises:
        ModelError: a name is unknown.
    """
    known = {rung.name: rung for rung in rungs}
    wanted: set[str] = set()
    for name in names:
        if name not in known:
            raise ModelError(f"There is no recipe {name!r}.", f"Known: {', '.join(known)}.")
        step: str | None = name
        while step is not None:
            wanted.add(step)
            step = known[step].against
    return tuple(rung for rung in rungs if rung.name in wanted)
