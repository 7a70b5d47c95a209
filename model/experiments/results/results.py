"""What a trial is and what it found: the values that tables, intervals and comparisons are made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from model.inputs.cubes import CubeFacts
from model.inputs.inputs import Inputs
from model.inputs.selection import Selection
from model.network.training_plan import Case, InferencePlan, NetworkSpec, PaperPlan, TestTime, TrainingPlan
from model.scores.evaluation import Evaluation
from model.scores.scores import Method, Scores
from pipeline.records import Frozen

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Others(Frozen):
    """Other events that a network learns from."""

    places: tuple[str, ...] = Field(min_length=1, description="paths or names of their cubes")
    own: bool = Field(False, description="together with what a fold leaves of the tested scene")
    standardising: Literal["scene", "training"] = Field(
        "scene",
        description="the tested scene is standardised with its own inputs (labels are not read), or with the mean of "
        "the statistics of those learned from",
    )


class Trial(Frozen):
    """One training, or one method without training, on one cube: all that decides its result."""

    label: str = Field(description="row of a table, as in 'VV+VH'")
    method: Method = "network"
    inputs: Inputs
    network: NetworkSpec | None = Field(None, description="None: the method is no network")
    plan: TrainingPlan | None = None
    paper: PaperPlan | None = Field(None, description="in place of `plan` under the protocol paper")
    protocol: Literal["paper", "strict"]
    seed: int
    fold: int | None = Field(None, ge=0, description="strict: which block is tested")
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
    pretraining_steps: int = Field(0, ge=0, description="steps of self-supervised pretraining before")
    label_share: float = Field(
        1.0, gt=0, le=1, description="share of the training area whose labels are used"
    )


class TrialResult(Frozen):
    """What a trial found, and on what. Two results are comparable when protocol and scored pixels are the same."""

    format: Literal["slidecube-trial-1"] = "slidecube-trial-1"
    trial: Trial
    cube: CubeFacts
    trained_on: tuple[CubeFacts, ...] = Field(
        (), description="other cubes than `cube`, where trained on others"
    )
    protocol_digest: Digest = Field(description="sha256 of everything that decides what is scored and how")
    scored_digest: Digest = Field(description="sha256 over which pixels were scored, and their labels")
    switches: dict[str, str] = Field(
        default_factory=dict, description="each named defect of the paper: 'as published' or 'corrected'"
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
