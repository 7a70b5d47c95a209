"""Events that a person states, by place and time or in a file: rain above all, which no feed states well."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import ValidationError
from shapely.geometry import box, shape

from pipeline.areas.area_file import explained_all, mapping_of, text_of
from pipeline.errors import LedgerError
from pipeline.events.detected_event import Bounds, DetectedEvent
from pipeline.events.feeds.feed_fields import Fields, longitude, one_line, web_address
from pipeline.events.land_mask import KM_PER_DEG

Kind = Literal["earthquake", "hurricane", "rainfall", "other"]
KINDS: tuple[Kind, ...] = get_args(Kind)
RADIUS_KM = 25.0
"""of an event that states no extent"""
MOST_RADIUS_KM = 500.0
MOST_IN_FILE = 100
FIELDS = (
    "kind", "when", "until", "at", "radius_km", "geometry", "bbox", "magnitude", "depth_km", "place", "url", "id",
)  # fmt: skip
"""of an event in a file; `at` is [longitude, latitude]"""


def event_at(
    at: tuple[float, float],
    time: tuple[datetime, datetime],
    kind: Kind,
    radius_km: float,
    now: datetime,
    place: str = "",
) -> DetectedEvent:
    """An event by place (longitude, latitude) and time (start, end); the same one always has the same id.

    Raises:
        LedgerError: a value lies outside its bounds.
    """
    document = {
        "kind": kind, "when": time[0], "until": time[1], "at": list(at), "radius_km": radius_km, "place": place,
    }  # fmt: skip
    return _event(document, now, "The event")


def events_of_file(path: Path, now: datetime) -> list[DetectedEvent]:
    """The events of a file: YAML or JSON with the fields of `FIELDS`, or GeoJSON features with them as properties.

    Raises:
        AreaError: it cannot be read, or is no mapping.
        LedgerError: a field is unknown, missing or outside its bounds; or it holds no event, or more than 100.
    """
    document = mapping_of(text_of(path, f"The file {path}"), path)
    listed = document.get("features") if document.get("type") == "FeatureCollection" else [document]
    if not isinstance(listed, list) or not 0 < len(listed) <= MOST_IN_FILE:
        raise LedgerError(
            f"{path} holds no event, or more than {MOST_IN_FILE}.", "Give one with `when` and `at`."
        )
    events = []
    for number, each in enumerate(listed, 1):
        where = f"{path}" if len(listed) == 1 else f"{path}, feature {number}"
        if isinstance(each, Mapping) and each.get("type") == "Feature":
            properties = each.get("properties")
            each = {
                **(properties if isinstance(properties, Mapping) else {}),
                "geometry": each.get("geometry"),
            }
        if not isinstance(each, Mapping):
            raise LedgerError(f"{where} is no event.", f"Give a mapping of {', '.join(FIELDS)}.")
        events.append(_event(each, now, where))
    return events


def _event(document: Mapping[str, Any], now: datetime, where: str) -> DetectedEvent:
    unknown = [one_line(key, 40) for key in document if key not in FIELDS]
    if unknown:
        raise LedgerError(f"{where}: unknown {', '.join(unknown)}.", f"Known fields: {', '.join(FIELDS)}.")
    fields = Fields(document)
    kind, when = fields.text("kind", most=20).lower() or "rainfall", document.get("when")
    extent, centre = _extent(document, where)
    start = _instant(when, f"{where}: when")
    end = start if document.get("until") is None else _instant(document["until"], f"{where}: until")
    name = one_line(document.get("id"), 60) or _id(kind, start, centre)
    try:
        return DetectedEvent(
            source="manual", id=name, updated=now, kind=kind,
            start=start, end=end, longitude=centre[0], latitude=centre[1],
            magnitude=document.get("magnitude"), depth_km=document.get("depth_km"),
            place=fields.text("place"), url=web_address(document.get("url")), shaking=extent,
        )  # fmt: skip
    except ValidationError as error:
        raise LedgerError(f"{where}: {explained_all(error.errors())}.", "Correct it.") from None


def _instant(value: Any, where: str) -> datetime:
    """An instant with its zone, as YAML gives it or as a text."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        found = None
    if not isinstance(found, datetime) or found.tzinfo is None:
        raise LedgerError(f"{where} is no instant.", "Write date, time and zone as in 2024-06-15T03:00:00Z.")
    return found


def _extent(document: Mapping[str, Any], where: str) -> tuple[Bounds, tuple[float, float]]:
    """The box of the event and its centre: of the outline or box that it states, else of a circle about its place."""
    remedy = "Give `at: [longitude, latitude]` with `radius_km`, or `bbox: [west, south, east, north]`, or a polygon."
    geometry, bbox = document.get("geometry"), document.get("bbox")
    try:
        if isinstance(bbox, list):
            outline = box(*(float(value) for value in bbox))
        elif isinstance(geometry, Mapping):
            outline = shape(geometry)
        else:
            at = document["at"]
            outline = shape({"type": "Point", "coordinates": [float(value) for value in at]})
        west, south, east, north = (float(edge) for edge in outline.bounds)
        radius = float(document.get("radius_km") or RADIUS_KM)
    except Exception as error:  # shapely raises errors of any type on broken geometry
        raise LedgerError(f"{where} states no place ({type(error).__name__}).", remedy) from error
    good = all(map(math.isfinite, (west, south, east, north, radius))) and 0 < radius <= MOST_RADIUS_KM
    if not good or not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise LedgerError(
            f"{where}: the place leaves -180..180 and -90..90 degrees, or the radius 0..{MOST_RADIUS_KM:g} km.",
            remedy,
        )
    centre = ((west + east) / 2, (south + north) / 2)
    if west == east and south == north:
        up = radius / KM_PER_DEG
        wide = min(up / max(math.cos(math.radians(centre[1])), 0.01), 180.0)
        west, east = longitude(west - wide), longitude(east + wide)
        south, north = max(south - up, -90.0), min(north + up, 90.0)
    return (west, south, east, north), centre


def _id(kind: str, start: datetime, centre: tuple[float, float]) -> str:
    """An id of kind, time and place, in lower case: rainfall-20240615t0300-137.00e-36.50n."""
    x, y = centre
    where = f"{abs(x):.2f}{'e' if x >= 0 else 'w'}-{abs(y):.2f}{'n' if y >= 0 else 's'}"
    return f"{kind}-{start:%Y%m%dt%H%M}-{where}"[:64]
