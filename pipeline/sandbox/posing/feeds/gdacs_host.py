"""www.gdacs.org: the RSS feeds, the lists of events of its API, and the data of one event.

Addresses: gdacs.org/feed_reference.aspx and gdacs.org/gdacsapi/swagger/index.html.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from pipeline.sandbox.posing.faults import Fault
from pipeline.sandbox.posing.feeds.conditional import feed_answer
from pipeline.sandbox.posing.feeds.told_events import ToldEvents
from pipeline.sandbox.seismicity.gdacs_documents import Report, event_feature, rss

_CURRENT = timedelta(days=4)
"""How long an earthquake is current; it leaves the feed after about four days."""
_FEEDS = {
    "rss.xml": _CURRENT,
    "rss_24h.xml": timedelta(days=1),
    "rss_7d.xml": timedelta(days=7),
    "rss_eq_24h.xml": timedelta(days=1),
    "rss_eq_3m.xml": timedelta(days=92),
}
_LISTS = {"events4app", "map", "latest", "search"}
_MOST = 100


class GdacsHost:
    """The host over the events of the served worlds that GDACS has."""

    def __init__(self, events: ToldEvents) -> None:
        self._events = events

    async def answer(self, request: Request, fault: Fault | None) -> Response:
        """Route a request; paths and parameters are compared without regard to case, as there."""
        if request.method not in {"GET", "HEAD"}:
            return JSONResponse({"message": "Method Not Allowed"}, 405)
        match request.url.path.lower().strip("/").split("/"):
            case ["xml", name] if name in _FEEDS:
                found = self._reports(_FEEDS[name])
                body = rss(found, self._generated(), request.url.path)
                return self._answer(request, body, "text/xml; charset=utf-8")
            case ["gdacsapi", "api", "events", "geteventlist", name] if name in _LISTS:
                return self._list(request, name)
            case ["gdacsapi", "api", "events", "geteventdata"]:
                return self._data(request)
        return PlainTextResponse("The resource cannot be found.", 404)

    def _generated(self) -> datetime:
        """The feeds are made every six minutes."""
        now = self._events.clock.now().replace(second=0, microsecond=0)
        return now - timedelta(minutes=now.minute % 6)

    def _reports(self, age: timedelta | None) -> list[Report]:
        """What GDACS has of each event that is at most that old, the newest first."""
        now = self._generated()
        found = []
        for told in self._events.now():
            report = told.event.gdacs
            if report is None:
                continue
            seen = now - timedelta(seconds=report.after_s)
            revision = told.event.at(seen)
            if revision is None or revision.status == "deleted":
                continue
            current = now - revision.time <= _CURRENT
            one = Report(told.event, revision, report, told.event.number_at(seen), told.simulated, current)
            if age is None or now - one.time <= age:
                found.append(one)
        return sorted(found, key=lambda one: one.time, reverse=True)

    def _list(self, request: Request, name: str) -> Response:
        asked = {key.lower(): value for key, value in request.query_params.items()}
        found = self._reports(None if name == "search" else _CURRENT)
        kinds = {
            kind
            for kind in (asked.get("eventlist") or asked.get("eventtypes") or "").upper().split(";")
            if kind
        }
        levels = {level for level in asked.get("alertlevel", "").lower().split(";") if level}
        try:
            first, last = (_day(asked.get(key)) for key in ("fromdate", "todate"))
            number, size = (
                max(1, int(asked.get(key, d))) for key, d in (("pagenumber", 1), ("pagesize", _MOST))
            )
        except ValueError:
            return JSONResponse({"title": "One or more validation errors occurred.", "status": 400}, 400)
        kept = [
            one
            for one in found
            if (not kinds or "EQ" in kinds)
            and (not levels or one.level.lower() in levels)
            and (first is None or one.time >= first)
            and (last is None or one.time < last + timedelta(days=1))
        ]
        size = min(size, _MOST)
        page = kept[(number - 1) * size : number * size]
        return self._json(
            request, {"type": "FeatureCollection", "features": [event_feature(one) for one in page]}
        )

    def _data(self, request: Request) -> Response:
        asked = {key.lower(): value for key, value in request.query_params.items()}
        for one in self._reports(None):
            if (
                asked.get("eventid") == str(one.report.number)
                and asked.get("eventtype", "EQ").upper() == "EQ"
            ):
                return self._json(request, event_feature(one))
        return Response(status_code=204)

    def _json(self, request: Request, document: dict[str, Any]) -> Response:
        body = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
        return self._answer(request, body, "application/json; charset=utf-8")

    def _answer(self, request: Request, body: bytes, media_type: str) -> Response:
        simulated = self._events.simulated
        return feed_answer(request, body, media_type, self._generated(), simulated=simulated, max_age_s=360)


def _day(text: str | None) -> datetime | None:
    """A date, perhaps with a time or a zone that is not read.

    Raises:
        ValueError: it is none.
    """
    return None if not text else datetime.fromisoformat(text[:10]).replace(tzinfo=UTC)
