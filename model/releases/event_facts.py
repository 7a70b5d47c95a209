"""What is known of a map's event beside its instants: the earthquake's figures, and what is waited for.

The cube's own record of the event comes first (`magnitude`, `depth_km`, `epicentre`, `usgs_id`); what it does not
state is taken from the ledger's entry of the event that has the area.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import Field, ValidationError

from model.bundle.markdown import one_line
from model.inputs.cubes import CubeFacts
from pipeline.cube.addresses import canonical_address, store_of_area
from pipeline.events import ledger
from pipeline.events.following.pass_account import PassAccount, saved_account
from pipeline.places import is_name
from pipeline.records import Frozen, Number

log = logging.getLogger(__name__)
MOST_PLACE = 120
"""characters of a place in a title"""


class EventFacts(Frozen):
    """What the products of a release say of its event; all of it optional."""

    magnitude: Number | None = Field(None, ge=-2, le=11)
    depth_km: Number | None = Field(None, ge=-20, le=1000)
    epicentre: tuple[Number, Number] | None = Field(None, description="longitude, latitude in degrees")
    place: str = Field(
        "", max_length=400, description="as the event's source names it; text from outside, no gazetteer's"
    )
    usgs_id: str = Field("", max_length=100)
    status: Literal["automatic", "reviewed", "retracted"] | None = Field(
        None, description="of the source's newest revision"
    )


def event_facts(area: str, recorded: object) -> EventFacts:
    """What is known of the event of an area.

    Args:
        recorded: the attribute `event` of its cube, JSON; what it holds may come from elsewhere.
    """
    of_cube = _of_cube(recorded)
    entry = _entry(area, of_cube.get("usgs_id"))
    of_ledger: dict[str, Any] = {}
    if entry is not None:
        event = entry.event
        of_ledger = {
            "magnitude": event.magnitude,
            "depth_km": event.depth_km,
            "epicentre": (event.longitude, event.latitude) if event.kind == "earthquake" else None,
            "place": event.place,
            "usgs_id": event.id if event.source == "usgs" else None,
            "status": event.status,
        }
    found = {**{k: v for k, v in of_ledger.items() if v}, **of_cube}
    return EventFacts.model_validate(found)


def heading(area: str, period: tuple[datetime, datetime], facts: EventFacts) -> str:
    """What a release is called: the earthquake, its place and its day; where no place is known, the area's name.

    Args:
        period: start and end of the event.
    """
    what = "Landslides" if facts.magnitude is None else f"Landslides after M {facts.magnitude:.1f}"
    place = one_line(facts.place)
    where = one_line(area) if not place else place if len(place) <= MOST_PLACE else f"{place[:MOST_PLACE]}…"
    days = list(dict.fromkeys(f"{one.day} {one:%B %Y}" for one in period))
    return f"{what}, {where}, {' to '.join(days)} UTC"


def awaited(facts: CubeFacts) -> PassAccount | None:
    """What is waited for in the area of an event; None for a cube that is not the area's own."""
    if not is_name(facts.area):
        return None
    own, uri = store_of_area(facts.area).uri, canonical_address(facts.uri)
    if not uri.startswith(f"{own}/"):
        return None
    return saved_account(facts.area)


def _of_cube(recorded: object) -> dict[str, Any]:
    """The fields of the cube's record that can be used."""
    try:
        document = json.loads(str(recorded))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(document, Mapping):
        return {}
    found: dict[str, Any] = {}
    for name in ("magnitude", "depth_km", "epicentre", "place", "usgs_id"):
        if document.get(name) is None:
            continue
        try:
            facts = EventFacts.model_validate({name: document[name]})
        except ValidationError:
            continue
        found[name] = getattr(facts, name)
    if (place := found.get("epicentre")) is not None and not (abs(place[0]) <= 180 and abs(place[1]) <= 90):
        del found["epicentre"]
    return found


def _entry(area: str, usgs_id: object) -> ledger.Entry | None:
    """The event of the ledger that has the area, or that is the same earthquake; the newest where there are several."""
    entries, damaged = ledger.read_all()
    for line in damaged:
        log.warning("%s", line)
    found = []
    for entry in entries:
        same = any(one.source == "usgs" and one.id == usgs_id for one in entry.revisions)
        if same or any(one.name == area for one in entry.areas):
            found.append(entry)
    return max(found, key=lambda entry: entry.event.start, default=None)
