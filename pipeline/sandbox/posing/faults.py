"""The log of requests, and faults that the archive simulates on demand."""

from __future__ import annotations

import threading
from collections import deque
from fnmatch import fnmatchcase
from typing import Literal

from pydantic import Field

from pipeline.records import Frozen, Utc

_KEPT = 200_000


class Request(Frozen):
    """One answered request; the path has no query, which may contain a token."""

    at: Utc
    method: str
    host: str
    path: str
    status: int
    bytes_sent: int = Field(description="of the body")
    seconds: float = Field(
        0.0, ge=0, description="from its first byte here to `at`, when the last one was sent"
    )
    range: str | None = None
    fault: str | None = Field(None, description="action of the fault that was applied")


class Fault(Frozen):
    """A rule: matching requests receive a faulty response.

    Patterns are globs over the host name and the path without its query. Actions:

    - `status` answers with `status` (and `retry_after_s`), also 202 for a burst that is still being extracted;
    - `page` answers 200 with a web page, as a proxy that asks for a login does; `redirect` leads to `location`;
    - `delay` waits `delay_s` before the correct response;
    - `cut` closes the connection after `after_bytes` of the body, `corrupt` changes the byte that follows them;
    - `wrong_token` and `stale_token` issue a token, cookie or signed URL with a wrong signature, or an expired one;
    - `stale_login` treats the caller's token or cookie as expired, `no_eula` treats the account as one that has not
      accepted the terms (Earthdata and ASF);
    - in the granule search `duplicate` returns the first result again at the end, `incomplete` omits the page's last
      result, `no_state_vectors` omits the satellite's positions, `wrong_md5` states the MD5 of another file (also in a
      record of Zenodo);
    - at HyP3 `failed_job` lets a job that is submitted end as failed, `expired_job` lets the products of the jobs in an
      answer expire, `no_credits` states and charges an account without credits.
    """

    action: Literal[
        "status",
        "page",
        "redirect",
        "cut",
        "corrupt",
        "wrong_token",
        "stale_token",
        "stale_login",
        "no_eula",
        "delay",
        "duplicate",
        "incomplete",
        "no_state_vectors",
        "wrong_md5",
        "failed_job",
        "expired_job",
        "no_credits",
    ]
    host: str = "*"
    path: str = "*"
    method: str = "*"
    status: int = Field(503, ge=200, le=599)
    location: str = Field("", description="where a redirect leads")
    retry_after_s: int | None = Field(None, ge=0)
    after_bytes: int = Field(1000, ge=0)
    delay_s: float = Field(1.0, ge=0, le=3600)
    times: int | None = Field(1, ge=1, description="number of faults; None: always")
    skip: int = Field(0, ge=0, description="number of matching requests before the first fault")

    def matches(self, method: str, host: str, path: str) -> bool:
        return (
            fnmatchcase(method, self.method) and fnmatchcase(host, self.host) and fnmatchcase(path, self.path)
        )


class Ledger:
    """The log of requests and the active faults; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._log: deque[Request] = deque(maxlen=_KEPT)
        self._faults: list[tuple[Fault, int]] = []  # with the number of previous matching requests
        self._bytes = 0

    def record(self, request: Request) -> None:
        with self._lock:
            self._log.append(request)
            self._bytes += request.bytes_sent

    @property
    def log(self) -> tuple[Request, ...]:
        """Requests since the last reset, the oldest first."""
        with self._lock:
            return tuple(self._log)

    @property
    def bytes_sent(self) -> int:
        """Bytes of all bodies since the last reset."""
        with self._lock:
            return self._bytes

    def add_fault(self, fault: Fault) -> None:
        """Append a rule to the active ones."""
        with self._lock:
            self._faults.append((fault, 0))

    def take_fault(self, method: str, host: str, path: str) -> Fault | None:
        """The first rule that applies to this request; the use is counted."""
        with self._lock:
            for position, (fault, seen) in enumerate(self._faults):
                if not fault.matches(method, host, path):
                    continue
                used = seen - fault.skip
                if fault.times is not None and used >= fault.times:
                    continue
                self._faults[position] = (fault, seen + 1)
                if used >= 0:
                    return fault
        return None

    def reset(self) -> None:
        """Clear the log and all faults."""
        with self._lock:
            self._log.clear()
            self._faults.clear()
            self._bytes = 0
