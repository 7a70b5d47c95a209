"""The archives over time: what the clock has not reached is not listed and has no file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import rasterio
from httpx import Response
from starlette.testclient import TestClient

from pipeline.areas.area import AreaOfInterest
from pipeline.catalogue.item_fields import FILE_HEADER, says_simulated
from pipeline.sandbox.earth.parameters import SandboxError, TrackPlan, WorldParameters
from pipeline.sandbox.posing.admin_host import ADMIN_HOST
from pipeline.sandbox.posing.asf.asf_host import SEARCH_HOST
from pipeline.sandbox.posing.asf.earthdata_host import LOGIN_HOST
from pipeline.sandbox.posing.faults import Ledger
from pipeline.sandbox.posing.hosts import PLANETARY_HOST, Archive
from pipeline.sandbox.posing.server_options import ServerOptions
from pipeline.sandbox.publication.sandbox_clock import ClockOrder
from pipeline.sandbox.publication.timetable import TIMETABLE, Publication, Timetable, read_timetable
from pipeline.sandbox.publication.timetable_plan import TimetablePlan, usual_troubles, write_timetable
from pipeline.sandbox.world import World, make_world
from tests.unit.slc_world import FLIGHTS, make_slc_world

AREA = AreaOfInterest.model_validate(
    {
        "name": "timed",
        "bbox": (142.02, 42.70, 142.03, 42.708),
        "event": {
            "kind": "earthquake",
            "start": "2018-09-05T18:07:59Z",
            "end": "2018-09-05T18:07:59Z",
            "source": "simulated",
        },
        "start": "2018-06-01T00:00:00Z",
        "end": "2018-12-01T00:00:00Z",
    }
)
PARAMETERS = WorldParameters(
    tracks=(TrackPlan(relative_orbit=46, direction="descending", before=2, after=4, incidence_deg=35.9),),
    slices=2,
    missing_pass=False,
    partial_pass=False,
    duplicate_item=False,
    reprocessed_item=False,
    zero_filled_pass=False,
    list_granules=True,
)
EARLY, LATER = "2018-01-01T00:00:00Z", "2018-02-01T00:00:00Z"
OPTIONS = ServerOptions(clock_start=datetime(2018, 6, 1, tzinfo=UTC), page_size=100)
RTC = "/api/stac/v1/search?collections=sentinel-1-rtc&limit=100"


class Timed:
    """A world with the usual troubles, before the archives whose clock the test sets."""

    def __init__(self, root: Path) -> None:
        self.world = make_world(AREA, root, PARAMETERS)
        self.orbits = [one["absolute_orbit"] for one in self.world.document["passes"]]
        self.ends = {
            one["absolute_orbit"]: datetime.fromisoformat(one["instant"])
            for one in self.world.document["passes"]
        }
        self.table = write_timetable(self.world, usual_troubles(self.world, seed=3))
        self.archive = Archive([self.world], Ledger(), OPTIONS)

    def get(self, host: str, path: str, **headers: str) -> Response:
        return TestClient(self.archive, base_url=f"https://{host}").get(path, headers=headers)

    def at(self, instant: datetime) -> None:
        client = TestClient(self.archive, base_url=f"https://{ADMIN_HOST}")
        answer = client.post("/clock", json={"at": instant.isoformat(), "rate": 0})
        assert answer.status_code == 200
        assert datetime.fromisoformat(client.get("/clock").json()["at"]) == instant

    def listed(self) -> list[dict]:
        return self.get(PLANETARY_HOST, RTC).json()["features"]

    def orbits_listed(self) -> set[int]:
        return {item["properties"]["sat:absolute_orbit"] for item in self.listed()}

    def file(self, item: dict) -> Response:
        parts = urlsplit(item["assets"]["vv"]["href"])
        account, container = parts.hostname.split(".")[0], parts.path.split("/")[1]
        token = self.get(PLANETARY_HOST, f"/api/sas/v1/token/{account}/{container}").json()["token"]
        return self.get(parts.hostname, f"{parts.path}?{token}")

    def item(self, orbit: int) -> dict:
        return next(i for i in self.world.items if i["properties"].get("sat:absolute_orbit") == orbit)

    def publications(self, orbit: int) -> list:
        return [p for p in self.table.products if f"_{orbit:06d}_" in p.id and p.id.endswith("_rtc")]


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Timed]:
    yield Timed(tmp_path_factory.mktemp("timed") / "w")


def test_the_delays_lie_in_the_stated_ranges(timed: Timed) -> None:
    before, after = timed.orbits[:2], timed.orbits[2:]
    for orbit in (before[0], before[1], after[0]):
        for one in timed.publications(orbit):
            delay = one.published - timed.ends[orbit]
            assert timedelta(hours=3) < delay < timedelta(hours=20.5), orbit
    assert len({p.published for p in timed.publications(before[0])}) == 2, "a slice follows the other"
    assert {p.published for p in timed.publications(after[2])} == {None}
    late = timed.publications(after[1])[0].published - timed.ends[after[1]]
    assert timedelta(days=4) < late < timedelta(days=4.1)
    granules = [p for p in timed.table.products if "SLC" in p.id]
    assert len(granules) == 2 * len(timed.orbits)
    assert all(p.published is not None for p in granules)


def test_a_pass_appears_slice_by_slice_in_search_and_files(timed: Timed) -> None:
    first, second = sorted(p.published for p in timed.publications(timed.orbits[0]))
    item = timed.item(timed.orbits[0])
    timed.at(first - timedelta(seconds=1))
    assert timed.listed() == []
    assert timed.file(item).status_code == 404
    timed.at(first)
    assert len(timed.listed()) == 1
    timed.at(second)
    assert len(timed.listed()) == 2
    assert all(says_simulated(one) for one in timed.listed())
    assert (
        timed.get(PLANETARY_HOST, f"/api/stac/v1/collections/sentinel-1-rtc/items/{item['id']}").status_code
        == 200
    )
    answer = timed.file(item)
    assert answer.status_code == 200
    assert parsedate_to_datetime(answer.headers["last-modified"]) in {first, second}
    timed.at(first - timedelta(seconds=1))
    assert timed.listed() == [], "the clock may go back"


def test_late_missing_and_duplicated(timed: Timed) -> None:
    _, _, first, late, missing, twice = timed.orbits
    timed.at(timed.ends[late] + timedelta(days=3))
    assert late not in timed.orbits_listed()
    assert first in timed.orbits_listed()
    timed.at(timed.ends[late] + timedelta(days=5))
    assert late in timed.orbits_listed()
    timed.at(datetime(2019, 6, 1, tzinfo=UTC))
    assert timed.orbits_listed() == set(timed.orbits) - {missing}
    assert timed.file(timed.item(missing)).status_code == 404
    same = [i for i in timed.listed() if i["properties"]["sat:absolute_orbit"] == twice]
    assert len({i["id"] for i in same}) == 4
    assert len({i["properties"]["start_datetime"] for i in same}) == 2
    bodies = {}
    for item in same:
        answer = timed.file(item)
        assert answer.headers[FILE_HEADER] == "true"
        bodies.setdefault(item["properties"]["start_datetime"], set()).add(answer.content)
    assert all(len(found) == 1 for found in bodies.values()), "a duplicate has the same bytes"


def test_a_reprocessed_file_has_other_bytes_and_etag_under_the_same_item(timed: Timed) -> None:
    orbit = timed.orbits[2]
    one = next(p for p in timed.publications(orbit) if p.id == timed.item(orbit)["id"])
    (change,) = one.replaced
    assert change.at - one.published == timedelta(days=7)
    timed.at(change.at - timedelta(seconds=1))
    before, listed = timed.file(timed.item(orbit)), {i["id"]: i for i in timed.listed()}
    timed.at(change.at)
    after, now = timed.file(timed.item(orbit)), {i["id"]: i for i in timed.listed()}
    assert (before.status_code, after.status_code) == (200, 200)
    assert before.headers["etag"] != after.headers["etag"]
    assert parsedate_to_datetime(after.headers["last-modified"]) == change.at
    assert after.headers[FILE_HEADER] == "true"
    old, new = listed[one.id], now[one.id]
    assert old["assets"]["vv"]["file:checksum"] != new["assets"]["vv"]["file:checksum"]
    assert old["geometry"] == new["geometry"]
    with rasterio.MemoryFile(before.content) as a, rasterio.MemoryFile(after.content) as b:
        x, y = a.open().read(1), b.open().read(1)
    assert np.allclose(y[x > 0] / x[x > 0], 1.02, rtol=1e-5)
    assert (y[x <= 0] == x[x <= 0]).all()


def test_asf_lists_what_the_rtc_archive_lacks_once_the_clock_is_there(timed: Timed) -> None:
    missing = timed.orbits[4]
    search = "/search/granules.umm_json?short_name=SENTINEL-1A_SLC&provider=ASF&page_size=100"

    def orbits() -> set[int]:
        items = timed.get(SEARCH_HOST, search).json()["items"]
        return {i["umm"]["OrbitCalculatedSpatialDomains"][0]["OrbitNumber"] for i in items}

    timed.at(timed.ends[missing])
    assert orbits() == set(timed.orbits[:4])
    timed.at(timed.ends[missing] + timedelta(hours=5))
    assert orbits() == set(timed.orbits[:5])


def test_the_date_follows_the_clock_but_not_where_something_expires(timed: Timed) -> None:
    instant = datetime(2018, 10, 1, 12, tzinfo=UTC)
    timed.at(instant)

    def date(host: str, path: str) -> datetime:
        headers = timed.get(host, path).headers.get_list("date")
        assert len(headers) == 1
        return parsedate_to_datetime(headers[0])

    assert date(PLANETARY_HOST, "/api/stac/v1/collections") == instant
    for host, path in ((LOGIN_HOST, "/"), (PLANETARY_HOST, "/api/sas/v1/token/account/container")):
        assert abs(date(host, path) - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "order", [b"{", b'{"at": "yesterday"}', b'{"at": "2018-01-01T00:00:00Z", "advance_s": 1}']
)
def test_an_unsound_order_leaves_the_clock(timed: Timed, order: bytes) -> None:
    instant = datetime(2018, 10, 1, tzinfo=UTC)
    timed.at(instant)
    client = TestClient(timed.archive, base_url=f"https://{ADMIN_HOST}")
    assert client.post("/clock", content=order).status_code == 400
    assert datetime.fromisoformat(client.get("/clock").json()["at"]) == instant


def test_the_same_plan_gives_the_same_timetable(timed: Timed) -> None:
    plan = usual_troubles(timed.world, seed=3)
    assert write_timetable(timed.world, plan) == timed.table == read_timetable(timed.world.root)
    other = plan.model_copy(update={"seed": 4})
    assert write_timetable(timed.world, other) != timed.table
    write_timetable(timed.world, plan)


def test_a_plan_for_a_pass_that_is_not_there_is_refused(timed: Timed) -> None:
    with pytest.raises(SandboxError):
        write_timetable(timed.world, TimetablePlan(missing=(7,)))


@pytest.mark.parametrize(
    "document",
    [
        {"products": [{"id": "a", "published": None}, {"id": "a", "published": None}]},
        {"products": [{"id": "a", "published": None, "replaced": [{"at": EARLY, "folder": "x"}]}]},
        {
            "products": [
                {
                    "id": "a",
                    "published": "2018-01-01T00:00:00Z",
                    "replaced": [{"at": "2018-02-01T00:00:00Z", "folder": "../x"}],
                }
            ]
        },
        {"added": ["absent"]},
        {"format": "slidecube-timetable-9"},
    ],
)
def test_an_unsound_timetable_is_refused(tmp_path: Path, document: dict) -> None:
    (tmp_path / TIMETABLE).write_text(json.dumps(document))
    with pytest.raises(SandboxError):
        read_timetable(tmp_path)


def test_a_world_without_a_timetable_shows_everything_at_any_time(timed: Timed, tmp_path: Path) -> None:
    (timed.world.root / TIMETABLE).rename(tmp_path / "kept")
    early = OPTIONS.model_copy(update={"clock_start": datetime(2000, 1, 1, tzinfo=UTC)})
    try:
        plain = Archive(
            [World.open(timed.world.root)],
            Ledger(),
            early,
        )
        found = TestClient(plain, base_url=f"https://{PLANETARY_HOST}").get(RTC).json()["features"]
        assert len(found) == 2 * len(timed.orbits)
        assert Timetable().instants == ()
    finally:
        (tmp_path / "kept").rename(timed.world.root / TIMETABLE)


def test_granules_and_bursts_appear_with_their_listing(tmp_path: Path) -> None:
    made = make_slc_world(tmp_path / "w", FLIGHTS[:2])
    first, second = (granule.name for granule in made.granules)
    table = Timetable(
        products=(
            Publication(id=first, published=datetime(2018, 8, 25, tzinfo=UTC)),
            Publication(id=second, published=None),
        )
    )
    (made.world.root / TIMETABLE).write_text(table.model_dump_json())
    archive = Archive([made.world], Ledger(), OPTIONS)
    search = "/search/granules.umm_json?short_name={}&provider=ASF&page_size=100"

    def listed(collection: str) -> list[str]:
        client = TestClient(archive, base_url=f"https://{SEARCH_HOST}")
        items = client.get(search.format(collection)).json()["items"]
        return [item["umm"]["GranuleUR"] for item in items]

    def found(url: str) -> bool:
        parts = urlsplit(url)
        return archive.shelf.find(parts.hostname or "", parts.path) is not None

    burst = next(one for one in made.bursts if one.granule == first)
    kinds = ("SENTINEL-1A_SLC", "SENTINEL-1_BURSTS")
    assert [listed(kind) for kind in kinds] == [[], []]
    assert not found(burst.tiff_url)
    archive.clock.change(ClockOrder(at=datetime(2018, 8, 25, tzinfo=UTC)))
    assert listed(kinds[0]) == [f"{first}-SLC"]
    assert set(listed(kinds[1])) == {one.id for one in made.bursts if one.granule == first}
    assert found(burst.tiff_url)
    assert not any(found(one.tiff_url) for one in made.bursts if one.granule == second)
