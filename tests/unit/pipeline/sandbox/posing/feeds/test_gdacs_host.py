"""GDACS: the same events under other numbers, a little elsewhere, a little later; RSS and lists."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import pytest
from lxml import etree

from pipeline.catalogue.item_fields import FILE_HEADER, ITEM_PROPERTY
from pipeline.sandbox.seismicity.gdacs_documents import GDACS_HOST, NAMESPACES
from pipeline.sandbox.seismicity.usgs_documents import USGS_HOST
from tests.unit.pipeline.sandbox.posing.feeds.told_world import MAIN, Feeds

LISTS = "/gdacsapi/api/events/geteventlist"
MAIN_NUMBER, SECOND_NUMBER, DEEP_NUMBER = 1550421, 1550587, 1550302


@pytest.fixture(scope="module")
def feeds(tmp_path_factory: pytest.TempPathFactory) -> Feeds:
    return Feeds(tmp_path_factory.mktemp("told") / "w")


def numbers(feeds: Feeds, path: str) -> list[int]:
    return [one["properties"]["eventid"] for one in feeds.get(GDACS_HOST, LISTS + path).json()["features"]]


def test_it_is_the_same_event_a_few_km_and_seconds_off(feeds: Feeds) -> None:
    feeds.after(hours=10)
    answer = feeds.get(GDACS_HOST, f"{LISTS}/EVENTS4APP")
    found = next(f for f in answer.json()["features"] if f["properties"]["eventid"] == MAIN_NUMBER)
    usgs = feeds.get(USGS_HOST, f"/earthquakes/feed/v1.0/detail/{MAIN}.geojson").json()
    assert found["properties"]["sourceid"] == MAIN
    (x, y), (u, v) = found["geometry"]["coordinates"], usgs["geometry"]["coordinates"][:2]
    km = math.hypot((x - u) * 111.2 * math.cos(math.radians(v)), (y - v) * 111.2)
    assert 2 < km < 6
    time = datetime.fromisoformat(found["properties"]["fromdate"] + "+00:00").timestamp() * 1000
    assert 3000 < time - usgs["properties"]["time"] < 6000
    assert found["properties"]["severitydata"]["severity"] == usgs["properties"]["mag"] == 6.6
    assert "Depth:33.4km" in found["properties"]["severitydata"]["severitytext"]
    assert answer.headers[FILE_HEADER] == "true"
    assert found["properties"][ITEM_PROPERTY] is True


def test_a_revision_comes_later_than_at_the_usgs(feeds: Feeds) -> None:
    feeds.after(minutes=12)
    assert MAIN_NUMBER not in numbers(feeds, "/EVENTS4APP")
    feeds.after(minutes=28)
    (main, _) = feeds.get(GDACS_HOST, f"{LISTS}/MAP").json()["features"]
    assert main["properties"]["severitydata"]["severity"] == 6.3
    episode = main["properties"]["episodeid"]
    feeds.after(minutes=50)
    (main, _) = feeds.get(GDACS_HOST, f"{LISTS}/MAP").json()["features"]
    assert main["properties"]["severitydata"]["severity"] == 6.7
    assert main["properties"]["episodeid"] > episode


def test_the_level_follows_the_alert(feeds: Feeds) -> None:
    levels = []
    for hours in (1, 10, 30):
        feeds.after(hours=hours)
        levels.append(
            feeds.get(
                GDACS_HOST, f"/gdacsapi/api/events/geteventdata?eventtype=EQ&eventid={MAIN_NUMBER}"
            ).json()["properties"]["alertlevel"]
        )
    assert levels == ["Green", "Green", "Orange"]
    assert (
        feeds.get(GDACS_HOST, "/gdacsapi/api/events/geteventdata?eventtype=EQ&eventid=1").status_code == 204
    )


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/EVENTS4APP", [SECOND_NUMBER, MAIN_NUMBER]),
        ("/SEARCH", [SECOND_NUMBER, MAIN_NUMBER, DEEP_NUMBER]),
        ("/SEARCH?eventlist=TC;FL", []),
        ("/SEARCH?eventlist=EQ;FL&alertlevel=orange;red", [MAIN_NUMBER]),
        ("/search?fromDate=2018-09-05&toDate=2018-09-05", [MAIN_NUMBER]),
        ("/SEARCH?pagesize=1&pagenumber=2", [MAIN_NUMBER]),
    ],
)
def test_lists(feeds: Feeds, path: str, wanted: list[int]) -> None:
    feeds.after(days=3, hours=12)
    assert numbers(feeds, path) == wanted


def test_the_rss_feed(feeds: Feeds) -> None:
    feeds.after(days=1, hours=6)
    answer = feeds.get(GDACS_HOST, "/xml/rss.xml")
    items = etree.fromstring(answer.content).findall("channel/item")
    first = items[0]
    assert first.findtext("gdacs:eventid", namespaces=NAMESPACES) == str(MAIN_NUMBER)
    assert first.findtext("gdacs:alertlevel", namespaces=NAMESPACES) == "Orange"
    assert first.find("gdacs:severity", NAMESPACES).get("value") == "6.6"
    latitude, longitude = map(float, first.findtext("georss:point", namespaces=NAMESPACES).split())
    assert (round(latitude), round(longitude)) == (43, 142)
    assert first.findtext("slidecube:simulated", namespaces=NAMESPACES) == "true"
    again = feeds.get(GDACS_HOST, "/xml/rss.xml", if_none_match=answer.headers["etag"])
    assert again.status_code == 304
    assert answer.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{LISTS}/SEARCH?fromdate=then", 400),
        (f"{LISTS}/SEARCH?pagesize=many", 400),
        (f"{LISTS}/ALL", 404),
        ("/", 404),
    ],
)
def test_what_is_not_there_or_not_sound_is_refused(feeds: Feeds, path: str, status: int) -> None:
    assert feeds.get(GDACS_HOST, path).status_code == status


def test_an_event_is_current_for_four_days(feeds: Feeds) -> None:
    feeds.after(days=4, hours=1)
    assert numbers(feeds, "/MAP") == [SECOND_NUMBER]
    assert feeds.archive.clock.now() - feeds.after(days=0) == timedelta(days=4, hours=1)
    address = f"/gdacsapi/api/events/geteventdata?eventtype=EQ&eventid={MAIN_NUMBER}"
    for days, current in ((1, "true"), (5, "false")):
        feeds.after(hours=24 * days)
        assert feeds.get(GDACS_HOST, address).json()["properties"]["iscurrent"] == current
