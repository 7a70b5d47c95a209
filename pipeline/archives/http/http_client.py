"""Requests to the archives: sessions, retries, limits, and errors that state what happened without secrets."""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3

from pipeline.errors import ArchiveError
from pipeline.settings import settings

log = logging.getLogger(__name__)

T = TypeVar("T")

NETWORK_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)
TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
LONGEST_WAIT_S = 60.0
"""Longest wait before a retry; a server whose Retry-After asks for more is reported instead of waited for."""

REMEDIES = {
    401: "Sign in: the archive needs an account or a key (see `slidecube doctor`).",
    403: "The address was not signed, its token has expired, or the account lacks access; check the archive's key or "
    "login (see `slidecube doctor`).",
    404: "The file is gone or was renamed; search again by building without --catalogue.",
    410: "The file is gone; search again by building without --catalogue.",
    416: "The file is shorter than expected; it was replaced or cut. Plan again.",
    429: "The archive asks for fewer requests; wait some minutes, or lower SLIDECUBE_READ_CONCURRENCY.",
}


class Opener(Protocol):
    """Makes the requests for a file, with the login or signature that the file needs; `Archive` implements it."""

    def open(
        self,
        href: str,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        public: bool = False,
    ) -> requests.Response:
        """The archive's response, whatever its status; see `Archive.open`."""
        ...


def user_agent() -> str:
    """`slidecube/<version>`."""
    try:
        return f"slidecube/{version('slidecube')}"
    except PackageNotFoundError:
        return "slidecube/unknown"


def without_secrets(text: str) -> str:
    """`text` without user names before hosts, and with dots for the query of every URL in it."""
    text = re.sub(r"(https?://|/vsicurl/)([^\s/@'\"<>]*@)", r"\1", text)
    text = re.sub(r"([a-z][a-z0-9+.-]*://[^\s?'\"<>)]*)\?[^\s'\"<>)]*", r"\1?...", text)
    # messages of urllib3 hold the path without the host
    return re.sub(r"(?i)\b((?:url: |with url: )?/[^\s?'\"<>)]*)\?[^\s'\"<>)]*", r"\1?...", text)


def bare(url: str) -> str:
    """`url` without query, fragment and credentials, which may be shown."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class NoLogin(requests.auth.AuthBase):
    """No login: keeps requests from sending a login of the netrc to any host."""

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        """The request, unchanged."""
        return r


class _Session(requests.Session):
    """Sends no login of the netrc, neither to the first host nor after a redirect."""

    def __init__(self) -> None:
        super().__init__()
        self.headers["User-Agent"] = user_agent()
        self.auth = NoLogin()

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Drop the header Authorization where the redirect leaves the host; never add one."""
        before = response.request.url or ""
        if self.should_strip_auth(before, prepared_request.url or ""):  # type: ignore[no-untyped-call]
            prepared_request.headers.pop("Authorization", None)


_sessions = threading.local()


def session() -> requests.Session:
    """This thread's session: the user agent is set; proxies and certificates come from the environment.

    It does not retry: `retried` does, so that the requests to all archives are retried in the same way.
    """
    existing: requests.Session | None = getattr(_sessions, "session", None)
    if existing is None:
        existing = _sessions.session = _Session()
    return existing


_limits: dict[str, threading.BoundedSemaphore] = {}
_limits_lock = threading.Lock()


@contextmanager
def limit(name: str) -> Iterator[None]:
    """Hold one of the `settings().read_concurrency` slots that this process has for a name."""
    with _limits_lock:
        gate = _limits.setdefault(name, threading.BoundedSemaphore(settings().read_concurrency))
    with gate:
        yield


def request(method: str, url: str, *, host_limit: str | None = None, **options: Any) -> requests.Response:
    """A response with a status below 400, after retries as in `retried`.

    `options` go to `requests`; the timeout is the setting's. The caller reads and closes the body.

    Raises:
        ArchiveError: refused, failed or unreachable; `transient` says whether a later request may succeed.
    """

    def once() -> requests.Response:
        with limit(host_limit or host_of(url)):
            return accepted(get_once(url, method=method, **options), url)

    return retried(once)


def host_of(url: str) -> str:
    """The host of an address, which names its limit."""
    return urlsplit(url).hostname or "local"


def get_once(url: str, *, method: str = "GET", **options: Any) -> requests.Response:
    """One response, whatever its status; the caller reads and closes the body.

    Raises:
        ArchiveError: no response came.
    """
    try:
        return session().request(method, url, timeout=settings().timeout_s, stream=True, **options)
    except requests.RequestException as error:
        raise unreachable(url, error) from None


def accepted(response: requests.Response, url: str) -> requests.Response:
    """The response, if its status is below 400; else it is closed.

    Raises:
        ArchiveError: the status is 400 or above; see `refused`.
    """
    if response.status_code < 400:
        return response
    wait_s = retry_after_s(response.headers.get("Retry-After"))
    response.close()
    raise refused(url, response.status_code, wait_s=wait_s)


def body(response: requests.Response, length: int) -> bytes:
    """Exactly `length` bytes of the body, not decoded.

    Raises:
        ArchiveError: the body was cut; transient.
    """
    try:
        data: bytes = response.raw.read(length, decode_content=False)
    except NETWORK_ERRORS as error:
        raise unreachable(response.url, error) from None
    if len(data) != length:
        raise ArchiveError(
            f"{bare(response.url)} sent {len(data)} of {length} bytes.", "Try again later.", transient=True
        )
    return data


def tag_of(response: requests.Response) -> str | None:
    """The response's ETag, else its Last-Modified."""
    tag: str | None = response.headers.get("ETag") or response.headers.get("Last-Modified")
    return tag.strip()[:256] if tag else None


def read_bounded(response: requests.Response, most: int) -> bytes:
    """The whole body, of at most `most` bytes, decoded; the response is closed.

    Raises:
        ArchiveError: the body is cut or too large.
    """
    parts: list[bytes] = []
    size = 0
    with response:
        try:
            for part in response.iter_content(2**20):
                size += len(part)
                if size > most:
                    raise ArchiveError(
                        f"{bare(response.url)} sent more than {most / 2**20:.0f} MiB.",
                        "Ask for less, or report it.",
                    )
                parts.append(part)
        except requests.RequestException as error:
            raise unreachable(response.url, error) from None
    return b"".join(parts)


class _LaterError(ArchiveError):
    """A refusal with the wait that the server requested."""

    wait_s: float | None = None


def changed(name: str) -> ArchiveError:
    """The error of a file that is no longer the one of the catalogue."""
    return ArchiveError(
        f"{name} changed since the catalogue was made.",
        "Plan again: build without --catalogue, once the last search is older than SLIDECUBE_SEARCH_INTERVAL_S.",
    )


def refused(url: str, status: int, *, wait_s: float | None = None) -> ArchiveError:
    """The error of a response with that HTTP status."""
    transient = status in TRANSIENT_STATUS
    remedy = REMEDIES.get(status, "Try again later." if transient else "See the archive's status page.")
    error = _LaterError(f"{bare(url)} answered HTTP {status}.", remedy, transient=transient)
    error.wait_s = wait_s
    return error


def unreachable(url: str, error: Exception) -> ArchiveError:
    """The error of a request without a response."""
    host = urlsplit(url).hostname or bare(url)
    certificate = isinstance(error, requests.exceptions.SSLError)
    remedy = (
        "Check REQUESTS_CA_BUNDLE and SSL_CERT_FILE."
        if certificate
        else "Check the connection and HTTPS_PROXY, or try again later."
    )
    kind = "its certificate was not accepted" if certificate else _kind(error)
    return ArchiveError(f"{host} could not be reached: {kind}.", remedy, transient=not certificate)


def _kind(error: Exception) -> str:
    text = without_secrets(str(error))
    if isinstance(error, requests.Timeout):
        return f"no response within {settings().timeout_s:g} s"
    if "Tunnel connection failed" in text or isinstance(error, requests.exceptions.ProxyError):
        found = re.search(r"Tunnel connection failed: ([^'\")]+)", text)
        return f"the proxy refused ({found.group(1).strip()})" if found else "the proxy refused"
    if "NameResolutionError" in text or "getaddrinfo" in text:
        return "its name is not known"
    if "refused" in text.lower():
        return "the connection was refused"
    return type(error).__name__


def retry_after_s(value: str | None) -> float | None:
    """Seconds that a `Retry-After` header asks for (number or HTTP date); None where it is not usable."""
    if value is None:
        return None
    text = value.strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text, flags=re.ASCII):
        return float(text)
    try:
        instant = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return max(0.0, (instant - datetime.now(UTC)).total_seconds())


def retried(action: Callable[[], T]) -> T:
    """`action()`, retried on transient errors.

    Each wait is what the server's Retry-After asks, plus a time drawn evenly from zero to `backoff_s` doubled with each
    retry, and at most a minute (full jitter: Brooker, "Exponential Backoff and Jitter", AWS 2015).

    Raises:
        ArchiveError: the last one, when it is not transient or the retries (`settings().retries`) are spent.
    """
    retries = settings().retries
    attempt = 0
    while True:
        try:
            return action()
        except ArchiveError as error:
            asked_s = getattr(error, "wait_s", None) or 0.0
            if not error.transient or attempt >= retries or asked_s > LONGEST_WAIT_S:
                raise
            ceiling_s = min(LONGEST_WAIT_S, settings().backoff_s * 2.0**attempt)
            wait_s = min(LONGEST_WAIT_S, asked_s + random.uniform(0.0, ceiling_s))
            attempt += 1
            log.warning("%s Retry %d of %d in %.1f s.", error.message, attempt, retries, wait_s)
            time.sleep(wait_s)
