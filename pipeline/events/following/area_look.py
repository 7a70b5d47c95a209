"""Where an event's area stands at an instant: what is listed, what the cube holds, what ASF lists."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from pipeline.archives import search_area
from pipeline.archives.archive import SLC_GRANULES, Query
from pipeline.archives.registry import serving
from pipeline.areas.area import AreaOfInterest
from pipeline.build.contents import store_of
from pipeline.catalogue.passes import group_passes
from pipeline.catalogue.slc import SlcHoldings
from pipeline.catalogue.slc_passes import group_granules
from pipeline.cube import versions
from pipeline.cube.read import open_cube
from pipeline.errors import ArchiveError
from pipeline.events.following.area_store import StoredArea
from pipeline.events.following.pass_account import MissingPass, PassAccount, saved_account
from pipeline.events.following.pass_history import SeenPass, same_overflight, seen
from pipeline.events.following.platform_offsets import PlatformOffset, platform_offsets
from pipeline.events.following.waiting import Waiting, standing
from pipeline.records import Frozen

log = logging.getLogger(__name__)


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
        due=found.due,
        waiting_for=found.words,
        cube_version=version,
        after=sum(one.instant > area.event.end for one in in_cube),
        offsets=_offsets(area, version, in_cube) if ask_asf else (),
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


def _offsets(
    area: AreaOfInterest, version: int | None, in_cube: Sequence[SeenPass]
) -> tuple[PlatformOffset, ...]:
    """The offsets between satellites in the newest version, measured once a version."""
    satellites = {(one.relative_orbit, one.platform) for one in in_cube}
    if version is None or len(satellites) == len({track for track, _ in satellites}):
        return ()
    kept = saved_account(area.name)
    if kept is not None and kept.cube_version == version:
        return kept.offsets
    store = store_of(area)
    with open_cube(store.uri_of(versions.version_key(version))) as cube:
        return platform_offsets(cube)


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
