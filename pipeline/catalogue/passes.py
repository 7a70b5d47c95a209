"""Passes of the satellite over the area, made of the archive's items."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import shapely
from pydantic import Field
from pyproj import Transformer
from shapely import Geometry
from shapely.geometry import shape

from pipeline.areas.area import AreaOfInterest
from pipeline.catalogue.assets import Asset
from pipeline.catalogue.identities import POLARISATIONS, Direction, collection_name, id_key
from pipeline.catalogue.items import ItemRead, Overflight, Slice, outside, read_item
from pipeline.catalogue.left_out import Exclusion, LeftOut, describe, readable
from pipeline.records import Frozen, Utc

SAME_SLICE = timedelta(seconds=1)
"""Consecutive slices start about 25 s apart (12 s for the last); a reprocessed one within milliseconds."""
SAME_OVERFLIGHT = timedelta(minutes=30)
"""Passes of one track are days apart; two within this are one overflight, whatever its id is."""


class Pass(Frozen):
    """One overflight: every slice of one platform, absolute orbit and datatake that meets the area.

    `instant` is the earliest start among the slices that meet the area.
    """

    platform: str = Field(description="as in 'sentinel-1a'")
    absolute_orbit: int
    relative_orbit: int
    datatake: str
    direction: Direction
    instant: Utc
    slices: tuple[Slice, ...] = Field(description="ascending in time")
    source: str | None = Field(
        None,
        description="the collection; None where its items do not state one",
        exclude_if=lambda value: value is None,
    )
    coverage: float = Field(ge=0, le=1, description="share of the area inside the slices' footprints")

    @property
    def id(self) -> str:
        """Name of the pass: platform, absolute orbit, datatake."""
        flown = Overflight(platform=self.platform, absolute_orbit=self.absolute_orbit, datatake=self.datatake)
        return flown.pass_id

    @property
    def size_bytes(self) -> int:
        """Bytes of all files, where the archive states them."""
        return sum(a.size_bytes or 0 for s in self.slices for a in s.files)


class PassList(Frozen):
    """The passes of an area, ascending in time, and what was dropped or looks wrong, in words."""

    passes: tuple[Pass, ...]
    left_out: tuple[str, ...] = Field((), description="items and passes that cannot be used, and why")
    notes: tuple[str, ...] = ()
    others: tuple[Slice, ...] = Field(
        (), description="second items of a slice, none of which is stated to be older"
    )


def slices_of(items: Iterable[Mapping[str, Any]]) -> tuple[list[Slice], list[str]]:
    """Every item as a slice, in the order given, each id once, and remarks in words.

    Raises:
        ItemError: an item cannot be read; it and the field are named.
    """
    notes: list[str] = []
    return [read.slice for read in _unique([read_item(item) for item in items], notes)], notes


def group_passes(
    items: Iterable[Mapping[str, Any]],
    area: AreaOfInterest,
    probes: Mapping[str, Asset] | None = None,
    held: Collection[str] = (),
) -> PassList:
    """Passes over `area`, ascending in time.

    Items outside the area or its time range are dropped, as are duplicates: first by id, then, among items of one
    platform, absolute orbit, datatake, UTM zone and slice start (within a second), or of one burst of an overflight,
    the newest processing is kept. Where the area mixes sources, a pass is of the first one that has it. The newest
    is the one with the latest `s1:processing_datetime`, `processing:datetime`, `updated` or `created`,
    compared in this order, a stated one before none. Where none is stated to be newer, the one
    with the larger file address and id counts (the product id in them distinguishes products without ordering them, so
    this only makes the choice repeatable); but the one that the cube has (`held`, ids of items) stays unless the other
    states checksums that differ from its own, so that a double is neither read nor makes a version.
    The relative orbit is read from the metadata, never computed: its formula differs between satellites.

    Items that cannot be read, slices that disagree with the others of their pass, and passes without a polarisation
    that the area wants are left out and named; what the area excludes is left out and noted.

    `probes` (by href) replaces the sizes and ETags that the items state with what the servers stated.
    """
    footprint = area.footprint
    shapely.prepare(footprint)
    notes: list[str] = []
    excluded, unusable = Exclusion(area.exclude), list[LeftOut]()
    near = [item for item in items if not outside(item, footprint) and _id(item) not in excluded]
    reads = readable(near, lambda item: read_item(item, *area.collections), unusable)
    by_overflight: dict[Overflight, list[ItemRead]] = defaultdict(list)
    newest, others = _newest(_unique(reads, notes), notes, held)
    for read in newest:
        if _meets(read.slice, footprint):
            by_overflight[read.overflight].append(read)
    project = Transformer.from_crs(4326, area.utm_epsg, always_xy=True)
    chosen = [_of_one_source(reads, area.collections, notes) for reads in by_overflight.values()]
    agreeing = [_agreeing(reads, unusable) for reads in chosen]
    passes = [_pass(reads, area, project, probes or {}) for reads in agreeing if reads]
    passes = [p for p in passes if p.id not in excluded]
    passes = _asked_for(passes, area, notes)
    without = [LeftOut(id=p.id, reason=reason) for p in passes if (reason := _unwanted(p, area))]
    passes = [p for p in passes if not _unwanted(p, area)]
    passes.sort(key=lambda p: (p.instant, p.id))
    for p in passes:
        lacking = sorted({pol for pol in area.polarisations for s in p.slices if pol not in s.assets})
        if lacking:
            notes.append(f"{p.id}: no {' and '.join(lacking)} in at least one slice")
    return PassList(
        passes=tuple(passes),
        left_out=(*describe(unusable), *describe(without, ("pass", "passes"))),
        notes=(*excluded.notes(), *notes, *repeat_gaps(passes)),
        others=tuple(read.slice for read in others if _meets(read.slice, footprint)),
    )


def _asked_for(passes: list[Pass], area: AreaOfInterest, notes: list[str]) -> list[Pass]:
    """The passes of the area's time range and tracks; how many others there were is noted."""
    within = [p for p in passes if area.start <= p.instant <= area.end]
    if len(within) < len(passes):
        notes.append(f"{_passes(len(passes) - len(within))} outside the time range of the area: left out")
    if area.tracks is None:
        return within
    chosen = [p for p in within if p.relative_orbit in area.tracks]
    if len(chosen) < len(within):
        names = ", ".join(map(str, sorted({p.relative_orbit for p in within} - set(area.tracks))))
        notes.append(
            f"{_passes(len(within) - len(chosen))} of other tracks ({names}): left out, since the area asks for "
            f"{area.tracks}"
        )
    return chosen


def _id(item: Any) -> Any:
    return item.get("id") if isinstance(item, Mapping) else None


def _unwanted(one: Pass, area: AreaOfInterest) -> str | None:
    """Why a pass has nothing that the area wants: which polarisations it has; None where it has one of those wanted."""
    present = [name for name in POLARISATIONS if any(name in piece.assets for piece in one.slices)]
    if any(name in area.polarisations for name in present):
        return None
    return f"it has {' and '.join(present)}, and the area wants {' and '.join(area.polarisations)}"


def _of_one_source(reads: list[ItemRead], collections: tuple[str, ...], notes: list[str]) -> list[ItemRead]:
    """The items of an overflight that are of the first of these collections that has any; the others are noted."""
    names = [collection_name(one) for one in collections]
    if len(names) == 1:
        return reads
    first = min((names.index(read.source) for read in reads if read.source in names), default=None)
    if first is None:
        return reads
    kept = [read for read in reads if read.source == names[first]]
    others = sorted({read.source or "a source that is not stated" for read in reads} - {names[first]})
    if others:
        notes.append(f"{reads[0].overflight.pass_id}: of {names[first]}; {', '.join(others)} has it too")
    return kept


def _agreeing(reads: list[ItemRead], unusable: list[LeftOut]) -> list[ItemRead]:
    """The slices of an overflight that most agree with about track and direction; none where as many disagree."""
    votes = Counter((read.relative_orbit, read.direction) for read in reads)
    (most, count), *others = votes.most_common(2)
    agreed = most if not others or others[0][1] < count else None
    for read in reads:
        if (stated := (read.relative_orbit, read.direction)) != agreed:
            reason = f"sat:relative_orbit {stated[0]}, {stated[1]}: other items of the overflight differ"
            unusable.append(LeftOut(id=read.slice.id, reason=reason))
    return [read for read in reads if (read.relative_orbit, read.direction) == agreed]


def repeat_gaps(passes: Iterable[Pass]) -> list[str]:
    """Where a track's passes are farther apart than their usual repeat (the median, a multiple of 6 days).

    A gap may mean that the satellite did not acquire, or that the archive lacks a pass. This only names it.
    """
    notes: list[str] = []
    by_track: dict[int, list[datetime]] = defaultdict(list)
    for p in passes:
        by_track[p.relative_orbit].append(p.instant)
    for track, instants in sorted(by_track.items()):
        instants = sorted(instants)
        days = np.diff(np.array([t.timestamp() for t in instants])) / 86400
        if len(days) < 3:
            continue
        usual = max(6, round(float(np.median(days)) / 6) * 6)
        for before, after, gap in zip(instants, instants[1:], days, strict=False):
            lacking = round(gap / usual) - 1
            if lacking > 0:
                notes.append(
                    f"track {track}: {_passes(lacking)} fewer than every {usual} days "
                    f"between {before:%Y-%m-%d} and {after:%Y-%m-%d}"
                )
    return notes


def _passes(count: int) -> str:
    return "1 pass" if count == 1 else f"{count} passes"


def _pass(
    reads: list[ItemRead], area: AreaOfInterest, project: Transformer, probes: Mapping[str, Asset]
) -> Pass:
    first = min(reads, key=lambda read: (read.slice.start, read.slice.id))
    slices = [_probed(read.slice, probes) for read in reads]
    slices.sort(key=lambda s: (s.start, s.epsg, s.id))
    return Pass(
        platform=first.overflight.platform,
        absolute_orbit=first.overflight.absolute_orbit,
        relative_orbit=first.relative_orbit,
        datatake=first.overflight.datatake,
        direction=first.direction,
        instant=first.slice.start,
        slices=tuple(slices),
        source=first.source,
        coverage=_coverage([shape(s.geometry) for s in slices], area.footprint, project),
    )


def _probed(one: Slice, probes: Mapping[str, Asset]) -> Slice:
    assets = {pol: probes.get(asset.href, asset) for pol, asset in one.assets.items()}
    mask = one.mask and probes.get(one.mask.href, one.mask)
    unchanged = assets == one.assets and mask == one.mask
    return one if unchanged else one.model_copy(update={"assets": assets, "mask": mask})


def _coverage(footprints: list[Geometry], area: Geometry, project: Transformer) -> float:
    """Share of `area` (degrees) inside the union, both taken to UTM."""

    def metres(geometry: Geometry) -> Geometry:
        outline = shapely.segmentize(geometry, 0.05)
        return shapely.transform(outline, lambda xy: np.column_stack(project.transform(xy[:, 0], xy[:, 1])))

    wanted = metres(area)
    # a footprint far outside the zone would be distorted: only its part near the area counts
    near = shapely.box(*area.bounds).buffer(0.5)
    covered = shapely.union_all([metres(f.intersection(near)) for f in footprints])
    return float(min(1.0, wanted.intersection(covered).area / wanted.area))


def _meets(one: Slice, footprint: Geometry) -> bool:
    return bool(shapely.intersection(footprint, shape(one.geometry)).area > 0)


def _unique(reads: list[ItemRead], notes: list[str]) -> list[ItemRead]:
    """One item per id: the newest processing of it."""
    by_id: dict[str, ItemRead] = {}
    repeated = 0
    for read in reads:
        key = id_key(read.slice.id)
        former = by_id.get(key)
        if former is not None:
            repeated += 1
        if former is None or (read.processed, read.address) > (former.processed, former.address):
            by_id[key] = read
    if repeated:
        notes.append(f"items that came more than once and count once: {repeated}")
    return list(by_id.values())


def _newest(
    reads: list[ItemRead], notes: list[str], held: Collection[str]
) -> tuple[list[ItemRead], list[ItemRead]]:
    """One item per burst, or per slice start and zone, of an overflight: the newest processing, else the one held.

    And those of the others that could stand in its place, since none is stated to be older.
    """
    # the three subswaths of a burst cycle begin less than a second apart
    groups: dict[tuple[Overflight, str | None, int | str], list[ItemRead]] = defaultdict(list)
    for read in reads:
        groups[(read.overflight, read.source, read.slice.burst or read.slice.epsg)].append(read)
    kept: list[ItemRead] = []
    others: list[ItemRead] = []
    for group in groups.values():
        group.sort(key=lambda read: (read.slice.start, read.slice.id))
        same: list[ItemRead] = []
        for candidate in [*group, None]:
            if candidate is not None and (
                not same
                or candidate.slice.burst is not None
                or candidate.slice.start - same[0].slice.start <= SAME_SLICE
            ):
                same.append(candidate)
                continue
            latest = max(read.processed for read in same)
            newest = _counting([read for read in same if read.processed == latest], held)
            kept.append(newest)
            if len(same) > 1:
                notes.append(_repeated(newest, [read for read in same if read is not newest]))
            others += [read for read in same if read is not newest and read.processed == newest.processed]
            same = [candidate] if candidate is not None else []
    return kept, others


def _counting(reads: list[ItemRead], held: Collection[str]) -> ItemRead:
    """Of items of one slice that nothing orders, the one that counts; see `group_passes`."""
    largest = max(reads, key=lambda read: (read.address, read.slice.id))
    of_cube = next((read for read in reads if read.slice.id in held), None)
    return largest if of_cube is None or _differ(largest, of_cube) else of_cube


def _differ(one: ItemRead, other: ItemRead) -> bool:
    """Whether the archive states that two items have files of different content."""
    common = one.checksums.keys() & other.checksums.keys()
    return any(one.checksums[name] != other.checksums[name] for name in common)


def _repeated(kept: ItemRead, others: list[ItemRead]) -> str:
    """Which of several items of one slice counts, and why."""
    names = ", ".join(sorted(read.slice.id for read in others))
    if all(read.processed < kept.processed for read in others):
        return f"{kept.slice.id} replaces {names}: the same slice, processed again"
    return f"{kept.slice.id} counts, and {names} does not: the same slice; none says that it is newer"
