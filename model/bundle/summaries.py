"""What the stages hand back: where things are and the figures that matter. Nothing here needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from model.bundle.expected import BaselineScore, EventScore, ExpectedScore
from pipeline.records import Frozen


class BundleRecord(Frozen):
    """A trained model."""

    path: Path
    digest: str
    area: str
    cube: str
    cube_version: int | None
    track: str
    passes_before: int
    passes_after: int
    auprc: float = Field(description="on the test area")
    prevalence: float = Field(description="of the test area: the AUPRC of a random map")
    validation_auprc: float
    threshold: float
    parameters: int
    calibration_error: float | None = Field(None, description="on the validation area, once calibrated")
    expected: tuple[ExpectedScore, ...] = Field((), description="on the test area, by number of passes")
    seconds: float
    simulated: bool
    baselines: tuple[BaselineScore, ...] = Field(
        (), description="methods without a network, on the same pixels"
    )
    events: tuple[EventScore, ...] = Field((), description="one by one, where it was trained on several")


class ReleaseRecord(Frozen):
    """A map."""

    path: Path
    kind: Literal["model", "log-ratio"]
    area: str
    cube: str
    cube_version: int | None
    model: str | None = Field(description="digest of the model")
    track: str
    passes_before: int
    passes_after: int
    days_since_event: float
    polygons: int | None
    mapped_km2: float | None = Field(description="area of the polygons")
    no_data_share: float = Field(description="share of the scene without a prediction")
    auprc: float | None = Field(description="where labels exist")
    prevalence: float | None
    expected: ExpectedScore | None = Field(
        None, description="of the model on its test area with as many passes; None: never scored"
    )
    expected_words: str = ""
    smallest_m2: float | None = Field(None, description="smallest area that is a polygon; None: no polygons")
    flagged_share: dict[str, float] = Field(
        default_factory=dict, description="share of the scene by what the validity raster says of it"
    )
    scored_on: str = Field(description="which pixels the AUPRC is of, in words")
    picture: Path
    report: Path
    simulated: bool
    seconds: float
