"""The clock of the sandbox: real time by default, or set to any instant, at any speed."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from pydantic import Field, model_validator

from pipeline.records import Frozen, Utc

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)


class ClockOrder(Frozen):
    """A change of the clock: `at` sets it, `advance_s` moves it on (back if negative), `rate` changes its speed."""

    at: Utc | None = Field(None, ge=EARLIEST, le=LATEST)
    advance_s: float | None = Field(None, ge=-1e10, le=1e10, allow_inf_nan=False)
    rate: float | None = Field(
        None,
        ge=0,
        le=1e7,
        allow_inf_nan=False,
        description="seconds of the clock in a real one; 0: it stands",
    )

    @model_validator(mode="after")
    def _one(self) -> ClockOrder:
        if self.at is not None and self.advance_s is not None:
            raise ValueError("give `at` or `advance_s`, not both")
        return self


class ClockState(Frozen):
    """What the clock shows."""

    at: Utc
    rate: float
    real: bool = Field(description="it shows real time: nobody has set it")


class SandboxClock:
    """Shows an instant; it runs on at `rate` seconds in a real second.

    It decides what the archives have published and which revision of an event a feed states. It never decides whether
    a login, a token or a signed URL is still valid: a client compares their expiry with its own clock, which is real.
    """

    def __init__(
        self, start: datetime | None = None, rate: float = 1.0, real_s: Callable[[], float] = time.time
    ) -> None:
        self._real_s = real_s
        self._set = start is not None or rate != 1.0
        self._since_s = real_s()
        self._at = start or datetime.fromtimestamp(self._since_s, UTC)
        self._rate = rate

    def now(self) -> datetime:
        """The instant that the clock shows, at most the year 2200."""
        if not self._set:
            return datetime.fromtimestamp(self._real_s(), UTC)
        passed_s = (self._real_s() - self._since_s) * self._rate
        return self._at + timedelta(seconds=min(passed_s, (LATEST - self._at).total_seconds()))

    @property
    def state(self) -> ClockState:
        """What it shows, and how."""
        return ClockState(at=self.now(), rate=self._rate, real=not self._set)

    def change(self, order: ClockOrder) -> ClockState:
        """Set it, move it, or change its speed, and say what it shows then."""
        now = self.now()
        far = (EARLIEST - now).total_seconds(), (LATEST - now).total_seconds()
        self._at = order.at or now + timedelta(seconds=min(max(order.advance_s or 0.0, far[0]), far[1]))
        self._since_s = self._real_s()
        self._rate = self._rate if order.rate is None else order.rate
        self._set = True
        return self.state
