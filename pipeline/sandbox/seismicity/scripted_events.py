"""Earthquakes that a world's feeds state: each a list of revisions at instants, in `events.json` of the world."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from pipeline.files import write_whole
from pipeline.records import Frozen, Utc
from pipeline.sandbox.earth.parameters import SandboxError

EVENTS = "events.json"
"""document of a world; without it the feeds are empty"""

Alert = Literal["green", "yellow", "orange", "red"]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Longitude = Annotated[Finite, Field(ge=-180, le=180)]
Latitude = Annotated[Finite, Field(ge=-90, le=90)]
Box = tuple[Longitude, Latitude, Longitude, Latitude]
"""west, south, east, north in degrees"""

HAZARD_BINS_KM2 = (1.0, 10.0, 100.0)
PEOPLE_BINS = (100.0, 1_000.0, 10_000.0)
"""Upper edges of green, yellow and orange: table 4 of earthquake.usgs.gov/data/ground-failure/background.php."""


def landslide_alert(hazard_km2: float, people: float) -> Alert:
    """The alert of a ground-failure product: the worse one of the exposed area's and the exposed population's."""
    levels: tuple[Alert, ...] = ("green", "yellow", "orange", "red")
    worst = max(
        sum(value >= edge for edge in edges)
        for value, edges in ((hazard_km2, HAZARD_BINS_KM2), (people, PEOPLE_BINS))
    )
    return levels[worst]


class GroundFailureState(Frozen):
    """The landslide half of a ground-failure product."""

    hazard_km2: Finite = Field(ge=0)
    people: Finite = Field(ge=0)
    bounds: Box = Field(description="of the modelled area")
    pending: bool = Field(
        False, description="the alert level is not reported yet, as while a ShakeMap is reviewed"
    )


class ShakeMapState(Frozen):
    """A ShakeMap's extent and its largest intensity."""

    bounds: Box
    max_mmi: Finite = Field(ge=0, le=12)


class Revision(Frozen):
    """What the source states of an event from `at` on, until the next revision."""

    at: Utc = Field(description="`updated` of the feed")
    magnitude: Finite = Field(ge=-2, le=10)
    magnitude_type: str = Field("mww", pattern=r"^[a-z]{1,6}$")
    time: Utc = Field(description="of origin")
    longitude: Longitude
    latitude: Latitude
    depth_km: Finite = Field(ge=-10, le=800)
    place: str = Field("", max_length=400)
    status: Literal["automatic", "reviewed", "deleted"] = "automatic"
    alert: Alert | None = Field(None, description="of the losspager product")
    tsunami: bool = False
    felt: int | None = Field(None, ge=0)
    cdi: Finite | None = Field(None, ge=0, le=12)
    other_ids: tuple[Annotated[str, Field(pattern=r"^[a-z]{2}[a-z0-9]{1,30}$")], ...] = ()
    shakemap: ShakeMapState | None = None
    ground_failure: GroundFailureState | None = None


class GdacsReport(Frozen):
    """The same event at GDACS, which places and times it a little differently."""

    number: int = Field(ge=1, description="`eventid`")
    after_s: Finite = Field(900.0, ge=0, description="from a revision at the source to that at GDACS")
    east_km: Finite = Field(3.0, ge=-300, le=300)
    north_km: Finite = Field(-2.0, ge=-300, le=300)
    later_s: Finite = Field(4.0, ge=-600, le=600, description="difference of the time of origin")
    country: str = ""
    iso3: str = ""
    states_source_id: bool = Field(True, description="whether `sourceid` holds the id of the USGS")


class ScriptedEvent(Frozen):
    """One earthquake and its revisions."""

    net: str = Field("us", pattern=r"^[a-z]{2}$")
    code: str = Field(pattern=r"^[a-z0-9]{1,30}$")
    revisions: tuple[Revision, ...] = Field(min_length=1)
    gdacs: GdacsReport | None = None

    @model_validator(mode="after")
    def _ordered(self) -> ScriptedEvent:
        instants = [one.at for one in self.revisions]
        if instants != sorted(set(instants)):
            raise ValueError(f"{self.id}: revisions must be in order of `at`, each at its own instant")
        if any(one.at < one.time for one in self.revisions):
            raise ValueError(f"{self.id}: a revision is older than the earthquake")
        return self

    @property
    def id(self) -> str:
        """Network and code, as in us2000h8ty."""
        return f"{self.net}{self.code}"

    def at(self, now: datetime) -> Revision | None:
        """The newest revision at `now`; None before the first."""
        return next((one for one in reversed(self.revisions) if one.at <= now), None)

    def number_at(self, now: datetime) -> int:
        """How many revisions there are at `now`."""
        return sum(one.at <= now for one in self.revisions)


class ScriptedEvents(Frozen):
    """The earthquakes of one world."""

    format: Literal["slidecube-events-1"] = "slidecube-events-1"
    events: tuple[ScriptedEvent, ...] = ()

    @model_validator(mode="after")
    def _named_once(self) -> ScriptedEvents:
        ids = [one.id for one in self.events]
        numbers = [one.gdacs.number for one in self.events if one.gdacs]
        if len(set(ids)) < len(ids) or len(set(numbers)) < len(numbers):
            raise ValueError("two events have one id")
        return self


def read_events(root: Path) -> ScriptedEvents | None:
    """The events of the world in a folder; None without the document.

    Raises:
        SandboxError: the document is unreadable.
    """
    path = root / EVENTS
    if not path.exists():
        return None
    try:
        return ScriptedEvents.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError, ValidationError) as error:
        raise SandboxError(
            f"{path} cannot be read ({str(error)[:300]}).", "Write it again with `slidecube sandbox events`."
        ) from error


def write_events(root: Path, events: ScriptedEvents) -> Path:
    """Write the events of a world; a former document is replaced."""
    document = {"format": events.format, **json.loads(events.model_dump_json(exclude_defaults=True))}
    write_whole(root / EVENTS, json.dumps(document, indent=1))
    return root / EVENTS
