"""Waiting, limits, and messages without secrets."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from pipeline.archives.http import http_client
from pipeline.errors import ArchiveError
from pipeline.settings import settings
from tests.unit.loopback import Loopback, Reply, brisk_settings

SIGNED = "https://account.blob.core.windows.net/box/a.tif?st=1&se=2&sp=rl&sig=SECRET%2B"


@pytest.fixture(autouse=True)
def brisk() -> Iterator[None]:
    with brisk_settings(retries=3):
        yield


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback({"a": b"hello"}) as loopback:
        yield loopback


def test_an_answer_comes_with_our_name(server: Loopback) -> None:
    with http_client.request("GET", server.url("a")) as answer:
        assert answer.content == b"hello"
    assert server.seen[0].headers["user-agent"].startswith("slidecube/")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(server: Loopback, status: int) -> None:
    server.fail(3, Reply(status))
    with http_client.request("GET", server.url("a")) as answer:
        assert answer.content == b"hello"
    assert len(server.seen) == 4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_what_will_not_pass_is_said_at_once(server: Loopback, status: int) -> None:
    server.fail(1, Reply(status))
    with pytest.raises(ArchiveError, match=f"HTTP {status}") as caught:
        http_client.request("GET", server.url("a?sig=SECRET"))
    assert not caught.value.transient
    assert caught.value.remedy
    assert "SECRET" not in str(caught.value)
    assert len(server.seen) == 1


def test_tries_end(server: Loopback) -> None:
    server.fail(99, Reply(503))
    with pytest.raises(ArchiveError, match="HTTP 503") as caught:
        http_client.request("GET", server.url("a"))
    assert caught.value.transient
    assert len(server.seen) == 4


def test_retry_after_is_honoured_and_bounded(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    server.fail(1, Reply(429, {"Retry-After": "7"}))
    http_client.request("GET", server.url("a")).close()
    assert len(waits) == 1 and 7 <= waits[0] <= 7.01
    server.rules.clear()
    server.fail(1, Reply(429, {"Retry-After": "3600"}))
    with pytest.raises(ArchiveError, match="HTTP 429"):
        http_client.request("GET", server.url("a"))


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIDECUBE_RETRIES", "1")
    settings.cache_clear()
    with Loopback() as gone:
        url = gone.url("a?sig=SECRET")
    with pytest.raises(ArchiveError, match=r"127\.0\.0\.1") as caught:
        http_client.request("GET", url)
    assert caught.value.transient
    assert "SECRET" not in str(caught.value)


def test_nothing_secret_is_logged(server: Loopback, caplog: pytest.LogCaptureFixture) -> None:
    server.fail(2, Reply(503))
    with caplog.at_level(logging.INFO, logger="pipeline"):
        http_client.request("GET", server.url("a?sig=SECRET")).close()
    assert "HTTP 503" in caplog.text
    assert "SECRET" not in caplog.text


def test_a_limit_holds_in_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIDECUBE_READ_CONCURRENCY", "2")
    settings.cache_clear()
    inside, most, lock = 0, 0, threading.Lock()

    def work(_: int) -> None:
        nonlocal inside, most
        with http_client.limit("box"):
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.01)
            with lock:
                inside -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(16)))
    assert most == 2


def test_a_body_is_bounded_and_whole(server: Loopback) -> None:
    server.files["big"] = b"x" * 5000
    assert len(http_client.read_bounded(http_client.get_once(server.url("big")), 5000)) == 5000
    with pytest.raises(ArchiveError, match="more than"):
        http_client.read_bounded(http_client.get_once(server.url("big")), 4999)
    server.fail(1, Reply(200, {}, b"half", length=8))
    with pytest.raises(ArchiveError) as caught:
        http_client.read_bounded(http_client.get_once(server.url("big")), 5000)
    assert caught.value.transient


def test_secrets_are_taken_out_of_texts() -> None:
    assert http_client.bare(SIGNED) == "https://account.blob.core.windows.net/box/a.tif"
    assert http_client.bare("https://user:pass@host/a?b") == "https://host/a"
    text = f"cannot open {SIGNED}: 403; HTTPSConnectionPool: Max retries with url: /box/a.tif?sig=SECRET (Caused by x)"
    clean = http_client.without_secrets(text)
    assert "SECRET" not in clean and "sig=" not in clean
    assert "403" in clean and "/box/a.tif" in clean
    assert "pass" not in http_client.without_secrets("see https://user:pass@host/a")


@given(st.text(alphabet="abcXYZ0189%&=+._-')(;,/?:@!*", min_size=1, max_size=60))
def test_no_query_survives(query: str) -> None:
    marked = f"{query}SIGNATURE"
    assert "SIGNATURE" not in http_client.without_secrets(
        f"error at 'https://h.example/p/a.tif?{marked}' again"
    )
    assert "SIGNATURE" not in http_client.without_secrets(f"/vsicurl/https://h.example/p/a.tif?{marked}")
    for text in (f'"GET /p/a.tif?{marked} HTTP/1.1" 200', f"with url: /p/a.tif?{marked} (Caused by x)"):
        assert "SIGNATURE" not in http_client.without_secrets(text)


def test_retry_after_values() -> None:
    assert http_client.retry_after_s("3") == 3
    assert http_client.retry_after_s(f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT") is None
    assert http_client.retry_after_s(" 2.5 ") == 2.5
    assert http_client.retry_after_s(None) is None
    assert http_client.retry_after_s("soon") is None
    assert http_client.retry_after_s("-1") is None
    assert http_client.retry_after_s("nan") is None
    later = datetime.now(UTC) + timedelta(seconds=30)
    seconds = http_client.retry_after_s(format_datetime(later, usegmt=True))
    assert seconds is not None and 25 < seconds <= 30
    assert http_client.retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0


def test_waits_double_with_full_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIDECUBE_BACKOFF_S", "2")
    monkeypatch.setenv("SLIDECUBE_RETRIES", "7")
    settings.cache_clear()
    ceilings: list[float] = []
    monkeypatch.setattr("random.uniform", lambda low, high: ceilings.append(high) or low)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)

    def fails() -> None:
        raise ArchiveError("no", transient=True)

    with pytest.raises(ArchiveError):
        http_client.retried(fails)
    assert ceilings == [2, 4, 8, 16, 32, 60, 60]


def test_the_proxy_is_named_when_it_refuses() -> None:
    error = requests.exceptions.ProxyError(
        "HTTPSConnectionPool(host='x.example', port=443): Max retries exceeded with url: /a?sig=SECRET (Caused by "
        "ProxyError('Unable to connect to proxy', OSError('Tunnel connection failed: 403 Forbidden')))"
    )
    found = http_client.unreachable("https://x.example/a?sig=SECRET", error)
    assert all(word in found.message for word in ("x.example", "proxy", "403 Forbidden"))
    assert "SECRET" not in str(found)
