"""Requests to the archives: retries, limits, and errors that state what happened without secrets."""

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
from typing import Any, Protocol, TypeVar

import requests

from pipeline.archives.http.bodies import (
    body,
    check_whole,
    is_page,
    page_instead,
    pieces,
    read_bounded,
    stated_bytes,
    whole_number,
)
from pipeline.archives.http.http_errors import (
    NETWORK_ERRORS,
    LaterError,
    bare,
    changed,
    host_of,
    refused,
    unreachable,
    without_secrets,
)
from pipeline.archives.http.sessions import get_once, user_agent
from pipeline.errors import ArchiveError
from pipeline.settings import settings

__all__ = [
    "NETWORK_ERRORS",
    "Opener",
    "accepted",
    "bare",
    "body",
    "changed",
    "check_whole",
    "get_once",
    "host_of",
    "is_page",
    "limit",
    "page_instead",
    "pieces",
    "read_bounded",
    "refused",
    "request",
    "retried",
    "retry_after_s",
    "stated_bytes",
    "tag_of",
    "unreachable",
    "user_agent",
    "whole_number",
    "without_secrets",
]

log = logging.getLogger(__name__)

T = TypeVar("T")

LONGEST_WAIT_S = 60.0
"""Longest wait before a retry; a server whose Retry-After asks for more is reported instead of waited for."""


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


def accepted(response: requests.Response, url: str) -> requests.Response:
    """The response, if its status is below 400; else it is closed.

    Raises:
        ArchiveError: the status is 400 or above; see `refused`.
    """
    if response.status_code < 400:
        return response
    wait_s = retry_after_s(response.headers.get("Retry-After"))
    response.close()
    # Azure's own word, such as AuthenticationFailed
    raise refused(url, response.status_code, wait_s=wait_s, code=response.headers.get("x-ms-error-code"))


def tag_of(response: requests.Response) -> str | None:
    """The response's ETag, else its Last-Modified."""
    tag: str | None = response.headers.get("ETag") or response.headers.get("Last-Modified")
    return tag.strip()[:256] if tag else None


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
            asked_s = (error.wait_s if isinstance(error, LaterError) else None) or 0.0
            if not error.transient or attempt >= retries or asked_s > LONGEST_WAIT_S:
                raise
            ceiling_s = min(LONGEST_WAIT_S, settings().backoff_s * 2.0**attempt)
            wait_s = min(LONGEST_WAIT_S, asked_s + random.uniform(0.0, ceiling_s))
            attempt += 1
            log.warning("%s Retry %d of %d in %.1f s.", error.message, attempt, retries, wait_s)
            time.sleep(wait_s)
