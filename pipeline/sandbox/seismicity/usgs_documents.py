"""Documents of the USGS: features of the summary feeds, and detail documents with products, of scripted events.

Fields and their order: earthquake.usgs.gov/earthquakes/feed/v1.0/geojson.php and geojson_detail.php, and the software
of the service, `GeoJSONFeed.class.php` and `detail/geojson.inc.php` of github.com/usgs/earthquake-event-ws. Properties
of a product are strings. Those of a ground-failure product: `gfail/pdl.py` of github.com/usgs/groundfailure.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from pipeline.catalogue.item_fields import ITEM_PROPERTY
from pipeline.sandbox.seismicity.scripted_events import (
    Box,
    Revision,
    ScriptedEvent,
    landslide_alert,
)

USGS_HOST = "earthquake.usgs.gov"
ROOT = f"https://{USGS_HOST}/earthquakes"
API = "1.14.1"
_PAGER_SIG = {"green": 0, "yellow": 500, "orange": 1000, "red": 2000}
_LIQUEFACTION = 3.0
"""Area exposed to liquefaction as a multiple of that exposed to landslides; only so that the product is complete."""

Document = dict[str, Any]


def milliseconds(instant: datetime) -> int:
    """Since 1970, as the feeds state instants."""
    return round(instant.timestamp() * 1000)


def significance(revision: Revision) -> int:
    """`sig`: of the magnitude, the estimated losses and the felt reports ("feltreports, maximum MMI ...", geojson.php).

    The magnitude's part, 100 m² / 6.5, is that of events in the feed: M 5.5 has 465, M 6 554, M 7 754.
    """
    magnitude = revision.magnitude
    felt = min(revision.felt or 0, 1000) * (revision.cdi or 0.0) / 10
    return round(max(magnitude * 100 * magnitude / 6.5, _PAGER_SIG.get(revision.alert or "", 0)) + felt)


def feature(event: ScriptedEvent, revision: Revision, *, simulated: bool = True) -> Document:
    """The event as a feature of a summary feed."""
    properties = _properties(event, revision)
    properties = {
        **dict(list(properties.items())[:6]),
        "detail": f"{ROOT}/feed/v1.0/detail/{event.id}.geojson",
        **dict(list(properties.items())[6:]),
    }
    return _feature(event, revision, properties, simulated)


def detail(event: ScriptedEvent, revision: Revision, *, simulated: bool = True) -> Document:
    """The detail document of the event: the feature without `detail`, with `products`."""
    properties = {**_properties(event, revision), "products": products(event, revision)}
    return _feature(event, revision, properties, simulated)


def _feature(event: ScriptedEvent, revision: Revision, properties: Document, simulated: bool) -> Document:
    mark = {ITEM_PROPERTY: True} if simulated else {}
    return {
        "type": "Feature",
        "properties": {**properties, **mark},
        "geometry": {
            "type": "Point",
            "coordinates": [revision.longitude, revision.latitude, revision.depth_km],
        },
        "id": event.id,
    }


def _properties(event: ScriptedEvent, revision: Revision) -> Document:
    ids = (event.id, *revision.other_ids)
    place = revision.place or None
    return {
        "mag": revision.magnitude,
        "place": place,
        "time": milliseconds(revision.time),
        "updated": milliseconds(revision.at),
        "tz": None,
        "url": f"{ROOT}/eventpage/{event.id}",
        "felt": revision.felt,
        "cdi": revision.cdi,
        "mmi": revision.shakemap.max_mmi if revision.shakemap else None,
        "alert": revision.alert,
        "status": revision.status,
        "tsunami": int(revision.tsunami),
        "sig": significance(revision),
        "net": event.net,
        "code": event.code,
        "ids": f",{','.join(ids)},",
        "sources": f",{','.join(dict.fromkeys(name[:2] for name in ids))},",
        "types": f",{','.join(sorted(_kinds(revision)))},",
        "nst": 120 if revision.status == "reviewed" else 40,
        "dmin": 0.9,
        "rms": 0.72,
        "gap": 31,
        "magType": revision.magnitude_type,
        "type": "earthquake",
        "title": f"M {revision.magnitude:.1f} - {place or 'unknown place'}",
    }


def _kinds(revision: Revision) -> list[str]:
    found = ["origin", "phase-data"]
    found += ["dyfi"] if revision.felt else []
    found += ["shakemap"] if revision.shakemap else []
    found += ["losspager"] if revision.alert else []
    found += ["ground-failure"] if revision.ground_failure else []
    return found


def products(event: ScriptedEvent, revision: Revision) -> dict[str, list[Document]]:
    """The products of a revision by type: a list of one each, whose properties are strings."""
    found = {"origin": _origin(revision)}
    if revision.shakemap:
        box = _box(revision.shakemap.bounds)
        found["shakemap"] = {**box, "maxmmi": f"{revision.shakemap.max_mmi:.1f}", "map-status": "RELEASED"}
    if revision.alert:
        found["losspager"] = {"alertlevel": revision.alert, "review-status": revision.status}
        if revision.shakemap:
            found["losspager"]["maxmmi"] = f"{revision.shakemap.max_mmi:.1f}"
    if revision.ground_failure:
        found["ground-failure"] = _ground_failure(revision)
    return {kind: [_product(event, revision, kind, stated)] for kind, stated in found.items()}


def _origin(revision: Revision) -> dict[str, str]:
    return {
        "magnitude-type": revision.magnitude_type,
        "review-status": revision.status,
        "event-type": "earthquake",
    }


def _ground_failure(revision: Revision) -> dict[str, str]:
    state = revision.ground_failure
    if state is None:  # never, by its caller
        return {}
    levels: dict[str, str] = {
        "landslide-alert": landslide_alert(state.hazard_km2, state.people),
        "landslide-hazard-alert-color": landslide_alert(state.hazard_km2, 0.0),
        "landslide-population-alert-color": landslide_alert(0.0, state.people),
        "liquefaction-alert": landslide_alert(state.hazard_km2 * _LIQUEFACTION / 10, state.people / 10),
    }
    if state.pending:
        levels = dict.fromkeys(levels, "pending")
    return {
        **levels,
        "landslide-hazard-alert-parameter": "Aggregate Hazard",
        "landslide-hazard-alert-value": f"{state.hazard_km2:.3g}",
        "landslide-population-alert-parameter": "Population exposure",
        "landslide-population-alert-value": f"{state.people:.0f}",
        "landslide-overlay": "jessee_2017.png",
        **{f"landslide-{name}": value for name, value in _box(state.bounds).items()},
        "liquefaction-hazard-alert-value": f"{state.hazard_km2 * _LIQUEFACTION:.3g}",
        "liquefaction-population-alert-value": f"{state.people:.0f}",
        "liquefaction-overlay": "zhu_2017_general.png",
    }


def _box(bounds: Box) -> dict[str, str]:
    west, south, east, north = bounds
    return {
        "minimum-longitude": f"{west:.4f}",
        "minimum-latitude": f"{south:.4f}",
        "maximum-longitude": f"{east:.4f}",
        "maximum-latitude": f"{north:.4f}",
    }


def _product(event: ScriptedEvent, revision: Revision, kind: str, stated: dict[str, str]) -> Document:
    updated = milliseconds(revision.at)
    urn = f"urn:usgs-product:{event.net}:{kind}:{event.id}:{updated}"
    return {
        "indexid": str(int.from_bytes(hashlib.sha256(urn.encode()).digest()[:4], "big")),
        "indexTime": updated,
        "id": urn,
        "type": kind,
        "code": event.id,
        "source": event.net,
        "updateTime": updated,
        "status": "DELETE" if revision.status == "deleted" else "UPDATE",
        "properties": {
            "depth": f"{revision.depth_km:g}",
            "eventsource": event.net,
            "eventsourcecode": event.code,
            "eventtime": revision.time.strftime("%Y-%m-%dT%H:%M:%S.")
            + f"{revision.time.microsecond // 1000:03d}Z",
            "latitude": f"{revision.latitude:.4f}",
            "longitude": f"{revision.longitude:.4f}",
            "magnitude": f"{revision.magnitude:.1f}",
            **stated,
        },
        "preferredWeight": 156,
        "contents": {},
    }


def collection(features: list[Document], url: str, title: str, generated: datetime, **more: int) -> Document:
    """A summary feed: metadata, features, and the box around them."""
    document: Document = {
        "type": "FeatureCollection",
        "metadata": {
            "generated": milliseconds(generated),
            "url": url,
            "title": title,
            "status": 200,
            "api": API,
            **more,
            "count": len(features),
        },
        "features": features,
    }
    points = [one["geometry"]["coordinates"] for one in features]
    if len(points) > 1:
        document["bbox"] = [f(axis) for f in (min, max) for axis in zip(*points, strict=True)]
    return document
