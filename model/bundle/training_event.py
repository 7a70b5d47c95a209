"""An event that a model was trained on, as its bundle records it."""

from __future__ import annotations

from pydantic import Field

from model.inputs.channel_statistics import Statistics
from model.inputs.cubes import CubeFacts, Georeference
from model.inputs.selection import Selection
from model.split.split import Split
from pipeline.records import Frozen


class TrainingEvent(Frozen):
    """One event of the training set: its cube, the passes used, the split and the statistics of its channels."""

    cube: CubeFacts
    grid: Georeference | None = Field(description="grid that the split's pixels belong to")
    split: Split
    selection: Selection
    statistics: Statistics
