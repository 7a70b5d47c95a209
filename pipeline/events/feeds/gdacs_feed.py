"""GDACS, the Global Disaster Alert and Coordination System: its list of current events, as GeoJSON.

The list (`EVENTS4APP`: all kinds, at most 100 events, of about four days) and the report of an event are addresses of
GDACS's API: gdacs.org/gdacsapi/swagger/index.html and gdacs.org/Documents/2025/GDACS_API_quickstart_v1.pdf; the fields
are described at gdacs.org/feed_reference.aspx and, as they are used, at
ifrcgo.org/monty-stac-extension/model/sources/GDACS. Instants have no zone and are UTC. GDACS takes earthquakes from
the USGS ("NEIC") and others, and states the id there as `sourceid`.

An event leaves the list when it is some days old or when newer ones take its place, so that its absence says nothing.
Its own document (`geteventdata`, by type and number: the same fields as in the list) then says whether it is past
(`iscurrent` is false), and GDACS has it no longer where there is no document (204 or 404): it was retracted.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Literal

from pydantic import ValidationError

from pipeline.catalogue.item_fields import says_simulated
from pipeline.errors import ArchiveError
from pipeline.events.detected_event import DetectedEvent
from pipeline.events.feeds.feed_fields import (
    Fields,
    features_of,
    json_of,
    number_of_value,
    point_of,
    web_address,
)
from pipeline.events.feeds.feed_source import MOST_EVENTS, Answer, FeedSource, SourceState
from pipeline.events.feeds.usgs_feed import ID as USGS_ID

HOST = "www.gdacs.org"
KINDS: dict[str, Literal["earthquake", "hurricane", "rainfall"]] = {
    "EQ": "earthquake", "TC": "hurricane", "FL": "rainfall",
}  # fmt: skip
"""GDACS's types of events that can cause landslides; droughts, fires, tsunamis and volcanoes are left out"""
_DEPTH = re.compile(r"depth\s*:?\s*([0-9]{1,4}(?:\.[0-9]+)?)\s*km", re.IGNORECASE)


class GdacsFeed(FeedSource):
    """The current events of GDACS, renewed every few minutes; no login."""

    name = "gdacs"
    title = "GDACS"
    hosts = (HOST, HOST.removeprefix("www."))
    has_documents = True

    def feed_address(self, state: SourceState, now: datetime) -> str:
        """The list of current events; GDACS has no other one of a fixed address."""
        return f"https://{HOST}/gdacsapi/api/events/geteventlist/EVENTS4APP"

    def page(self, event_id: str) -> str:
        """The report of an event for people."""
        return f"https://{HOST}/report.aspx?eventtype={event_id[:2]}&eventid={event_id[2:]}"

    def events_of(self, answer: Answer) -> list[DetectedEvent]:
        """The events of the list, of an event with several episodes the newest; others are left out."""
        features = features_of(answer.raw, MOST_EVENTS)
        if features is None:
            raise ArchiveError("The list of GDACS is no GeoJSON collection.", "Try again later.")
        newest: dict[str, DetectedEvent] = {}
        for feature in features:
            event = event_of_feature(feature, simulated=answer.simulated)
            if event is not None and (event.id not in newest or newest[event.id].updated < event.updated):
                newest[event.id] = event
        return list(newest.values())

    def detail(self, event_id: str) -> DetectedEvent | None:
        """The newest revision of an event that has left the list; None where GDACS has it no longer."""
        code, number = event_id[:2], event_id[2:]
        if code not in KINDS or not re.fullmatch("[0-9]{1,16}", number):
            raise ArchiveError(f"{event_id!r:.60} is no id of GDACS.", "It has a form as EQ1155123.")
        answer = self.ask(
            f"https://{HOST}/gdacsapi/api/events/geteventdata?eventtype={code}&eventid={number}"
        )
        if answer.status == "gone":
            return None
        event = event_of_feature(json_of(answer.raw), simulated=answer.simulated)
        if event is None or event.id != event_id:
            raise ArchiveError(f"GDACS's document of {event_id} is none of this event.", "Try again later.")
        return event


def event_of_feature(feature: Any, *, simulated: bool = False) -> DetectedEvent | None:
    """The event that a feature of the list states; None where it states none of a kind that is looked for."""
    outer = Fields(feature)
    stated = outer.below("properties")
    code, number = stated.text("eventtype", most=8).upper(), stated.text("eventid", most=32)
    point, start = point_of(outer.get("geometry")), stated.instant("fromdate")
    if code not in KINDS or not re.fullmatch("[0-9]{1,16}", number) or point is None or start is None:
        return None
    end = stated.instant("todate") or start
    severity, event_id = stated.below("severitydata"), f"{code}{number}"
    words = severity.text("severitytext", "severity")
    depth = _DEPTH.search(words)
    magnitude = severity.number("severity", "value", least=-2, most=11) if code == "EQ" else None
    links = stated.get("url")
    report = web_address(Fields(links).get("report") if isinstance(links, dict) else links)
    try:
        return DetectedEvent(
            source="gdacs", id=event_id, updated=stated.instant("datemodified", "dateupdated") or start,
            kind=KINDS[code], start=start, end=start if code == "EQ" else max(start, end),
            longitude=point[0], latitude=point[1], magnitude=magnitude,
            depth_km=None if depth is None else number_of_value(depth[1], -20, 1000),
            place=stated.text("name", "eventname") or stated.text("country"), url=report or GdacsFeed().page(event_id),
            alert=stated.alert("alertlevel"), current=not stated.denies("iscurrent"),
            population=stated.number("population", least=0, most=1e10),
            also=_at_usgs(stated), simulated=simulated or says_simulated(feature),
        )  # fmt: skip
    except ValidationError:
        return None


def _at_usgs(stated: Fields) -> tuple[str, ...]:
    """The id of the earthquake at the USGS, where GDACS has it from there."""
    found = stated.text("sourceid", most=64)
    of_usgs = stated.text("source", most=32).upper() in ("NEIC", "USGS", "")
    return (f"usgs:{found}",) if of_usgs and USGS_ID.fullmatch(found) and not found.isdigit() else ()
