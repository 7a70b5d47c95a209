"""Waits have an end, secrets stay with their host, and each failure is named by its cause."""

from __future__ import annotations

import errno
import gzip
import logging
import resource
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
import urllib3

from pipeline.archives import inventories
from pipeline.archives.archive import Archive, Query, Signed
from pipeline.archives.http import bodies, http_client, sessions
from pipeline.archives.http.ranges import RemoteFile
from pipeline.archives.planetary import PlanetaryComputer, needs_signing
from pipeline.archives.registry import OTHER
from pipeline.errors import ArchiveError
from pipeline.settings import settings
from tests.unit.loopback import Loopback, Reply, Seen, brisk_settings, standing_for_all_hosts

KEY = {"Ocp-Apim-Subscription-Key": "SECRET"}


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A netrc whose default entry is for everybody, as some have it."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login USER password SECRET\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with brisk_settings(retries=0):
        yield


# waits ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIDECUBE_TIMEOUT_S", "0.6")
    settings.cache_clear()


class Dripping:
    """A server that sends what it has byte by byte, `pause_s` apart, and never ends."""

    def __init__(self, quick: bytes, pause_s: float = 0.05, tls: ssl.SSLContext | None = None) -> None:
        self._quick, self._pause_s, self._tls = quick, pause_s, tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._over = threading.Event()
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/scene.tif"

    def __enter__(self) -> Dripping:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._drip, args=(connection,), daemon=True).start()

    def _drip(self, connection: socket.socket) -> None:
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True)
        with connection:
            try:
                connection.recv(65536)
                connection.sendall(self._quick)
                while not self._over.wait(self._pause_s):
                    connection.sendall(b"x")
            except OSError:
                return


def part(url: str) -> bytes:
    with http_client.get_once(url) as response:
        return http_client.body(response, 5000)


BODY = b'HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\nETag: "one"\r\n\r\n'
RANGE = b"HTTP/1.1 206 Partial\r\nContent-Length: 65536\r\nContent-Range: bytes 0-65535/9999999\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n"


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (b"", lambda url: http_client.get_once(url)),
        (b"HTTP/1.1 200 OK\r\nA: ", lambda url: http_client.get_once(url)),
        (BODY, lambda url: http_client.read_bounded(http_client.get_once(url), 10**8)),
        (CHUNKED, lambda url: http_client.read_bounded(http_client.get_once(url), 10**8)),
        (BODY, part),
        (RANGE, lambda url: RemoteFile(url, OTHER)),
        (BODY, lambda url: inventories.fetch_file(url, Path("unused"))),
    ],
    ids=["status", "headers", "whole body", "chunks", "part", "range", "inventory"],
)
def test_a_server_that_sends_a_byte_at_a_time_is_given_up(
    sent: bytes, read: Callable[[str], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Dripping(sent) as server:
        began = time.monotonic()
        with pytest.raises(ArchiveError, match=r"127\.0\.0\.1") as caught:
            read(server.url)
        assert time.monotonic() - began < 10
    assert caught.value.transient
    assert not list(tmp_path.glob("unused/*"))


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nA: ", BODY], ids=["status", "headers", "body"])
def test_waits_end_over_tls_too(sent: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    began = time.monotonic()
    with Dripping(sent, tls=context) as server, pytest.raises(ArchiveError, match=r"127\.0\.0\.1") as caught:
        http_client.read_bounded(http_client.get_once(server.url.replace("http", "https", 1)), 10**8)
    assert time.monotonic() - began < 10 and caught.value.transient
    assert "certificate" not in str(caught.value)


def test_a_body_has_a_last_moment_whatever_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "LONGEST_BODY_S", 0.3)
    with Dripping(BODY, 0.001) as server, pytest.raises(ArchiveError, match="hours"):
        http_client.read_bounded(http_client.get_once(server.url), 10**8)


# secrets ----------------------------------------------------------------------------------------------------------


def leaving(server: Loopback, target: str, status: int = 302) -> None:
    server.rules.append(
        lambda seen: Reply(status, {"Location": target}) if "planetarycomputer" in seen.path else None
    )


def with_secret(server: Loopback) -> set[str]:
    """The hosts that got a secret in a header or a query."""
    return {
        seen.path.partition("/")[0]
        for seen in server.seen
        if "SECRET" in f"{seen.path} {seen.headers} {seen.body!r}" or "authorization" in seen.headers
    }


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_key_does_not_follow_a_redirect(status: int) -> None:
    with Loopback({"elsewhere.example/a": b"hello"}) as server, standing_for_all_hosts(server):
        leaving(server, "https://elsewhere.example/a", status)
        with http_client.request("GET", "https://planetarycomputer.example/a", secret=KEY) as answer:
            assert answer.url == "https://elsewhere.example/a"
        assert [seen.path for seen in server.seen] == ["planetarycomputer.example/a", "elsewhere.example/a"]
        assert with_secret(server) == {"planetarycomputer.example"}


class Keyed(Archive):
    """Signs by a header."""

    @property
    def endpoint(self) -> str:
        return "https://planetarycomputer.example"

    def search(self, collection: str, query: Query) -> list[dict[str, Any]]:
        return []

    def sign(self, href: str, *, anew: bool = False) -> Signed:
        return Signed(href, {"Authorization": "Bearer SECRET"})


def test_a_signature_in_a_header_stays_with_its_host_and_off_the_clear() -> None:
    with Loopback({"elsewhere.example/a": b"hello"}) as server, standing_for_all_hosts(server):
        leaving(server, "https://elsewhere.example/a")
        assert RemoteFile("https://planetarycomputer.example/a", Keyed()).fetch(0, 5) == b"hello"
        assert with_secret(server) == {"planetarycomputer.example"}
        server.files["clear"] = b"hello"
        server.seen.clear()
        assert RemoteFile(server.url("clear"), Keyed()).fetch(0, 5) == b"hello"
        assert with_secret(server) == set()


def test_a_default_entry_of_the_netrc_goes_nowhere(tmp_path: Path) -> None:
    with Loopback({"a": b"hello", "elsewhere.example/a": b"{}"}) as server, standing_for_all_hosts(server):
        leaving(server, "https://elsewhere.example/a")
        http_client.get_once(server.url("a")).close()
        http_client.get_once("https://planetarycomputer.example/a").close()
        inventories.fetch_file("https://elsewhere.example/a", tmp_path)
        RemoteFile(server.url("a"), OTHER)
        assert len(server.seen) == 5 and with_secret(server) == set()


@pytest.mark.parametrize("api", ["http://planetarycomputer.microsoft.com/api", "http://127.0.0.1:1/api"])
def test_the_key_is_not_searched_with_in_clear(monkeypatch: pytest.MonkeyPatch, api: str) -> None:
    monkeypatch.setenv("SLIDECUBE_SUBSCRIPTION_KEY", "SECRET")
    monkeypatch.setenv("SLIDECUBE_STAC_URL", api)
    sent: list[dict[str, str]] = []

    def request(self: Any, method: str, url: str, **options: Any) -> Any:
        sent.append(options["headers"])
        raise OSError("no network")

    monkeypatch.setattr("requests.Session.request", request)
    settings.cache_clear()
    with pytest.raises(ArchiveError):
        PlanetaryComputer().search("sentinel-1-rtc", Query({"type": "Point", "coordinates": [0, 0]}))
    assert sent and "SECRET" not in repr(sent)


@pytest.mark.parametrize(
    "target",
    ["http://elsewhere.example/a", "file:///etc/passwd", "ftp://elsewhere.example/a", "https://[", ""],
)
def test_a_redirect_leads_to_an_encrypted_address_or_nowhere(target: str) -> None:
    with Loopback() as server, standing_for_all_hosts(server):
        leaving(server, target)
        if target:
            with pytest.raises(ArchiveError, match="planetarycomputer"):
                http_client.get_once("https://planetarycomputer.example/a?sig=SECRET")
        assert len(server.seen) <= 1


def test_a_signed_address_of_an_inventory_is_not_logged(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    with caplog.at_level(logging.DEBUG), Loopback({"a.geojson": b"{}"}) as server:
        inventories.fetch_file(server.url("a.geojson?sig=SECRET"), tmp_path)
    assert "urllib3" in caplog.text and "pipeline" in caplog.text
    assert "a.geojson" in caplog.text and "SECRET" not in caplog.text
    assert not [path for path in tmp_path.rglob("*") if "SECRET" in path.name]


# causes -----------------------------------------------------------------------------------------------------------

PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title>"


def test_a_compressed_answer_is_unpacked_and_its_length_is_that_on_the_wire(tmp_path: Path) -> None:
    content = b'{"type": "FeatureCollection"}' * 400
    packed = gzip.compress(content)
    with Loopback() as server:
        server.rules.append(lambda seen: Reply(200, {"Content-Encoding": "gzip", "ETag": '"one"'}, packed))
        assert inventories.fetch_file(server.url("a.geojson"), tmp_path).read_bytes() == content
        server.rules.insert(
            0, lambda seen: Reply(200, {"Content-Encoding": "gzip"}, packed[:-20], length=len(packed))
        )
        with pytest.raises(ArchiveError) as caught:
            inventories.fetch_file(server.url("b.geojson"), tmp_path)
        assert caught.value.transient
        server.rules.insert(0, lambda seen: Reply(200, {"Content-Encoding": "gzip"}, b"no gzip at all"))
        with pytest.raises(ArchiveError, match="compressed"):
            inventories.fetch_file(server.url("c.geojson"), tmp_path)


@pytest.mark.parametrize(
    "page", [PAGE, b"\xef\xbb\xbf  <HTML>", b"<?xml version='1.0'?>\n<!-- x -->\n<html xmlns='x'>"]
)
def test_a_sign_in_page_is_named_as_one(page: bytes, tmp_path: Path) -> None:
    def signing_in(seen: Seen) -> Reply | None:
        return Reply(302, {"Location": "https://login.example/?next=SECRET"}) if "data" in seen.path else None

    with Loopback({"login.example/": page}) as server, standing_for_all_hosts(server):
        server.rules.append(signing_in)
        for read in (
            lambda: inventories.fetch_file("https://data.example/a.zip", tmp_path),
            lambda: RemoteFile("https://data.example/a.tif", OTHER),
        ):
            with pytest.raises(ArchiveError, match=r"web page by https://login\.example/,") as caught:
                read()
            assert "SECRET" not in str(caught.value) and not caught.value.transient
    assert not list(tmp_path.glob("*.zip"))


def test_a_circle_of_redirects_is_named_as_one() -> None:
    with Loopback() as server:
        server.rules.append(lambda seen: Reply(302, {"Location": "/b" if "a" in seen.path else "/a"}))
        with pytest.raises(ArchiveError, match="redirects") as caught:
            http_client.get_once(server.url("a"))
        assert "HTTPS_PROXY" not in caught.value.remedy and not caught.value.transient
        assert len(server.seen) == 11


@pytest.mark.parametrize(
    ("url", "named"),
    [("https://", "address"), ("htps://x.example/a", "address"), ("https://x..example/", "address")],
)
def test_what_is_no_address_is_named_as_none(url: str, named: str) -> None:
    with pytest.raises(ArchiveError, match=named) as caught:
        http_client.get_once(url)
    assert not caught.value.transient


def test_certificates_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(ArchiveError, match="certificates") as caught:
        http_client.get_once("https://127.0.0.1:9/a")
    assert "REQUESTS_CA_BUNDLE" in caught.value.remedy and not caught.value.transient


def test_a_limit_of_this_machine_is_named_as_one() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Loopback({"a": b"x"}) as server:
        url = server.url("a")
        # the three standard streams take every number that is allowed: no file can be opened any more
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            sessions.session().close()
            with pytest.raises(ArchiveError) as caught:
                http_client.get_once(url)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "ulimit -n" in caught.value.remedy and "certificate" not in str(caught.value)


@pytest.mark.parametrize(
    ("greeting", "scheme", "named"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "http", "speak HTTP"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "https", "speak TLS"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200, "http", "headers"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 80_000, "http", "headers"),
    ],
)
def test_what_does_not_speak_the_protocol_is_named(greeting: bytes, scheme: str, named: str) -> None:
    with Dripping(greeting, 60.0) as server, pytest.raises(ArchiveError, match=named) as caught:
        http_client.get_once(server.url.replace("http", scheme, 1))
    assert not caught.value.transient and "retry" not in caught.value.remedy


@pytest.mark.parametrize(
    "href",
    [
        "https://evil.example\\@sentinel1euwestrtc.blob.core.windows.net/sentinel1-grd-rtc/a.tif",
        "https://evil.example\t.blob.core.windows.net/sentinel1-grd-rtc/a.tif",
        "https://evil.example /x.blob.core.windows.net",
        "https://user@sentinel1euwestrtc.blob.core.windows.net/sentinel1-grd-rtc/a.tif",
    ],
)
def test_an_address_of_two_meanings_is_neither_signed_nor_requested(href: str) -> None:
    assert not needs_signing(href)
    with Loopback() as server, standing_for_all_hosts(server):
        if "user@" not in href:
            with pytest.raises(ArchiveError, match="no address"):
                PlanetaryComputer().open(href)
        assert server.seen == []


def test_the_servers_own_word_for_a_refusal_is_passed_on() -> None:
    with Loopback() as server:
        server.rules.append(lambda seen: Reply(403, {"x-ms-error-code": "AuthenticationFailed"}))
        with pytest.raises(ArchiveError, match="AuthenticationFailed"):
            http_client.request("GET", server.url("a"))


def test_a_certificate_is_named_only_where_it_is_the_cause() -> None:
    def told(cause: Exception) -> ArchiveError:
        pool = urllib3.HTTPSConnectionPool("x.example")
        return http_client.unreachable(
            "https://x.example/",
            requests.exceptions.SSLError(urllib3.exceptions.MaxRetryError(pool, "/", cause)),
        )

    refused = told(
        ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate")
    )
    assert "certificate" in refused.message and not refused.transient
    broken = told(ssl.SSLEOFError(8, "[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred"))
    assert "certificate" not in str(broken).lower() and broken.transient
    files = told(urllib3.exceptions.SSLError(OSError(errno.EMFILE, "Too many open files")))
    assert "ulimit -n" in files.remedy
