"""The passes over an area as its history: which track, by which satellite, when."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Protocol

from pydantic import Field

from pipeline.catalogue.identities import Direction
from pipeline.records import Frozen, Utc

SAME_OVERFLIGHT = timedelta(minutes=30)
"""Passes of one track are days apart; two within this are one overflight, whichever slices an archive lists of it."""


class SeenPass(Frozen):
    """One overflight that took place."""

    relative_orbit: int = Field(ge=1, le=175)
    direction: Direction
    platform: str = Field(max_length=64, description="as in 'sentinel-1a'")
    instant: Utc


class _Overflight(Protocol):
    """What a pass of a catalogue, of a manifest and of a list of granules have in common."""

    @property
    def relative_orbit(self) -> int: ...
    @property
    def direction(self) -> Direction: ...
    @property
    def platform(self) -> str: ...
    @property
    def instant(self) -> datetime: ...


def seen(passes: Iterable[_Overflight]) -> tuple[SeenPass, ...]:
    """The passes as a history: each overflight once, ascending in time."""
    found: list[SeenPass] = []
    for one in sorted(passes, key=lambda each: (each.instant, each.relative_orbit, each.platform)):
        if not any(same_overflight(one, other) for other in reversed(found)):
            found.append(
                SeenPass(
                    relative_orbit=one.relative_orbit,
                    direction=one.direction,
                    platform=one.platform,
                    instant=one.instant,
                )
            )
    return tuple(found)


def same_overflight(one: _Overflight, other: _Overflight) -> bool:
    """Whether two passes are of one track within `SAME_OVERFLIGHT`."""
    return one.relative_orbit == other.relative_orbit and abs(one.instant - other.instant) <= SAME_OVERFLIGHT


def satellite(platform: str) -> str:
    """The satellite as people write it: 'S1A' for 'sentinel-1a'; another one as it is."""
    unit = platform.removeprefix("sentinel-1")
    return f"S1{unit.upper()}" if len(unit) == 1 and platform != unit else platform
