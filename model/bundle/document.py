"""The document of a bundle, `bundle.json`: everything about its model but the weights, and its digest."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Annotated, Literal

from pydantic import Field, model_validator

from model.bundle.expected_scores import (
    AreaScore,
    BaselineScore,
    EventScore,
    ExpectedScore,
    area_names_in_short,
    area_score_fields,
    mean_score,
)
from model.bundle.starting_bundle import StartingBundle
from model.bundle.training_event import TrainingEvent
from model.bundle.training_series import TrainingSeries
from model.inputs.channel import DIRECTIONS
from model.inputs.channel_statistics import Statistics
from model.inputs.cubes import CubeFacts, Georeference
from model.inputs.inputs import Inputs
from model.inputs.pass_subsets import ViewPasses, distance, passes_by_view
from model.inputs.selection import Selection
from model.network.training_plan import Check, NetworkSpec, TestTime, TrainingPlan
from model.scores.case_evidence import CaseEvidence
from model.scores.input_ranges import InputRanges
from model.scores.probability_calibration import Calibration, CaseCalibration
from model.scores.scores import Scores, Share
from model.split.split import Split
from pipeline.records import Frozen, Utc, digest_of_json

DOCUMENT, WEIGHTS, CARD = "bundle.json", "weights.safetensors", "MODEL_CARD.md"

FORMAT, EARLIER_FORMATS = "slidecube-bundle-2", ("slidecube-bundle-1",)

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
    members: int = Field(
        1, ge=1, le=20, description="networks of one architecture, whose log-odds are averaged"
    )
    parameters: int = Field(ge=1, description="of all members")
    statistics: Statistics
    training: TrainingPlan
    cases: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        min_length=1, max_length=64, description="numbers of passes after the event that it was trained on"
    )
    test_time: TestTime
    notes: tuple[str, ...] = Field((), description="what the cubes lack for the best inputs")
    seed: int = Field(description="of the first member")
    split: Split = Field(description="of the first event, as are grid, cube, selection and statistics")
    grid: Georeference | None = Field(description="grid that the split's pixels belong to")
    cube: CubeFacts
    selection: Selection
    others: tuple[TrainingEvent, ...] = Field((), max_length=30, description="further training events")
    history: tuple[Check, ...] = Field(description="of the first member")
    best_step: int = Field(description="of the first member")
    validation: Scores = Field(
        description="at its best threshold, which maps use; over the validation areas of all events together"
    )
    test: Scores = Field(description="at that threshold; over the test areas of all events together")
    events: tuple[EventScore, ...] = Field((), max_length=31, description="by event, where there are several")
    validation_events: tuple[EventScore, ...] = Field(
        (), max_length=31, description="the same on the validation areas; empty: in older documents"
    )
    baselines: tuple[BaselineScore, ...] = Field(
        (), max_length=62, description="methods without a network, by event"
    )
    calibration: Calibration = Field(description="with all passes")
    by_passes: tuple[CaseCalibration, ...] = Field(
        (), max_length=32, description="with fewer passes after the event, or fewer views"
    )
    expected: tuple[ExpectedScore, ...] = Field(description="scores on the test area by number of passes")
    start: StartingBundle | None = Field(
        None, exclude_if=lambda bundle: bundle is None, description="whose weights the training started from"
    )
    series: TrainingSeries | None = Field(
        None,
        exclude_if=lambda series: series is None,
        description="of a prior: the events that it was trained on, of which `cube` is the first; `statistics` are the "
        "means of theirs; `test`, `events` and `selection` are of events that were left out",
    )
    evidence: tuple[CaseEvidence, ...] = Field(
        (),
        max_length=32,
        exclude_if=lambda cases: not cases,
        description="by case, what maps were worth on the events that were tested; empty: in older documents",
    )
    chosen_threshold: Share | None = Field(
        None,
        exclude_if=lambda threshold: threshold is None,
        description="of maps with all passes: the best mean F1 over left-out events; None: that of `validation`",
    )
    input_ranges: InputRanges | None = Field(
        None,
        exclude_if=lambda ranges: ranges is None,
        description="what the inputs of the training set were like; None: in older documents",
    )
    device: str
    software: dict[str, str]
    created: Utc

    @model_validator(mode="after")
    def _one_model(self) -> BundleDocument:
        if self.statistics.channels != self.inputs.channels:
            raise ValueError("the statistics and the inputs differ in their channels")
        if any(one.statistics.channels != self.inputs.channels for one in self.others):
            raise ValueError("the statistics of a further event and the inputs differ in their channels")
        if self.input_ranges is not None and self.input_ranges.channels != self.inputs.channels:
            raise ValueError("the ranges of the inputs and the inputs differ in their channels")
        if self.network.in_channels != len(self.inputs.channels):
            raise ValueError("the network and the inputs differ in the number of channels")
        _ = self.training_events  # refuses a split that reaches out of its scene
        return self

    @property
    def training_events(self) -> tuple[TrainingEvent, ...]:
        """Every event that the model was trained on."""
        first = TrainingEvent(
            cube=self.cube,
            grid=self.grid,
            split=self.split,
            selection=self.selection,
            statistics=self.statistics,
        )
        return (first, *self.others)

    @property
    def test_score(self) -> AreaScore:
        """The score on the test area; of several events the mean, never that of their pixels together."""
        return mean_score(self.events) if self.events else AreaScore(**area_score_fields(self.test))

    @property
    def validation_score(self) -> AreaScore:
        """The same on the validation area."""
        rows = self.validation_events
        return mean_score(rows) if rows else AreaScore(**area_score_fields(self.validation))

    @property
    def simulated(self) -> bool:
        """Whether the cube of any training event is a simulation."""
        return any(one.cube.simulated for one in self.training_events)

    @property
    def area_names(self) -> str:
        """The areas of the training events, as a title names them."""
        if self.series is not None:
            return f"{self.series.events} simulated events"
        return area_names_in_short([one.cube.area for one in self.training_events])

    @property
    def threshold(self) -> float:
        """Lowest calibrated probability of a mapped pixel, with all passes: the best F1 on the validation areas, or
        over left-out events."""
        return self.validation.threshold if self.chosen_threshold is None else self.chosen_threshold

    @property
    def passes_before_in_training(self) -> tuple[int, ...]:
        """Numbers of passes before the event of the training events."""
        if self.series is not None:
            return self.series.passes_before
        return tuple(sorted({len(event.selection.before) for event in self.training_events}))

    @property
    def every_case(self) -> CaseCalibration:
        """The calibration and threshold of maps with all passes."""
        return CaseCalibration(
            after=len(self.selection.after),
            views=passes_by_view(self.selection) if self.inputs.views == "any" else (),
            calibration=self.calibration,
            threshold=self.threshold,
        )

    def calibrated_for(self, selection: Selection) -> CaseCalibration:
        """The calibration and threshold for a map of these passes, or for the nearest case that has them."""
        return min(
            (*self.by_passes, self.every_case),
            key=lambda case: (*distance(case.views, 1, case.after, selection)[:2], case.after),
        )

    def calibrated_case(self, after: int, views: tuple[ViewPasses, ...]) -> CaseCalibration:
        """The calibration and threshold of a case by its numbers; of all passes where none is of its own."""
        own = (case for case in self.by_passes if (case.after, case.views) == (after, views))
        return next(own, self.every_case)

    def evidence_for(self, selection: Selection) -> CaseEvidence | None:
        """The evidence of maps of these views and passes after the event; of several, with the nearest number of
        passes before it. None: there is none."""
        known = [
            (apart, case)
            for case in self.evidence
            if (apart := distance(case.views, case.before, case.after, selection))[:2] == (0, 0)
        ]
        return min(known, key=lambda pair: pair[0])[1] if known else None

    def prior_for(self, selection: Selection) -> float:
        """The prevalence of the pixels that the calibration of a map of these passes was fitted to."""
        evidence = self.evidence_for(selection)
        if evidence is not None and evidence.part == "left-out event":
            return evidence.prior
        return self.validation.prevalence

    @property
    def directions(self) -> tuple[str, ...]:
        """The directions that a network which takes any view was trained on."""
        if self.inputs.views == "every":
            return DIRECTIONS
        return tuple(
            name
            for name in DIRECTIONS
            if any(name in one.statistics.directions for one in self.training_events)
        )

    @property
    def identity(self) -> str:
        """sha256 of all that a prediction depends on: inputs, statistics, network, weights, calibration, threshold."""
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
                [
                    case.after,
                    case.calibration.slope,
                    case.calibration.intercept,
                    case.threshold,
                    *([view.model_dump(mode="json") for view in case.views]),
                ]
                for case in self.by_passes
            ]
        if self.others:
            parts["others"] = [one.statistics.model_dump(mode="json") for one in self.others]
        return digest_of_json(parts)


def software() -> dict[str, str]:
    """Versions of Python and of the packages that trained the model."""
    found = {"python": python_version()}
    for name in SOFTWARE:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
