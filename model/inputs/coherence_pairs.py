"""Interferometric pairs of a track, before, across and after an event."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import xarray as xr
from pydantic import Field

from model.inputs.before_after import Rule, utc
from model.inputs.channel import Place
from pipeline.errors import ModelError
from pipeline.records import Frozen, Utc

SAME_PASS = timedelta(hours=1)
"""a pair has the start of a slice as its instant, a pass that of its first item; they differ by seconds"""


class PairUsed(Frozen):
    """One pair that was chosen."""

    index: int = Field(ge=0, description="position on the cube's pair axis")
    label: str = Field(description="as in '20180824_20180905'")
    start: Utc
    end: Utc
    place: Place = Field(description="both passes before the event, one on each side, or both after it")


def pairs_of(
    cube: xr.Dataset, orbit: int | None, passes: Sequence[datetime], rule: Rule
) -> tuple[PairUsed, ...]:
    """The pairs of one track that lie clearly before, across or after the event, in the cube's order.

    A published cube records only the two days of a pair, as in '20180824_20180905'. Such a pair is assigned to this
    track if the track has passes on both days, and gets their instants. A pair of another track with passes on the same
    two days cannot be distinguished from it. A pair is left out if one of its passes is neither before nor after the
    event.

    Args:
        orbit: relative orbit; None: unknown.
        passes: instants of all passes of this track in the cube.
    """
    if "timepair" not in cube.dims:
        return ()
    days = {instant.date(): instant for instant in passes}
    known_orbit = orbit is not None and "timepair_relative_orbit" in cube.coords
    found = []
    for index, (label, start, end) in enumerate(_spans(cube)):
        if start is None or end is None:
            continue
        if known_orbit:
            if int(cube["timepair_relative_orbit"].values[index]) != orbit:
                continue
        else:
            if start.date() not in days or end.date() not in days:
                continue
            start, end = days[start.date()], days[end.date()]
        sides = tuple(rule.when(instant) for instant in sorted((start, end)))
        place: Place | None = None
        if sides == ("before", "after"):
            place = "across"
        elif sides[0] == sides[1] and sides[0] != "neither":
            place = sides[0]
        if place is not None:
            found.append(
                PairUsed(index=index, label=label, start=min(start, end), end=max(start, end), place=place)
            )
    return tuple(found)


def _spans(cube: xr.Dataset) -> list[tuple[str, datetime | None, datetime | None]]:
    """Label, start and end of each pair; None where they cannot be read."""
    count = cube.sizes["timepair"]
    labels = [str(v) for v in cube["timepair"].values] if "timepair" in cube.coords else [""] * count
    if {"timepair_start", "timepair_end"} <= set(cube.coords):
        starts, ends = cube["timepair_start"].values, cube["timepair_end"].values
        return [(label, utc(a), utc(b)) for label, a, b in zip(labels, starts, ends, strict=True)]
    return [(label, *_days(label)) for label in labels]


def _days(label: str) -> tuple[datetime | None, datetime | None]:
    """The two days of '20180824_20180905', midnight UTC; None if the label has another form."""
    words = label.split("_")
    if len(words) < 2 or any(len(word) != 8 or not word.isdigit() for word in words[:2]):
        return None, None
    try:
        first, second = (datetime.strptime(word, "%Y%m%d").replace(tzinfo=UTC) for word in words[:2])
    except ValueError:
        return None, None
    return first, second


def until(pairs: Iterable[PairUsed], newest: datetime) -> tuple[PairUsed, ...]:
    """Pairs whose second pass is no later than the newest pass used, so that an early map uses no later data."""
    return tuple(pair for pair in pairs if pair.end <= newest + SAME_PASS)


def of_place(pairs: Iterable[PairUsed], place: Place) -> tuple[PairUsed, ...]:
    """Pairs of one place in time."""
    return tuple(pair for pair in pairs if pair.place == place)


def lacking(pairs: Iterable[PairUsed], needed: Iterable[Place]) -> tuple[Place, ...]:
    """The places in time that need a pair and have none, in order of time."""
    absent = set(needed) - {pair.place for pair in pairs}
    order: tuple[Place, ...] = ("before", "across", "after")
    return tuple(place for place in order if place in absent)


def refused(track: str, places: Sequence[str]) -> ModelError:
    """The error for a track without the pairs that the inputs need."""
    words = {"before": "before the event", "across": "across the event", "after": "after the event"}
    return ModelError(
        f"{track} has no pair {' and none '.join(words[place] for place in places)} that ends by the newest pass used.",
        "Build again with more pairs, use more passes after the event, or ask for other channels of coherence.",
    )
