"""When the next passes are expected: from the area's own history of tracks and satellites, never from an orbit.

Each satellite flies each track again after the same number of days, to within seconds: Sentinel-1 keeps its orbit
within a tube of some hundred metres (Sentinel-1 User Handbook, ESA, 2013, section 3). Which days it records, and over
which tracks, is a plan that changes. So the repeat is the most frequent distance between passes in the history, and
never computed from orbit numbers, whose formula differs between satellites.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

from pydantic import Field

from pipeline.catalogue.identities import Direction
from pipeline.errors import number_of
from pipeline.events.following.pass_history import SeenPass, same_overflight, satellite
from pipeline.records import Frozen, Utc

RECENT = 8
"""gaps of a track, and passes, that the repeat and the time of day are taken from: acquisition plans change"""
MOST_MISSED = 3
"""A satellite that missed more turns of a track in a row no longer records it."""
LEAST_WINDOW = timedelta(minutes=1)
MOST_WINDOW = timedelta(minutes=30)
"""Slices of a datatake are cut anew in each pass, so that the first one over an area begins up to 30 s apart."""
OFF_DAYS = 0.05
"""A gap that is farther from whole days is none of one satellite on one track."""


class ExpectedPass(Frozen):
    """A pass that the history lets expect."""

    relative_orbit: int
    direction: Direction
    platform: str
    instant: Utc = Field(description="expected start of the first slice over the area")
    window_s: float = Field(ge=0, description="half of the span in which the history puts it, seconds")
    repeat_days: int = Field(ge=1, description="most frequent distance between passes of this satellite")
    rests_on: int = Field(ge=1, description="passes of this satellite on this track in the history")
    missed: int = Field(0, ge=0, description="turns that it missed since its last pass")

    @property
    def by_what(self) -> str:
        """What the expectation rests on, for people."""
        flown = (
            f"{number_of(self.rests_on, 'pass')} of {satellite(self.platform)} every {self.repeat_days} days"
        )
        return flown + (f", of which it missed the last {self.missed}" if self.missed else "")


@dataclass(frozen=True)
class _Rhythm:
    """How one satellite flies one track."""

    last: SeenPass
    cycle: timedelta
    anchor: datetime
    """the turn of the last pass, by the recent ones together"""
    window: timedelta
    repeat_days: int
    rests_on: int
    first: datetime


def expected_passes(
    history: Iterable[SeenPass], *, now: datetime, since: datetime, until: datetime
) -> tuple[ExpectedPass, ...]:
    """The passes that are expected in `since` < instant <= `until`, ascending; those in the past among them.

    A satellite that missed more than `MOST_MISSED` turns of a track up to `now` is not expected on it. Two satellites
    in one turn count once, as the one that flew last. A satellite that flew a track once is expected by its repeat on
    the other tracks, or by that of the other satellites on this track; where neither is known it is not expected.
    """
    passes = [one for one in history if one.instant <= now]
    found: list[ExpectedPass] = []
    for rhythm in sorted(_rhythms(passes), key=lambda each: each.last.instant, reverse=True):
        for one in _turns(rhythm, now, since, until):
            if not any(same_overflight(one, other) for other in found):
                found.append(one)
    return tuple(sorted(found, key=lambda one: (one.instant, one.relative_orbit)))


def _turns(rhythm: _Rhythm, now: datetime, since: datetime, until: datetime) -> Iterable[ExpectedPass]:
    last_missed = _turns_before(rhythm, now)
    if last_missed > MOST_MISSED:
        until = min(until, rhythm.anchor + MOST_MISSED * rhythm.cycle + rhythm.window)
    begin = max(since, rhythm.first - rhythm.window)
    turn = math.ceil((begin - rhythm.anchor) / rhythm.cycle)
    while (instant := rhythm.anchor + turn * rhythm.cycle) <= until:
        if instant > since:
            yield ExpectedPass(
                relative_orbit=rhythm.last.relative_orbit,
                direction=rhythm.last.direction,
                platform=rhythm.last.platform,
                instant=instant,
                window_s=round(rhythm.window.total_seconds(), 1),
                repeat_days=rhythm.repeat_days,
                rests_on=rhythm.rests_on,
                missed=max(0, min(turn - 1, last_missed)),
            )
        turn += 1


def _turns_before(rhythm: _Rhythm, now: datetime) -> int:
    """Turns since the last pass that are two days old: an archive may not list a younger one yet."""
    return max(0, math.floor((now - timedelta(days=2) - rhythm.anchor) / rhythm.cycle))


def _rhythms(passes: Sequence[SeenPass]) -> Iterable[_Rhythm]:
    by_rhythm: dict[tuple[int, str], list[SeenPass]] = defaultdict(list)
    for one in sorted(passes, key=lambda each: each.instant):
        own = by_rhythm[(one.relative_orbit, one.platform)]
        if not (own and same_overflight(own[-1], one)):
            own.append(one)
    gaps = {key: _gaps(own) for key, own in by_rhythm.items()}
    for (track, platform), own in by_rhythm.items():
        alike = (
            [gaps[key] for key in gaps if key[1] == platform],
            [gaps[key] for key in gaps if key[0] == track],
        )
        repeat = _repeat(gaps[(track, platform)])
        for pooled in alike:
            repeat = repeat or _repeat([gap for each in pooled for gap in each])
        if repeat is not None:
            yield _rhythm(own, repeat)


def _gaps(own: Sequence[SeenPass]) -> list[float]:
    """Distances of consecutive passes, days."""
    return [(b.instant - a.instant) / timedelta(days=1) for a, b in pairwise(own)]


def _repeat(gaps: Sequence[float]) -> int | None:
    """The most frequent whole number of days among the recent gaps, of several the smallest; None without any."""
    days = [round(gap) for gap in gaps[-RECENT:] if round(gap) >= 1 and abs(gap - round(gap)) <= OFF_DAYS]
    counts = Counter(days)
    return min(counts, key=lambda each: (-counts[each], each)) if counts else None


def _rhythm(own: Sequence[SeenPass], repeat: int) -> _Rhythm:
    """The rhythm of a satellite on a track: its recent passes, each taken to the turn of the last one."""
    last, recent = own[-1], own[-RECENT:]
    turns = [round((last.instant - one.instant) / timedelta(days=repeat)) for one in recent]
    fitting = [
        (one, turn)
        for one, turn in zip(recent, turns, strict=True)
        if abs((last.instant - one.instant) / timedelta(days=1) - turn * repeat) <= OFF_DAYS * max(1, turn)
    ]
    cycles = [(last.instant - one.instant).total_seconds() / turn for one, turn in fitting if turn > 0]
    cycle_s = median(cycles) if cycles else repeat * 86400.0
    taken = [(one.instant - last.instant).total_seconds() + turn * cycle_s for one, turn in fitting]
    middle_s = median(taken)
    spread = timedelta(seconds=3 * max(abs(each - middle_s) for each in taken))
    return _Rhythm(
        last=last,
        cycle=timedelta(seconds=cycle_s),
        anchor=last.instant + timedelta(seconds=middle_s),
        window=min(max(spread, LEAST_WINDOW), MOST_WINDOW),
        repeat_days=repeat,
        rests_on=len(own),
        first=own[0].instant,
    )
