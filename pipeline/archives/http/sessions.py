"""Connections: bounded waits, redirects followed hop by hop, and each secret sent to its own host alone."""

from __future__ import annotations

import contextlib
import errno
import logging
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from pipeline.archives.http.http_errors import bare, redirected_without_end, unreachable, without_secrets
from pipeline.errors import ArchiveError
from pipeline.settings import settings

MOST_REDIRECTS = 10
REDIRECTS = frozenset({301, 302, 303, 307, 308})
REQUEST_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, UnicodeError)


class _WithoutQueries(logging.Filter):
    """Takes signatures and logins out of what urllib3 logs of each request at the level DEBUG."""

    def filter(self, record: logging.LogRecord) -> bool:
        """True, after the message is redacted."""
        record.msg, record.args = without_secrets(record.getMessage()), ()
        return True


logging.getLogger("urllib3.connectionpool").addFilter(_WithoutQueries())


def user_agent() -> str:
    """`slidecube/<version>`."""
    try:
        return f"slidecube/{version('slidecube')}"
    except PackageNotFoundError:
        return "slidecube/unknown"


class NoLogin(requests.auth.AuthBase):
    """No login: keeps requests from sending a login of the netrc to any host."""

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        """The request, unchanged."""
        return r


@contextmanager
def _within(connection: HTTPConnection, seconds: float) -> Iterator[None]:
    """Break the connection if the block takes longer.

    A socket's own timeout limits each wait for a byte: a server that sends one byte at a time never exceeds it.
    """
    over = threading.Event()

    def stop() -> None:
        over.set()
        with contextlib.suppress(OSError, AttributeError):
            connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    try:
        timer.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, str(error)) from error
    try:
        yield
    except (
        OSError,
        ValueError,
        urllib3.exceptions.HTTPError,
        HTTPException,
    ):  # ValueError: TLS was taken away
        if not over.is_set():
            raise
    finally:
        timer.cancel()
    if over.is_set():  # headers that ended there look complete
        raise TimeoutError(f"no answer within {seconds:g} s")


class _Bounded(HTTPConnection):
    """A connection that waits a limited time for a whole tunnel, and for all headers of a response."""

    def connect(self) -> None:
        """Connect, through the proxy's tunnel where there is one."""
        with _within(self, settings().timeout_s):
            super().connect()

    def getresponse(self) -> Any:
        """The response with its headers."""
        with _within(self, settings().timeout_s):
            return super().getresponse()


class _BoundedTls(_Bounded, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Bounded


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _BoundedTls


_POOLS = {"http": _Pool, "https": _TlsPool}


class BoundedAdapter(HTTPAdapter):
    """requests' transport over connections with bounded waits."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """The pools of direct connections."""
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
        """The pools of connections through a proxy."""
        manager = super().proxy_manager_for(*arguments, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager


def make_bounded(session: requests.Session) -> None:
    """Give a session the connections, the user agent and no login of the netrc."""
    session.headers["User-Agent"] = user_agent()
    session.auth = NoLogin()
    for scheme in ("https://", "http://"):
        session.mount(scheme, BoundedAdapter())


class Session(requests.Session):
    """Sends no login of the netrc, and leaves redirects to its user.

    requests reads the whole body of a redirect and parses its target even where it may not follow.
    """

    def __init__(self) -> None:
        super().__init__()
        make_bounded(self)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """None."""
        return None


_sessions = threading.local()


def session() -> requests.Session:
    """This thread's session; proxies and certificates come from the environment. It does not retry."""
    existing: requests.Session | None = getattr(_sessions, "session", None)
    if existing is None:
        existing = _sessions.session = Session()
    return existing


def get_once(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    secret: Mapping[str, str] | None = None,
    **options: Any,
) -> requests.Response:
    """One response at the end of the redirects, whatever its status; the caller reads and closes the body.

    `secret` headers (a key, a login) are sent to the host of `url` alone, and only over https.

    Raises:
        ArchiveError: no response came; a redirect leads from https to http, to no address, or in a circle.
    """
    start = url
    for _hop in range(MOST_REDIRECTS + 1):
        check_plain(url)
        sent = dict(headers or {})
        if secret and url.startswith("https://") and _server_of(url) == _server_of(start):
            sent |= secret
        try:
            response = session().request(
                method,
                url,
                headers=sent,
                timeout=settings().timeout_s,
                stream=True,
                allow_redirects=False,
                **options,
            )
        except REQUEST_ERRORS as error:
            raise unreachable(url, error) from None
        target = response.headers.get("Location")
        if response.status_code not in REDIRECTS or not target:
            return response
        response.close()
        if method not in ("GET", "HEAD") and response.status_code in (301, 302, 303):
            method = "GET"
            options = {name: value for name, value in options.items() if name not in ("json", "data")}
        options.pop("params", None)
        url = next_address(url, target)
    raise redirected_without_end(start, MOST_REDIRECTS)


def check_plain(url: str) -> None:
    """Refuse an address that two parsers can read as two hosts: a secret would go to the wrong one.

    Raises:
        ArchiveError: it has a backslash, a blank or a control character.
    """
    if re.search(r"[\\\s\x00-\x20\x7f]", url):
        raise ArchiveError(
            f"{bare(url)[:200]!r} is no address: it has a backslash, a blank or a control character.",
            "Leave the item out of the search, or report it to the archive.",
        )


def _server_of(url: str) -> str:
    """Host and port of an address, as they stand there."""
    return url.partition("://")[2].partition("/")[0].partition("?")[0].rpartition("@")[2].lower()


def next_address(url: str, target: str) -> str:
    """Where a redirect leads.

    Raises:
        ArchiveError: to no http(s) address, or from https to http.
    """
    try:
        found = urljoin(url, target)
        scheme, host = urlsplit(found).scheme, urlsplit(found).hostname
    except ValueError:
        scheme = host = found = ""
    if scheme not in ("http", "https") or not host:
        raise ArchiveError(
            f"{bare(url)} leads to something that is no http address.", "Report it to the archive."
        )
    if scheme == "http" and urlsplit(url).scheme == "https":
        raise ArchiveError(
            f"{bare(url)} leads to {bare(found)[:200]}, which is not encrypted.", "Report it to the archive."
        )
    return found
