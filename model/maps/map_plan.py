"""The settings of a map."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from model.detector.detector_plan import DetectorPlan
from model.inputs.inputs import EventSpan, Inputs
from model.network.training_plan import InferencePlan, Standardise
from pipeline.errors import ModelError
from pipeline.records import Frozen

SMALLEST_M2 = 400.0
"""default minimum mapping unit, 4 pixels of 10 m: speckle makes single pixels meaningless"""

DETECTOR_SMALLEST_M2 = 1200.0
"""of the detector: its spatial mean of 20 m makes what is smaller mostly noise; 12 pixels of 10 m, 2 of 30 m"""


class MapPlan(Frozen):
    """How a model maps a cube."""

    event: EventSpan | None = Field(None, description="None: the event that the cube records")
    before: int | None = Field(
        None, ge=1, description="newest n passes before the event; None: as the model says"
    )
    after: int | None = Field(
        None, ge=1, description="first n passes after the event; None: as the model says"
    )
    track: Annotated[int, Field(ge=1, le=175)] | Literal["best", "ascending", "descending", "both"] | None = (
        Field(None, description="map these tracks alone; None: those of the model")
    )
    threshold: float | None = Field(
        None, gt=0, lt=1, description="lowest calibrated probability that is mapped; None: as the model says"
    )
    recall: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="instead: the highest threshold that maps this share of the landslide area, in the mean over the "
        "events that the model was tested on",
    )
    precision: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="instead: the lowest threshold at which this share of the mapped area is landslide, likewise",
    )
    windows: InferencePlan = InferencePlan()
    smallest_m2: float = Field(SMALLEST_M2, gt=0, description="minimum mapping unit, m²")
    standardise: Standardise = Field(
        "auto",
        description="with the statistics of the model's training area, or of this scene's own inputs, which are then "
        "read twice; auto: of this scene where it is not a training scene of the model",
    )
    allow_simulated: bool = Field(
        False, description="map a real area with a model trained on a simulated one; the map warns of it"
    )
    exposure: tuple[Path, ...] = Field(
        (),
        exclude_if=lambda files: not files,
        description="buildings, roads, administrative units: what lies within the polygons is counted",
    )

    @model_validator(mode="after")
    def _one_threshold(self) -> MapPlan:
        if sum(value is not None for value in (self.threshold, self.recall, self.precision)) > 1:
            raise ValueError("give one of threshold, recall and precision")
        return self


class DetectorMapPlan(Frozen):
    """How a cube is mapped by the training-free detector."""

    event: EventSpan | None = Field(None, description="None: the event that the cube records")
    inputs: Inputs = Field(
        Inputs(),
        description="how many passes, and of which track; `best` and `both` are every track",
    )
    detector: DetectorPlan = DetectorPlan()
    threshold: float | None = Field(
        None,
        gt=0,
        le=1000,
        allow_inf_nan=False,
        description="lowest score that makes an object; None: by the scene's quiet passes",
    )
    smallest_m2: float = Field(
        DETECTOR_SMALLEST_M2, gt=0, description="minimum mapping unit above the threshold, m²"
    )
    exposure: tuple[Path, ...] = Field(
        (),
        exclude_if=lambda files: not files,
        description="buildings, roads, administrative units: what lies within the polygons is counted",
    )


def plan_with_threshold(
    bundle: str | None,
    *,
    threshold: float | None = None,
    recall: float | None = None,
    precision: float | None = None,
) -> MapPlan | DetectorMapPlan:
    """The plan of a map with another threshold, by a bundle or by the detector.

    Raises:
        ModelError: more than one is given, one is out of range, or the detector is asked for a recall or a precision.
    """
    if bundle is None and (recall, precision) != (None, None):
        raise ModelError(
            "A recall or a precision needs a bundle: the detector was tested on one real landslide, by which no "
            "threshold can be chosen.",
            "Give a bundle, or a threshold in units of the detector's score.",
        )
    try:
        if bundle is None:
            return DetectorMapPlan(threshold=threshold)
        return MapPlan(threshold=threshold, recall=recall, precision=precision)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"The map cannot be made: {where}{': ' if where else ''}{first['msg']}.") from error
