"""From an event to its areas: the outline, land, the archive's own listing, and the files in the store.

Once made, an area is frozen: a cube has one grid. Another area is made, under another name, where a person widens the
event, or where a better source of the extent (shaking after a radius, hazard after shaking) lies mostly outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import shapely

from pipeline.archives.archive import Query
from pipeline.archives.registry import serving
from pipeline.areas.area import AreaOfInterest
from pipeline.catalogue.passes import Pass, group_passes
from pipeline.errors import LedgerError
from pipeline.events.detected_event import Bounds, DetectedEvent
from pipeline.events.following.area_document import DraftArea, MadeFrom, text_of_area
from pipeline.events.following.area_store import StoredArea
from pipeline.events.following.outline import BASES, Outline, divided, on_land, outline_of
from pipeline.events.following.pass_history import SeenPass, seen
from pipeline.events.following.track_choice import LISTED_DAYS, choose_tracks
from pipeline.events.ledger import Entry, EventArea
from pipeline.events.triggering_rule import load_rules
from pipeline.grid import MOST_PIXELS
from pipeline.records import Frozen
from pipeline.settings import settings

GENERATIONS = "abcdefghijklmnopqrstuvwxyz"
"""The first areas of an event have its name, later ones `-b` and so on after it."""
LEAST_COVERED = 0.8
"""share of a better outline that the present areas must cover to stay"""
PIXEL_KM2 = 1e-4
"""of 10 m"""
NASADEM_LATITUDES = (-56.0, 60.0)
"""of the shuttle mission, whose elevation NASADEM is"""


class Made(Frozen):
    """The areas that an event has now, and what was done, in words."""

    areas: tuple[EventArea, ...]
    notes: tuple[str, ...] = ()


def areas_of(entry: Entry, now: datetime) -> Made:
    """The areas of an event, made where it has none or needs others.

    Raises:
        ArchiveError: an archive cannot be searched; nothing was made.
        AreaError: the rule cannot be used.
        LedgerError: the names for further areas are used up.
        DiskError: a file cannot be written.
    """
    stored = [StoredArea(each.name) for each in entry.areas]
    outline = outline_of(entry.event, entry.margin_km, load_rules().areas)
    why = _why_others(entry, stored, outline)
    if why is None:
        return Made(areas=entry.areas)
    outline = on_land(outline)
    if not outline.boxes:
        return Made(
            areas=entry.areas, notes=("no area: there is no land where landslides would be looked for",)
        )
    if stored and why == "basis":
        share = _covered(stored, outline)
        if share >= LEAST_COVERED:
            return Made(areas=entry.areas)
        why = f"the areas so far cover {share:.0%} of the extent that is known now ({outline.basis})"
    outline = divided(outline, min(settings().max_area_km2, 0.8 * MOST_PIXELS * PIXEL_KM2))
    made = _written(entry, outline, now)
    names = ", ".join(each.name for each in made)
    kept = f"; before: {', '.join(each.name for each in stored)}, kept as they are" if stored else ""
    return Made(areas=made, notes=(f"made {names} ({why}){kept}: {'; '.join(outline.reasons)}",))


def _why_others(entry: Entry, stored: Sequence[StoredArea], outline: Outline) -> str | None:
    """Why areas are made: in words, "basis" where it depends on what a better source covers; None where none are."""
    if not stored:
        return "the event has none yet"
    stated = [each.made_from() for each in stored]
    sources = [made for made, _ in stated if made is not None]
    if len(sources) < len(stated):  # a person wrote them anew: what they cover is that person's decision
        return None
    if any(made.margin_km != entry.margin_km for made in sources):
        return f"a person set the margin to {entry.margin_km:g} km"
    edited = any(by_hand for _, by_hand in stated)
    better = all(BASES.index(outline.basis) > BASES.index(made.basis) for made in sources)
    return "basis" if better and not edited else None


def _covered(stored: Sequence[StoredArea], outline: Outline) -> float:
    """Share of an outline that the present areas cover, by degrees."""
    present = shapely.union_all([each.area().footprint for each in stored])
    return float(outline.footprint.intersection(present).area / outline.footprint.area)


def _elevation(outline: Outline) -> str:
    """The collection of elevation that covers an outline."""
    south, north = min(each[1] for each in outline.boxes), max(each[3] for each in outline.boxes)
    return "nasadem" if NASADEM_LATITUDES[0] <= south and north <= NASADEM_LATITUDES[1] else "cop-dem-glo-30"


def _written(entry: Entry, outline: Outline, now: datetime) -> tuple[EventArea, ...]:
    """Write the areas of an outline under the first free names; returns them."""
    event = entry.event
    source = MadeFrom(
        event=entry.name, updated=event.updated.isoformat(), basis=outline.basis, margin_km=entry.margin_km
    )
    names = _free_names(entry.name, len(outline.boxes), source)
    found: list[tuple[DraftArea, tuple[SeenPass, ...]]] = []
    for name, bounds in zip(names, outline.boxes, strict=True):
        if StoredArea(name).exists():
            continue
        passes = listed_passes(name, bounds, event, now)
        choice = choose_tracks(passes, event.start)
        draft = DraftArea(
            name=name,
            bounds=bounds,
            choice=choice,
            collection=_elevation(outline),
            made_from=source,
            reasons=outline.reasons,
        )
        taken = [one for one in passes if not choice.tracks or one.relative_orbit in choice.tracks]
        found.append((draft, seen(taken)))
    for draft, history in found:
        StoredArea(draft.name).write(text_of_area(draft, event), history)
    return tuple(EventArea(name=name) for name in names)


def _free_names(event: str, count: int, source: MadeFrom) -> list[str]:
    """Names for the areas of one generation: the first one that is free, or that was begun from the same source."""
    base = event[:56].rstrip("-")
    for letter in GENERATIONS:
        stem = base if letter == "a" else f"{base}-{letter}"
        names = [stem] if count == 1 else [f"{stem}-{number}" for number in range(1, count + 1)]
        if all(_usable(name, source) for name in names):
            return names
    raise LedgerError(
        f"{event} has {len(GENERATIONS)} generations of areas.", "Remove old ones from the store of areas."
    )


def _usable(name: str, source: MadeFrom) -> bool:
    stored = StoredArea(name)
    if not stored.exists():
        return True
    made, _ = stored.made_from()
    return made is not None and made.model_copy(update={"digest": "", "updated": source.updated}) == source


def listed_passes(name: str, bounds: Bounds, event: DetectedEvent, now: datetime) -> tuple[Pass, ...]:
    """The passes that the archive lists over a box, from `LISTED_DAYS` before the event up to `now`.

    Raises:
        ArchiveError: the archive refused or failed.
    """
    start = event.start - timedelta(days=LISTED_DAYS)
    end = max(now, event.end + timedelta(seconds=1))
    area = AreaOfInterest.model_validate(
        {
            "name": name,
            "bbox": bounds,
            "event": {"kind": event.kind, "start": event.start, "end": event.end, "source": event.source},
            "start": start,
            "end": end,
        }
    )
    query = Query(area.footprint_geojson, start, end)
    items = serving(area.rtc_collection).search(area.rtc_collection, query)
    return group_passes(items, area).passes
