"""Answers of the USGS and of GDACS in their documented form, written for tests."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.unit.loopback import Loopback, Reply, Seen

AT = datetime(2018, 9, 5, 18, 7, 59, tzinfo=UTC)
NOW = AT + timedelta(hours=2)
WEEK = "earthquake.usgs.gov/earthquakes/feed/v1.0/summary/4.5_week.geojson"
MONTH = WEEK.replace("week", "month")
DETAIL = "earthquake.usgs.gov/earthquakes/feed/v1.0/detail/{}.geojson"
GDACS = "www.gdacs.org/gdacsapi/api/events/geteventlist/EVENTS4APP"
GDACS_DATA = "www.gdacs.org/gdacsapi/api/events/geteventdata"


def ms(instant: datetime) -> int:
    """Milliseconds since 1970, as the USGS writes instants."""
    return int(instant.timestamp() * 1000)


def usgs_feature(event_id: str = "us2000h8ty", **properties: Any) -> dict[str, Any]:
    """One earthquake: Hokkaido 2018, with other properties where they are given."""
    place = [properties.pop("lon", 141.93), properties.pop("lat", 42.686), properties.pop("depth", 35.0)]
    stated = {
        "mag": 6.6, "place": "27 km E of Tomakomai, Japan", "time": ms(AT), "updated": ms(AT + timedelta(minutes=20)),
        "url": f"https://earthquake.usgs.gov/earthquakes/eventpage/{event_id}", "status": "automatic", "alert": None,
        "type": "earthquake", "ids": f",{event_id},", "types": ",origin,phase-data,shakemap,", "net": event_id[:2],
        "code": event_id[2:], "magType": "mww",
    }  # fmt: skip
    return {
        "type": "Feature", "id": event_id, "geometry": {"type": "Point", "coordinates": place},
        "properties": stated | properties,
    }  # fmt: skip


def ground_failure(alert: str | None = "orange", area: str = "29.7", people: str = "430") -> dict[str, Any]:
    """A ground-failure product, all of whose values are strings."""
    stated = {
        "landslide-hazard-alert-value": area, "landslide-hazard-alert-parameter": "Aggregate Hazard",
        "landslide-population-alert-value": people, "landslide-minimum-longitude": "141.2",
        "landslide-maximum-longitude": "142.9", "landslide-minimum-latitude": "42.1",
        "landslide-maximum-latitude": "43.3",
    }  # fmt: skip
    if alert is not None:
        stated["landslide-alert"] = alert
    return {"type": "ground-failure", "status": "UPDATE", "preferredWeight": 156, "properties": stated}


def gdacs_feature(number: int = 1155123, code: str = "EQ", **properties: Any) -> dict[str, Any]:
    """One event of GDACS: the same earthquake, some km and seconds off."""
    place = [properties.pop("lon", 142.0), properties.pop("lat", 42.7)]
    stated = {
        "eventtype": code, "eventid": number, "episodeid": 1, "name": "Earthquake in Japan", "alertlevel": "Orange",
        "fromdate": "2018-09-05T18:07:57", "todate": "2018-09-05T18:07:57", "datemodified": "2018-09-05T18:40:00",
        "country": "Japan", "source": "NEIC", "sourceid": "",
        "severitydata": {"severity": 6.6, "severitytext": "Magnitude 6.6M, Depth:35km", "severityunit": "M"},
        "url": {"report": f"https://www.gdacs.org/report.aspx?eventtype={code}&eventid={number}"},
    }  # fmt: skip
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": place},
        "properties": stated | properties,
    }


def collection(*features: Any) -> bytes:
    """A GeoJSON collection."""
    return json.dumps(
        {"type": "FeatureCollection", "metadata": {"status": 200}, "features": list(features)}
    ).encode()


class Sources:
    """Both sources on one loopback server; the feeds answer conditional requests."""

    def __init__(self, server: Loopback) -> None:
        self.server = server
        self.version = 0
        self.usgs()
        self.gdacs()
        server.rules.append(self._unchanged)

    def _unchanged(self, seen: Seen) -> Reply | None:
        tag = seen.headers.get("if-none-match")
        return Reply(304) if tag is not None and tag == self.server.etags.get(seen.path) else None

    def _put(self, path: str, body: bytes) -> None:
        self.version += 1
        self.server.files[path] = body
        self.server.etags[path] = f'"{self.version}"'

    def usgs(self, *features: dict[str, Any], products: dict[str, Any] | None = None) -> None:
        """State these earthquakes, each with its document; `products` by event id."""
        self._put(WEEK, collection(*features))
        for feature in features:
            of_event = (products or {}).get(feature["id"], {})
            document = {**feature, "properties": {**feature["properties"], "products": of_event}}
            self.server.files[DETAIL.format(feature["id"])] = json.dumps(document).encode()

    def gdacs(self, *features: dict[str, Any]) -> None:
        """State these events."""
        self._put(GDACS, collection(*features))

    def asked(self, path: str) -> int:
        """How often a path was asked for."""
        return sum(seen.path == path for seen in self.server.seen)
