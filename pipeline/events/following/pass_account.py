"""The archive of backscatter held to ASF's pass list and to the history: what is expected, found, missing."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pydantic import Field, ValidationError

from pipeline.errors import number_of
from pipeline.events.following.next_pass import ExpectedPass
from pipeline.events.following.pass_history import SAME_OVERFLIGHT, satellite
from pipeline.events.following.platform_offsets import PlatformOffset
from pipeline.events.following.waiting import words_of_passes
from pipeline.files import read_regular, write_whole
from pipeline.places import awaited_passes
from pipeline.records import Frozen, Utc

MOST_BYTES = 2**20
TOLD_DB = 0.3
"""Offsets from which on a page names them: one sigma of the radiometric accuracy that Sentinel-1 is specified for, 1 dB
at three sigma (Torres et al. 2012, Remote Sensing of Environment 120, 9-24)."""


class MissingPass(Frozen):
    """A pass that the archive of backscatter lacks."""

    relative_orbit: int
    platform: str
    instant: Utc
    flown: bool | None = Field(
        description="whether ASF lists it: it was flown; None: ASF could not be searched"
    )

    @property
    def words(self) -> str:
        """For people."""
        known = {
            True: "ASF lists it, the archive has no RTC of it yet",
            False: "expected by the history, and ASF does not list it either",
            None: "expected by the history",
        }[self.flown]
        return f"track {self.relative_orbit}, {satellite(self.platform)}, {self.instant:%Y-%m-%d %H:%M} UTC ({known})"


class PassAccount(Frozen):
    """What was expected over an area and what the archive has, at an instant; kept beside the cube."""

    area: str
    at: Utc
    expected: int = Field(
        ge=0, description="passes since the area's start that ASF lists or the history expects"
    )
    found: int = Field(ge=0, description="of these, in the archive")
    missing: tuple[MissingPass, ...] = ()
    due: tuple[ExpectedPass, ...] = Field(
        (), exclude_if=lambda value: not value, description="expected since the event, and not in the archive"
    )
    next: ExpectedPass | None = None
    waiting_for: str = Field("", description="in words")
    cube_version: int | None = Field(None, description="newest version of the cube")
    after: int = Field(0, ge=0, description="passes after the event in that version")
    offsets: tuple[PlatformOffset, ...] = Field((), description="between satellites, in that version")
    followed: bool = Field(True, description="whether anything is still waited for")

    @property
    def words(self) -> str:
        """One sentence for people."""
        lacking = f", missing: {'; '.join(one.words for one in self.missing)}" if self.missing else ""
        return f"{self.area}: expected {number_of(self.expected, 'pass')}, found {self.found}{lacking}"

    def coming_beside(self, used: Iterable[datetime]) -> str:
        """Which pass is due or comes next, for a map of passes at the instants `used`; empty where none is known."""
        instants = tuple(used)
        as_of = f"as of {self.at:%Y-%m-%d %H:%M} UTC"
        if not self.followed:
            return f"No further pass is waited for, {as_of}."
        due = [one for one in self.due if not _is_of(one.instant, instants)]
        coming = None if self.next is None or _is_of(self.next.instant, instants) else self.next
        words = words_of_passes(due, coming, self.at)
        return f"{words[:1].upper()}{words[1:]} ({as_of})." if words else ""

    def lines_beside(self, used: Iterable[datetime]) -> tuple[str, ...]:
        """What is missing and when the next pass comes, a line each, for a map of passes at the instants `used`.

        The account may be some hours older than the map, which may have what the account misses.
        """
        instants = tuple(used)
        as_of = f"as of {self.at:%Y-%m-%d %H:%M} UTC"
        lines = [
            f"Not in the archive {as_of}: {one.words}."
            for one in self.missing
            if not _is_of(one.instant, instants)
        ]
        if coming := self.coming_beside(instants):
            lines.append(coming)
        return (*lines, *(f"Between satellites, {one.words}." for one in self.told_offsets))

    @property
    def told_offsets(self) -> tuple[PlatformOffset, ...]:
        """The offsets that are large enough to be named."""
        return tuple(one for one in self.offsets if abs(one.offset_db) >= TOLD_DB)


def _is_of(instant: datetime, passes: Iterable[datetime]) -> bool:
    """Whether one of these passes is the overflight at the instant."""
    return any(abs(instant - each) <= SAME_OVERFLIGHT for each in passes)


def save_account(account: PassAccount) -> None:
    """Keep an account beside the cube, where pages and people find it.

    Raises:
        DiskError: it cannot be written.
    """
    path = awaited_passes(account.area)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, account.model_dump_json(indent=1).encode())


def saved_account(area: str) -> PassAccount | None:
    """The account that is kept beside the cube of an area; None where there is none that can be read."""
    try:
        return PassAccount.model_validate_json(read_regular(awaited_passes(area), MOST_BYTES))
    except (OSError, ValueError, ValidationError):
        return None
