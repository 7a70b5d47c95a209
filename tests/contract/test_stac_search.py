"""Recorded searches of the Planetary Computer, with its token paging, through pystac-client and our transport."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from pipeline.archives import stac
from pipeline.archives.archive import Query
from pipeline.archives.http import http_client
from pipeline.errors import ArchiveError
from pipeline.settings import settings
from tests.unit.loopback import raw_body

CASSETTES = Path("stac_search_cassettes/tests/cassettes")
ITEM_PAGES = Path("stac_planetary_computer_items/tests/cassettes/test_stac_geoparquet")
ENDPOINT = "https://planetarycomputer.microsoft.com/api/stac/v1"
HERE = {"type": "Point", "coordinates": [-73.2, 44.0]}


def recorded(path: Path) -> list[tuple[str, str, dict[str, Any] | None, bytes]]:
    """(method, address, body, answer) of every interaction of a cassette."""
    document = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
    found = []
    for interaction in document["interactions"]:
        asked, answer = interaction["request"], interaction["response"]["body"]["string"]
        body = json.loads(asked["body"]) if asked["body"] else None
        found.append(
            (asked["method"], asked["uri"], body, answer.encode() if isinstance(answer, str) else answer)
        )
    return found


class Replay:
    """Answers with what was recorded; matches method, address without a final slash, and the paging token.

    The recording stops at the second page although that names a third: an unknown page is the empty last one.
    """

    END = b'{"type": "FeatureCollection", "features": [], "links": []}'

    def __init__(self, *cassettes: Path) -> None:
        self.held = {
            self._key(method, url, body): answer
            for path in cassettes
            for method, url, body, answer in recorded(path)
        }
        self.asked: list[tuple[str, str, dict[str, Any] | None]] = []

    @staticmethod
    def _key(method: str, url: str, body: dict[str, Any] | None) -> tuple[str, str, str]:
        return method, url.rstrip("/"), str((body or {}).get("token", ""))

    def __call__(self, method: str, url: str, **options: Any) -> requests.Response:
        body = options.get("json")
        self.asked.append((method, url, body))
        made = requests.Response()
        made.url, made.status_code = url, 200
        made.raw = raw_body(self.held.get(self._key(method, url, body), self.END))
        return made


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SLIDECUBE_STAC_URL", ENDPOINT)
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def replay(shared_data: Path, monkeypatch: pytest.MonkeyPatch, plain: None) -> Replay:
    made = Replay(
        shared_data / CASSETTES / "test_client/TestAPI.test_instance.yaml",
        shared_data / CASSETTES / "test_item_search/TestItemSearch.test_result_paging.yaml",
    )
    monkeypatch.setattr(http_client, "request", made)
    return made


def test_the_real_landing_page_offers_search(replay: Replay) -> None:
    opened = stac.opened(ENDPOINT)
    assert opened.conforms_to("ITEM_SEARCH")
    assert opened.get_search_link().target == f"{ENDPOINT}/search"


def test_token_paging_is_followed_to_the_end(replay: Replay) -> None:
    found = stac.search(stac.opened(ENDPOINT), "naip", Query(HERE))
    searches = [body for method, url, body in replay.asked if url.endswith("/search")]
    assert [body.get("token") for body in searches if body] == [
        None,
        "next:naip:vt_m_4307307_nw_18_060_20211029",
        "next:naip:vt_m_4307307_ne_18_h_20160805",
    ]
    recorded_ids = [
        item["id"]
        for (method, url, _), answer in replay.held.items()
        if url.endswith("/search")
        for item in json.loads(answer)["features"]
    ]
    assert [item["id"] for item in found] == recorded_ids
    assert len(found) > 10
    assert all("sig=" not in asset["href"] for item in found for asset in item["assets"].values())


def test_the_limit_on_items_holds_on_a_real_answer(replay: Replay) -> None:
    with pytest.raises(ArchiveError, match=r"naip.* 5 items"):
        stac.search(stac.opened(ENDPOINT), "naip", Query(HERE), most=5)


def test_a_real_page_that_leads_to_itself_is_refused(replay: Replay) -> None:
    first = next(
        answer for (_, url, token), answer in replay.held.items() if url.endswith("/search") and not token
    )
    replay.held[("POST", f"{ENDPOINT}/search", "next:naip:vt_m_4307307_nw_18_060_20211029")] = first
    with pytest.raises(ArchiveError, match="paging of naip"):
        stac.search(stac.opened(ENDPOINT), "naip", Query(HERE))
