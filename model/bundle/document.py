"""What a bundle says of its model: everything but the weights, and its digest."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Annotated, Literal

from pydantic import Field, model_validator

from model.bundle.expected import BaselineScore, EventScore, ExpectedScore, in_short
from model.bundle.learnt_event import LearntEvent
from model.inputs.channel_statistics import Statistics
from model.inputs.cubes import CubeFacts, Georeference
from model.inputs.inputs import Inputs
from model.inputs.selection import Selection
from model.network.training_plan import Check, NetworkSpec, TestTime, TrainingPlan
from model.scores.probability_calibration import Calibration, CaseCalibration
from model.scores.scores import Scores
from model.split.split import Split
from pipeline.records import Frozen, Utc

DOCUMENT, WEIGHTS, CARD = "bundle.json", "weights.safetensors", "MODEL_CARD.md"

FORMAT, EARLIER = "slidecube-bundle-2", ("slidecube-bundle-1",)

LARGEST_DOCUMENT_BYTES = 4 << 20

SOFTWARE = ("slidecube", "torch", "segmentation-models-pytorch", "numpy", "xarray", "zarr", "safetensors")

Digest = Field(pattern=r"^[0-9a-f]{64}$")


class BundleDocument(Frozen):
    """Everything about a model but its weights: `bundle.json`."""

    format: Literal["slidecube-bundle-2"] = "slidecube-bundle-2"
    digest: str = Digest
    weights_sha256: str = Digest
    inputs: Inputs
    network: NetworkSpec
    members: int = Field(1, ge=1, le=20, description="networks of one kind, whose mean log-odds is taken")
    parameters: int = Field(ge=1, description="of all members")
    statistics: Statistics
    training: TrainingPlan
    cases: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        min_length=1, max_length=64, description="numbers of passes after the event that it was trained on"
    )
    test_time: TestTime
    notes: tuple[str, ...] = Field((), description="what the cube lacked for better inputs")
    seed: int = Field(description="of the first member")
    split: Split = Field(description="of the first event, as are grid, cube, selection and statistics")
    grid: Georeference | None = Field(description="lattice that the split's pixels belong to")
    cube: CubeFacts
    selection: Selection
    others: tuple[LearntEvent, ...] = Field(
        (), max_length=30, description="further events that it was trained on"
    )
    history: tuple[Check, ...] = Field(description="of the first member")
    best_step: int = Field(description="of the first member")
    validation: Scores = Field(
        description="at its own best threshold, which maps use; over the validation areas of all events together"
    )
    test: Scores = Field(
        description="at the threshold chosen on the validation areas; of all events together"
    )
    events: tuple[EventScore, ...] = Field(
        (), max_length=31, description="test area by test area, where there are several events"
    )
    baselines: tuple[BaselineScore, ...] = Field(
        (), max_length=62, description="methods without a network, test area by test area"
    )
    calibration: Calibration = Field(description="with all passes")
    by_passes: tuple[CaseCalibration, ...] = Field(
        (), max_length=8, description="with fewer passes after the event"
    )
    expected: tuple[ExpectedScore, ...] = Field(description="scores on the test area by number of passes")
    device: str
    software: dict[str, str]
    created: Utc

    @model_validator(mode="after")
    def _one_model(self) -> BundleDocument:
        if self.statistics.channels != self.inputs.channels:
            raise ValueError("the statistics are of other channels than the inputs")
        if any(one.statistics.channels != self.inputs.channels for one in self.others):
            raise ValueError("the statistics of another event are of other channels than the inputs")
        if self.network.in_channels != len(self.inputs.channels):
            raise ValueError("the network has another number of channels than the inputs")
        return self

    @property
    def learnt(self) -> tuple[LearntEvent, ...]:
        """Every event that it was trained on."""
        first = LearntEvent(
            cube=self.cube,
            grid=self.grid,
            split=self.split,
            selection=self.selection,
            statistics=self.statistics,
        )
        return (first, *self.others)

    @property
    def simulated(self) -> bool:
        """Whether any of these events is a simulation."""
        return any(one.cube.simulated for one in self.learnt)

    @property
    def place(self) -> str:
        """The areas, as a title names them."""
        return in_short([one.cube.area for one in self.learnt])

    @property
    def threshold(self) -> float:
        """Calibrated probability from which on a pixel is mapped, chosen on the validation area with all passes."""
        return self.validation.threshold

    def calibrated_for(self, after: int) -> CaseCalibration:
        """The calibration and threshold of the nearest number of passes after the event that there are some for."""
        every = CaseCalibration(
            after=len(self.selection.after), calibration=self.calibration, threshold=self.threshold
        )
        return min((*self.by_passes, every), key=lambda case: (abs(case.after - after), case.after))

    @property
    def identity(self) -> str:
        """sha256 of what decides a prediction: inputs, statistics, network, weights, views, calibration, threshold."""
        parts = {
            "inputs": self.inputs.model_dump(mode="json"),
            "statistics": self.statistics.model_dump(mode="json"),
            "network": self.network.model_dump(mode="json"),
            "weights": self.weights_sha256,
            "test_time": self.test_time,
            "calibration": [self.calibration.slope, self.calibration.intercept],
            "threshold": self.threshold,
        }
        if self.by_passes:
            parts["by_passes"] = [
                [case.after, case.calibration.slope, case.calibration.intercept, case.threshold]
                for case in self.by_passes
            ]
        if self.others:
            parts["others"] = [one.statistics.model_dump(mode="json") for one in self.others]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def software() -> dict[str, str]:
    """Versions of what trained the model."""
    found = {"python": python_version()}
    for name in SOFTWARE:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
