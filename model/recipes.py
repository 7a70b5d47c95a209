"""Named recipes: what each improvement over the paper changes, one after the other, and what it is measured against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import xarray as xr
from pydantic import Field, ValidationError

from model.inputs import TERRAIN_VARIABLES, EventSpan, Inputs
from model.plan import Case, NetworkSpec, TrainingPlan
from model.results import Trial
from model.selection import Selection, select
from pipeline.errors import ModelError
from pipeline.records import Frozen

SCREENING = NetworkSpec(
    encoder="resnet18",
    encoder_depth=3,
    decoder_channels=(64, 32, 16),
    in_channels=1,
    initial_weights="random",
)
"""A network small enough for many trainings on a CPU; `in_channels` is set by the inputs."""
SCREENING_STEPS = 300


BEST: dict[str, object] = {"change": ("log_ratio",)}
"""inputs of the best recipe that any cube can serve; model/README.md has what each is worth"""
WISHES: tuple[tuple[dict[str, object], ...], ...] = (
    ({"track": "both"},),
    ({"coherence": ("before", "loss", "recovery")}, {"coherence": ("before", "loss")}),
)
"""what the best recipe adds where a cube can serve it: of each the first that it can"""
SEEN_BY_BOTH = 0.9
"""Share of the scene that some pass of each direction must see on each side of the event, so that two directions are
worth the ground that one of them does not see."""


class Rung(Frozen):
    """One recipe on the ladder."""

    name: str
    changes: str = Field(description="what it changes against `against`, in words")
    against: str | None = Field(description="the recipe that it is measured against; None: the first one")
    needs: tuple[str, ...] = Field((), description="variables that the cube must have")
    trial: Trial
    learns_from: Literal["own scene", "other events", "own scene and other events"] = "own scene"
    standardising: Literal["scene", "training"] = Field(
        "scene", description="of a scene that is not learned from: its own statistics, or those of the others"
    )


def _plan(steps: int, **changes: object) -> TrainingPlan:
    plain: dict[str, object] = {
        "chip_px": 64,
        "stride_px": 32,
        "steps": steps,
        "batch": 8,
        "share_with_landslide": 1.0,
        "sampling": "fixed chips",
        "augmentation": (),
        "ema_decay": None,
        "optimiser": "adam",
        "schedule": "constant",
        "learning_rate": 1e-3,
        "weight_decay": 1e-4,
        "dice_weight": 0.0,
        "validate_every": max(1, steps // 6),
    }
    return TrainingPlan.model_validate(plain | changes)


def _careful(steps: int) -> TrainingPlan:
    return _plan(
        steps,
        sampling="random crops",
        share_with_landslide=0.7,
        augmentation=("mirror along track", "gain"),
        optimiser="adamw",
        schedule="cosine",
        learning_rate=2e-3,
        weight_decay=1e-2,
        dice_weight=1.0,
        ema_decay=0.98,
    )


def ladder(
    steps: int = SCREENING_STEPS, network: NetworkSpec = SCREENING, after: int | None = 1
) -> tuple[Rung, ...]:
    """The improvements in order. Each is a whole recipe, and names the one that it changes in one respect.

    Args:
        steps: of the optimiser, the same for all.
        after: passes after the event; 1 is the night of the first pass.
    """
    rungs: list[Rung] = []
    plain, careful = _plan(steps), _careful(steps)
    base = Inputs(before=1, after=after)
    everything = base.model_copy(update={"before": None})
    spread = everything.model_copy(update={"change": ("before_sd", "z_score")})
    both = everything.model_copy(update={"track": "both"})
    ratio = both.model_copy(update={"change": ("log_ratio",)})
    looked = ratio.model_copy(
        update={"aspect": "to sensor", "geometry": ("local_incidence", "layover_shadow")}
    )

    def add(
        name: str,
        changes: str,
        against: str | None,
        inputs: Inputs,
        plan: TrainingPlan,
        needs: Sequence[str] = (),
        **more: object,
    ) -> None:
        trial = Trial.model_validate(
            {
                "label": name,
                "inputs": inputs,
                "network": network,
                "plan": plan,
                "protocol": "strict",
                "seed": 0,
                **more,
            }
        )
        rungs.append(Rung(name=name, changes=changes, against=against, needs=tuple(needs), trial=trial))

    add("plain", "one pass before, chips with landslides, cross entropy, Adam", None, base, plain)
    add(
        "all passes before", "the mean of all passes before instead of the newest", "plain", everything, plain
    )
    add(
        "spread before",
        "standard deviation before and z-score of the change as channels",
        "all passes before",
        spread,
        plain,
    )
    add(
        "training hygiene",
        "random crops, empty chips, mirror and gain, AdamW with warm-up and cosine, Dice, EMA",
        "all passes before",
        everything,
        careful,
    )
    add("both directions", "ascending and descending together", "training hygiene", both, careful)
    add("change channel", "the log-ratio itself as a channel", "both directions", ratio, careful)
    add(
        "change and spread",
        "the spread before and the z-score beside the change channel",
        "change channel",
        both.model_copy(update={"change": ("log_ratio", "before_sd", "z_score")}),
        careful,
    )
    add(
        "look geometry",
        "aspect from the look, local incidence, layover and shadow",
        "change channel",
        looked,
        careful,
        ("local_incidence_deg", "layover_shadow"),
    )
    add(
        "mirrored views",
        "mean with the prediction of the mirrored scene",
        "both directions",
        both,
        careful,
        test_time="mirrored",
    )
    add("three networks", "mean of three networks", "both directions", both, careful, members=3)
    coherent = everything.model_copy(update={"coherence": ("before", "loss")})
    add(
        "coherence",
        "coherence before the event and its loss across it as channels",
        "training hygiene",
        coherent,
        careful,
        ("coherence",),
    )
    add(
        "coherence and change",
        "the change channel beside coherence, of one direction",
        "coherence",
        coherent.model_copy(update={"change": ("log_ratio",)}),
        careful,
        ("coherence",),
    )
    two = everything.model_copy(update={"after": 2})
    add("two passes after", "a second pass after the event", "training hygiene", two, careful)
    add(
        "coherence after",
        "coherence before, its loss and its recovery, which needs a second pass after the event",
        "two passes after",
        two.model_copy(update={"coherence": ("before", "loss", "recovery")}),
        careful,
        ("coherence",),
    )
    add(
        "any number of passes",
        "one network trained on one, two and all passes after",
        "training hygiene",
        everything,
        careful,
        cases=(Case(after=1), Case(after=2), Case()),
    )
    add(
        "pretrained",
        "self-supervised pretraining on the unlabelled training area",
        "training hygiene",
        everything,
        careful,
        pretraining_steps=steps,
    )
    return tuple(rungs)


def best_inputs(
    cube: xr.Dataset, event: EventSpan | None = None, asked: Mapping[str, object] | None = None
) -> tuple[Inputs, tuple[str, ...]]:
    """The inputs of the best recipe as far as a cube has them, and what it lacks, in words.

    Args:
        asked: fields of `Inputs` that are settled; the rest is chosen here.

    Raises:
        ModelError: a settled field is none of `Inputs` or has no such value.
    """
    notes: list[str] = []
    fields: dict[str, object] = {}
    for name, known in (("backscatter", ("vv", "vh")), ("terrain", tuple(TERRAIN_VARIABLES))):
        variables = {word: TERRAIN_VARIABLES.get(word, word) for word in known}  # type: ignore[call-overload]
        held = tuple(word for word in known if variables[word] in cube)
        notes += [f"the cube has no {variables[word]}" for word in known if word not in held]
        fields[name] = held
    fields |= BEST
    fields |= dict(asked or {})
    try:
        inputs = Inputs.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "inputs"
        raise ModelError(
            f"{where}: {first['msg']}.", "See `slidecube train --help` for what inputs can be."
        ) from error
    for wishes in WISHES:
        refused = ""
        for wish in wishes:
            if any(name in (asked or {}) for name in wish):
                break
            better = Inputs.model_validate(fields | wish)
            try:
                _sees_enough(select(cube, better, event))
            except ModelError as error:
                refused = refused or error.message
                continue
            fields, inputs = fields | wish, better
            refused = ""
            break
        if refused:
            notes.append(f"without {'both directions' if 'track' in wishes[0] else 'coherence'}: {refused}")
    return inputs, tuple(notes)


def _sees_enough(selection: Selection) -> None:
    if len(selection.every_view) < 2:
        return
    for view in selection.every_view:
        for side in (view.before, view.after):
            seen = max(used.valid for used in side)
            if seen < SEEN_BY_BOTH:
                raise ModelError(f"{view.track} sees {seen:.0%} of the scene, less than {SEEN_BY_BOTH:.0%}.")


def _hygiene(steps: int, network: NetworkSpec, after: int | None, **more: object) -> Trial:
    """The recipe `training hygiene` of the ladder, and what is changed in it."""
    return Trial.model_validate(
        {
            "label": "",
            "inputs": Inputs(before=None, after=after),
            "network": network,
            "plan": _careful(steps),
            "protocol": "strict",
            "seed": 0,
            **more,
        }
    )


def label_efficiency(
    steps: int = SCREENING_STEPS, network: NetworkSpec = SCREENING, after: int | None = 1
) -> tuple[Rung, ...]:
    """Self-supervised pretraining by how few labels do: 5, 10, 20 and 100 per cent of them, with and without."""
    rungs = []
    for percent in (5, 10, 20, 100):
        for pretrained in (False, True):
            name = f"{percent} % of the labels" + (", pretrained" if pretrained else "")
            trial = _hygiene(
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
        trial = _hygiene(steps, network, after, label=name)
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
                    trial=_hygiene(steps, network, count, label=name, cases=cases),
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
