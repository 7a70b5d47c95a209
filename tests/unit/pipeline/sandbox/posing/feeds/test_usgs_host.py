"""The feeds of the USGS over the clock: revisions, products that come late, a deleted event, conditional answers."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.catalogue.item_fields import FILE_HEADER, ITEM_PROPERTY
from pipeline.sandbox.seismicity.usgs_documents import USGS_HOST, milliseconds
from tests.unit.pipeline.sandbox.posing.feeds.told_world import DEEP, MAIN, RETRACTED, SECOND, START, Feeds

SUMMARY = "/earthquakes/feed/v1.0/summary"
DETAIL = "/earthquakes/feed/v1.0/detail"
QUERY = "/fdsnws/event/1/query?format=geojson"


@pytest.fixture(scope="module")
def feeds(tmp_path_factory: pytest.TempPathFactory) -> Feeds:
    return Feeds(tmp_path_factory.mktemp("told") / "w")


def ids(feeds: Feeds, path: str) -> list[str]:
    return [one["id"] for one in feeds.get(USGS_HOST, path).json()["features"]]


def stated(feeds: Feeds, event: str = MAIN) -> dict[str, Any]:
    return feeds.get(USGS_HOST, f"{DETAIL}/{event}.geojson").json()["properties"]


def test_the_summary_has_the_names_of_the_documentation(feeds: Feeds) -> None:
    now = feeds.after(hours=4)
    answer = feeds.get(USGS_HOST, f"{SUMMARY}/4.5_day.geojson")
    document = answer.json()
    assert document["type"] == "FeatureCollection"
    assert document["metadata"]["generated"] == milliseconds(now.replace(second=0))
    assert document["metadata"]["count"] == 1
    (feature,) = document["features"]
    names = """mag place time updated tz url detail felt cdi mmi alert status tsunami sig net code ids sources types
        nst dmin rms gap magType type title"""
    assert [name for name in feature["properties"] if name != ITEM_PROPERTY] == names.split()
    assert feature["id"] == MAIN
    assert feature["properties"]["time"] == milliseconds(START)
    assert feature["properties"]["ids"] == f",{MAIN},at00sandbx,"
    assert feature["properties"]["sources"] == ",us,at,"
    assert feature["geometry"]["coordinates"][2] == 33.4
    assert feature["properties"]["detail"].endswith(f"{DETAIL}/{MAIN}.geojson")
    assert answer.headers[FILE_HEADER] == "true"
    assert feature["properties"][ITEM_PROPERTY] is True


def test_nothing_is_stated_before_its_first_revision(feeds: Feeds) -> None:
    feeds.after(minutes=5)
    assert ids(feeds, f"{SUMMARY}/4.5_week.geojson") == [DEEP]
    assert feeds.get(USGS_HOST, f"{DETAIL}/{MAIN}.geojson").status_code == 404
    feeds.after(minutes=7)
    assert ids(feeds, f"{SUMMARY}/4.5_week.geojson") == [MAIN, DEEP]


def test_the_magnitude_is_revised_twice_and_the_landslide_alert_comes_late(feeds: Feeds) -> None:
    seen = []
    for hours in (0.2, 1.0, 4.0, 8.0, 30.0):
        feeds.after(hours=hours)
        properties = stated(feeds)
        product = properties["products"].get("ground-failure")
        alert = product[0]["properties"]["landslide-alert"] if product else None
        assert product is None or "ground-failure" in properties["types"]
        seen.append((properties["mag"], properties["status"], alert))
        assert properties["products"]["origin"][0]["properties"]["magnitude"] == f"{properties['mag']:.1f}"
    assert seen == [
        (6.3, "automatic", None),
        (6.7, "reviewed", None),
        (6.6, "reviewed", "pending"),
        (6.6, "reviewed", "yellow"),
        (6.6, "reviewed", "orange"),
    ]


def test_products_state_strings_alone(feeds: Feeds) -> None:
    feeds.after(days=2)
    products = stated(feeds)["products"]
    assert set(products) == {"origin", "shakemap", "losspager", "ground-failure"}
    for (product,) in products.values():
        assert all(isinstance(value, str) for value in product["properties"].values())
        assert product["status"] == "UPDATE"
    failure = products["ground-failure"][0]["properties"]
    assert float(failure["landslide-hazard-alert-value"]) == 17.5
    assert float(failure["landslide-population-alert-value"]) == 1210
    west, east = float(failure["landslide-minimum-longitude"]), float(failure["landslide-maximum-longitude"])
    assert (west, east) == (142.0, 142.04)
    assert float(products["shakemap"][0]["properties"]["maximum-latitude"]) > 43.2


def test_a_second_event_overlaps_the_first(feeds: Feeds) -> None:
    feeds.after(days=3)
    first, second = (
        stated(feeds, one)["products"]["ground-failure"][0]["properties"] for one in (MAIN, SECOND)
    )
    assert float(second["landslide-minimum-latitude"]) < float(first["landslide-maximum-latitude"])
    assert ids(feeds, f"{SUMMARY}/4.5_day.geojson") == [SECOND]
    assert ids(feeds, f"{SUMMARY}/4.5_week.geojson") == [SECOND, MAIN, DEEP]


def test_a_deleted_event_leaves_the_feeds_and_answers_409(feeds: Feeds) -> None:
    feeds.after(hours=30, minutes=10)
    assert RETRACTED in ids(feeds, f"{SUMMARY}/4.5_day.geojson")
    assert feeds.get(USGS_HOST, f"{DETAIL}/{RETRACTED}.geojson").status_code == 200
    feeds.after(hours=31)
    assert RETRACTED not in ids(feeds, f"{SUMMARY}/4.5_day.geojson")
    assert RETRACTED not in ids(feeds, QUERY)
    for path in (f"{DETAIL}/{RETRACTED}.geojson", f"{QUERY}&eventid={RETRACTED}"):
        assert feeds.get(USGS_HOST, path).status_code == 409
    found = feeds.get(USGS_HOST, f"{QUERY}&eventid={RETRACTED}&includedeleted=true").json()
    assert found["properties"]["status"] == "deleted"
    assert RETRACTED in ids(feeds, f"{QUERY}&includedeleted=true")


def test_conditional_requests(feeds: Feeds) -> None:
    at = feeds.after(hours=2)
    path = f"{SUMMARY}/4.5_day.geojson"
    first = feeds.get(USGS_HOST, path)
    assert first.headers["content-encoding"] == "gzip"
    assert parsedate_to_datetime(first.headers["last-modified"]) == at.replace(second=0)
    for header in (
        {"if_none_match": first.headers["etag"]},
        {"if_modified_since": first.headers["last-modified"]},
    ):
        again = feeds.get(USGS_HOST, path, **header)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
    feeds.after(hours=2, minutes=2)
    assert feeds.get(USGS_HOST, path, if_none_match=first.headers["etag"]).status_code == 200
    plain = feeds.get(USGS_HOST, path, accept_encoding="identity")
    assert "content-encoding" not in plain.headers
    assert json.loads(plain.content) == feeds.get(USGS_HOST, path).json()


def test_a_detail_is_unchanged_until_its_next_revision(feeds: Feeds) -> None:
    feeds.after(hours=8)
    path = f"{DETAIL}/{MAIN}.geojson"
    etag = feeds.get(USGS_HOST, path).headers["etag"]
    feeds.after(hours=20)
    assert feeds.get(USGS_HOST, path, if_none_match=etag).status_code == 304
    feeds.after(hours=25)
    assert feeds.get(USGS_HOST, path, if_none_match=etag).status_code == 200
    assert feeds.get(USGS_HOST, f"{DETAIL}/at00sandbx.geojson").json()["id"] == MAIN, "by another id of it"


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", [SECOND, MAIN, DEEP]),
        ("&minmagnitude=6.5", [MAIN]),
        ("&maxdepth=100&orderby=time-asc", [MAIN, SECOND]),
        ("&orderby=magnitude&limit=1&offset=2", [DEEP]),
        ("&starttime=2018-09-06", [SECOND]),
        ("&endtime=2018-09-05T12:00:00Z", [DEEP]),
        ("&minlatitude=42&maxlongitude=142.5", [SECOND, MAIN]),
        ("&producttype=ground-failure&alertlevel=orange", [MAIN]),
        ("&updatedafter=2018-09-08T00:00:00", [SECOND]),
    ],
)
def test_queries(feeds: Feeds, query: str, wanted: list[str]) -> None:
    feeds.after(days=3)
    assert ids(feeds, QUERY + query) == wanted
    if "limit" not in query:
        count = feeds.get(USGS_HOST, f"/fdsnws/event/1/count?format=geojson{query}").json()["count"]
        assert count == len(wanted)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{SUMMARY}/4.5_century.geojson", 404),
        (f"{SUMMARY}/9.9_day.geojson", 404),
        (f"{DETAIL}/us9999none.geojson", 404),
        (f"{QUERY}&eventid=us9999none", 404),
        (f"{QUERY}&minmagnitude=great", 400),
        (f"{QUERY}&minmagnitude=nan", 400),
        (f"{QUERY}&colour=red", 400),
        (f"{QUERY}&starttime=then", 400),
        ("/fdsnws/event/1/query", 501),
        ("/fdsnws/event/1/nothing", 404),
        ("/", 404),
    ],
)
def test_what_is_not_there_or_not_sound_is_refused(feeds: Feeds, path: str, status: int) -> None:
    assert feeds.get(USGS_HOST, path).status_code == status


def test_significant_ones(feeds: Feeds) -> None:
    feeds.after(days=3)
    assert ids(feeds, f"{SUMMARY}/significant_month.geojson") == [MAIN, DEEP]
    assert ids(feeds, f"{SUMMARY}/significant_day.geojson") == []


def test_real_events_are_not_marked(tmp_path: Path, feeds: Feeds) -> None:
    real = Feeds(tmp_path / "real", simulated=False, events=feeds.events)
    real.after(hours=2)
    answer = real.get(USGS_HOST, f"{SUMMARY}/4.5_day.geojson")
    assert FILE_HEADER not in answer.headers
    assert ITEM_PROPERTY not in answer.text


def test_an_event_leaves_the_week_and_the_month(feeds: Feeds) -> None:
    feeds.after(days=8)
    assert MAIN not in ids(feeds, f"{SUMMARY}/4.5_week.geojson")
    assert MAIN in ids(feeds, f"{SUMMARY}/4.5_month.geojson")
    at: datetime = feeds.after(days=31)
    assert at - START > timedelta(days=30)
    assert MAIN not in ids(feeds, f"{SUMMARY}/4.5_month.geojson")
