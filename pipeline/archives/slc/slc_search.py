"""Single look complex data of an area: granules, bursts, and the elevation that their interferometry needs."""

from __future__ import annotations

import contextlib
import logging
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import shapely
from shapely.geometry import mapping, shape

from pipeline.archives.archive import SLC_BURSTS, SLC_GRANULES, Query
from pipeline.archives.registry import serving
from pipeline.areas.area import AreaOfInterest
from pipeline.catalogue.dem_items import SLC_DEM_MARGIN_DEG
from pipeline.catalogue.granules import read_burst
from pipeline.catalogue.slc import SlcHoldings
from pipeline.catalogue.slc_passes import wants_slc
from pipeline.errors import ArchiveError

log = logging.getLogger(__name__)


def search_slc(area: AreaOfInterest) -> tuple[SlcHoldings | None, list[str]]:
    """Granules, bursts and the elevation items around them, and remarks.

    None where the area asks for no pairs, or where an archive cannot be searched: backscatter is built nevertheless.
    """
    if area.interferometry is None or not wants_slc(area):
        return None, []
    archive = serving(SLC_GRANULES)
    query = Query.of_area(area)
    try:
        granules = archive.search(SLC_GRANULES, query)
        archive = serving(SLC_BURSTS)
        bursts = archive.search(SLC_BURSTS, query)
        dem: list[dict[str, Any]] = []
        region = _region(bursts, area)
        if region is not None:
            archive = serving(area.dem.collection)
            dem = archive.search(area.dem.collection, Query(mapping(region)))
    except ArchiveError as error:
        log.warning("no interferometry: %s", error)
        return None, [f"no pairs: {archive.title} could not be searched ({error.message})"]
    return SlcHoldings(
        granules=tuple(granules),
        bursts=tuple(bursts),
        dem_items=tuple(sorted(dem, key=lambda item: str(item["id"]))),
    ), []


def _region(items: Iterable[Mapping[str, Any]], area: AreaOfInterest) -> shapely.Geometry | None:
    """Boxes around the bursts of each track that meet the area, with the margin; None where there is no burst."""
    by_track: dict[str, list[shapely.Geometry]] = defaultdict(list)
    for item in items:
        with contextlib.suppress(ArchiveError):  # the grouping into passes names items that cannot be read
            burst = read_burst(item)
            footprint = shape(burst.geometry)
            if footprint.intersects(area.footprint):
                by_track[burst.full_id.partition("_")[0]].append(footprint)
    boxes = [box for footprints in by_track.values() for box in _boxes(shapely.union_all(footprints))]
    return shapely.union_all(boxes) if boxes else None


def _boxes(geometry: shapely.Geometry) -> list[shapely.Geometry]:
    """The box around a geometry, with the margin; one on each side of the antimeridian where it lies across."""
    west, _, east, _ = geometry.bounds
    parts = [geometry]
    if east - west > 180:
        parts = [
            geometry.intersection(shapely.box(*half)) for half in ((-180, -90, 0, 90), (0, -90, 180, 90))
        ]
    found = []
    for part in parts:
        west, south, east, north = part.bounds
        margin = SLC_DEM_MARGIN_DEG
        sideways = margin / math.cos(math.radians(min(85.0, max(abs(south), abs(north)))))
        found.append(
            shapely.box(
                max(-180.0, west - sideways),
                max(-90.0, south - margin),
                min(180.0, east + sideways),
                min(90.0, north + margin),
            )
        )
    return found
