"""One revision of one event, as a source states it, in the words of this project."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from pipeline.records import Frozen, Number, Utc

Source = Literal["usgs", "gdacs", "manual"]
"""who states the event: the USGS, GDACS, or a person by command or file"""
Alert = Literal["green", "yellow", "orange", "red"]
Longitude = Annotated[Number, Field(ge=-180, le=180)]
Latitude = Annotated[Number, Field(ge=-90, le=90)]
Bounds = tuple[Longitude, Latitude, Longitude, Latitude]
"""west, south, east, north in degrees; east is less than west where the box crosses 180 degrees"""


class EventKey(NamedTuple):
    """What makes a revision of an event the same one."""

    source: Source
    id: str
    updated: str
    """instant in ISO 8601, UTC"""


class GroundFailure(Frozen):
    """The landslide half of a ground-failure product of the USGS."""

    alert: Alert | None = None
    hazard_km2: Annotated[Number, Field(ge=0)] | None = Field(None, description="area exposed to landslides")
    population: Annotated[Number, Field(ge=0)] | None = Field(
        None, description="people exposed to landslides"
    )
    bounds: Bounds | None = Field(None, description="of the modelled hazard area")


class DetectedEvent(Frozen):
    """One revision of an event. `start` equals `end` for an earthquake."""

    source: Source
    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    updated: Utc = Field(description="when the source stated this revision")
    kind: Literal["earthquake", "hurricane", "rainfall", "other"]
    start: Utc
    end: Utc
    longitude: Longitude
    latitude: Latitude
    magnitude: Number | None = Field(None, ge=-2, le=11)
    depth_km: Number | None = Field(None, ge=-20, le=1000)
    place: str = Field("", max_length=400, description="text from outside; escape it where it is shown")
    url: str = Field("", max_length=2000)
    status: Literal["automatic", "reviewed", "retracted"] = "automatic"
    current: bool = Field(
        True,
        exclude_if=lambda value: value,
        description="False: the source lists it as past; it was no mistake",
    )
    alert: Alert | None = Field(None, description="of the source for the whole event, not for landslides")
    ground_failure: GroundFailure | None = None
    shaking: Bounds | None = Field(None, description="extent of the ShakeMap, or of what a person names")
    population: Annotated[Number, Field(ge=0)] | None = Field(
        None, description="people exposed, where known; at the USGS to intensity VII and above"
    )
    also: tuple[str, ...] = Field((), description="the same event at other sources, as source:id")
    simulated: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> DetectedEvent:
        if self.end < self.start:
            raise ValueError("end is before start; exchange them")
        return self

    @property
    def key(self) -> EventKey:
        """Source, id and instant of the revision."""
        return EventKey(self.source, self.id, self.updated.isoformat())

    @property
    def name(self) -> str:
        """The name of the event's entry in the ledger: lower case, valid as a folder and as the name of an area."""
        return f"{self.source}-{self.id}".lower().replace(".", "-").replace("_", "-")[:62].rstrip("-")
