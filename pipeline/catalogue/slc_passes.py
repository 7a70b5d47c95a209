"""Granules and bursts grouped into overflights of the area: the newest processing of each; missing ones are named."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import shapely
from shapely import Geometry
from shapely.geometry import shape

from pipeline.areas.area import AreaOfInterest
from pipeline.catalogue.catalogue import Catalogue
from pipeline.catalogue.granules import read_burst, read_granule
from pipeline.catalogue.left_out import Exclusion, LeftOut, describe, readable
from pipeline.catalogue.slc import Burst, Granule, Polarisation, SlcHoldings, SlcPass, SlcPassList
from pipeline.settings import settings

T = TypeVar("T", Granule, Burst)

NEVER = datetime.min.replace(tzinfo=UTC)
FEW = 5
"""At most this many names are written out in a note."""


def slc_passes(catalogue: Catalogue, area: AreaOfInterest) -> SlcPassList:
    """The overflights of the area with the bursts that meet it, ascending in time; see `group_granules`."""
    if catalogue.slc is None or area.interferometry is None:
        return SlcPassList(passes=())
    return group_granules(catalogue.slc, area, area.interferometry.polarisation)


def group_granules(
    holdings: SlcHoldings, area: AreaOfInterest, polarisation: Polarisation = "vv"
) -> SlcPassList:
    """Overflights over `area` within its time range and on its tracks, ascending in time.

    An item that cannot be read is left out and named: the cube is built without its pairs. Of granules of one
    platform and absolute orbit that share more than half of their time, the newest processing is kept, and with
    it its bursts. A burst is kept when its footprint meets the area; of one place within an overflight, the burst
    of the newest granule. Bursts that other overflights of the track have and this one lacks are named: the
    archive's list of bursts may be incomplete for some minutes after a granule appears (ASFHyP3/burst2safe#240).
    """
    footprint = area.footprint
    shapely.prepare(footprint)
    notes: list[str] = []
    excluded, unusable = Exclusion(area.exclude), list[LeftOut]()
    of_granules, of_bursts = (
        [item for item in items if _name(item) not in excluded]
        for items in (holdings.granules, holdings.bursts)
    )
    granules = _read(of_granules, read_granule, lambda granule: granule.name, unusable)
    bursts = _read(of_bursts, read_burst, lambda burst: burst.id, unusable)
    granules = _newest([g for g in granules if _meets(g.geometry, footprint)], notes)
    passes = _within(_overflights(granules, unusable), area, notes)
    passes = [one for one in passes if one.id not in excluded]
    wanted = [b for b in bursts if b.polarisation == polarisation and _meets(b.geometry, footprint)]
    passes = [_with_bursts(one, wanted, polarisation, notes) for one in passes]
    passes.sort(key=lambda one: (one.instant, one.id))
    notes += _lacking_bursts(passes, polarisation)
    if not passes:
        notes.append("no pairs: ASF lists no SLC of the area within its time range and tracks")
    return SlcPassList(
        passes=tuple(passes),
        left_out=describe(unusable, ("SLC item", "SLC items")),
        notes=(*excluded.notes(), *notes),
    )


def _name(item: Mapping[str, Any]) -> Any:
    umm = item.get("umm")
    return umm.get("GranuleUR") if isinstance(umm, Mapping) else None


def _read(
    items: Iterable[Mapping[str, Any]],
    read: Callable[[Mapping[str, Any]], T],
    name: Callable[[T], str],
    unusable: list[LeftOut],
) -> list[T]:
    """Every item that can be read, each name once: the archive's latest revision of it."""
    found: dict[str, tuple[str, T]] = {}
    pairs = readable(items, lambda item: (read(item), item.get("meta")), unusable)
    for one, meta in pairs:
        revised = str(meta.get("revision-date") or "") if isinstance(meta, Mapping) else ""
        former = found.get(name(one))
        if former is None or revised > former[0]:
            found[name(one)] = (revised, one)
    return [one for _, one in found.values()]


def _newest(granules: list[Granule], notes: list[str]) -> list[Granule]:
    """Each slice once: its newest processing, the name decides between equals."""
    newest_first = sorted(granules, key=lambda g: (g.processed or NEVER, g.name), reverse=True)
    kept: list[Granule] = []
    for granule in newest_first:
        newer = next((other for other in kept if _same_slice(granule, other)), None)
        if newer is None:
            kept.append(granule)
        else:
            notes.append(f"{newer.name} replaces {granule.name}: the same slice, processed again")
    return kept


def _same_slice(one: Granule, other: Granule) -> bool:
    if (one.platform, one.absolute_orbit) != (other.platform, other.absolute_orbit):
        return False
    shared = (min(one.end, other.end) - max(one.start, other.start)).total_seconds()
    shorter = min((one.end - one.start).total_seconds(), (other.end - other.start).total_seconds())
    return shared > shorter / 2


def _overflights(granules: list[Granule], unusable: list[LeftOut]) -> list[SlcPass]:
    groups: dict[tuple[str, int], list[Granule]] = defaultdict(list)
    for granule in granules:
        groups[granule.platform, granule.absolute_orbit].append(granule)
    found: list[SlcPass] = []
    for (platform, orbit), members in sorted(groups.items()):
        members.sort(key=lambda granule: (granule.start, granule.name))
        first = members[0]
        odd = next(
            (
                g for g in members
                if (g.relative_orbit, g.direction) != (first.relative_orbit, first.direction)
            ),
            None,
        )  # fmt: skip
        if odd is not None:
            reason = (
                f"orbit {orbit} of {platform}: {first.name} states track {first.relative_orbit} {first.direction}, "
                f"{odd.name} track {odd.relative_orbit} {odd.direction}"
            )
            unusable += [LeftOut(id=granule.name, reason=reason) for granule in members]
            continue
        found.append(
            SlcPass(
                platform=platform,
                absolute_orbit=orbit,
                relative_orbit=first.relative_orbit,
                direction=first.direction,
                instant=first.start,
                granules=tuple(members),
            )
        )
    return found


def _within(passes: list[SlcPass], area: AreaOfInterest, notes: list[str]) -> list[SlcPass]:
    timely = [one for one in passes if area.start <= one.instant <= area.end]
    if len(timely) < len(passes):
        notes.append(f"SLC passes outside the time range, left out: {len(passes) - len(timely)}")
    if area.tracks is None:
        return timely
    wanted = [one for one in timely if one.relative_orbit in area.tracks]
    if len(wanted) < len(timely):
        others = ", ".join(map(str, sorted({one.relative_orbit for one in timely} - set(area.tracks))))
        notes.append(f"SLC passes of other tracks ({others}), left out: {len(timely) - len(wanted)}")
    return wanted


def _with_bursts(one: SlcPass, bursts: list[Burst], polarisation: Polarisation, notes: list[str]) -> SlcPass:
    rank = {
        granule.name: (granule.processed or NEVER, granule.name)
        for granule in one.granules
        if polarisation in granule.polarisations
    }
    lacking = [granule for granule in one.granules if granule.name not in rank]
    if lacking:
        others = " and ".join(sorted({p for granule in lacking for p in granule.polarisations})) or "neither"
        notes.append(f"{one.id}: no {polarisation}, only {others}, in {_names(g.name for g in lacking)}")
    chosen: dict[str, Burst] = {}
    for burst in sorted(bursts, key=lambda b: b.id):
        if burst.granule not in rank:
            continue
        other = chosen.get(burst.full_id)
        if other is None or rank[burst.granule] > rank[other.granule]:
            chosen[burst.full_id] = burst
    return one.model_copy(update={"bursts": tuple(chosen[name] for name in sorted(chosen))})


def _lacking_bursts(passes: list[SlcPass], polarisation: Polarisation) -> list[str]:
    """Bursts that a pass lacks and that others of its track have: not imaged, or not listed yet."""
    notes: list[str] = []
    for track in sorted({one.relative_orbit for one in passes}):
        same = [one for one in passes if one.relative_orbit == track]
        places = {burst.full_id: shape(burst.geometry) for one in same for burst in one.bursts}
        for one in same:
            if not any(polarisation in granule.polarisations for granule in one.granules):
                continue
            absent = sorted(set(places) - {burst.full_id for burst in one.bursts})
            imaged = shapely.union_all([shape(granule.geometry) for granule in one.granules])
            inside = [name for name in absent if imaged.contains(places[name].centroid)]
            outside = [name for name in absent if name not in inside]
            if inside:
                notes.append(
                    f"{one.id} lacks the bursts {_names(inside)} although its granules lie over them: the archive's "
                    "list may be incomplete for some minutes after acquisition; plan again later"
                )
            if outside:
                notes.append(
                    f"{one.id} does not reach {_names(outside)}, which other passes of its track have"
                )
            if not places and not one.bursts:
                notes.append(f"{one.id}: the archive lists no {polarisation} burst of it over the area")
    return notes


def _names(names: Iterable[str]) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - FEW} more" if len(listed) > FEW else ""
    return ", ".join(listed[:FEW]) + more


def _meets(geometry: dict[str, Any], footprint: Geometry) -> bool:
    return bool(shapely.intersection(footprint, shape(geometry)).area > 0)


def wants_slc(area: AreaOfInterest) -> bool:
    """Whether the area asks for interferometry and a processor is chosen."""
    return area.interferometry is not None and settings().insar_backend != "none"
