"""Trials and their results: the values that tables, intervals and comparisons are made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field

from model.bundle.starting_bundle import StartingBundle
from model.inputs.cubes import CubeFacts
from model.inputs.inputs import EventSpan, Inputs
from model.inputs.pass_subsets import PassSubset
from model.inputs.selection import Selection
from model.network.training_plan import Case, InferencePlan, NetworkSpec, PaperPlan, TestTime, TrainingPlan
from model.scores.evaluation import Evaluation
from model.scores.scores import Method, Scores
from model.split.folds import FoldPlan
from pipeline.records import Frozen, digest_of_json

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

BATCHES = 2
"""version of the rule of `model.network.batches` for several scenes. 1: a batch is of one of them"""


class OtherEvents(Frozen):
    """Other events that a network is trained on."""

    cubes: tuple[str, ...] = Field(min_length=1, description="paths or names of their cubes")
    own_scene: bool = Field(
        False, description="train on the training part of the tested scene's fold as well"
    )
    standardising: Literal["scene", "training"] = Field(
        "scene",
        description="the tested scene is standardised by its own inputs (labels are not read), or by the mean of the "
        "statistics of the training scenes",
    )


class Trial(Frozen):
    """One training, or one method without training: everything that decides its result on a given cube."""

    label: str = Field(description="row of a table, as in 'VV+VH'")
    method: Method = "network"
    inputs: Inputs
    network: NetworkSpec | None = Field(None, description="None: the method is no network")
    plan: TrainingPlan | None = None
    paper: PaperPlan | None = Field(None, description="instead of `plan` under the protocol paper")
    protocol: Literal["paper", "strict"]
    seed: int
    fold: int | None = Field(None, ge=0, description="strict: which rectangle is tested")
    members: int = Field(1, ge=1, le=20, description="networks of an ensemble, trained from successive seeds")
    test_time: TestTime = Field(
        "plain", description="mirrored: the mean with the prediction of the scene mirrored along the track"
    )
    windows: InferencePlan | None = Field(
        None, description="windows of the prediction; None: 256 pixels, blended over 64"
    )
    cases: tuple[Case, ...] = Field(
        (), description="numbers of passes that one network is trained on in turn; empty: those of `inputs`"
    )
    tested: PassSubset | None = Field(
        None,
        exclude_if=lambda passes: passes is None,
        description="passes of the tested scene that are mapped; None: those of `inputs`",
    )
    pretraining_steps: int = Field(
        0, ge=0, description="steps of self-supervised pretraining before training"
    )
    start: StartingBundle | None = Field(
        None,
        exclude_if=lambda bundle: bundle is None,
        description="whose weights the training starts from; its channels are those of `inputs`",
    )
    label_share: float = Field(
        1.0, gt=0, le=1, description="share of the training area whose labels are used"
    )

    @property
    def begins_with_tied_filters(self) -> bool:
        """Whether the network starts from ImageNet weights whose first filters are the same for both dates."""
        imagenet = self.network is not None and self.network.initial_weights == "imagenet"
        return imagenet and self.protocol != "paper"

    def mixes_scenes(self, events: int = 1) -> bool:
        """Whether the chips of a batch are of several scenes, as events or numbers of passes of one.

        Args:
            events: in the training set.
        """
        random = self.plan is not None and self.plan.sampling == "random crops"
        return random and (events > 1 or len(self.cases) > 1)


class TrialTask(Frozen):
    """A trial on a cube, with the settings of its protocol that are not the trial's own."""

    cube: str
    trial: Trial
    folds: FoldPlan = FoldPlan()
    event: EventSpan | None = Field(None, description="None: the event that the cube records")
    other_events: OtherEvents | None = Field(None, description="other events in the training set; None: none")

    def digest_on(self, cube: CubeFacts, protocol: str) -> str:
        """sha256 of everything that decides the result of a trial on one cube but the software.

        Args:
            protocol: digest of the protocol, which holds its settings and the event.
        """
        parts: dict[str, Any] = {
            "trial": self.trial.model_dump(mode="json", exclude={"label"}),
            "cube": cube.digest,
            "protocol": protocol,
        }
        if self.trial.inputs.newest_before == "dropped":
            parts["newest before"] = 2  # version of the rule in `model.inputs.selection`
        if self.trial.begins_with_tied_filters:
            parts["imagenet filters"] = 2  # version of the rule in `model.network.parts.imagenet`
        if self.trial.mixes_scenes():
            parts["batches"] = BATCHES
        return digest_of_json(parts)


class SkippedTrial(Frozen):
    """A trial that could not be run, such as one whose test area holds no landslide."""

    task: TrialTask
    reason: str

    @property
    def name(self) -> str:
        """The trial as a report names it: label, cube, fold and seed."""
        trial = self.task.trial
        fold = "" if trial.fold is None else f", fold {trial.fold}"
        return f"{trial.label} on {self.task.cube}{fold}, seed {trial.seed}"


def skipped_in_words(skipped: Iterable[SkippedTrial]) -> list[str]:
    """Lines of Markdown that name every skipped trial, those of one reason together; empty where none was skipped."""
    by_reason: dict[str, list[str]] = {}
    for one in skipped:
        by_reason.setdefault(one.reason, []).append(one.name)
    if not by_reason:
        return []
    lines = [f"- {reason} ({'; '.join(names)})" for reason, names in by_reason.items()]
    return ["Skipped, so that the figures are of the other trials alone:", "", *lines]


class CrossValidation(Frozen):
    """The cubes, folds and seeds that trials of the protocol strict run on."""

    cubes: tuple[str, ...]
    folds: tuple[int, ...] = (0, 1, 2, 3)
    seeds: tuple[int, ...] = (0,)
    event: EventSpan | None = Field(None, description="None: the event that each cube records")

    def tasks(self, trials: Iterable[Trial]) -> list[TrialTask]:
        """Every trial on every cube, fold and seed; fold f and seed s give the trial the seed 100 s + f."""
        return [
            TrialTask(
                cube=cube,
                trial=trial.model_copy(update={"fold": fold, "seed": 100 * seed + fold}),
                event=self.event,
            )
            for seed in self.seeds
            for fold in self.folds
            for trial in tuple(trials)
            for cube in self.cubes
        ]


class TrialResult(Frozen):
    """The figures of a trial. Two results are comparable if their protocols and their scored pixels are the same."""

    format: Literal["slidecube-trial-1"] = "slidecube-trial-1"
    trial: Trial
    cube: CubeFacts
    trained_on: tuple[CubeFacts, ...] = Field(
        (), description="cubes other than `cube` that were in the training set"
    )
    protocol_digest: Digest = Field(description="sha256 of everything that decides what is scored and how")
    scored_digest: Digest = Field(description="sha256 over which pixels were scored, and their labels")
    switches: dict[str, str] = Field(
        default_factory=dict,
        description="each named defect of the paper: 'as published' or 'corrected', or why it is neither",
    )
    selection: Selection
    evaluation: Evaluation
    validation: Scores | None = None
    parameters: int | None = None
    steps: int | None = Field(None, description="steps of the optimiser in all")
    best_step: int | None = None
    seconds: float
    device: str
    software: dict[str, str]
    notes: tuple[str, ...] = ()
