"""What an event waits for: the passes since it that were expected, those that came, the next one, the next look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from pydantic import Field

from pipeline.events.following.next_pass import ExpectedPass, expected_passes
from pipeline.events.following.pass_history import SeenPass, same_overflight, satellite, seen
from pipeline.records import Frozen, Utc

PASSES_A_TRACK = 4
"""An event is finished once each track that is flown has so many passes after it,"""
MOST_DAYS = 45
"""or so many days after its end."""
SOONEST_RTC, LATEST_RTC = timedelta(hours=3), timedelta(hours=20)
"""Between a pass and its terrain-corrected product. OPERA's names state both instants: 6 to 15 hours for passes of
2023 and 2024 that were processed at once; Sentinel-1's own products come within 3 or 24 hours (Sentinel High Level
Operations Plan, ESA)."""
DENSE, MEDIUM, THIN = timedelta(hours=1), timedelta(hours=6), timedelta(hours=24)
"""Between two looks at the archives: while a pass is due, while it is late, and else."""
LATE, GIVEN_UP = timedelta(hours=30), timedelta(days=10)
"""A pass that is not listed so long after it was flown is late; after the second it is only looked for thinly."""


class Waiting(Frozen):
    """Where an area stands at an instant."""

    at: Utc
    came: tuple[SeenPass, ...] = Field((), description="listed passes after the event, ascending")
    due: tuple[ExpectedPass, ...] = Field((), description="expected since the event, not listed, ascending")
    next: ExpectedPass | None = Field(None, description="the next one")
    complete: bool = Field(False, description="every track that is flown has enough passes after the event")
    over: bool = Field(False, description="the time to follow is over")

    @property
    def finished(self) -> bool:
        """Whether nothing more is waited for."""
        return self.complete or self.over

    @property
    def next_look(self) -> datetime | None:
        """When the archives are looked at next; None where nothing is waited for."""
        if self.finished:
            return None
        looks = [self.at + _pause_for(one, self.at) for one in self.due]
        if self.next is not None:
            looks.append(max(self.next.instant + SOONEST_RTC, self.at + DENSE))
        return min([*looks, self.at + THIN])

    @property
    def words(self) -> str:
        """What is waited for, for people."""
        if self.complete:
            return f"nothing: every track has {PASSES_A_TRACK} passes after the event"
        if self.over:
            return f"nothing: {MOST_DAYS} days after the event are over"
        return (
            words_of_passes(self.due, self.next, self.at)
            or "the next pass: the history of this area lets none be expected"
        )


def words_of_passes(due: Iterable[ExpectedPass], next_pass: ExpectedPass | None, at: datetime) -> str:
    """Which passes are due or late, and which comes next, for people; empty where there is none of either."""
    parts = [_due_words(one, at) for one in due if at - one.instant <= GIVEN_UP]
    if next_pass is not None:
        parts.append(_next_words(next_pass))
    return "; ".join(parts)


def standing(history: Iterable[SeenPass], event: tuple[datetime, datetime], at: datetime) -> Waiting:
    """Where an area stands at the instant `at`.

    Args:
        history: passes that the archive lists, before the event and after it.
        event: its start and its end.
    """
    passes = seen(one for one in history if one.instant <= at)
    _, end = event
    close = end + timedelta(days=MOST_DAYS)
    came = tuple(one for one in passes if end < one.instant <= close)
    told = expected_passes(passes, now=at, since=end, until=max(at, end) + timedelta(days=MOST_DAYS))
    due = tuple(
        one
        for one in told
        if one.instant <= min(at, close) and not any(same_overflight(one, other) for other in came)
    )
    future = tuple(one for one in told if at < one.instant <= close)
    counts = Counter(one.relative_orbit for one in came)
    tracks = set(counts) | {one.relative_orbit for one in told}
    return Waiting(
        at=at,
        came=came,
        due=due,
        next=future[0] if future else None,
        complete=bool(tracks) and all(counts[track] >= PASSES_A_TRACK for track in tracks),
        over=at > close,
    )


def earliest_look(standings: Sequence[Waiting]) -> datetime | None:
    """The first of the next looks of several areas; None where none waits."""
    return min((look for one in standings if (look := one.next_look) is not None), default=None)


def _pause_for(one: ExpectedPass, at: datetime) -> timedelta:
    age = at - one.instant
    if age < SOONEST_RTC:
        return SOONEST_RTC - age
    return DENSE if age <= LATE else MEDIUM if age <= GIVEN_UP else THIN


def _day(instant: datetime) -> str:
    return f"{instant.day} {instant:%B}"


def _track(one: ExpectedPass) -> str:
    return f"track {one.relative_orbit} ({one.direction}, {satellite(one.platform)})"


def _rtc() -> str:
    hours = [round(each / timedelta(hours=1)) for each in (SOONEST_RTC, LATEST_RTC)]
    return f"{hours[0]} to {hours[1]} hours later"


def _next_words(one: ExpectedPass) -> str:
    return (
        f"waiting for {_track(one)}, expected on {_day(one.instant)} about {one.instant:%H:%M} UTC by {one.by_what}, "
        f"RTC usually {_rtc()}"
    )


def _due_words(one: ExpectedPass, at: datetime) -> str:
    state = "late" if at - one.instant > LATE else "due"
    when = f"{_day(one.instant)} about {one.instant:%H:%M} UTC"
    return f"{state}: {_track(one)}, expected on {when}, RTC usually {_rtc()}"
