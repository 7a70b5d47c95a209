"""The settings of a map."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from model.detector.detector_plan import DetectorPlan
from model.inputs.inputs import EventSpan, Inputs
from model.network.training_plan import InferencePlan, Standardise
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


class DetectorMapPlan(Frozen):
    """How a cube is mapped by the training-free detector."""

    event: EventSpan | None = Field(None, description="None: the event that the cube records")
    inputs: Inputs = Field(
        Inputs(),
        description="how many passes, and of which track; `best` and `both` are every track",
    )
    detector: DetectorPlan = DetectorPlan()
    smallest_m2: float = Field(
        DETECTOR_SMALLEST_M2, gt=0, description="minimum mapping unit above the threshold, m²"
    )
    exposure: tuple[Path, ...] = Field(
        (),
        exclude_if=lambda files: not files,
        description="buildings, roads, administrative units: what lies within the polygons is counted",
    )
