"""What the rule would have done with the events of a catalogue: a year of earthquakes, for example."""

from __future__ import annotations

import csv
import io
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.errors import SourceDataError
from pipeline.events.detected_event import DetectedEvent
from pipeline.events.feeds.feed_fields import Fields, features_of
from pipeline.events.feeds.usgs_feed import event_of_feature
from pipeline.events.ledger import Decision, Tier
from pipeline.events.triggering_rule import TIERS, Rules
from pipeline.files import read_regular
from pipeline.records import Frozen

MOST_CATALOGUE_BYTES = 256 * 2**20
MOST_ROWS = 200_000
_REMEDY = "Give GeoJSON of earthquake.usgs.gov/fdsnws/event/1 (format=geojson) or of the feeds, or its CSV."


class ReplayedEvent(Frozen):
    """One event of a catalogue, and what the rule gives for it."""

    event: DetectedEvent
    decision: Decision


class Replay(Frozen):
    """What the rule would have done with a catalogue."""

    events: tuple[ReplayedEvent, ...]
    """the newest revision of each event, by time"""
    left_out: int
    """rows that state no event"""

    @property
    def counts(self) -> dict[Tier, int]:
        """Number of events of each tier."""
        found = Counter(each.decision.tier for each in self.events)
        return {tier: found[tier] for tier in TIERS}

    @property
    def days(self) -> float:
        """Time from the first to the last event, in days."""
        times = [each.event.start for each in self.events]
        return (max(times) - min(times)).total_seconds() / 86400 if times else 0.0

    @property
    def newest(self) -> datetime | None:
        """Time of the last event."""
        return max((each.event.start for each in self.events), default=None)


def replay(path: Path, rules: Rules) -> Replay:
    """Apply the rule to every event of a catalogue, each once in its newest revision.

    A catalogue states no products, so that magnitude, depth and place decide, unless its features are detail documents.

    Raises:
        SourceDataError: the file cannot be read, or is no catalogue.
    """
    try:
        raw = read_regular(path, MOST_CATALOGUE_BYTES)
    except OSError as error:
        raise SourceDataError(f"{path} cannot be read ({error.strerror or error}).", _REMEDY) from error
    features = features_of(raw, MOST_ROWS)
    if features is None:
        features = _features_of_csv(raw, path)
    newest: dict[str, DetectedEvent] = {}
    left_out = 0
    for feature in features:
        event = event_of_feature(feature)
        if event is None:
            left_out += 1
        elif event.id not in newest or newest[event.id].updated < event.updated:
            newest[event.id] = event
    if not newest:
        raise SourceDataError(f"{path} holds no event that can be read.", _REMEDY)
    ordered = sorted(newest.values(), key=lambda event: (event.start, event.id))
    return Replay(
        events=tuple(ReplayedEvent(event=event, decision=rules.decide(event)) for event in ordered),
        left_out=left_out,
    )


def _features_of_csv(raw: bytes, path: Path) -> list[Any]:
    """The rows of the USGS's CSV (earthquake.usgs.gov/earthquakes/feed/v1.0/csv.php) as features of GeoJSON.

    Raises:
        SourceDataError: it is no text, or has no columns of time, latitude and longitude.
    """
    try:
        rows = csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline=""))
        columns = {str(name).strip().lower() for name in rows.fieldnames or ()}
        if not {"time", "latitude", "longitude"} <= columns:
            raise SourceDataError(f"{path} is no catalogue of events.", _REMEDY)
        return [_feature(Fields(row)) for row, _ in zip(rows, range(MOST_ROWS), strict=False)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceDataError(
            f"{path} is no catalogue of events ({type(error).__name__}).", _REMEDY
        ) from error


def _feature(row: Fields) -> dict[str, Any]:
    coordinates = [row.get("longitude"), row.get("latitude"), row.get("depth")]
    names = ("time", "updated", "mag", "place", "type", "status", "net")
    return {
        "id": row.get("id"),
        "geometry": {"type": "Point", "coordinates": coordinates},
        "properties": {name: row.get(name) for name in names},
    }
