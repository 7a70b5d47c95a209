"""Training recipes by name: each improvement over the paper, what it changes, and what it is compared with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from model.experiments.results.results import Trial
from model.inputs.inputs import Inputs
from model.inputs.pass_subsets import PassSubset
from model.network.training_plan import Case, InferencePlan, NetworkSpec, TrainingPlan
from pipeline.records import Frozen

SCREENING = NetworkSpec(
    encoder="resnet18",
    encoder_depth=3,
    decoder_channels=(64, 32, 16),
    in_channels=1,
    initial_weights="random",
)
"""a network small enough for many trainings on a CPU; `in_channels` is set by the inputs"""
SCREENING_STEPS = 300


class TrainingRecipe(Frozen):
    """One way of training that is compared with another one."""

    name: str
    changes: str = Field(description="what it changes in the recipe `against`")
    against: str | None = Field(
        description="name of the recipe that it is compared with; None: with no other"
    )
    needs: tuple[str, ...] = Field((), description="variables that the cube must have")
    trial: Trial
    training_set: Literal["own scene", "other events", "own scene and other events"] = "own scene"
    standardising: Literal["scene", "training"] = Field(
        "scene",
        description="of a scene outside the training set: by its own statistics, or by those of the training scenes",
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
    """A trial of the recipe `training hygiene`, with changes.

    Args:
        more: fields of `Trial` that differ.
    """
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


@dataclass(frozen=True)
class _Improvements:
    """Makes the recipes of `improvements`, all with one budget."""

    steps: int
    network: NetworkSpec
    after: int | None

    def recipe(
        self,
        name: str,
        changes: str,
        against: str | None,
        inputs: Inputs,
        needs: tuple[str, ...] = (),
        **more: object,
    ) -> TrainingRecipe:
        """The recipe of these inputs.

        Args:
            more: fields of `Trial` that differ from `hygiene`.
        """
        trial = hygiene(self.steps, self.network, self.after, label=name, inputs=inputs, **more)
        return TrainingRecipe(name=name, changes=changes, against=against, needs=needs, trial=trial)

    @property
    def everything(self) -> Inputs:
        """All passes before the event."""
        return Inputs(before=None, after=self.after)

    def of_training(self) -> Iterator[TrainingRecipe]:
        """From the plain network to training hygiene."""
        plain, everything = _plan(self.steps), self.everything
        spread = everything.model_copy(update={"change": ("before_sd", "z_score")})
        yield self.recipe(
            "plain",
            "one pass before, chips with landslides, cross entropy, Adam",
            None,
            everything.model_copy(update={"before": 1}),
            plan=plain,
        )
        changes = "the mean of all passes before instead of the newest"
        yield self.recipe("all passes before", changes, "plain", everything, plan=plain)
        changes = "standard deviation before and z-score of the change as channels"
        yield self.recipe("spread before", changes, "all passes before", spread, plan=plain)
        changes = "random crops, empty chips, mirror and gain, AdamW with warm-up and cosine, Dice, EMA"
        yield self.recipe("training hygiene", changes, "all passes before", everything)

    def of_both_directions(self) -> Iterator[TrainingRecipe]:
        """Two tracks, and the channels and predictions that are tried with them."""
        both = self.everything.model_copy(update={"track": "both"})
        ratio = both.model_copy(update={"change": ("log_ratio",)})
        changes = "ascending and descending together"
        yield self.recipe("both directions", changes, "training hygiene", both)
        changes = "the log-ratio itself as a channel"
        yield self.recipe("change channel", changes, "both directions", ratio)
        changes = "the spread before and the z-score in addition to the change channel"
        spread = both.model_copy(update={"change": ("log_ratio", "before_sd", "z_score")})
        yield self.recipe("change and spread", changes, "change channel", spread)
        geometry = {"aspect": "to sensor", "geometry": ("local_incidence", "layover_shadow")}
        yield self.recipe(
            "look geometry",
            "aspect relative to the sensor, local incidence, layover and shadow",
            "change channel",
            ratio.model_copy(update=geometry),
            ("local_incidence_deg", "layover_shadow"),
        )
        changes = "mean with the prediction of the mirrored scene"
        yield self.recipe("mirrored views", changes, "both directions", both, test_time="mirrored")
        tiles = InferencePlan(window_px=_careful(self.steps).chip_px, overlap_px=0, margin_px=0)
        changes = "windows of a chip's size without overlap, as published"
        yield self.recipe("tiles side by side", changes, "both directions", both, windows=tiles)
        yield self.recipe("three networks", "mean of three networks", "both directions", both, members=3)

    def of_coherence_and_passes(self) -> Iterator[TrainingRecipe]:
        """Coherence of pairs, and more passes after the event."""
        everything = self.everything
        coherent = everything.model_copy(update={"coherence": ("before", "loss")})
        ratio = coherent.model_copy(update={"change": ("log_ratio",)})
        two = everything.model_copy(update={"after": 2})
        recovery = two.model_copy(update={"coherence": ("before", "loss", "recovery")})
        needs = ("coherence",)
        changes = "coherence before the event and its loss across it as channels"
        yield self.recipe("coherence", changes, "training hygiene", coherent, needs)
        changes = "the change channel in addition to coherence, of one direction"
        yield self.recipe("coherence and change", changes, "coherence", ratio, needs)
        changes = "a second pass after the event"
        yield self.recipe("two passes after", changes, "training hygiene", two)
        changes = "coherence before, its loss and its recovery, which needs a second pass after the event"
        yield self.recipe("coherence after", changes, "two passes after", recovery, needs)
        cases = (Case(after=1), Case(after=2), Case())
        changes = "one network trained on one, two and all passes after"
        tested = PassSubset(after=self.after) if self.after else None
        every = everything.model_copy(update={"after": None})
        name = "any number of passes"
        yield self.recipe(name, changes, "training hygiene", every, cases=cases, tested=tested)
        changes = "self-supervised pretraining on the unlabelled training area"
        steps = self.steps
        yield self.recipe("pretrained", changes, "training hygiene", everything, pretraining_steps=steps)


def improvements(
    steps: int = SCREENING_STEPS, network: NetworkSpec = SCREENING, after: int | None = 1
) -> tuple[TrainingRecipe, ...]:
    """The improvements in order. Each is a whole recipe, and names the one that it changes in one respect.

    Args:
        steps: of the optimiser, the same for all.
        after: passes after the event; 1 is the first night's map.
    """
    made = _Improvements(steps, network, after)
    return (*made.of_training(), *made.of_both_directions(), *made.of_coherence_and_passes())
