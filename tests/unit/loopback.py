"""A small file server on loopback whose answers a test steers, for tests of the archives' transport."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter

from pipeline.archives import registry
from pipeline.archives.asf import Asf
from pipeline.archives.earthdata import Earthdata
from pipeline.archives.http import http_client
from pipeline.archives.planetary import PlanetaryComputer
from pipeline.settings import settings


def raw_body(content: bytes) -> urllib3.HTTPResponse:
    """A body as the transport gives it, for responses that a test makes itself."""
    return urllib3.HTTPResponse(body=io.BytesIO(content), preload_content=False)


@dataclass
class Seen:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Reply:
    """What to answer instead of the file; `body` may be shorter than `length` says."""

    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    length: int | None = None


Rule = Callable[[Seen], Reply | None]


class Loopback:
    """Serves `files` by path, with ETags and range requests; `rules` are asked first, in order."""

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.files = files or {}
        self.etags: dict[str, str] = {}
        self.rules: list[Rule] = []
        self.seen: list[Seen] = []
        self.honours_if_match = True
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                outer._answer(self)

            def do_HEAD(self) -> None:
                outer._answer(self)

            def do_POST(self) -> None:
                outer._answer(self)

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError):
                    super().handle()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Loopback:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, path: str) -> str:
        """Address of a path."""
        return f"http://127.0.0.1:{self._server.server_port}/{path}"

    def fail(self, times: int, reply: Reply, *, skip: int = 0, method: str = "GET") -> None:
        """Answer that many requests (after `skip`) with `reply`."""
        left = [skip, times]

        def rule(seen: Seen) -> Reply | None:
            if seen.method != method:
                return None
            if left[0] > 0:
                left[0] -= 1
                return None
            if left[1] > 0:
                left[1] -= 1
                return reply
            return None

        self.rules.append(rule)

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        seen = Seen(
            handler.command,
            handler.path.lstrip("/"),
            {k.lower(): v for k, v in handler.headers.items()},
            handler.rfile.read(int(handler.headers.get("Content-Length") or 0)),
        )
        self.seen.append(seen)
        for rule in self.rules:
            reply = rule(seen)
            if reply is not None:
                self._send(handler, reply)
                return
        name = seen.path.partition("?")[0]
        if name not in self.files:
            self._send(handler, Reply(404))
            return
        data, tag = self.files[name], self.etags.get(name, '"one"')
        if self.honours_if_match and seen.headers.get("if-match", tag) != tag:
            self._send(handler, Reply(412))
            return
        headers = {"ETag": tag, "Accept-Ranges": "bytes"}
        span = seen.headers.get("range")
        if span is None or seen.headers.get("if-range", tag) != tag:
            self._send(handler, Reply(200, headers, data))
            return
        first, _, last = span.removeprefix("bytes=").partition("-")
        begin, end = int(first), min(int(last or len(data)), len(data) - 1)
        if begin >= len(data):
            self._send(handler, Reply(416))
            return
        headers["Content-Range"] = f"bytes {begin}-{end}/{len(data)}"
        self._send(handler, Reply(206, headers, data[begin : end + 1]))

    def _send(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        handler.send_response(reply.status)
        for key, value in reply.headers.items():
            handler.send_header(key, value)
        length = len(reply.body) if reply.length is None else reply.length
        handler.send_header("Content-Length", str(length))
        if length != len(reply.body):
            handler.send_header("Connection", "close")
            handler.close_connection = True
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(reply.body)


@contextlib.contextmanager
def standing_for_all_hosts(server: Loopback) -> Iterator[None]:
    """Lets `server` answer for every https host: `https://host/path` is its file `host/path`."""
    really_send = HTTPAdapter.send

    def send(self: HTTPAdapter, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        asked = str(request.url)
        if not asked.startswith("https://"):
            return really_send(self, request, **options)
        there = request.copy()
        there.url = server.url(asked.removeprefix("https://"))
        answer = really_send(self, there, **options)
        answer.url, answer.request = asked, request
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HTTPAdapter, "send", send)
        yield


@contextlib.contextmanager
def logged_in(login: Earthdata) -> Iterator[None]:
    """Has ASF use this login instead of that of the process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "ARCHIVES", (PlanetaryComputer(), Asf(login)))
        yield


@contextlib.contextmanager
def brisk_settings(retries: int) -> Iterator[None]:
    """Short waits, few tries, no proxy, no limits left over from another test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            patch.delenv(name, raising=False)
            patch.delenv(name.lower(), raising=False)
        patch.setenv("SLIDECUBE_BACKOFF_S", "0.001")
        patch.setenv("SLIDECUBE_TIMEOUT_S", "5")
        patch.setenv("SLIDECUBE_RETRIES", str(retries))
        patch.setattr(http_client, "_limits", {})
        settings.cache_clear()
        yield
        settings.cache_clear()
