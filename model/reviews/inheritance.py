"""Which polygon of a map inherits which verdict, by overlap.

- A verdict holds for a polygon if their intersection is at least half of their union (`SAME_SHARE`). Of an edited one
  the person's outline counts, and so do the polygons in whose place it stands.
- A later verdict takes the place of an earlier one by the same rule; of polygons in whose place an edited one stands
  nearly the whole (`EQUAL_SHARE`) must be shared. Verdicts that were given together do not take each other's place.
- A polygon that overlaps a verdict by less than that, but by a tenth of the smaller of the two (`MET_SHARE`) or more,
  is unreviewed and ambiguous: it is named. So is one for which verdicts hold that differ, unless one of them is of
  nearly the same polygon (`EQUAL_SHARE`) and the others are not.
- An edited outline stands in the map in the place of the polygons that inherit it, and by itself where there are none:
  the person saw a landslide there. An accepted polygon that no polygon of the map matches is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import Polygon

from model.reviews.verdict import Judgement, Reviews, Verdict, from_degrees, outline_in
from pipeline.errors import ModelError

SAME_SHARE = 0.5
"""of the union"""
MET_SHARE = 0.1
"""of the smaller polygon"""
EQUAL_SHARE = 0.9
"""of the union"""


@dataclass(frozen=True)
class Judged:
    """A verdict that counts, with its outlines in the coordinates of a map."""

    verdict: Verdict
    outline: Polygon
    replaces: tuple[Polygon, ...]

    @property
    def places(self) -> tuple[Polygon, ...]:
        """Every polygon by which it is recognised."""
        return (self.outline, *self.replaces)


@dataclass(frozen=True)
class Held:
    """What the verdicts mean for the polygons of one map; polygons are given by their position."""

    holds: dict[int, Judged]
    """the verdict of a polygon"""
    ambiguous: dict[int, str]
    """why a polygon has none although verdicts overlap it"""
    unmatched: tuple[Judged, ...]
    """verdicts within the area that hold for no polygon and make none ambiguous"""
    edited_alone: tuple[Judged, ...]
    """edited outlines that hold for no polygon"""


def counting(reviews: Reviews, crs: Any, extent: Polygon | None = None) -> tuple[Judged, ...]:
    """The verdicts that no later one has taken the place of, in their order, those that were withdrawn left out.

    Args:
        crs: of the map.
        extent: only those that meet it, in the map's coordinates.
    """
    there = from_degrees(crs)
    found = []
    for verdict in reviews.verdicts:
        try:
            found.append(
                Judged(
                    verdict,
                    outline_in(verdict.outline, there),
                    tuple(outline_in(one, there) for one in verdict.replaces),
                )
            )
        except ModelError:  # on the other side of the Earth: of another map that has the name of this area
            continue
    if extent is not None:
        found = [one for one in found if any(place.intersects(extent) for place in one.places)]
    owner = [(number, order) for number, one in enumerate(found) for order in range(len(one.places))]
    places = [place for one in found for place in one.places]
    earlier: dict[int, set[int]] = {}
    for first, second, share, _ in _overlaps(places, places):
        (one, of_one), (other, of_other) = owner[first], owner[second]
        together = found[one].verdict.when == found[other].verdict.when
        least = EQUAL_SHARE if of_one or of_other else SAME_SHARE
        if one < other and not together and share >= least:
            earlier.setdefault(other, set()).add(one)
    alive: set[int] = set()
    for number in range(len(found)):
        alive -= earlier.get(number, set())
        alive.add(number)
    return tuple(
        one for number, one in enumerate(found) if number in alive and one.verdict.judgement != "withdrawn"
    )


def held_by(polygons: Sequence[Polygon], judged: Sequence[Judged]) -> Held:
    """What the verdicts mean for polygons in the same coordinates."""
    owner = [number for number, one in enumerate(judged) for _ in one.places]
    places = [place for one in judged for place in one.places]
    same: dict[int, dict[int, float]] = {}
    met: dict[int, dict[int, float]] = {}
    for position, number, share, smaller in _overlaps(polygons, places):
        by = same if share >= SAME_SHARE else met if smaller >= MET_SHARE else None
        if by is not None:
            shares = by.setdefault(position, {})
            shares[owner[number]] = max(shares.get(owner[number], 0.0), share)
    holds: dict[int, Judged] = {}
    ambiguous: dict[int, str] = {}
    for position, shares in same.items():
        best = max(shares, key=lambda one: shares[one])
        if _agree(judged, shares, best):
            holds[position] = judged[best]
        else:
            words = " and ".join(_words(judged[one], share) for one, share in shares.items())
            ambiguous[position] = f"verdicts differ: {words}"
    for position, shares in met.items():
        if position not in same:
            best = max(shares, key=lambda one: shares[one])
            ambiguous[position] = f"overlaps {_words(judged[best], shares[best])}"
    seen = [same.get(position) or met.get(position, {}) for position in (*holds, *ambiguous)]
    touched = {number for shares in seen for number in shares}
    placed = {id(one) for one in holds.values()}
    return Held(
        holds=holds,
        ambiguous=ambiguous,
        unmatched=tuple(
            one for n, one in enumerate(judged) if n not in touched and one.verdict.judgement != "edited"
        ),
        edited_alone=tuple(
            one for one in judged if one.verdict.judgement == "edited" and id(one) not in placed
        ),
    )


def share_of_union(one: Polygon, other: Polygon) -> float:
    """Intersection over union of two polygons."""
    shared = one.intersection(other).area
    return float(shared / (one.area + other.area - shared))


def _agree(judged: Sequence[Judged], shares: dict[int, float], best: int) -> bool:
    kinds: set[Judgement] = {judged[one].verdict.judgement for one in shares}
    others = [share for one, share in shares.items() if one != best]
    return len(kinds) == 1 or (shares[best] >= EQUAL_SHARE and all(share < EQUAL_SHARE for share in others))


def _words(judged: Judged, share: float) -> str:
    verdict = judged.verdict
    return f"one {verdict.judgement} by {verdict.who} on {verdict.when:%Y-%m-%d}, by {100 * share:.0f} % of the union"


def _overlaps(ones: Sequence[Polygon], others: Sequence[Polygon]) -> list[tuple[int, int, float, float]]:
    """Pairs that overlap: positions, share of the union, share of the smaller one."""
    if not len(ones) or not len(others):
        return []
    left, right = np.asarray(ones, dtype=object), np.asarray(others, dtype=object)
    first, second = shapely.STRtree(right).query(left, predicate="intersects")
    shared: NDArray[np.float64] = shapely.area(shapely.intersection(left[first], right[second]))
    one, other = shapely.area(left[first]), shapely.area(right[second])
    union, smaller = one + other - shared, np.minimum(one, other)
    found = zip(
        first.tolist(), second.tolist(), (shared / union).tolist(), (shared / smaller).tolist(), strict=True
    )
    return [pair for pair in found if pair[2] > 0]
