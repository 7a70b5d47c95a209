"""Summaries of a trained model and of a map, as training and mapping return them. Nothing here imports torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from model.bundle.document import BundleDocument
from model.bundle.expected_scores import BaselineScore, EventScore, ExpectedScore
from model.scores.case_evidence import MapAccuracy
from model.scores.map_findings import LabelComparison, SceneFindings
from pipeline.records import Frozen, Utc


def _inside(path: Path) -> Path:
    """The path itself, if it leads out of no folder that it is put below."""
    if ".." in path.parts:
        raise ValueError("the path leads out of its folder")
    return path


ResultPath = Annotated[Path, AfterValidator(_inside)]


class BundleRecord(Frozen):
    """A trained model: where its bundle is, and its main scores."""

    path: ResultPath
    digest: str
    area: str
    cube: str
    cube_version: int | None
    track: str
    passes_before: int
    passes_after: int
    auprc: float = Field(description="on the test area; the mean where there are several events")
    prevalence: float = Field(description="of the test area: the AUPRC of a random map; the mean likewise")
    validation_auprc: float = Field(description="the same on the validation area")
    threshold: float
    parameters: int
    calibration_error: float | None = Field(None, description="on the validation area, after calibration")
    expected: tuple[ExpectedScore, ...] = Field((), description="on the test area, by number of passes")
    seconds: float
    simulated: bool
    baselines: tuple[BaselineScore, ...] = Field(
        (), description="methods without a network, on the same pixels"
    )
    events: tuple[EventScore, ...] = Field((), description="by event, where there are several")


class ReviewSummary(Frozen):
    """What persons said of the polygons of a map, as its files show it."""

    digest: str = Field(
        description="of the verdicts in the area of the map that count; empty: they could not be read"
    )
    accepted: int = 0
    rejected: int = 0
    edited: int = Field(0, description="outlines of a person, drawn ones too")
    drawn: int = Field(0, description="of them, without a polygon of the map in their place")
    unreviewed: int = 0
    ambiguous: dict[int, str] = Field(
        default_factory=dict,
        description="of the unreviewed: number of the polygon, and which verdict it overlaps",
    )
    absent: tuple[str, ...] = Field(
        (), description="accepted polygons of earlier maps that no polygon of this one matches, in words"
    )
    reviewers: tuple[str, ...] = ()
    newest: Utc | None = None
    landslide_km2: float = Field(0.0, description="area of what is not rejected, nor gone for the detector")

    @property
    def judged(self) -> int:
        """Number of polygons with a verdict."""
        return self.accepted + self.rejected + self.edited

    @property
    def state(self) -> Literal["unreviewed", "partly reviewed", "reviewed"]:
        """In words."""
        if not self.judged:
            return "unreviewed"
        return "partly reviewed" if self.unreviewed else "reviewed"


class ReleaseRecord(Frozen):
    """A map: where its folder is, and its main figures."""

    path: ResultPath
    kind: Literal["model", "detector", "log-ratio"] = Field(
        description="log-ratio: of earlier releases, the grey raster of change alone"
    )
    area: str
    title: str = Field(
        "",
        exclude_if=lambda value: not value,
        description="event, place and day, for people; empty: of earlier releases",
    )
    cube: str
    cube_version: int | None
    model: str | None = Field(description="digest of the model")
    track: str
    passes_before: int
    passes_after: int
    every_pass_after: int | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="of all tracks, where `passes_after` is of the first; None: of earlier releases",
    )
    days_since_event: float
    polygons: int | None
    mapped_km2: float | None = Field(
        description="area of the polygons; of the detector without those that are gone"
    )
    statuses: dict[str, int] = Field(
        default_factory=dict, description="number of the detector's polygons by status over the passes"
    )
    threshold: float | None = Field(
        None, description="lowest score of a landslide; None: of earlier releases"
    )
    no_data_share: float = Field(description="share of the scene without a prediction")
    auprc: float | None = Field(description="where labels exist")
    prevalence: float | None
    expected: ExpectedScore | None = Field(
        None, description="of the model on its test area with as many passes; None: not scored with so many"
    )
    expected_words: str = ""
    accuracy: MapAccuracy | None = Field(
        None, description="what maps of these passes and this threshold were worth; None: not known"
    )
    findings: SceneFindings | None = Field(None, description="of the scene itself, by a model")
    beside_labels: LabelComparison | None = Field(None, description="where labels exist")
    statements: tuple[str, ...] = Field((), description="what the map is worth, in sentences")
    smallest_m2: float | None = Field(None, description="minimum mapping unit, m²; None: no polygons")
    flagged_share: dict[str, float] = Field(
        default_factory=dict, description="share of the scene by flag of the validity raster"
    )
    scored_on: str = Field(description="the pixels of the AUPRC, in words")
    picture: ResultPath
    report: ResultPath
    page: ResultPath | None = Field(None, description="None: of earlier releases, which made none")
    simulated: bool
    seconds: float
    review: ReviewSummary | None = Field(
        None, exclude_if=lambda value: value is None, description="None: no person said anything"
    )

    @property
    def seen_after(self) -> int:
        """Passes after the event that it rests on, of all tracks as far as they were recorded."""
        return self.passes_after if self.every_pass_after is None else self.every_pass_after

    @property
    def review_state(self) -> str:
        """Whether persons reviewed its polygons, in words."""
        return "unreviewed" if self.review is None else self.review.state


def record_of(document: BundleDocument, path: Path, seconds: float) -> BundleRecord:
    """The record of a bundle in the folder `path`, which took so many seconds to train."""
    return BundleRecord(
        path=path,
        digest=document.digest,
        area=document.cube.area,
        cube=document.cube.uri,
        cube_version=document.cube.version,
        track=document.selection.track,
        passes_before=len(document.selection.before),
        passes_after=len(document.selection.after),
        auprc=document.test_score.auprc,
        prevalence=document.test_score.prevalence,
        validation_auprc=document.validation_score.auprc,
        threshold=document.threshold,
        parameters=document.parameters,
        calibration_error=document.calibration.error_after,
        expected=document.expected,
        seconds=round(seconds, 1),
        simulated=document.simulated,
        events=document.events,
        baselines=document.baselines,
    )
