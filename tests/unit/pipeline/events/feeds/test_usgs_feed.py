"""Documents of the USGS: strings for numbers, keys spelt in any way, and what is odd counts as missing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ArchiveError
from pipeline.events.detected_event import DetectedEvent
from pipeline.events.feeds.feed_source import Answer
from pipeline.events.feeds.gdacs_feed import GdacsFeed
from pipeline.events.feeds.gdacs_feed import event_of_feature as event_of_gdacs
from pipeline.events.feeds.usgs_feed import UsgsFeed, event_of_feature
from tests.unit.loopback import Reply
from tests.unit.pipeline.events.made_feeds import AT, Sources, gdacs_feature, ground_failure, ms, usgs_feature

OF_USGS = ("mag", "time", "updated", "ids", "status", "place", "url", "alert", "type", "products", "net")
OF_GDACS = ("eventtype", "eventid", "fromdate", "todate", "severitydata", "url", "sourceid", "population")
ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=20)
    | st.sampled_from(["1e400", "NaN", "6.6", "\x00", "\u202e[red]x", ",us2000h8ty,", "orange", "deleted", "9" * 400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def read(**properties: Any) -> DetectedEvent:
    found = event_of_feature(usgs_feature(**properties))
    assert found is not None
    return found


def test_an_earthquake_is_read() -> None:
    event = read(ids=",us2000h8ty,at00pemv7g,iscgem61,")
    assert (event.source, event.id, event.kind, event.status) == (
        "usgs",
        "us2000h8ty",
        "earthquake",
        "automatic",
    )
    assert (event.magnitude, event.depth_km, event.longitude, event.latitude) == (6.6, 35.0, 141.93, 42.686)
    assert event.start == event.end == AT
    assert event.also == ("usgs:at00pemv7g", "usgs:iscgem61")


@pytest.mark.parametrize(
    "spelt", ["landslide-alert", "landslide_alert", "landslideAlert", "LANDSLIDE-ALERT", "landslide alert"]
)
def test_the_landslide_alert_is_found_however_it_is_spelt(spelt: str) -> None:
    product = ground_failure(None)
    product["properties"] |= {spelt: "Yellow", "landslide-hazard-alert-value": "0.2"}
    event = read(products={"ground-failure": [product]})
    assert event.ground_failure is not None
    assert (event.ground_failure.alert, event.ground_failure.hazard_km2) == ("yellow", 0.2)


@pytest.mark.parametrize(
    ("area", "alert"), [("0.99", "green"), ("1", "yellow"), ("10", "orange"), ("100.0", "red")]
)
def test_a_product_without_an_alert_has_that_of_its_area(area: str, alert: str) -> None:
    event = read(products={"ground-failure": [ground_failure(None, area)]})
    assert event.ground_failure is not None and event.ground_failure.alert == alert


def test_a_pending_alert_is_none() -> None:
    event = read(products={"ground-failure": [ground_failure("pending", "400")]})
    assert event.ground_failure is not None and event.ground_failure.alert is None


def test_the_preferred_product_counts_and_a_deleted_one_does_not() -> None:
    gone = ground_failure("red") | {"status": "DELETE", "preferredWeight": 900}
    light = ground_failure("yellow") | {"preferredWeight": "1"}
    event = read(products={"ground-failure": [light, gone, ground_failure("orange")]})
    assert event.ground_failure is not None and event.ground_failure.alert == "orange"


def test_bounds_beyond_the_date_line_are_brought_into_range() -> None:
    stated = {
        "minimum-longitude": "178.5", "maximum-longitude": "181.5", "minimum-latitude": "-18",
        "maximum-latitude": "-16",
    }  # fmt: skip
    assert read(products={"shakemap": [{"properties": stated}]}).shaking == (178.5, -18.0, -178.5, -16.0)


@pytest.mark.parametrize("magnitude", [None, "", "unknown", "NaN", 99, [], True, {}])
def test_an_odd_magnitude_is_missing(magnitude: Any) -> None:
    assert read(mag=magnitude).magnitude is None


@pytest.mark.parametrize(
    "change",
    [{"id": "../x", "properties": {}}, {"id": 5}, {"geometry": None}, {"geometry": {"coordinates": ["x", 1]}},
     {"properties": None}, {"geometry": {"coordinates": [0, 91, 1]}}],
)  # fmt: skip
def test_what_states_no_event_is_left_out(change: dict[str, Any]) -> None:
    assert event_of_feature(usgs_feature() | change) is None


def test_text_from_outside_is_one_short_printable_line() -> None:
    event = read(place="a\x1b[31m\n\u202eb" + "x" * 5000, url="javascript:alert(1)")
    assert event.place.startswith("a [31m b") and len(event.place) <= 200
    assert event.place.isprintable() and event.url == ""


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.dictionaries(st.sampled_from(OF_USGS), ODD), ODD, ODD)
def test_no_document_of_the_usgs_breaks_the_reader(
    properties: dict[str, Any], geometry: Any, event_id: Any
) -> None:
    feature, products = usgs_feature(), {"ground-failure": geometry, "shakemap": [event_id]}
    for odd in (
        {**feature, "properties": feature["properties"] | properties},
        {**feature, "geometry": {"type": "Point", "coordinates": geometry}},
        {**feature, "id": event_id},
        {**feature, "properties": feature["properties"] | {"products": products}},
        geometry,
    ):  # fmt: skip
        event_of_feature(odd)
        UsgsFeed().events_of(Answer("new", json.dumps({"features": [odd]}).encode()))
        UsgsFeed().ids_with_products(Answer("new", json.dumps({"features": [odd]}).encode()))


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.dictionaries(st.sampled_from(OF_GDACS), ODD), ODD)
def test_no_document_of_gdacs_breaks_the_reader(properties: dict[str, Any], odd: Any) -> None:
    feature = gdacs_feature()
    event_of_gdacs({**feature, "properties": feature["properties"] | properties})
    event_of_gdacs({**feature, "geometry": odd})
    event_of_gdacs(odd)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"features": 5}', b"\xff", b"[" * 100_000])
def test_an_answer_that_is_no_feed_is_an_error_of_the_archive(raw: bytes) -> None:
    for source in (UsgsFeed(), GdacsFeed()):
        with pytest.raises(ArchiveError):
            source.events_of(Answer("new", raw))


@pytest.mark.parametrize(
    "url", ["https://example.org/x", "http://earthquake.usgs.gov/x", "https://earthquake.usgs.gov@evil.org/"]
)
def test_only_the_own_hosts_are_asked(url: str, sources: Sources) -> None:
    with pytest.raises(ArchiveError):
        UsgsFeed().ask(url)
    assert not sources.server.seen


def test_an_answer_of_another_host_does_not_count(sources: Sources) -> None:
    there = "https://elsewhere.example/feed"
    sources.server.files["elsewhere.example/feed"] = b'{"type": "FeatureCollection", "features": []}'
    sources.server.rules.append(
        lambda seen: Reply(302, {"Location": there}) if seen.path.startswith("earthquake") else None
    )
    with pytest.raises(ArchiveError):
        UsgsFeed().ask("https://earthquake.usgs.gov/earthquakes/feed/v1.0/summary/4.5_week.geojson")


def test_an_event_that_the_feeds_hold_no_longer_is_found_in_the_catalogue(sources: Sources) -> None:
    sources.server.files["earthquake.usgs.gov/fdsnws/event/1/query"] = json.dumps(usgs_feature()).encode()
    assert UsgsFeed().known_detail("us2000h8ty").magnitude == 6.6
    assert sources.server.seen[-1].path.endswith("?format=geojson&eventid=us2000h8ty")


@pytest.mark.parametrize("event_id", ["us1/../../x", "", "u", "us2000h8ty&x=1", "x" * 99])
def test_an_id_that_is_none_is_refused(event_id: str, sources: Sources) -> None:
    with pytest.raises(ArchiveError):
        UsgsFeed().detail(event_id)
    assert not sources.server.seen


@pytest.mark.parametrize("status", [404, 409, 410, 204])
def test_an_unknown_event_is_an_error_where_it_must_exist(status: int, sources: Sources) -> None:
    sources.server.rules.append(lambda seen: Reply(status))
    assert UsgsFeed().detail("us2000zzzz") is None
    with pytest.raises(ArchiveError) as caught:
        UsgsFeed().known_detail("us2000zzzz")
    assert caught.value.exit_code == 3


def test_a_feed_larger_than_any_is_not_read(sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.events.feeds import feed_source

    monkeypatch.setattr(feed_source, "MOST_FEED_BYTES", 100)
    sources.usgs(usgs_feature())
    with pytest.raises(ArchiveError):
        UsgsFeed().ask("https://earthquake.usgs.gov/earthquakes/feed/v1.0/summary/4.5_week.geojson")


def test_an_earthquake_of_gdacs_is_read() -> None:
    event = event_of_gdacs(gdacs_feature(sourceid="us2000h8ty", population="1200"))
    assert event is not None
    assert (event.source, event.id, event.kind, event.alert) == ("gdacs", "EQ1155123", "earthquake", "orange")
    assert (event.magnitude, event.depth_km, event.population) == (6.6, 35.0, 1200.0)
    assert event.also == ("usgs:us2000h8ty",)
    assert ms(event.start) == ms(AT) - 2000


@pytest.mark.parametrize(
    ("code", "kind"), [("TC", "hurricane"), ("FL", "rainfall"), ("VO", None), ("DR", None)]
)
def test_other_events_of_gdacs(code: str, kind: str | None) -> None:
    event = event_of_gdacs(gdacs_feature(code=code, todate="2018-09-09T00:00:00"))
    assert (None if event is None else event.kind) == kind
    assert event is None or (event.magnitude is None and event.end > event.start)


def test_of_several_episodes_the_newest_counts() -> None:
    older, newer = gdacs_feature(), gdacs_feature(alertlevel="Red", datemodified="2018-09-06T00:00:00")
    raw = json.dumps({"features": [newer, older]}).encode()
    (event,) = GdacsFeed().events_of(Answer("new", raw))
    assert event.alert == "red"
