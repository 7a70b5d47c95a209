"""A map whose rasters, polygons and report are made, as the products of a release need it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from shapely.geometry import Polygon, box

from model.bundle.summaries import ReleaseRecord
from model.inputs.cubes import CubeFacts, Georeference
from model.inputs.selection import Selection
from model.releases.event_facts import EventFacts, heading
from model.releases.exposure import ExposureRow
from pipeline.events.following.pass_account import PassAccount

Image = NDArray[np.float64]


def scene_extent(reference: Georeference, shape: tuple[int, int]) -> Polygon:
    """The rectangle of a scene of (y, x) pixels, in the coordinates of its reference system."""
    left, top = reference.affine @ (0, 0)
    right, bottom = reference.affine @ (shape[1], shape[0])
    return box(left, bottom, right, top)


@dataclass(frozen=True)
class PageImages:
    """Block means of the scene, each (y, x), NaN where nothing is known, with the same size of a block."""

    before: Image
    """backscatter before the event, dB"""
    after: Image
    """the same after it"""
    dem: Image
    """elevation, metres; NaN everywhere without terrain"""
    score: Image
    block_px: int
    """pixels of the scene along one side of a block"""


@dataclass(frozen=True)
class PagePictures:
    """The pictures of a release's page as files: JPEG, the scores PNG."""

    before: bytes
    after: bytes
    hillshade: bytes
    score: bytes
    block_px: int
    """pixels of the scene along one side of a pixel of theirs"""


@dataclass(frozen=True)
class FinishedMap:
    """A map in its folder, which has no name yet, and what its products say about it."""

    folder: Path
    record: ReleaseRecord
    variables: tuple[str, ...]
    """of the cube"""
    facts: CubeFacts
    selection: Selection
    reference: Georeference
    mapped: gpd.GeoDataFrame
    """the polygons as the map made them with their attributes, in the cube's coordinate reference system"""
    frame: gpd.GeoDataFrame
    """the same with what persons said of them: what the files show"""
    pictures: PagePictures
    backscatter: str
    """polarisation of the pictures"""
    highest: float
    """top of the score's scale"""
    warning: str
    """above everything else; empty if nothing is simulated"""
    flag_meanings: Mapping[int, str]
    """what each flag of the validity raster means"""
    status_meanings: Mapping[int, str] = field(default_factory=dict)
    """what each value of the status raster means; empty for a map by a model"""
    remarks: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    """metadata of every layer and raster"""
    model_item: Mapping[str, Any] | None = None
    """the STAC item of the model; None: no model"""
    event: EventFacts = field(default_factory=EventFacts)
    """what is known of the event beside its instants, and what is waited for"""
    footprints: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """of passes, GeoJSON in degrees, by their name; a pass that has none here is drawn as the area"""
    exposure: tuple[ExposureRow, ...] = ()
    """what lies within the polygons, of the files that a person gave"""

    awaited: PassAccount | None = None
    """of an event's area: the passes that the archives lack, and the next one"""

    @property
    def by_model(self) -> bool:
        """Whether a model made it, and not the detector."""
        return self.record.kind == "model"

    @property
    def score_name(self) -> str:
        """Name of the raster of scores, without its suffix."""
        return "probability" if self.by_model else "score"

    @cached_property
    def extent(self) -> Polygon:
        """The scene's rectangle in the cube's coordinates."""
        return scene_extent(self.reference, self.facts.shape)

    @property
    def title(self) -> str:
        """Event, place and day, for people; text from outside."""
        event = self.selection.event
        return heading(self.facts.area, (event.start, event.end), self.event)

    @property
    def epicentre(self) -> tuple[float, float] | None:
        """(longitude, latitude) of the event in degrees, where it is known."""
        return self.event.epicentre
