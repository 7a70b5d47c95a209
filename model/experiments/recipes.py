"""Named recipes: what each improvement over the paper changes, one after the other, and what it is measured against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from model.experiments.results.results import Trial
from model.inputs.inputs import Inputs
from model.network.training_plan import Case, InferencePlan, NetworkSpec, TrainingPlan
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


def hygiene(steps: int, network: NetworkSpec, after: int | None, **more: object) -> Trial:
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
        trial = hygiene(steps, network, after, label=name, inputs=inputs, plan=plan, **more)
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
    add(
        "tiles side by side",
        "windows of a chip's size without overlap, as published",
        "both directions",
        both,
        careful,
        windows=InferencePlan(window_px=careful.chip_px, overlap_px=0, margin_px=0),
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
