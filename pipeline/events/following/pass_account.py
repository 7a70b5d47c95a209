"""The archive of backscatter held to ASF's pass list and to the history: what is expected, found, missing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from pydantic import Field, ValidationError

from pipeline.archives import search_area
from pipeline.archives.archive import SLC_GRANULES, Query
from pipeline.archives.registry import serving
from pipeline.area import AreaOfInterest
from pipeline.build.contents import store_of
from pipeline.catalogue.passes import group_passes
from pipeline.catalogue.slc import SlcHoldings
from pipeline.catalogue.slc_passes import group_granules
from pipeline.cube import versions
from pipeline.errors import ArchiveError, number_of
from pipeline.events.following.area_store import StoredArea
from pipeline.events.following.next_pass import ExpectedPass
from pipeline.events.following.pass_history import SeenPass, same_overflight, satellite, seen
from pipeline.events.following.waiting import Waiting, standing
from pipeline.files import read_regular, write_whole
from pipeline.places import awaited_passes
from pipeline.records import Frozen, Utc

log = logging.getLogger(__name__)
MOST_BYTES = 2**20


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
    next: ExpectedPass | None = None
    waiting_for: str = Field("", description="in words")
    cube_version: int | None = Field(None, description="newest version of the cube")
    after: int = Field(0, ge=0, description="passes after the event in that version")
    followed: bool = Field(True, description="whether anything is still waited for")

    @property
    def words(self) -> str:
        """One sentence for people."""
        lacking = f", missing: {'; '.join(one.words for one in self.missing)}" if self.missing else ""
        return f"{self.area}: expected {number_of(self.expected, 'pass')}, found {self.found}{lacking}"


class Look(Frozen):
    """What is known of an area at an instant."""

    account: PassAccount
    waiting: Waiting


def looked(area: AreaOfInterest, at: datetime, *, ask_asf: bool) -> Look:
    """Where an area stands: by its year of listed passes, its newest catalogue, its cube, and the list of ASF.

    Args:
        ask_asf: search ASF's list of passes, which is done only where the archives are looked at anyway.
    """
    stored = StoredArea(area.name)
    catalogue = search_area.newest_saved(store_of(area), area)
    listed = () if catalogue is None else seen(group_passes(catalogue.rtc_items, area).passes)
    version, in_cube = _of_cube(area)
    history = seen(one for one in (*stored.history(), *listed, *in_cube) if one.instant <= at)
    found = standing(history, (area.event.start, area.event.end), at)
    flown = asf_passes(area, at) if ask_asf else None
    missing = _missing(area, found, history, flown)
    within = [one for one in history if area.start <= one.instant <= area.end]
    account = PassAccount(
        area=area.name,
        at=at,
        expected=len(within) + len(missing),
        found=len(within),
        missing=missing,
        next=None if found.finished else found.next,
        waiting_for=found.words,
        cube_version=version,
        after=sum(one.instant > area.event.end for one in in_cube),
        followed=not found.finished,
    )
    return Look(account=account, waiting=found)


def _of_cube(area: AreaOfInterest) -> tuple[int | None, tuple[SeenPass, ...]]:
    """The newest version of the cube and its passes; (None, ()) where there is none."""
    store = store_of(area)
    number = versions.current_version(store)
    if number is None:
        return None, ()
    return number, seen(versions.read_manifest(store, number).timesteps)


def asf_passes(area: AreaOfInterest, at: datetime) -> tuple[SeenPass, ...] | None:
    """The passes that ASF lists over an area up to an instant; None where it cannot be searched. No login is needed."""
    end = min(at, area.end)
    if end <= area.start:
        return ()
    query = Query(area.footprint_geojson, area.start, end, tuple(area.tracks or ()))
    try:
        items = serving(SLC_GRANULES).search(SLC_GRANULES, query)
    except ArchiveError as error:
        log.warning("ASF's list of passes is not known: %s", error)
        return None
    return seen(group_granules(SlcHoldings(granules=tuple(items), bursts=(), dem_items=()), area).passes)


def _missing(
    area: AreaOfInterest,
    found: Waiting,
    history: Sequence[SeenPass],
    flown: Sequence[SeenPass] | None,
) -> tuple[MissingPass, ...]:
    """What ASF lists and the archive lacks, since the area's start; and what the history expects since the event."""
    lacking = [
        MissingPass(relative_orbit=one.relative_orbit, platform=one.platform, instant=one.instant, flown=True)
        for one in flown or ()
        if area.start <= one.instant <= area.end and not any(same_overflight(one, other) for other in history)
    ]
    lacking += [
        MissingPass(
            relative_orbit=one.relative_orbit,
            platform=one.platform,
            instant=one.instant,
            flown=None if flown is None else False,
        )
        for one in found.due
        if not any(same_overflight(one, other) for other in flown or ())
    ]
    return tuple(sorted(lacking, key=lambda one: (one.instant, one.relative_orbit)))


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
