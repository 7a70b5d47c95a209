"""Verdicts that a person gives by the numbers of the polygons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import geopandas as gpd
from pydantic import ValidationError
from pyproj import Transformer
from shapely.geometry import Polygon

from model.reviews.inheritance import Judged
from model.reviews.reviewed_polygons import EDITED, UNREVIEWED
from model.reviews.verdict import LONGEST_NOTE, LONGEST_WHO, Judgement, Verdict, to_degrees, transformed
from pipeline.errors import ModelError

MOST_NAMED = 10


@dataclass(frozen=True)
class Reviewer:
    """Who says something, when, of which map."""

    who: str
    note: str
    when: datetime
    map: str
    there: Transformer
    """from the map's coordinates to degrees"""

    @staticmethod
    def of(who: str, note: str, when: datetime, map_name: str, crs: object) -> Reviewer:
        """The reviewer of a map in these coordinates."""
        return Reviewer(who, note, when, map_name, to_degrees(crs))

    def says(
        self,
        judgement: Judgement,
        polygon: Polygon,
        number: int | None,
        replaces: Iterable[Polygon] = (),
        *,
        who: str = "",
        note: str = "",
    ) -> Verdict:
        """A verdict on a polygon in the map's coordinates.

        Raises:
            ModelError: nobody is named, or a text or an outline cannot be kept.
        """
        who, note = who.strip() or self.who.strip(), note.strip() or self.note.strip()
        if not who:
            raise ModelError(
                "A verdict needs the name of the person who gives it.",
                "Give --who NAME, or fill the column review_who.",
            )
        if len(who) > LONGEST_WHO or len(note) > LONGEST_NOTE:
            raise ModelError(
                f"A name has at most {LONGEST_WHO} characters, a note at most {LONGEST_NOTE}.", "Shorten it."
            )
        try:
            return Verdict(
                judgement=judgement,
                who=who,
                when=self.when,
                note=note,
                map=self.map,
                polygon=number,
                outline=transformed(polygon, self.there),
                replaces=tuple(transformed(one, self.there) for one in replaces),
            )
        except ValidationError as error:
            named = "A drawn polygon" if number is None else f"Polygon {number}"
            raise ModelError(
                f"{named} cannot be kept: {error.errors()[0]['msg']}.", "Correct its outline or its texts."
            ) from error


def by_number(
    reviewer: Reviewer,
    shown: gpd.GeoDataFrame,
    judged: Sequence[Judged],
    wanted: dict[Judgement, tuple[int, ...]],
) -> tuple[Verdict, ...]:
    """Verdicts on polygons of a map by their numbers. Accepting an outline of a person leaves it one of a person.

    Args:
        shown: the polygons as the map shows them.
        judged: the verdicts that count.

    Raises:
        ModelError: a number is not in the map or is given twice, or nobody is named.
    """
    numbers = [number for some in wanted.values() for number in some]
    known = dict(zip(shown["id"].tolist(), range(len(shown)), strict=True))
    if unknown := sorted(set(numbers) - known.keys()):
        raise ModelError(
            f"The map has no polygon {named(unknown)}; it has {len(shown)}.",
            "`slidecube review MAP` lists the numbers.",
        )
    if twice := sorted({number for number in numbers if numbers.count(number) > 1}):
        raise ModelError(f"Two verdicts are given on polygon {named(twice)}.", "Give one on each.")
    found, edits = [], edits_of(judged)
    for judgement, some in wanted.items():
        for number in some:
            row = shown.iloc[known[number]]
            edited = edits.get(row.geometry.wkb) if row["review"] == EDITED else None
            if edited is None and judgement == "withdrawn" and row["review"] == UNREVIEWED:
                raise ModelError(f"Polygon {number} has no verdict that could be withdrawn.")
            said: Judgement = "edited" if edited is not None and judgement == "accepted" else judgement
            drawn = edited is not None and edited.verdict.polygon is None
            replaces = edited.replaces if edited is not None else ()
            found.append(reviewer.says(said, row.geometry, None if drawn else number, replaces))
    return tuple(found)


def edits_of(judged: Sequence[Judged]) -> dict[bytes, Judged]:
    """The verdicts whose outline stands in the map, by that outline (WKB)."""
    return {one.outline.wkb: one for one in judged if one.verdict.judgement == EDITED}


def named(numbers: Sequence[object]) -> str:
    """The first of many, in words."""
    more = len(numbers) - MOST_NAMED
    return ", ".join(map(str, numbers[:MOST_NAMED])) + (f" and {more} more" if more > 0 else "")
