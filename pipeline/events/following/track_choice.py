"""Which tracks an event's area takes, since when, and in which UTM zone: by what the archive lists over it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import median

from pydantic import Field

from pipeline.catalogue.passes import Pass
from pipeline.errors import number_of
from pipeline.events.following.pass_history import satellite
from pipeline.records import Frozen, Utc

LISTED_DAYS = 365
"""Days before the event that are listed: the history of a track, and one turn of the seasons."""
WANTED_BEFORE = 8
"""Passes before the event that are wanted of each track: the median of 8 is within 1 dB of that of many (speckle of
4.4 looks), and the paper's cubes hold 6 to 12."""
LEAST_PASSES = 3
"""before the event, of a track that is taken: with fewer the usual backscatter of a pixel is not known"""
LEAST_COVERAGE = 0.25
"""share of the area that the passes of a track cover in the median; one at a corner costs more than it shows"""
SILENT_DAYS = 60
"""A track without a pass for so long before the event is not flown any more."""
LONGEST_BEFORE_DAYS = 240
"""The first pass is at most so long before the event: of an older one forest and field have changed."""
SHORTEST_BEFORE_DAYS = 30


class TrackChoice(Frozen):
    """The tracks of an area, its first day and its zone, and why."""

    tracks: tuple[int, ...] = Field((), description="relative orbits, ascending; none: all that come")
    start: Utc
    epsg: int | None = Field(None, description="UTM zone of most items; None: of the area's middle")
    reasons: tuple[str, ...] = Field((), description="a line each")


def choose_tracks(passes: Sequence[Pass], event: datetime) -> TrackChoice:
    """The choice for an area over which the archive lists `passes`; only those before the event count."""
    before = sorted((one for one in passes if one.instant < event), key=lambda one: one.instant)
    by_track: dict[int, list[Pass]] = defaultdict(list)
    for one in before:
        by_track[one.relative_orbit].append(one)
    reasons, taken = [], []
    for track, own in sorted(by_track.items()):
        why_not = _why_not(own, event)
        satellites = ", ".join(sorted({satellite(one.platform) for one in own}))
        count, last = number_of(len(own), "pass"), f"{own[-1].instant:%Y-%m-%d}"
        seen = f"{count} of {satellites} in {LISTED_DAYS} days, the last on {last}"
        covered = f"{median(one.coverage for one in own):.0%} of the area"
        verdict = "taken" if why_not is None else f"not taken ({why_not})"
        reasons.append(f"track {track} ({own[-1].direction}): {seen}, {covered}: {verdict}")
        if why_not is None:
            taken.append(track)
    if not taken:
        reasons.append("no track has what is wanted, so that every pass is taken")
    chosen = [own for track, own in by_track.items() if not taken or track in taken]
    return TrackChoice(
        tracks=tuple(taken),
        start=_start(chosen, event),
        epsg=_zone(chosen),
        reasons=tuple(reasons)
        or ("the archive lists no pass before the event, so that every pass is taken",),
    )


def _why_not(own: Sequence[Pass], event: datetime) -> str | None:
    if len(own) < LEAST_PASSES:
        return f"fewer than {LEAST_PASSES} passes"
    if event - own[-1].instant > timedelta(days=SILENT_DAYS):
        return f"none within {SILENT_DAYS} days before the event"
    if median(one.coverage for one in own) < LEAST_COVERAGE:
        return f"covers less than {LEAST_COVERAGE:.0%}"
    return None


def _start(chosen: Sequence[Sequence[Pass]], event: datetime) -> datetime:
    """The midnight before the pass with which every track has what is wanted, within the longest and the shortest."""
    firsts = [own[-WANTED_BEFORE:][0].instant for own in chosen]
    first = min([*firsts, event - timedelta(days=SHORTEST_BEFORE_DAYS)])
    first = max(first, event - timedelta(days=LONGEST_BEFORE_DAYS))
    return first.replace(hour=0, minute=0, second=0, microsecond=0)


def _zone(chosen: Sequence[Sequence[Pass]]) -> int | None:
    """The UTM zone of most items: these need no resampling."""
    zones = Counter(piece.epsg for own in chosen for one in own for piece in one.slices)
    utm = {epsg: count for epsg, count in zones.items() if 32601 <= epsg <= 32660 or 32701 <= epsg <= 32760}
    return min(utm, key=lambda epsg: (-utm[epsg], epsg)) if utm else None
