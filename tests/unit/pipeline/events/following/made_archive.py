"""An archive in memory: passes over a place as items of a STAC search, and an event."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import shapely
from shapely.geometry import box, shape

from pipeline.archives.archive import Query
from pipeline.events.detected_event import DetectedEvent
from pipeline.events.ledger import Entry

EVENT = datetime(2018, 9, 5, 18, 7, 59, tzinfo=UTC)
FIRST_AFTER = datetime(2018, 9, 5, 20, 32, tzinfo=UTC)
HOST = "https://sentinel1euwestrtc.blob.core.windows.net/sentinel1-grd-rtc"


def detected(**fields: Any) -> DetectedEvent:
    """The earthquake of Hokkaido, as stated 20 minutes later."""
    given = {
        "source": "usgs", "id": "us2000h8ty", "updated": EVENT + timedelta(minutes=20), "kind": "earthquake",
        "start": EVENT, "end": EVENT, "longitude": 142.0, "latitude": 42.7, "magnitude": 6.6, "depth_km": 35.0,
        "place": "27 km E of Tomakomai, Japan",
    }  # fmt: skip
    return DetectedEvent.model_validate(given | fields)


def entry(**fields: Any) -> Entry:
    """Its entry in the ledger, which the rule builds."""
    given = {"revisions": [detected()], "decision": {"tier": "build"}}
    return Entry.model_validate(given | fields)


def rtc_item(
    instant: datetime,
    track: int = 46,
    platform: str = "SENTINEL-1A",
    bounds: tuple[float, float, float, float] = (140.5, 41.0, 143.5, 44.0),
    epsg: int = 32654,
) -> dict[str, Any]:
    """One slice of a pass."""
    name = f"S1{platform[-1]}_{instant:%Y%m%dT%H%M%S}_{track}"
    orbit = 10_000 + track + int((instant - datetime(2014, 1, 1, tzinfo=UTC)) / timedelta(days=1)) * 200
    return {
        "type": "Feature",
        "id": name,
        "bbox": list(bounds),
        "geometry": shapely.geometry.mapping(box(*bounds)),
        "properties": {
            "datetime": instant.isoformat(),
            "start_datetime": instant.isoformat(),
            "end_datetime": (instant + timedelta(seconds=25)).isoformat(),
            "platform": platform,
            "proj:epsg": epsg,
            "s1:datatake_id": f"{orbit:X}",
            "sat:orbit_state": "descending" if track == 46 else "ascending",
            "sat:absolute_orbit": orbit,
            "sat:relative_orbit": track,
        },
        "assets": {pol: {"href": f"{HOST}/{name}/iw-{pol}.rtc.tiff"} for pol in ("vv", "vh")},
    }


def turns(numbers: Iterable[int], **fields: Any) -> list[dict[str, Any]]:
    """Passes every 12 days; turn 0 is the first after the event."""
    first = fields.pop("first", FIRST_AFTER)
    return [rtc_item(first + number * timedelta(days=12), **fields) for number in numbers]


class Archive:
    """Items of radar; `asked` are the collections that were searched."""

    endpoint = "https://archive.example"

    def __init__(self, items: list[dict[str, Any]]) -> None:
        self.items = items
        self.asked: list[str] = []

    def search(self, collection: str, query: Query) -> list[dict[str, Any]]:
        """What meets the geometry within the time."""
        self.asked.append(collection)
        area = shape(query.geometry)
        assert query.start is not None and query.end is not None
        return [
            item
            for item in self.items
            if query.start <= datetime.fromisoformat(item["properties"]["start_datetime"]) <= query.end
            and shape(item["geometry"]).intersects(area)
        ]
