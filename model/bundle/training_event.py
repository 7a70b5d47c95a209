"""An event that a model was trained on, as its bundle records it."""

from __future__ import annotations

from pydantic import Field, model_validator

from model.inputs.channel_statistics import Statistics
from model.inputs.cubes import CubeFacts, Georeference
from model.inputs.selection import Selection
from model.inputs.windows import whole
from model.split.split import PARTS, Split
from pipeline.records import Frozen


class TrainingEvent(Frozen):
    """One event of the training set: its cube, the passes used, the split and the statistics of its channels."""

    cube: CubeFacts
    grid: Georeference | None = Field(description="grid that the split's pixels belong to")
    split: Split
    selection: Selection
    statistics: Statistics

    @model_validator(mode="after")
    def _areas_in_scene(self) -> TrainingEvent:
        scene = whole(self.cube.shape)
        if not all(box.inside(scene) for part in PARTS for box in self.split.boxes(part)):
            raise ValueError("an area of the split reaches out of the scene")
        return self
