"""What is tried on a cube, apart from how long a network is trained."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from model.inputs.inputs import EventSpan, Inputs
from model.network.training_plan import ArchitectureName, Case, Encoder, TestTime
from model.split.split import SplitPlan
from pipeline.records import Frozen


class Experiment(Frozen):
    """What is tried, apart from how long it is trained: inputs, encoder, division of the scene."""

    inputs: Inputs | None = Field(
        None, description="None: the best that the cube can give (`best.best_inputs`)"
    )
    settled: dict[str, JsonValue] = Field(
        default_factory=dict, description="fields of `inputs` that are settled where the rest is chosen"
    )
    cases: tuple[Case, ...] | None = Field(
        None,
        max_length=6,
        description="numbers of passes that the network is trained on in turn; empty: those of `inputs`; None: 1, 2 "
        "and all passes after the event where `inputs` takes all and there are more",
    )
    test_time: TestTime = "mirrored"
    architecture: ArchitectureName = Field("unet", exclude_if=lambda name: name == "unet")
    encoder: Encoder = "resnet18"
    initial_weights: Literal["random", "imagenet"] = "random"
    members: int = Field(1, ge=1, le=20, description="networks, each of its own seed, whose mean is mapped")
    split: SplitPlan = SplitPlan()
    event: EventSpan | None = Field(None, description="None: the one that the cube records")
    others: tuple[str, ...] = Field(
        (),
        max_length=30,
        description="further cubes, paths or names, that one network learns from too; each has its own division and "
        "is standardised by itself",
    )
