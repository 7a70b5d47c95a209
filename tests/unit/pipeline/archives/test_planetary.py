"""Late signing with the SDK's cache, and searches that end."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from pipeline.archives import planetary, stac
from pipeline.archives.archive import Query
from pipeline.archives.http import http_client
from pipeline.archives.planetary import PlanetaryComputer
from pipeline.errors import ArchiveError
from pipeline.settings import settings
from tests.unit.loopback import raw_body

HREF = "https://sentinel1euwestrtc.blob.core.windows.net/sentinel1-grd-rtc/GRD/2018/a/iw-vv.rtc.tiff"
API = "https://stac.example/v1"


def sign(href: str, *, anew: bool = False) -> str:
    return PlanetaryComputer().sign(href, anew=anew).url


def search(most: int | None = None) -> list[dict[str, Any]]:
    return stac.search(stac.opened(API), "sentinel-1-rtc", Query(EVERYWHERE), most=most)


def reply(document: Any, status: int = 200) -> requests.Response:
    """An answer as the transport returns it."""
    made = requests.Response()
    made.status_code = status
    made.url = API
    made.raw = raw_body(document if isinstance(document, bytes) else json.dumps(document).encode())
    return made


class Archive:
    """Replaces the transport: answers by a function and records the requests."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str, dict[str, Any]]] = []

    def __call__(self, method: str, url: str, **options: Any) -> requests.Response:
        self.asked.append((method, url, options))
        made = self.answer(method, url, options)
        return made if isinstance(made, requests.Response) else reply(made)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No tokens, no keys."""
    monkeypatch.setattr(planetary.sas, "TOKEN_CACHE", {})
    monkeypatch.setattr(planetary, "dotenv_values", lambda path: {})
    monkeypatch.delenv("PC_SDK_SUBSCRIPTION_KEY", raising=False)
    monkeypatch.delenv("SLIDECUBE_SUBSCRIPTION_KEY", raising=False)
    monkeypatch.setattr(planetary.SdkSettings.get(), "subscription_key", None)
    monkeypatch.setenv("SLIDECUBE_STAC_URL", API)
    settings.cache_clear()
    yield
    settings.cache_clear()


def tokens(monkeypatch: pytest.MonkeyPatch, *lives_s: float) -> Archive:
    """A signing endpoint whose tokens have the given lifetimes; the last one is repeated."""
    left = list(lives_s)

    def answer(method: str, url: str, options: dict[str, Any]) -> dict[str, str]:
        life = left.pop(0) if len(left) > 1 else left[0]
        expiry = datetime.now(UTC) + timedelta(seconds=life)
        return {"msft:expiry": expiry.isoformat(), "token": f"se=1&sig=S{len(archive.asked)}"}

    archive = Archive(answer)
    monkeypatch.setattr(http_client, "request", archive)
    return archive


def test_only_azure_blobs_are_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tokens(monkeypatch, 2700)
    for href in (
        "scene.tif",
        "/data/scene.tif",
        "file:///data/scene.tif",
        "https://example.org/scene.tif",
        "https://blob.core.windows.net.evil.example/box/scene.tif",
        "http://sentinel1euwestrtc.blob.core.windows.net/sentinel1-grd-rtc/scene.tif",
        HREF + "?st=1&se=2&sp=r&sig=x",
        "https://ai4edatasetspublicassets.blob.core.windows.net/assets/a.png",
    ):
        assert sign(href) == href
    assert archive.asked == []
    assert sign(HREF) == f"{HREF}?se=1&sig=S1"
    assert archive.asked[0][1].endswith("/api/sas/v1/token/sentinel1euwestrtc/sentinel1-grd-rtc")


def test_a_token_is_asked_for_once_per_container_by_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tokens(monkeypatch, 2700)
    with ThreadPoolExecutor(8) as pool:
        signed = set(pool.map(sign, [HREF] * 32))
    assert len(signed) == 1 and len(archive.asked) == 1
    sign("https://elevationeuwest.blob.core.windows.net/copernicus-dem/a.tif")
    assert len(archive.asked) == 2


def test_a_refused_token_is_replaced_once_for_all_who_held_it(monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tokens(monkeypatch, 2700)
    assert sign(HREF).endswith("S1")
    assert sign(HREF, anew=True).endswith("S2")
    assert sign(HREF).endswith("S2")
    assert len(archive.asked) == 2


def test_a_token_near_its_end_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tokens(monkeypatch, 2700)
    sign(HREF)
    (cached,) = planetary.sas.TOKEN_CACHE.values()
    cached.expiry = datetime.now(UTC) + timedelta(seconds=30)
    assert sign(HREF).endswith("S2")
    assert len(archive.asked) == 2


def test_a_token_that_arrives_nearly_expired_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tokens(monkeypatch, 5, 2700)
    assert sign(HREF).endswith("S2")
    assert len(archive.asked) == 2
    planetary.sas.TOKEN_CACHE.clear()
    tokens(monkeypatch, 5)
    assert "sig=S2" in sign(HREF)  # no better token is available: it is used


@pytest.mark.parametrize(
    "document", [[], {}, {"token": "x"}, {"msft:expiry": "soon", "token": "x"}, b"<html>"]
)
def test_what_is_no_token_is_refused(monkeypatch: pytest.MonkeyPatch, document: Any) -> None:
    monkeypatch.setattr(http_client, "request", Archive(lambda *asked: reply(document)))
    with pytest.raises(ArchiveError, match="token") as caught:
        sign(HREF)
    assert caught.value.transient == (document != b"<html>")


def test_the_key_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIDECUBE_SUBSCRIPTION_KEY", "KEY")
    settings.cache_clear()
    archive = tokens(monkeypatch, 2700)
    sign(HREF)
    assert archive.asked[0][2]["secret"] == {"Ocp-Apim-Subscription-Key": "KEY"}
    assert "KEY" not in repr(settings())
    monkeypatch.delenv("SLIDECUBE_SUBSCRIPTION_KEY")
    monkeypatch.setenv("PC_SDK_SUBSCRIPTION_KEY", "SDK")
    settings.cache_clear()
    assert planetary.subscription_key() == "SDK"


LANDING = {
    "type": "Catalog",
    "id": "x",
    "stac_version": "1.0.0",
    "description": "x",
    "conformsTo": ["https://api.stacspec.org/v1.0.0/core", "https://api.stacspec.org/v1.0.0/item-search"],
    "links": [
        {"rel": "self", "href": API},
        {"rel": "root", "href": API},
        {"rel": "search", "href": f"{API}/search", "method": "POST", "type": "application/geo+json"},
    ],
}
EVERYWHERE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}


def feature(name: str) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": name,
        "stac_version": "1.0.0",
        "geometry": None,
        "properties": {},
        "links": [],
        "assets": {},
    }


def pages(monkeypatch: pytest.MonkeyPatch, *found: Any, endless: bool = False) -> Archive:
    """A STAC API whose search answers these pages, each with a link to the next."""

    def answer(method: str, url: str, options: dict[str, Any]) -> Any:
        if not url.endswith("/search"):
            return LANDING
        number = int((options.get("json") or {}).get("token", "0"))
        page = found[number % len(found)]
        if not isinstance(page, list):
            return page
        more = number + 1 < len(found) or endless
        link = {
            "rel": "next",
            "href": f"{API}/search",
            "method": "POST",
            "merge": True,
            "body": {"token": str(number + 1)},
        }
        return {"type": "FeatureCollection", "features": page, "links": [link] if more else []}

    archive = Archive(answer)
    monkeypatch.setattr(http_client, "request", archive)
    return archive


def test_pages_are_followed_and_an_id_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    archive = pages(monkeypatch, [feature("a"), feature("b")], [feature("b"), feature("c")])
    found = search()
    assert [item["id"] for item in found] == ["a", "b", "c"]
    searches = [options["json"] for method, url, options in archive.asked if url.endswith("/search")]
    assert all(list(body["collections"]) == ["sentinel-1-rtc"] for body in searches)
    assert all(body["intersects"] == EVERYWHERE for body in searches)
    assert [body.get("token") for body in searches] == [None, "1"]
    assert all(method == "POST" for method, url, _ in archive.asked if url.endswith("/search"))


def test_a_last_page_may_hold_only_what_its_border_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    pages(monkeypatch, [feature("a"), feature("b")], [feature("b")])
    found = search()
    assert [item["id"] for item in found] == ["a", "b"]


def test_paging_that_does_not_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pages(monkeypatch, [feature("a")], endless=True)
    with pytest.raises(ArchiveError, match="sentinel-1-rtc"):
        search()


def test_too_many_items_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pages(monkeypatch, [feature(str(n)) for n in range(5)], [feature(str(n)) for n in range(5, 10)])
    with pytest.raises(ArchiveError, match="7 items"):
        search(most=7)


@pytest.mark.parametrize(
    "page",
    [b"<html>busy</html>", b"[1, 2]", b"null", {"features": 5}, [{"id": 5}], [5], [{"id": "a"}], [None]],
)
def test_unusable_pages_are_refused(monkeypatch: pytest.MonkeyPatch, page: Any) -> None:
    pages(monkeypatch, reply(page) if isinstance(page, bytes) else page)
    with pytest.raises(ArchiveError, match=r"sentinel-1-rtc|stac\.example"):
        search()


def test_no_items_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    pages(monkeypatch, [])
    assert search() == []


@pytest.mark.parametrize(
    "landing",
    [b"<html>", {"hello": 1}, {**LANDING, "conformsTo": []}, {**LANDING, "links": LANDING["links"][:2]}],
)
def test_what_cannot_be_searched_is_named(monkeypatch: pytest.MonkeyPatch, landing: Any) -> None:
    monkeypatch.setattr(http_client, "request", Archive(lambda *asked: reply(landing)))
    with pytest.raises(ArchiveError, match=r"stac\.example") as caught:
        stac.opened(API)
    assert "SLIDECUBE_STAC_URL" in caught.value.remedy


@pytest.mark.parametrize("api", [API, "https://planetarycomputer.microsoft.com/api/stac/v1"])
def test_the_key_goes_to_the_planetary_computer_only(monkeypatch: pytest.MonkeyPatch, api: str) -> None:
    monkeypatch.setenv("SLIDECUBE_SUBSCRIPTION_KEY", "KEY")
    monkeypatch.setenv("SLIDECUBE_STAC_URL", api)
    settings.cache_clear()
    archive = pages(monkeypatch, [feature("a")])
    PlanetaryComputer().search("sentinel-1-rtc", Query(EVERYWHERE))
    hosts = {url.split("/")[2] for _, url, options in archive.asked if "KEY" in repr(options)}
    assert hosts == ({"planetarycomputer.microsoft.com"} if api != API else set())
    assert any(url.startswith(f"{API}/search") for _, url, _ in archive.asked)


@pytest.mark.parametrize("rel", ["search", "root", "self", "next"])
@pytest.mark.parametrize("href", ["/etc/passwd", "file:///etc/passwd", "../../etc/passwd"])
def test_a_link_to_a_local_file_is_not_opened(monkeypatch: pytest.MonkeyPatch, rel: str, href: str) -> None:
    opened: list[str] = []
    monkeypatch.setattr("builtins.open", lambda path, *_: opened.append(str(path)) or io.StringIO("{}"))
    links = [*(link for link in LANDING["links"] if link["rel"] != rel), {"rel": rel, "href": href}]

    def answer(method: str, url: str, options: dict[str, Any]) -> dict[str, Any]:
        if "passwd" in url and not url.startswith("https://"):
            raise ArchiveError("no address")
        found = {
            "type": "FeatureCollection",
            "features": [feature("a")],
            "links": links if rel == "next" else [],
        }
        return (
            found if method == "POST" else {**LANDING, "links": LANDING["links"] if rel == "next" else links}
        )

    monkeypatch.setattr(http_client, "request", Archive(answer))
    with contextlib.suppress(ArchiveError):
        search()
    assert opened == []
