"""earthquake.usgs.gov: real-time feeds, detail documents, and the FDSN event service.

Sources: earthquake.usgs.gov/earthquakes/feed/v1.0/geojson.php, earthquake.usgs.gov/fdsnws/event/1, and the software of
the service, github.com/usgs/earthquake-event-ws: `summary.php` (ages, magnitudes less 0.05, significance of 600, cache
times), `FDSNEventWebService.class.php` (a deleted event: 409, unless deleted ones are asked for; an unknown one: 404).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from pipeline.sandbox.posing.faults import Fault
from pipeline.sandbox.posing.feeds.conditional import feed_answer
from pipeline.sandbox.posing.feeds.told_events import Told, ToldEvents
from pipeline.sandbox.seismicity.usgs_documents import (
    API,
    USGS_HOST,
    collection,
    detail,
    feature,
    significance,
)

_AGES = {"hour": 3600, "day": 86400, "week": 604800, "month": 2592000}
_SIZES = {"all": None, "1.0": 0.95, "2.5": 2.45, "4.5": 4.45, "significant": None}
_SIGNIFICANT = 600
_DELETED = (
    "The requested event has been deleted. To see information for deleted events, perform a search and use the "
    '"includedeleted" option.'
)
_MOST = 20_000
_JSON = "application/json; charset=utf-8"
_KM_PER_DEG = 111.195


class BadQueryError(ValueError):
    """A parameter is invalid; the message says which."""


class UsgsHost:
    """The host over the events of the served worlds."""

    def __init__(self, events: ToldEvents) -> None:
        self._events = events

    async def answer(self, request: Request, fault: Fault | None) -> Response:
        """Route a request."""
        if request.method not in {"GET", "HEAD"}:
            return PlainTextResponse("Method Not Allowed", 405, {"allow": "GET, HEAD"})
        match request.url.path.strip("/").split("/"):
            case ["earthquakes", "feed", "v1.0", "summary", name] if name.endswith(".geojson"):
                return self._summary(request, name.removesuffix(".geojson"))
            case ["earthquakes", "feed", "v1.0", "detail", name] if name.endswith(".geojson"):
                return self._detail(request, name.removesuffix(".geojson"), deleted=False)
            case ["fdsnws", "event", "1", method]:
                try:
                    return self._fdsn(request, method)
                except BadQueryError as error:
                    return self._error(request, 400, str(error))
        return PlainTextResponse("404 File Not Found", 404)

    def _generated(self) -> datetime:
        """Feeds are made once a minute."""
        return self._events.clock.now().replace(second=0, microsecond=0)

    def _summary(self, request: Request, name: str) -> Response:
        size, _, age = name.partition("_")
        if size not in _SIZES or age not in _AGES:
            return PlainTextResponse("404 File Not Found", 404)
        generated = self._generated()
        since, least = generated - timedelta(seconds=_AGES[age]), _SIZES[size]
        found = [
            one
            for one in self._events.now(generated)
            if one.revision.status != "deleted"
            and one.revision.time >= since
            and (least is None or one.revision.magnitude >= least)
            and (size != "significant" or significance(one.revision) >= _SIGNIFICANT)
        ]
        found.sort(key=lambda one: one.revision.time, reverse=True)
        words = {"all": "All", "significant": "Significant"}.get(size, f"Magnitude {size}+")
        title = f"USGS {words} Earthquakes, Past {age.capitalize()}"
        age_s = 900 if age == "month" and size != "significant" else 60
        return self._collection(request, found, title, generated, age_s)

    def _collection(
        self, request: Request, found: list[Told], title: str, generated: datetime, age_s: int, **more: int
    ) -> Response:
        features = [feature(one.event, one.revision, simulated=one.simulated) for one in found]
        url = f"https://{USGS_HOST}{request.url.path}" + (
            f"?{request.url.query}" if request.url.query else ""
        )
        document = collection(features, url, title, generated, **more)
        return self._json(request, document, generated, age_s)

    def _json(
        self, request: Request, document: dict[str, Any], modified: datetime, age_s: int = 60
    ) -> Response:
        body = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
        simulated = self._events.simulated
        return feed_answer(request, body, _JSON, modified, simulated=simulated, max_age_s=age_s)

    def _detail(self, request: Request, event_id: str, *, deleted: bool) -> Response:
        found = self._events.find(event_id)
        if found is None:
            return self._error(request, 404, "Not Found")
        if found.revision.status == "deleted" and not deleted:
            return self._error(request, 409, _DELETED)
        document = detail(found.event, found.revision, simulated=found.simulated)
        return self._json(request, document, found.revision.at)

    def _fdsn(self, request: Request, method: str) -> Response:
        asked = {key: value for key, value in request.query_params.items() if value != ""}
        if method == "version":
            return PlainTextResponse(API)
        if method not in {"query", "count"}:
            return self._error(request, 404, "Not Found")
        form = asked.pop("format", "text" if method == "count" else "quakeml")
        deleted = asked.pop("includedeleted", "false").lower() in {"true", "only"}
        event_id = asked.pop("eventid", None)
        if event_id is not None and method == "query":
            return self._detail(request, event_id, deleted=deleted) if form == "geojson" else _no_form(form)
        limit, offset, order = self._page(asked)
        tests = [_test(name, value) for name, value in asked.items()]
        found = [
            one
            for one in self._events.now()
            if (deleted or one.revision.status != "deleted") and all(test(one) for test in tests)
        ]
        if method == "count":
            if form == "geojson":
                return self._json(request, {"count": len(found), "maxAllowed": _MOST}, self._generated())
            return PlainTextResponse(str(len(found)))
        if form != "geojson":
            return _no_form(form)
        found.sort(key=order)
        page = found[offset - 1 : offset - 1 + limit]
        return self._collection(request, page, "USGS Earthquakes", self._generated(), 60)

    def _page(self, asked: dict[str, str]) -> tuple[int, int, Callable[[Told], float]]:
        limit = int(_number("limit", asked.pop("limit", str(_MOST)), 1, _MOST))
        offset = int(_number("offset", asked.pop("offset", "1"), 1, 1e9))
        orders: dict[str, Callable[[Told], float]] = {
            "time": lambda one: -one.revision.time.timestamp(),
            "time-asc": lambda one: one.revision.time.timestamp(),
            "magnitude": lambda one: -one.revision.magnitude,
            "magnitude-asc": lambda one: one.revision.magnitude,
        }
        order = asked.pop("orderby", "time")
        if order not in orders:
            raise BadQueryError(f"Bad orderby value {order!r:.40}")
        return limit, offset, orders[order]

    def _error(self, request: Request, status: int, message: str) -> Response:
        """An error in the form of the FDSN services."""
        text = (
            f"Error {status}: {message}\n\nUsage details are available from https://{USGS_HOST}/fdsnws/event/1\n\n"
            f"Request:\n{request.url.path}\n\nRequest Submitted:\n{self._events.clock.now().isoformat()}\n\n"
            f"Service version:\n{API}\n"
        )
        return PlainTextResponse(text, status)


def _no_form(form: str) -> Response:
    return PlainTextResponse(f"Error 501: format={form[:20]} is not simulated; ask for geojson\n", 501)


def _number(name: str, value: str, least: float, most: float) -> float:
    try:
        found = float(value)
    except ValueError:
        found = math.nan
    if not least <= found <= most:
        raise BadQueryError(
            f"Bad {name} value {value[:40]!r}. Valid values are between {least:g} and {most:g}."
        )
    return found


def _instant(name: str, value: str) -> datetime:
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise BadQueryError(
            f"Bad {name} value {value[:40]!r}. Valid values are ISO-8601 timestamps."
        ) from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


_LEAST: dict[str, tuple[Callable[[Told], float], float, float]] = {
    "magnitude": (lambda one: one.revision.magnitude, -10, 12),
    "latitude": (lambda one: one.revision.latitude, -90, 90),
    "longitude": (lambda one: one.revision.longitude, -360, 360),
    "depth": (lambda one: one.revision.depth_km, -100, 1000),
    "sig": (lambda one: significance(one.revision), 0, 1e5),
}
_SHORT = {"minmag": "minmagnitude", "maxmag": "maxmagnitude", "minlat": "minlatitude", "maxlat": "maxlatitude",
          "minlon": "minlongitude", "maxlon": "maxlongitude", "start": "starttime", "end": "endtime"}  # fmt: skip


def _test(name: str, value: str) -> Callable[[Told], bool]:
    """What one parameter of a query asks of an event."""
    name = _SHORT.get(name, name)
    what = _LEAST.get(name[3:])
    if what is not None and name[:3] in {"min", "max"}:
        of, least, most = what
        edge = _number(name, value, least, most)
        return (lambda one: of(one) >= edge) if name.startswith("min") else (lambda one: of(one) <= edge)
    match name:
        case "starttime":
            start = _instant(name, value)
            return lambda one: one.revision.time >= start
        case "endtime":
            end = _instant(name, value)
            return lambda one: one.revision.time <= end
        case "updatedafter":
            after = _instant(name, value)
            return lambda one: one.revision.at > after
        case "alertlevel":
            return lambda one: one.revision.alert == value
        case "eventid":
            return lambda one: value in (one.event.id, *one.revision.other_ids)
        case "eventtype":
            return lambda one: "earthquake" in value.split(",")
        case "producttype":
            return lambda one: value in feature(one.event, one.revision)["properties"]["types"].split(",")
    raise BadQueryError(f"Unknown parameter {name[:40]!r}.")
