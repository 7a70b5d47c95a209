"""The choices of an experiment other than the training plan: inputs, encoder, split."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue, model_validator

from model.inputs.inputs import EventSpan, Inputs
from model.network.training_plan import ArchitectureName, Case, Encoder, TestTime
from model.split.split import SplitPlan
from pipeline.records import Frozen


class Experiment(Frozen):
    """The choices of an experiment other than the training plan: inputs, encoder, split of the scene."""

    inputs: Inputs | None = Field(None, description="None: the best that the cubes allow (`best_inputs`)")
    settled: dict[str, JsonValue] = Field(
        default_factory=dict, description="fields of `inputs` that are fixed while the rest is chosen"
    )
    cases: tuple[Case, ...] | None = Field(
        None,
        max_length=6,
        description="numbers of passes that the network is trained on in turn; empty: those of `inputs`; None: where "
        "`inputs` takes all passes after the event, also the first 1 and 2 of them",
    )
    test_time: TestTime = "mirrored"
    architecture: ArchitectureName = Field("unet", exclude_if=lambda name: name == "unet")
    encoder: Encoder = "resnet18"
    initial_weights: Literal["random", "imagenet"] = "random"
    start: str | None = Field(
        None,
        max_length=4096,
        exclude_if=lambda name: name is None,  # requests of trainings from random weights stay unchanged
        description="folder or name of the bundle whose weights the training starts from; inputs and network are those "
        "of the bundle. None: from `initial_weights`",
    )
    members: int = Field(1, ge=1, le=20, description="networks of an ensemble, each with its own seed")
    split: SplitPlan = SplitPlan()
    event: EventSpan | None = Field(None, description="None: the event that the cube records")
    left_out: bool = Field(
        False,
        exclude_if=lambda wanted: not wanted,
        description="train once more for each event, on the others, and state what maps are worth by the events that "
        "were left out; needs three events",
    )
    others: tuple[str, ...] = Field(
        (),
        max_length=30,
        description="paths or names of further cubes in the training set; each has its own split and its own "
        "statistics",
    )

    @model_validator(mode="after")
    def _one_beginning(self) -> Experiment:
        if self.start is not None and (self.settled or self.initial_weights != "random"):
            raise ValueError(
                "a training that starts from a bundle has the inputs and the network of the bundle; leave out other "
                "inputs and initial weights"
            )
        return self
