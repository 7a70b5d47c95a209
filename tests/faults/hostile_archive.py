"""An archive that may answer anything: a proxy in front of a sandbox, reached as the sandbox is.

A rule names a request by host and path and one of `ANSWERS`; every other request is passed on to the sandbox. The
server is a process of its own, since GDAL may hold the interpreter's lock of the client while it waits.

Run as `python -m tests.faults.hostile_archive`: the environment of the sandbox is the first line of standard input; the
variables that direct a program here are the first line of output; then each line is an order and has one line of reply.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import certifi
import trustme

ELSEWHERE = "elsewhere.slidecube.example"
"""a host that is no archive: a redirect leads there, and it records what it is sent"""
SIGN_IN = b"<!DOCTYPE html><html><title>Sign in</title><form action=/login></form></html>"
MIB = 2**20


class Exchange(BaseHTTPRequestHandler):
    """One connection through the proxy: CONNECT, then requests over TLS."""

    protocol_version = "HTTP/1.1"
    house: House
    host = ""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what was asked is in the house's record."""

    def handle(self) -> None:
        self.house.sockets.add(self.connection)
        try:
            super().handle()
        except (OSError, ssl.SSLError):
            self.close_connection = True

    def do_CONNECT(self) -> None:
        self.host = self.path.rpartition(":")[0].lower()
        self.connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.connection = self.house.tls(self.host).wrap_socket(self.connection, server_side=True)
        self.house.sockets.add(self.connection)
        self.rfile = self.connection.makefile("rb", -1)
        self.wfile = self.connection.makefile("wb", 0)
        self.close_connection = False

    def _answer(self) -> None:
        if not self.host:
            self.host = (urlsplit(self.path).hostname or "").lower()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path
        self.house.seen.append(
            {
                "host": self.host,
                "path": self.path,
                "method": self.command,
                "headers": dict(self.headers.items()),
            }
        )
        answer = self.house.answer(self.command, self.host, path)
        if answer is not None:
            ANSWERS[answer](self)
        elif self.host == ELSEWHERE:
            self.send(b"elsewhere", {"Content-Type": "text/plain"})
        else:
            self._pass_on(body)

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _pass_on(self, body: bytes) -> None:
        status, headers, data = self.house.honest(
            self.command, self.host, self.path, dict(self.headers), body
        )
        dropped = ("connection", "transfer-encoding", "server", "date")
        kept = {key: value for key, value in headers.items() if key not in dropped}
        self.send(data, kept, status=status, length=kept.pop("content-length", None))

    def send(
        self,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        status: int = 200,
        length: object = None,
    ) -> None:
        """A whole answer, of the given Content-Length if that differs from the body's."""
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def hang_up(self) -> None:
        """End the connection after this answer."""
        self.wfile.flush()
        self.close_connection = True


Answer = Callable[[Exchange], None]


class House:
    """Certificates, rules, and the record of the requests."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.authority = trustme.CA(organization_name="hostile archive")
        self.contexts: dict[str, ssl.SSLContext] = {}
        self.lock = threading.Lock()
        self.rules: list[dict[str, str]] = []
        self.seen: list[dict[str, Any]] = []
        self.sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        proxy = urlsplit(environment["HTTPS_PROXY"])
        self.upstream = (str(proxy.hostname), int(proxy.port or 0))
        self.trust = ssl.create_default_context(cafile=environment["SSL_CERT_FILE"])

    def tls(self, host: str) -> ssl.SSLContext:
        """The server's side of TLS under that name."""
        with self.lock:
            if host not in self.contexts:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                self.authority.issue_cert(host or "none").configure_cert(context)
                self.contexts[host] = context
            return self.contexts[host]

    def answer(self, method: str, host: str, path: str) -> str | None:
        """The name of the answer that the first rule gives."""
        for rule in self.rules:
            if (
                fnmatchcase(method, rule["method"])
                and fnmatchcase(host, rule["host"])
                and fnmatchcase(path, rule["path"])
            ):
                return rule["answer"]
        return None

    def honest(
        self, method: str, host: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the sandbox."""
        connection = http.client.HTTPSConnection(*self.upstream, context=self.trust, timeout=60)
        connection.set_tunnel(host, 443)
        try:
            sent = {key: value for key, value in headers.items() if key.lower() != "connection"}
            connection.request(method, path, body or None, sent)
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        except OSError:
            return 403, {}, b"no such host"
        finally:
            connection.close()


def document(content: bytes, kind: str, status: int = 200, **headers: str) -> Answer:
    """A whole body of that type."""
    sent = {"Content-Type": kind} | {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda exchange: exchange.send(content, sent, status=status)


def status(code: int, **headers: str) -> Answer:
    """A refusal."""
    return document(b"refused", "text/plain", code, **headers)


def redirect(to: str) -> Answer:
    """Status 302 to an address; `{self}` is the asked one."""

    def answer(exchange: Exchange) -> None:
        where = to.replace("{self}", f"https://{exchange.host}{exchange.path}")
        exchange.send(status=302, headers={"Location": where})

    return answer


def drip(exchange: Exchange) -> None:
    """A byte a second of a body that seems short."""
    exchange.send_response(200)
    exchange.send_header("Content-Length", "100000")
    exchange.send_header("Content-Type", "application/json")
    exchange.end_headers()
    for _ in range(3600):
        exchange.wfile.write(b" ")
        time.sleep(1)


def slow_head(exchange: Exchange) -> None:
    """A byte a second of the headers."""
    exchange.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    for _ in range(3600):
        exchange.wfile.write(b"x")
        time.sleep(1)


def silent(exchange: Exchange) -> None:
    """No answer."""
    time.sleep(3600)


def short(exchange: Exchange) -> None:
    """Ten bytes of a promised thousand."""
    exchange.send(b"{" + b" " * 9, {"Content-Type": "application/json"}, length=1000)
    exchange.hang_up()


def long(exchange: Exchange) -> None:
    """A hundred thousand bytes more than the Content-Length."""
    exchange.send(b" " * 100_000, {"Content-Type": "application/json"}, length=10)
    exchange.hang_up()


def bad_length(exchange: Exchange) -> None:
    """A Content-Length that is no number."""
    exchange.send(b"{}", {"Content-Type": "application/json"}, length="many")
    exchange.hang_up()


def broken_chunks(exchange: Exchange) -> None:
    """A chunk whose size is no number."""
    exchange.send_response(200)
    exchange.send_header("Transfer-Encoding", "chunked")
    exchange.end_headers()
    exchange.wfile.write(b"5\r\nhello\r\nzz\r\n")
    exchange.hang_up()


def endless(exchange: Exchange) -> None:
    """A body without end, as fast as it is read."""
    exchange.send_response(200)
    exchange.send_header("Transfer-Encoding", "chunked")
    exchange.send_header("Content-Type", "application/json")
    exchange.end_headers()
    part = b"100000\r\n" + b" " * MIB + b"\r\n"
    while True:
        exchange.wfile.write(part)


def claims_huge(exchange: Exchange) -> None:
    """A Content-Length of a petabyte."""
    exchange.send(b"II*\0" + bytes(1000), {"Content-Type": "image/tiff", "ETag": '"x"'}, length=10**15)
    exchange.hang_up()


def wrong_range(exchange: Exchange) -> None:
    """Status 206 of other bytes than were asked for."""
    exchange.send(b"\0" * 1000, {"Content-Range": "bytes 5000-5999/6000", "ETag": '"x"'}, status=206)


def senseless_range(exchange: Exchange) -> None:
    """Status 206 whose Content-Range is no range."""
    exchange.send(b"\0" * 1000, {"Content-Range": "bytes -7-x/*", "ETag": '"x"'}, status=206)


def many_headers(exchange: Exchange) -> None:
    """Ten thousand headers."""
    exchange.send(b"{}", {f"X-{number}": "x" * 50 for number in range(10_000)})


def closes(exchange: Exchange) -> None:
    """The end of the connection."""
    exchange.close_connection = True


DEEP = b'{"type":"FeatureCollection","features":' + b"[" * 200_000
HUGE = (
    b'{"type":"FeatureCollection","features":[{"type":"Feature","id":"x","bbox":[' + b"9" * 100_000 + b"]}]}"
)
NUMBERS = (
    b'{"type":"FeatureCollection","numberMatched":1e999,"features":[],"links":[{"rel":"next","href":NaN}]}'
)
NEXT_ELSEWHERE = (
    b'{"type":"FeatureCollection","features":[],"links":[{"rel":"next","method":"GET","href":"https://'
    + ELSEWHERE.encode()
    + b'/next"}]}'
)
NEXT_SELF = (
    b'{"type":"FeatureCollection","features":[],"links":[{"rel":"next","method":"GET",'
    b'"href":"https://planetarycomputer.microsoft.com/api/stac/v1/search?token=again"}]}'
)
VRT = (
    b'<VRTDataset rasterXSize="10" rasterYSize="10"><VRTRasterBand dataType="Float32" band="1"><SimpleSource>'
    b"<SourceFilename>/etc/passwd</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
)
JSON, TIFF = "application/json", "image/tiff; application=geotiff; profile=cloud-optimized"

ANSWERS: dict[str, Answer] = {
    "gzip": document(gzip.compress(SIGN_IN), JSON, Content_Encoding="gzip"),
    "gzip-that-is-none": document(b"not gzip", JSON, Content_Encoding="gzip"),
    "gzip-file": document(gzip.compress(b"II*\0" + bytes(100)), TIFF),
    "gzip-bomb": document(gzip.compress(b" " * 8 * MIB, 1) * 50, JSON, Content_Encoding="gzip"),
    "unknown-encoding": document(b"\1\2\3", JSON, Content_Encoding="br"),
    "sign-in-page": document(SIGN_IN, "text/html"),
    "redirect-loop": redirect("{self}"),
    "redirect-to-loopback": redirect("http://127.0.0.1:9/secret"),
    "redirect-elsewhere": redirect(f"https://{ELSEWHERE}/taken"),
    "redirect-to-file": redirect("file:///etc/passwd"),
    "redirect-nowhere": redirect(""),
    "401": status(401, WWW_Authenticate="Basic"),
    "403": status(403),
    "404": status(404),
    "410": status(410),
    "418": status(418),
    "429": status(429),
    "429-soon": status(429, Retry_After="0"),
    "429-next-year": status(429, Retry_After="31536000"),
    "503": status(503),
    "503-senseless-wait": status(503, Retry_After="-soon-"),
    "204": status(204),
    "drip": drip,
    "slow-head": slow_head,
    "silent": silent,
    "short": short,
    "long": long,
    "bad-length": bad_length,
    "broken-chunks": broken_chunks,
    "endless": endless,
    "claims-huge": claims_huge,
    "wrong-range": wrong_range,
    "senseless-range": senseless_range,
    "many-headers": many_headers,
    "closes": closes,
    "empty": document(b"", JSON),
    "vrt": document(VRT, TIFF, ETag='"x"'),
    "html-as-tiff": document(SIGN_IN, TIFF, ETag='"x"'),
    "zeros-as-tiff": document(bytes(5000), TIFF, ETag='"x"'),
    "json-deep": document(DEEP, JSON),
    "json-huge-number": document(HUGE, JSON),
    "json-numbers": document(NUMBERS, JSON),
    "json-list": document(b"[]", JSON),
    "json-null": document(b"null", JSON),
    "json-latin": document('{"type":"é"}'.encode("latin-1"), JSON),
    "json-next-elsewhere": document(NEXT_ELSEWHERE, JSON),
    "json-next-for-ever": document(NEXT_SELF, JSON),
}
"""Answers by name."""


class HostileArchive:
    """A context manager around the process; `environment` has the variables that direct a program to it."""

    def __init__(self, sandbox: dict[str, str]) -> None:
        self._sandbox = sandbox
        self.environment: dict[str, str] = {}

    def __enter__(self) -> HostileArchive:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.hostile_archive"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parents[2],
        )  # fmt: skip
        self.environment = self._sandbox | self._ask(self._sandbox)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def answers(self, answer: str, *, host: str, path: str = "*", method: str = "*") -> None:
        """Give this answer, and no other, to requests that match; the record of requests begins anew."""
        assert answer in ANSWERS
        self._ask({"rules": [{"answer": answer, "host": host, "path": path, "method": method}]})

    def honest(self) -> None:
        """Pass every request on to the sandbox."""
        self._ask({"rules": []})

    def hang_up(self) -> None:
        """End every connection, so that a command that waits for one ends too."""
        self._ask({"hang_up": True})

    @property
    def seen(self) -> list[dict[str, Any]]:
        """Host, path, method and headers of each request since the last rule."""
        found: list[dict[str, Any]] = self._ask({})
        return found

    def _ask(self, order: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def main() -> None:
    """Serve until standard input ends."""
    house = House(json.loads(sys.stdin.readline()))
    handler = type("Handler", (Exchange,), {"house": house})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "ca.pem"
        bundle.write_bytes(Path(certifi.where()).read_bytes() + b"\n" + house.authority.cert_pem.bytes())
        proxy = f"http://127.0.0.1:{server.server_port}"
        names = ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy")
        bundles = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "GDAL_CURL_CA_BUNDLE")
        reply: Any = dict.fromkeys(names, proxy) | dict.fromkeys(bundles, str(bundle))
        while True:
            print(json.dumps(reply), flush=True)
            if not (line := sys.stdin.readline()):
                return
            order = json.loads(line)
            if "rules" in order:
                house.rules, house.seen = order["rules"], []
            if "hang_up" in order:
                for each in list(house.sockets):
                    with contextlib.suppress(OSError):
                        each.shutdown(socket.SHUT_RDWR)
            reply = list(house.seen)


if __name__ == "__main__":
    main()
