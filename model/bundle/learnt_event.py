"""An event that a bundle was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from model.inputs.channel_statistics import Statistics
from model.inputs.cubes import CubeFacts, Georeference
from model.inputs.selection import Selection
from model.split.split import Split
from pipeline.records import Frozen

if TYPE_CHECKING:
    pass


class LearntEvent(Frozen):
    """What a bundle says of one of the events that it was trained on."""

    cube: CubeFacts
    grid: Georeference | None = Field(description="lattice that the split's pixels belong to")
    split: Split
    selection: Selection
    statistics: Statistics
