"""Passes that another source of backscatter lists and the area's own does not: what `slidecube plan` proposes."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from pydantic import Field

from pipeline.archives.archive import Query
from pipeline.archives.registry import serving
from pipeline.areas.area import AreaOfInterest
from pipeline.areas.backscatter_sources import OPERA_RTC, PLANETARY_RTC, SOURCES
from pipeline.catalogue.passes import SAME_OVERFLIGHT, Pass, group_passes
from pipeline.errors import ArchiveError, number_of
from pipeline.records import Frozen, Utc

log = logging.getLogger(__name__)


class ProposedPass(Frozen):
    """A pass that the area's own source lacks."""

    id: str
    instant: Utc
    relative_orbit: int
    coverage: float = Field(ge=0, le=1, description="share of the area inside the footprints")


class Proposal(Frozen):
    """A further source for an area, and the passes that it alone lists."""

    source: str
    resolution_m: float
    passes: tuple[ProposedPass, ...] = Field((), description="ascending in time")
    problem: str | None = Field(None, description="why the source could not be searched")

    def lines(self, area: AreaOfInterest) -> list[str]:
        """For people: what is lacking, and the command that makes a cube of it."""
        title = SOURCES[self.source].title
        if self.problem is not None:
            return [
                f"whether {title} has passes that {area.rtc_collection} lacks is not known: {self.problem}"
            ]
        if not self.passes:
            return []
        days = ", ".join(f"{one.instant:%Y-%m-%d} track {one.relative_orbit}" for one in self.passes)
        return [
            f"{title} lists {number_of(len(self.passes), 'pass')} that {area.rtc_collection} lacks ({days}): "
            f"`slidecube build {area.name} --source {self.source}` makes a cube of {self.resolution_m:g} m beside this "
            "one"
        ]


def proposal_for(area: AreaOfInterest, own: Iterable[Pass]) -> Proposal | None:
    """What OPERA RTC-S1 lists over the area and its `own` passes lack; None where the area chose its sources.

    The source is searched, and none of its files is opened.
    """
    if area.sources or area.rtc_collection != PLANETARY_RTC:
        return None
    other = area.of_source(OPERA_RTC)
    try:
        items = serving(OPERA_RTC).search(OPERA_RTC, Query.of_area(other))
    except ArchiveError as error:
        log.info("no proposal: %s", error)
        return Proposal(source=OPERA_RTC, resolution_m=other.resolution_m, problem=error.message)
    held = [(one.relative_orbit, one.instant) for one in own]
    lacking = [
        ProposedPass(id=one.id, instant=one.instant, relative_orbit=one.relative_orbit, coverage=one.coverage)
        for one in group_passes(items, other).passes
        if not any(
            track == one.relative_orbit and abs(instant - one.instant) < SAME_OVERFLIGHT
            for track, instant in held
        )
    ]
    return Proposal(source=OPERA_RTC, resolution_m=other.resolution_m, passes=tuple(lacking))
