"""The content of a map: its rows as they are computed, and what its files say about it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from model.bundle.expected_scores import ExpectedScore
from model.bundle.markdown import one_line
from model.inputs.cubes import CubeFacts
from model.inputs.inputs import Inputs
from model.inputs.selection import Selection
from model.inputs.windows import Box
from model.maps.accuracy.map_statements import short_words
from model.maps.accuracy.scene_findings import TestedModel
from model.scores.case_evidence import MapAccuracy


@dataclass(frozen=True)
class MapRows:
    """Finished rows of a map, full width, each (y, x)."""

    box: Box
    score: NDArray[np.float32]
    """higher means landslide; NaN no data"""
    before_db: NDArray[np.float32]
    after_db: NDArray[np.float32]
    dem: NDArray[np.float32] | None = None
    change_db: NDArray[np.float32] | None = None
    """written as a raster of its own where given"""
    classes: NDArray[np.uint8] | None = None
    """class raster; None: by the threshold"""
    status: NDArray[np.uint8] | None = None
    """written as a raster of its own where given"""
    flags: NDArray[np.uint8] | None = None
    """validity; None: found from the passes and the inputs"""


@dataclass(frozen=True)
class MappedScene:
    """A cube and the passes of it that a map is made of."""

    cube: xr.Dataset
    facts: CubeFacts
    selection: Selection

    @property
    def pixels(self) -> int:
        """Number of pixels of the scene."""
        return self.facts.shape[0] * self.facts.shape[1]


@dataclass(frozen=True)
class MapDescription:
    """What is mapped, how, and what the files of the map must say."""

    scene: MappedScene
    inputs: Inputs
    kind: Literal["model", "detector"]
    model: str | None
    """digest of the model"""
    threshold: float | None
    """lowest score of a landslide pixel; None: no class raster and no polygons"""
    highest: float
    """top of the score's scale"""
    backscatter: str
    """polarisation of the picture"""
    scored: tuple[Box, ...]
    """areas in which the map is scored against labels; empty: nowhere"""
    scored_on: str
    """these areas in words"""
    simulated: bool
    remarks: tuple[str, ...] = field(default=())
    """warnings and rules for the report"""
    expected: ExpectedScore | None = None
    """score of the model with as many passes"""
    expected_words: str = ""
    accuracy: MapAccuracy | None = None
    """what maps of these passes and this threshold were worth"""
    worth: tuple[str, ...] = ()
    """the same in sentences"""
    tested: TestedModel | None = None
    """of a model's map"""
    smallest_m2: float | None = None
    """minimum mapping unit, m², where there are polygons"""
    status_values: dict[int, str] = field(default_factory=dict)
    """what the values of the status raster mean"""
    model_item: dict[str, Any] | None = None
    """the STAC item of the model"""
    exposure: tuple[Path, ...] = ()
    """files of which is counted what lies within the polygons"""

    @property
    def warning(self) -> str:
        """The warning above everything else; empty if nothing is simulated."""
        if self.scene.facts.simulated:
            return "SIMULATED AREA: no real area, no real landslides"
        return "SIMULATED MODEL: no real landslide is in its training set" if self.simulated else ""

    @property
    def tags(self) -> dict[str, str]:
        """Tags of every raster."""
        facts, views = self.scene.facts, self.scene.selection.every_view
        tags = {
            "AREA": facts.area,
            "CUBE_VERSION": str(facts.version if facts.version is not None else "unknown"),
            "CUBE_DIGEST": facts.digest,
            "MODEL": self.model or "none (training-free detector)",
            "TRACK": self.scene.selection.track,
            "PASSES_BEFORE": ", ".join(p.id for view in views for p in view.before),
            "PASSES_AFTER": ", ".join(p.id for view in views for p in view.after),
            "SIMULATED": f"yes: {self.warning}" if self.simulated else "no",
            "REVIEW": "unreviewed",
            "EXPECTED": self.expected_words,
            "ACCURACY": short_words(self.accuracy) or "not known",
            "LICENSE": facts.licence,
            "ATTRIBUTION": facts.attribution,
            "TIFFTAG_COPYRIGHT": "; ".join(word for word in (facts.attribution, facts.licence) if word),
        }
        return {name: one_line(text) for name, text in tags.items()}

    @property
    def polygon_attributes(self) -> dict[str, Any]:
        """Attributes that all polygons share."""
        selection = self.scene.selection
        false = self.accuracy.false_polygons if self.accuracy else None
        several = false is not None and false.events > 1
        return {
            "passes_before": sum(len(view.before) for view in selection.every_view),
            "passes_after": sum(len(view.after) for view in selection.every_view),
            "track": selection.track,
            "newest_pass": max(view.after[-1].instant for view in selection.every_view).isoformat(),
            "days_since_event": round(selection.days_since_event, 3),
            "false_share": false.mean if false else math.nan,
            "false_low": false.lowest if false and several else math.nan,
            "false_high": false.highest if false and several else math.nan,
            "events": false.events if false else 0,
            "expected_auprc": self.expected.auprc if self.expected else math.nan,
            "expected_prevalence": self.expected.prevalence if self.expected else math.nan,
            "model": self.model,
            "simulated": self.simulated,
            "review": "unreviewed",
        }
