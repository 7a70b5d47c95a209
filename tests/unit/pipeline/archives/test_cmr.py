"""Searching at ASF: complete results or an error, no login, no report of the search to others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import asf_search
import pytest

from pipeline.archives import cmr
from pipeline.archives.archive import Query
from pipeline.catalogue.granules import read_burst, read_granule
from pipeline.errors import ArchiveError
from tests.unit.loopback import Loopback, Reply, Seen, brisk_settings, standing_for_all_hosts
from tests.unit.made_slc import CMR_PATH, Cmr, burst_item, granule_item
from tests.unit.pipeline.catalogue.test_passes import area


def query(tracks: tuple[int, ...] = (), polarisation: str | None = None) -> Query:
    here = area()
    return Query(here.footprint_geojson, here.start, here.end, tracks, polarisation)


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as made, brisk_settings(retries=2), standing_for_all_hosts(made):
        yield made


def many(count: int) -> list[dict[str, Any]]:
    return [
        granule_item(f"2018-{8 + n // 28:02d}-{1 + n % 28:02d}T20:21:22Z", orbit=23000 + n)
        for n in range(count)
    ]


def test_every_page_is_asked_for_and_every_item_kept(server: Loopback) -> None:
    answers = Cmr(many(50), page=20)
    server.rules.append(answers)
    found = cmr.search_granules(query())
    assert len(found) == 50 and len(answers.asked) == 3
    names = [read_granule(item).name for item in found]
    assert names == sorted(names)
    first = dict(answers.asked[0])
    assert first["bounding_box"] == "141.9,42.6,142.1,42.8"
    assert first["temporal"].startswith("2018-08-01T00:00:00Z,2018-10-01T00:00:01Z")
    assert ("shortName", "SENTINEL-1C_SLC") in answers.asked[0]


def test_bursts_are_asked_for_in_the_polarisation_and_by_track(server: Loopback) -> None:
    other = burst_item("068_145000_IW1", granule=granule_item(track=68))
    answers = Cmr([burst_item(), other, granule_item()])
    server.rules.append(answers)
    found = cmr.search_bursts(query((46, 68), "vh"))
    assert {read_burst(item).full_id[:3] for item in found} == {"046", "068"}
    assert len(answers.asked) == 2
    assert all(("attribute[]", "string,POLARIZATION,VH") in asked for asked in answers.asked)


def test_what_is_kept_reads_the_same_when_it_is_kept_again(server: Loopback) -> None:
    server.rules.append(Cmr([granule_item(), burst_item()]))
    (item,) = cmr.search_granules(query())
    again = json.loads(json.dumps(item))
    assert read_granule(again) == read_granule(granule_item())
    assert set(item["meta"]) == {"native-id", "revision-date"}


def test_fewer_items_than_announced_are_refused(server: Loopback) -> None:
    answers = Cmr(many(5))
    answers.lost = 1
    server.rules.append(answers)
    with pytest.raises(ArchiveError, match="fewer") as caught:
        cmr.search_granules(query())
    assert caught.value.transient


def test_an_item_that_comes_in_between_two_pages_only_costs_another_round(server: Loopback) -> None:
    answers = Cmr(many(5))
    answers.lost = 1
    server.rules.append(answers)

    def mend(seen: Seen) -> None:
        answers.lost = 0 if len(answers.asked) > 2 else 1

    server.rules.insert(0, mend)
    assert len(cmr.search_granules(query())) == 5


def test_a_busy_server_is_waited_for(server: Loopback) -> None:
    server.fail(2, Reply(503, {"Retry-After": "0"}), method="POST")
    server.rules.append(Cmr([granule_item()]))
    assert len(cmr.search_granules(query())) == 1


@pytest.mark.parametrize(
    ("reply", "words", "transient"),
    [
        (Reply(503), "HTTP 503", True),
        (Reply(400, body=b'{"errors": ["no"]}'), "HTTP 400", False),
        (Reply(302, {"Location": "https://elsewhere.example/"}), "HTTP 302", False),
        (Reply(200, body=b"<html>log in</html>"), "web page", False),
        (Reply(200, body=b'{"hits": 1, "items": [{"umm": null}]}'), "no page", False),
        (
            Reply(200, body=b'{"hits": 1, "items": [{"umm": {}, "meta": {}}]}'),
            "name|unusable",
            False,
        ),
        (
            Reply(200, body=rb'{"hits": 1, "items": [{"umm": {"GranuleUR": "\ud800"}, "meta": {}}]}'),
            "unusable",
            False,
        ),
        (Reply(200, body=b"[1"), "no page", False),
        (Reply(200, body=b'{"hits"', length=4000), "cmr", True),
    ],
)
def test_an_unusable_answer_is_an_error_that_says_so(
    server: Loopback, reply: Reply, words: str, transient: bool
) -> None:
    server.rules.append(lambda seen: reply)
    with pytest.raises(ArchiveError, match=words) as caught:
        cmr.search_granules(query())
    assert caught.value.transient == transient
    # neither the failure nor the search is reported to another host
    assert {seen.path for seen in server.seen} == {CMR_PATH}


def test_nothing_is_reported_and_no_login_is_sent(
    server: Loopback, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password hidden\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server.rules.append(Cmr([]))
    assert cmr.search_granules(query()) == []
    assert not asf_search.REPORT_ERRORS
    assert all("authorization" not in seen.headers for seen in server.seen)
