"""The area file of an event: YAML with its reasons as comments, and a last line that says what it was made from.

The last line holds the digest of what is above it. Where that no longer agrees, a person has edited the file, and it is
never written again.
"""

from __future__ import annotations

import json
import re
import textwrap
from datetime import datetime, timedelta
from typing import Any

import yaml
from pydantic import Field, ValidationError

from pipeline.areas.area import AreaOfInterest
from pipeline.events.detected_event import Bounds, DetectedEvent
from pipeline.events.following.outline import Basis
from pipeline.events.following.track_choice import TrackChoice
from pipeline.events.following.waiting import MOST_DAYS
from pipeline.records import Frozen, digest_of_json

MARK = "# slidecube: "
"""how the last line begins"""
SOURCES = {"usgs": "USGS", "gdacs": "GDACS", "manual": "a person"}


class MadeFrom(Frozen):
    """What an area file was made from, as its last line states it."""

    event: str = Field(description="name of the event in the ledger")
    updated: str = Field(description="of the revision, ISO 8601")
    basis: Basis
    margin_km: float
    digest: str = Field("", description="sha256 of the text above the line")


class DraftArea(Frozen):
    """An area of an event before it is written."""

    name: str
    bounds: Bounds
    choice: TrackChoice
    collection: str = Field(description="of the elevation")
    made_from: MadeFrom
    reasons: tuple[str, ...] = Field(description="of the outline")


def fields_of_area(draft: DraftArea, event: DetectedEvent) -> dict[str, Any]:
    """The fields of the area file."""
    revision = f"{SOURCES[event.source]}, {event.id}, as stated on {event.updated.isoformat()}"
    fields: dict[str, Any] = {
        "title": title_of(event),
        "bbox": [round(value, 4) for value in draft.bounds],
        "epsg": draft.choice.epsg if _near(draft.choice.epsg, draft.bounds) else None,
        "event": {
            "kind": event.kind,
            "start": _instant(event.start),
            "end": _instant(event.end),
            "source": revision,
        },
        "start": _instant(draft.choice.start),
        "end": _instant(event.end + timedelta(days=MOST_DAYS)),
        "tracks": list(draft.choice.tracks) or None,
        "dem": {"collection": draft.collection},
        "licence": f"contains modified Copernicus Sentinel data {event.start.year}",
    }
    if event.kind == "earthquake":
        fields["event"]["epicentre"] = [round(event.longitude, 4), round(event.latitude, 4)]
    if event.source == "usgs":
        fields["event"]["usgs_id"] = event.id
    return {key: value for key, value in fields.items() if value is not None}


def text_of_area(draft: DraftArea, event: DetectedEvent) -> str:
    """The area file.

    Raises:
        ValueError: the fields are no valid area.
    """
    fields = fields_of_area(draft, event)
    area = AreaOfInterest.model_validate({"name": draft.name, **fields})
    zone = f"zone {area.utm_epsg % 100} {'N' if area.utm_epsg < 32700 else 'S'}"
    why_zone = "in which most of the archive's items lie" if "epsg" in fields else "of the middle of the box"
    comments = {
        "bbox": draft.reasons,
        "epsg": (f"UTM {zone}, {why_zone}",),
        "start": ("before it as many passes a track as are needed, after it the days that are followed",),
        "tracks": draft.choice.reasons,
        "licence": (
            "no inventory: nobody has mapped this event yet; no `interferometry`: pairs take hours, add them by hand",
        ),
    }
    lines = [
        f"# Made by slidecube for the event {draft.made_from.event}. Edit it as you like: an edited file is kept.",
    ]
    for key, value in fields.items():
        remarks = [_wrapped(why) for why in comments.get(key, ())]
        lines += ["", *(f"# {'' if not n else '  '}{line}" for why in remarks for n, line in enumerate(why))]
        lines.append(_keyed(key, value))
    body = "\n".join(lines).replace("\n\n\n", "\n\n") + "\n\n"
    made = draft.made_from.model_copy(update={"digest": digest_of_json(body)})
    return body + MARK + json.dumps(made.model_dump(), sort_keys=True) + "\n"


def _keyed(key: str, value: Any) -> str:
    """One field of YAML; a list on one line."""
    listed = isinstance(value, list)
    text = yaml.safe_dump(
        value if listed else {key: value},
        sort_keys=False,
        allow_unicode=True,
        width=110,
        default_flow_style=listed,
    ).rstrip()
    return f"{key}: {text}" if listed else text


def made_from(text: str) -> tuple[MadeFrom | None, bool]:
    """What an area file says that it was made from, None where it says nothing; and whether a person edited it."""
    body, mark, last = text.rpartition(MARK)
    try:
        made = MadeFrom.model_validate_json(last) if mark else None
    except ValidationError:
        made = None
    return made, made is None or made.digest != digest_of_json(body)


def title_of(event: DetectedEvent) -> str:
    """The event in words: magnitude, place, day."""
    strength = f"M {event.magnitude:.1f}" if event.magnitude is not None else event.kind
    place = re.sub(r"\s+", " ", event.place).strip()[:120]
    return ", ".join(part for part in (strength, place, f"{event.start:%Y-%m-%d}") if part)


def _instant(value: datetime) -> str:
    return value.isoformat().replace("+00:00", "Z")


def _near(epsg: int | None, bounds: Bounds) -> bool:
    """Whether there is a zone whose meridian is near enough for an area file; see `AreaOfInterest`."""
    if epsg is None:
        return False
    meridian = epsg % 100 * 6 - 183
    return max(abs(edge - meridian) for edge in (bounds[0], bounds[2])) <= 9


def _wrapped(line: str) -> list[str]:
    """The lines of a comment: nothing from outside may end it."""
    return textwrap.wrap(re.sub(r"[^\x20-\x7e²]", " ", line), 114) or [""]
