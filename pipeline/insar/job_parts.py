"""Division of a pair into jobs of neighbouring bursts, where consecutive jobs overlap."""

from __future__ import annotations

from itertools import groupby

from pydantic import Field
from shapely.geometry import shape
from shapely.ops import unary_union

from pipeline.catalogue.slc import Burst, Pair
from pipeline.errors import InterferometryError
from pipeline.insar.job import MOST_BURSTS
from pipeline.records import Frozen

Box = tuple[float, float, float, float]


class Part(Frozen):
    """The bursts of one job."""

    number: int = Field(ge=0)
    bursts: tuple[str, ...] = Field(
        min_length=1, max_length=MOST_BURSTS, description="full ids, along the track"
    )
    bbox: Box = Field(description="requested box of these bursts, degrees")
    footprint: Box = Field(description="around the bursts of both overflights, degrees")


def parts_of(pair: Pair, wanted: Box, most: int = MOST_BURSTS) -> tuple[Part, ...]:
    """The jobs of a pair over the box `wanted` (west, south, east, north, degrees).

    Bursts of one number are adjacent in the three swaths and stay in one job. A job ends at a missing number, or
    when the next bursts would exceed `most`. In the second case the next job begins with the last bursts of this
    one, so that the seam lies inside bursts that both jobs have.

    Raises:
        InterferometryError: `antimeridian`, or `burst-elsewhere` for a part outside the box.
    """
    by_id = {burst.full_id: burst for burst in pair.reference.bursts if burst.full_id in set(pair.burst_ids)}
    rows = [
        (number, tuple(sorted(ids)))
        for number, ids in groupby(sorted(pair.burst_ids, key=_number), key=_number)
    ]
    parts: list[tuple[str, ...]] = []
    current: list[tuple[int, tuple[str, ...]]] = []
    for number, ids in rows:
        full = sum(len(row) for _, row in current) + len(ids) > most
        if current and (full or number > current[-1][0] + 1):
            parts.append(tuple(one for _, row in current for one in row))
            current = current[-1:] if number == current[-1][0] + 1 else []
        current.append((number, ids))
    parts.append(tuple(one for _, row in current for one in row))
    second = {burst.full_id: burst for burst in pair.secondary.bursts}
    return tuple(
        Part(
            number=number,
            bursts=bursts,
            **_boxes([by_id[b] for b in bursts], [second[b] for b in bursts], wanted),
        )
        for number, bursts in enumerate(parts)
    )


def _number(full_id: str) -> int:
    return int(full_id.split("_")[1])


def _boxes(first: list[Burst], second: list[Burst], wanted: Box) -> dict[str, Box]:
    west, south, east, north = unary_union([shape(burst.geometry) for burst in (*first, *second)]).bounds
    if east - west > 180:
        raise InterferometryError(
            "antimeridian",
            "Bursts across the 180th meridian cannot be processed in one job.",
            "Choose an area that does not cross it.",
        )
    left, right = max(west, wanted[0]), min(east, wanted[2])
    bottom, top = max(south, wanted[1]), min(north, wanted[3])
    if left >= right or bottom >= top:
        raise InterferometryError(
            "burst-elsewhere",
            f"The bursts {', '.join(burst.full_id for burst in first)} lie outside the requested box {wanted}.",
            "Plan again without --catalogue.",
        )
    return {"bbox": (left, bottom, right, top), "footprint": (west, south, east, north)}
