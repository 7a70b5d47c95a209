"""The real-time feeds of the USGS: GeoJSON summaries, and the detail document of one event with its products.

The fields and the addresses of the feeds are those of earthquake.usgs.gov/earthquakes/feed/v1.0/geojson.php and
earthquake.usgs.gov/earthquakes/feed/v1.0/geojson_detail.php ("products", a list for each type, whose properties are
all strings); a deleted event: earthquake.usgs.gov/fdsnws/event/1 ("includedeleted": status `deleted`, else 409); the
words of the fields: earthquake.usgs.gov/data/comcat/data-eventterms.php. The properties of a ground-failure product
are those that the USGS itself sets when it publishes one (`gfail/pdl.py` and `gfail/transfer.py` of
github.com/usgs/groundfailure); its alert levels: earthquake.usgs.gov/data/ground-failure/background.php. People by
intensity: `json/exposures.json` of the product `losspager` (earthquake.usgs.gov/data/pager).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import ValidationError

from pipeline.catalogue.item_fields import says_simulated
from pipeline.errors import ArchiveError
from pipeline.events.detected_event import Alert, DetectedEvent, GroundFailure
from pipeline.events.feeds.feed_fields import (
    Fields,
    features_of,
    json_of,
    number_of_value,
    one_line,
    point_of,
    web_address,
)
from pipeline.events.feeds.feed_source import MOST_EVENTS, Answer, FeedSource, SourceState

log = logging.getLogger(__name__)
HOST = "earthquake.usgs.gov"
ROOT = f"https://{HOST}/earthquakes/feed/v1.0"
ID = re.compile(r"[a-z]{2}[a-z0-9]{1,30}", re.IGNORECASE)
"""network code and the network's own code, as in us2000h8ty"""
STRONG_MMI = 7
"""intensity from which on people are counted: "very strong" in the words of ShakeMap and PAGER"""
MOST_IDS = 20
"""other ids of an event that are kept"""
HAZARD_BINS_KM2: tuple[tuple[float, Alert], ...] = (
    (100.0, "red"),
    (10.0, "orange"),
    (1.0, "yellow"),
    (0.0, "green"),
)
"""least area exposed to landslides of each alert level (background.php, "Alert Level Definitions")"""


class UsgsFeed(FeedSource):
    """The summaries of all earthquakes of magnitude 4.5 and above, each minute; no login."""

    name = "usgs"
    title = "USGS"
    hosts = (HOST,)
    has_documents = True
    has_details = True

    def feed_address(self, state: SourceState, now: datetime) -> str:
        """The past week, in which magnitudes and products are still revised; the past month after a longer pause."""
        gap = timedelta(0) if state.looked is None else now - state.looked
        return f"{ROOT}/summary/4.5_{'month' if gap > timedelta(days=6) else 'week'}.geojson"

    def detail_address(self, event_id: str) -> str:
        """The address of the detail document of an event."""
        return f"{ROOT}/detail/{event_id}.geojson"

    def page(self, event_id: str) -> str:
        """The event's page for people."""
        return f"https://{HOST}/earthquakes/eventpage/{event_id}"

    def events_of(self, answer: Answer) -> list[DetectedEvent]:
        """The events of a summary; what is no event with an id, a place and a time is left out."""
        features = features_of(answer.raw, MOST_EVENTS)
        if features is None:
            raise ArchiveError("The feed of the USGS is no GeoJSON collection.", "Try again later.")
        found = (event_of_feature(each, simulated=answer.simulated) for each in features)
        return [event for event in found if event is not None]

    def ids_with_products(self, answer: Answer) -> frozenset[str]:
        """The events whose summary names a ground-failure product among its `types`."""
        features = [Fields(each) for each in features_of(answer.raw, MOST_EVENTS) or []]
        return frozenset(
            str(each.get("id"))
            for each in features
            if "ground-failure" in str(each.below("properties").get("types")).lower()
        )

    def detail(self, event_id: str) -> DetectedEvent | None:
        """The newest revision of an event with its products; None where the USGS has it no longer."""
        if not ID.fullmatch(event_id):
            raise ArchiveError(
                f"{event_id!r:.60} is no id of the USGS.",
                "It has a form as us2000h8ty; see the event's page there.",
            )
        answer = self.ask(self.detail_address(event_id))
        if answer.status == "gone":
            # the feeds hold recent events, the catalogue all (earthquake.usgs.gov/fdsnws/event/1, "eventid")
            answer = self.ask(f"https://{HOST}/fdsnws/event/1/query?format=geojson&eventid={event_id}")
        if answer.status == "gone":
            return None
        document = json_of(answer.raw)
        event = event_of_feature(document, simulated=answer.simulated)
        if event is None:
            raise ArchiveError(f"The USGS's document of {event_id} is no event.", "Try again later.")
        return event.model_copy(update={"population": self._people(document)})

    def _people(self, document: Any) -> float | None:
        """People exposed to intensity VII and above by the event's PAGER product; None where that cannot be had."""
        product = _preferred(Fields(document).below("properties").below("products"), "losspager")
        url = None if product is None else product.below("contents").below("json/exposures.json").get("url")
        if not isinstance(url, str):
            return None
        try:
            answer = self.ask(url)
        except ArchiveError as error:  # the event is decided without it
            log.warning("%s", error)
            return None
        stated = Fields(json_of(answer.raw)).below("population_exposure")
        bands, people = stated.get("mmi"), stated.get("aggregated_exposure")
        if not isinstance(bands, list) or not isinstance(people, list):
            return None
        strong = [
            number_of_value(count, 0, 1e10) or 0.0
            for band, count in zip(bands[:20], people[:20], strict=False)
            if (number_of_value(band, 0, 12) or 0.0) >= STRONG_MMI
        ]
        return sum(strong)

    def known_detail(self, event_id: str) -> DetectedEvent:
        """The newest revision of an event that must exist.

        Raises:
            ArchiveError: the USGS has no such event, or as in `detail`.
        """
        found = self.detail(event_id)
        if found is None or found.status == "retracted":
            raise ArchiveError(
                f"The USGS has no event {event_id}, or has deleted it.", f"See {self.page(event_id)}."
            )
        return found


def event_of_feature(feature: Any, *, simulated: bool = False) -> DetectedEvent | None:
    """The event that a feature of a summary, a detail document or a catalogue states; None where it states none.

    A magnitude, a depth or a product that is missing or odd is left out; id, place and time must be there.
    """
    outer = Fields(feature)
    stated = outer.below("properties")
    event_id = one_line(outer.get("id") or f"{stated.text('net')}{stated.text('code')}", 64)
    point, time = point_of(outer.get("geometry")), stated.instant("time")
    if not ID.fullmatch(event_id) or point is None or time is None:
        return None
    x, y, depth = point
    kind: Literal["earthquake", "other"] = (
        "earthquake" if stated.text("type").lower() in ("", "earthquake") else "other"
    )
    products = stated.below("products")
    try:
        return DetectedEvent(
            source="usgs", id=event_id, updated=stated.instant("updated") or time, kind=kind, start=time, end=time,
            longitude=x, latitude=y, magnitude=stated.number("mag", "magnitude", least=-2, most=11),
            depth_km=number_of_value(depth, -20, 1000), place=stated.text("place") or stated.text("title"),
            url=web_address(stated.get("url")), status=_status(stated), alert=stated.alert("alert"),
            ground_failure=_ground_failure(products), shaking=_shaking(products),
            also=_other_ids(stated.get("ids"), event_id),
            simulated=simulated or says_simulated(feature),
        )  # fmt: skip
    except ValidationError:
        return None


def _status(stated: Fields) -> Literal["automatic", "reviewed", "retracted"]:
    word = stated.text("status").lower()
    if word in ("deleted", "delete"):
        return "retracted"
    return "reviewed" if word == "reviewed" else "automatic"


def _other_ids(value: Any, event_id: str) -> tuple[str, ...]:
    """The ids of `,us2000h8ty,at00pemv7g,` but the event's own; the preferred one of them may change."""
    ids = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    words: Iterable[str] = (one_line(each, 64) for each in ids[: 4 * MOST_IDS])
    others = dict.fromkeys(f"usgs:{word}" for word in words if ID.fullmatch(word) and word != event_id)
    return tuple(others)[:MOST_IDS]


def _preferred(products: Fields, kind: str) -> Fields | None:
    """The preferred product of a kind: the largest weight, then the newest; None without one."""
    listed = products.get(kind)
    every = [Fields(each) for each in (listed if isinstance(listed, list) else [listed])[:50] if each]
    there = [each for each in every if each.text("status").upper() != "DELETE"]
    if not there:
        return None
    return max(
        there, key=lambda each: (each.number("preferredWeight") or 0.0, each.number("updateTime") or 0.0)
    )


def _ground_failure(products: Fields) -> GroundFailure | None:
    product = _preferred(products, "ground-failure")
    if product is None:
        return None
    stated = product.below("properties")
    area = stated.number("landslide-hazard-alert-value", least=0, most=1e7)
    alert = stated.alert("landslide-alert", "landslide-hazard-alert-color", "landslide-hazard-alert")
    pending = stated.text("landslide-alert").lower() == "pending"
    if alert is None and area is not None and not pending:
        alert = next(level for least, level in HAZARD_BINS_KM2 if area >= least)
    return GroundFailure(
        alert=alert,
        hazard_km2=area,
        population=stated.number("landslide-population-alert-value", least=0, most=1e10),
        bounds=stated.bounds(
            "landslide-minimum-longitude", "landslide-minimum-latitude",
            "landslide-maximum-longitude", "landslide-maximum-latitude",
        ),
    )  # fmt: skip


def _shaking(products: Fields) -> tuple[float, float, float, float] | None:
    product = _preferred(products, "shakemap")
    if product is None:
        return None
    stated = product.below("properties")
    return stated.bounds("minimum-longitude", "minimum-latitude", "maximum-longitude", "maximum-latitude")
