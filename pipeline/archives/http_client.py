"""How the archives are spoken to: sessions, patience, limits, and errors that say what happened without secrets."""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar
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
"""A server that asks for more patience than this is reported instead of waited for."""

REMEDIES = {
    401: "Sign in: the archive wants an account or a key (see `slidecube doctor`).",
    403: "The address was not signed, its token has expired, or the account lacks access; check the subscription key "
    "(see `slidecube doctor`).",
    404: "The file is gone or was renamed; search again by building without --catalogue.",
    410: "The file is gone; search again by building without --catalogue.",
    416: "The file is shorter than expected; it was replaced or cut. Plan again.",
    429: "The archive asks for fewer requests; wait some minutes, or lower SLIDECUBE_READ_CONCURRENCY.",
}


def user_agent() -> str:
    """`slidecube/<version>`."""
    try:
        return f"slidecube/{version('slidecube')}"
    except PackageNotFoundError:
        return "slidecube/unknown"


def without_secrets(text: str) -> str:
    """`text` with the query of every URL in it, and user names before hosts, replaced by dots."""
    text = re.sub(r"(https?://|/vsicurl/)([^\s/@'\"<>]*@)", r"\1", text)
    text = re.sub(r"([a-z][a-z0-9+.-]*://[^\s?'\"<>)]*)\?[^\s'\"<>)]*", r"\1?...", text)
    # messages of urllib3 hold the path without the host
    return re.sub(r"(?i)\b((?:url: |with url: )?/[^\s?'\"<>)]*)\?[^\s'\"<>)]*", r"\1?...", text)


def bare(url: str) -> str:
    """`url` without query, fragment and credentials: what may be shown."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


_sessions = threading.local()


def session() -> requests.Session:
    """This thread's session: the user agent is set; proxies and certificates come from the environment.

    It does not try again by itself: `patiently` does, so that every archive is waited for in one way.
    """
    held: requests.Session | None = getattr(_sessions, "session", None)
    if held is None:
        held = requests.Session()
        held.headers["User-Agent"] = user_agent()
        _sessions.session = held
    return held


_limits: dict[str, threading.BoundedSemaphore] = {}
_limits_lock = threading.Lock()


@contextmanager
def limit(name: str) -> Iterator[None]:
    """At most `settings().read_concurrency` holders of one name in this process at a time."""
    with _limits_lock:
        gate = _limits.setdefault(name, threading.BoundedSemaphore(settings().read_concurrency))
    with gate:
        yield


def request(method: str, url: str, *, host_limit: str | None = None, **options: Any) -> requests.Response:
    """One answer with a status below 400; the archive is waited for as `patiently` says.

    `options` go to `requests`; the timeout is the setting's. The body is the caller's to read and close.

    Raises:
        ArchiveError: refused, failed or unreachable; `transient` tells whether trying later may help.
    """
    name = host_limit or urlsplit(url).hostname or "local"

    def once() -> requests.Response:
        with limit(name):
            answer = get_once(url, method=method, **options)
        if answer.status_code >= 400:
            wait_s = retry_after_s(answer.headers.get("Retry-After"))
            answer.close()
            raise refused(url, answer.status_code, wait_s=wait_s)
        return answer

    return patiently(once)


def get_once(url: str, *, method: str = "GET", **options: Any) -> requests.Response:
    """One answer of whatever status, its body still to be read and closed by the caller.

    Raises:
        ArchiveError: there was no answer.
    """
    try:
        return session().request(method, url, timeout=settings().timeout_s, stream=True, **options)
    except requests.RequestException as error:
        raise unreachable(url, error) from None


def body(answer: requests.Response, length: int) -> bytes:
    """Exactly `length` bytes of the answer, as they are on the wire.

    Raises:
        ArchiveError: the body was cut; transient.
    """
    try:
        data: bytes = answer.raw.read(length, decode_content=False)
    except NETWORK_ERRORS as error:
        raise unreachable(answer.url, error) from None
    if len(data) != length:
        raise ArchiveError(
            f"{bare(answer.url)} sent {len(data)} of {length} bytes.", "Try again later.", transient=True
        )
    return data


def tag_of(answer: requests.Response) -> str | None:
    """The answer's ETag, else its Last-Modified."""
    tag: str | None = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
    return tag.strip()[:256] if tag else None


def read_bounded(answer: requests.Response, most: int) -> bytes:
    """The whole body, at most `most` bytes of it, decoded; the answer is closed.

    Raises:
        ArchiveError: the body is cut or too large.
    """
    parts: list[bytes] = []
    size = 0
    with answer:
        try:
            for part in answer.iter_content(2**20):
                size += len(part)
                if size > most:
                    raise ArchiveError(
                        f"{bare(answer.url)} answered more than {most / 2**20:.0f} MiB.",
                        "Ask for less, or report it.",
                    )
                parts.append(part)
        except requests.RequestException as error:
            raise unreachable(answer.url, error) from None
    return b"".join(parts)


class _LaterError(ArchiveError):
    """A transient refusal that names its wait."""

    wait_s: float | None = None


def changed(name: str) -> ArchiveError:
    """The error of a file that is not the one that the catalogue saw."""
    return ArchiveError(
        f"{name} changed since the catalogue was made.",
        "Plan again: build without --catalogue, once the last search is older than SLIDECUBE_SEARCH_INTERVAL_S.",
    )


def refused(url: str, status: int, *, wait_s: float | None = None) -> ArchiveError:
    """The error of an answer with that HTTP status."""
    transient = status in TRANSIENT_STATUS
    remedy = REMEDIES.get(status, "Try again later." if transient else "See the archive's status page.")
    error = _LaterError(f"{bare(url)} answered HTTP {status}.", remedy, transient=transient)
    error.wait_s = wait_s
    return error


def unreachable(url: str, error: Exception) -> ArchiveError:
    """The error of a request without an answer."""
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
        return f"no answer within {settings().timeout_s:g} s"
    if "Tunnel connection failed" in text or isinstance(error, requests.exceptions.ProxyError):
        found = re.search(r"Tunnel connection failed: ([^'\")]+)", text)
        return f"the proxy refused ({found.group(1).strip()})" if found else "the proxy refused"
    if "NameResolutionError" in text or "getaddrinfo" in text:
        return "its name is not known"
    if "refused" in text.lower():
        return "the connection was refused"
    return type(error).__name__


def retry_after_s(value: str | None) -> float | None:
    """Seconds that a `Retry-After` header asks for (number or HTTP date); None where it says nothing usable."""
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


def patiently(action: Callable[[], T]) -> T:
    """`action()`, tried again on transient errors.

    Waits are drawn evenly from zero to `backoff_s` doubled with each try (full jitter: Brooker, "Exponential
    Backoff and Jitter", AWS 2015), at least what the server's Retry-After asks, at most a minute.

    Raises:
        ArchiveError: the last one, when it is not transient or the tries (`settings().retries`) are spent.
    """
    tries = settings().retries
    attempt = 0
    while True:
        try:
            return action()
        except ArchiveError as error:
            asked = getattr(error, "wait_s", None) or 0.0
            if not error.transient or attempt >= tries or asked > LONGEST_WAIT_S:
                raise
            ceiling = min(LONGEST_WAIT_S, settings().backoff_s * 2.0**attempt)
            wait_s = min(LONGEST_WAIT_S, asked + random.uniform(0.0, ceiling))
            attempt += 1
            log.warning("%s Again in %.1f s (%d of %d).", error.message, wait_s, attempt, tries)
            time.sleep(wait_s)
