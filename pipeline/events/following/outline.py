"""Where landslides of an event are looked for: boxes of the hazard, else of the shaking, else around the epicentre."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import shapely
from pydantic import Field
from pyproj import Geod
from shapely.geometry import box

from pipeline.events.detected_event import Bounds, DetectedEvent
from pipeline.events.land_mask import CELL_DEG, land_bounds
from pipeline.events.triggering_rule import AreaSizes
from pipeline.records import Frozen

Basis = Literal["radius", "shaking", "hazard"]
BASES: tuple[Basis, ...] = ("radius", "shaking", "hazard")
"""in ascending order of what each says about landslides"""

SIZES = AreaSizes()
"""where the rule does not say otherwise"""
UNKNOWN_RADIUS_KM = 25.0
"""where a source states neither an extent nor a magnitude; assumed"""
SHALLOW_KM = 20.0
"""Depth up to which the radius is that of the magnitude alone."""
CUT_SHARE = 0.999
"""A box is said to be cut to land where less than this share of it is left."""
LATITUDES = (-79.9, 83.9)
"""beyond them there is no UTM zone"""
_KM_PER_DEGREE = 111.32
"""of latitude, and of longitude at the equator"""


class Outline(Frozen):
    """The boxes of an event's areas, in degrees, each with west < east."""

    basis: Basis
    boxes: tuple[Bounds, ...] = Field((), description="none where there is no land")
    reasons: tuple[str, ...] = Field((), description="what was chosen and why, a line each")

    @property
    def footprint(self) -> shapely.Geometry:
        """All boxes together."""
        return shapely.union_all([box(*each) for each in self.boxes])


def radius_km(magnitude: float, depth_km: float | None, least_km: float = SIZES.least_radius_km) -> float:
    """How far from the epicentre landslides are looked for, km.

    The area within which landslides happen is log10(A / km²) = M - 3.46 +- 0.47 (Keefer and Wilson 1989, as given by
    Keefer 2002, Surveys in Geophysics 23, 473-510, for M 5.5 to 9.2); its upper value as a circle. A deeper source
    reaches less far: the edge lies at the hypocentral distance that it has for a source `SHALLOW_KM` deep (assumed).
    At least `least_km`.
    """
    shallow = math.sqrt(10 ** (magnitude - 3.46 + 0.47) / math.pi)
    depth = max(SHALLOW_KM, depth_km or 0.0)
    squared = shallow**2 + SHALLOW_KM**2 - depth**2
    return max(math.sqrt(max(0.0, squared)), least_km)


def outline_of(event: DetectedEvent, margin_km: float = 0.0, sizes: AreaSizes = SIZES) -> Outline:
    """The boxes of an event, limited in size and divided at 180 degrees. An extent that a person named has no limit.

    Args:
        margin_km: by which a person widened it on every side.
        sizes: of the rule.
    """
    basis, (west, south, east, north), why = _extent(event, sizes.least_radius_km)
    reasons = [why]
    middle = ((west + east) / 2, max(LATITUDES[0], min(LATITUDES[1], (south + north) / 2)))
    lon_km = _KM_PER_DEGREE * math.cos(math.radians(middle[1]))
    half = [(east - west) / 2 * lon_km + margin_km, (north - south) / 2 * _KM_PER_DEGREE + margin_km]
    if margin_km:
        reasons.append(f"widened by {margin_km:g} km on every side, as a person asked")
    named = event.source == "manual" and event.shaking is not None
    limit = math.inf if named else sizes.largest_side_km / 2 + margin_km
    if max(half) > limit:
        reasons.append(
            f"limited from {2 * half[0]:.0f} by {2 * half[1]:.0f} km to {2 * limit:.0f} km a side around the middle; "
            "`slidecube event widen` makes it larger"
        )
    half = [max(sizes.least_side_km / 2, min(limit, each)) for each in half]
    whole = (
        middle[0] - half[0] / lon_km,
        max(LATITUDES[0], middle[1] - half[1] / _KM_PER_DEGREE),
        middle[0] + half[0] / lon_km,
        min(LATITUDES[1], middle[1] + half[1] / _KM_PER_DEGREE),
    )
    halves = _at_180(whole)
    if len(halves) > 1:
        reasons.append("divided at 180 degrees")
    return Outline(basis=basis, boxes=tuple(halves), reasons=tuple(reasons))


def _extent(event: DetectedEvent, least_radius_km: float) -> tuple[Basis, Bounds, str]:
    """What the extent rests on, its box with west <= east (east may be beyond 180), and a line about it."""
    failure = event.ground_failure
    if failure is not None and failure.bounds is not None:
        return (
            "hazard",
            _unwrapped(failure.bounds),
            "the extent of the ground-failure product's landslide hazard",
        )
    if event.shaking is not None:
        words = "the extent of the shaking" if event.kind == "earthquake" else "the extent that was named"
        return "shaking", _unwrapped(event.shaking), words
    if event.magnitude is None:
        radius, words = (
            max(UNKNOWN_RADIUS_KM, least_radius_km),
            "neither extent nor magnitude are known, so assumed",
        )
    else:
        radius = radius_km(event.magnitude, event.depth_km, least_radius_km)
        depth = "" if event.depth_km is None else f" at {event.depth_km:g} km"
        words = f"for a magnitude of {event.magnitude:g}{depth}, after Keefer and Wilson 1989"
    lat_deg = radius / _KM_PER_DEGREE
    lon_deg = lat_deg / math.cos(math.radians(min(84.0, abs(event.latitude))))
    extent = (
        event.longitude - lon_deg,
        event.latitude - lat_deg,
        event.longitude + lon_deg,
        event.latitude + lat_deg,
    )
    return "radius", extent, f"{radius:.0f} km around the epicentre, {words}"


def _unwrapped(bounds: Bounds) -> Bounds:
    west, south, east, north = bounds
    return west, south, east + 360 if east < west else east, north


def _at_180(bounds: Bounds) -> list[Bounds]:
    """The box in -180..180, as one or two boxes."""
    west, south, east, north = bounds
    if west < -180:
        west, east = west + 360, east + 360
    if west >= 180:
        west, east = west - 360, east - 360
    if east <= 180:
        return [(west, south, east, north)]
    return [(west, south, 180.0, north), (-180.0, south, east - 360, north)]


def on_land(outline: Outline) -> Outline:
    """The boxes cut to their land; those without any are left out. See `pipeline.events.land_mask`."""
    boxes, reasons = [], list(outline.reasons)
    for each in outline.boxes:
        part = land_bounds(each)
        if part is None or part[0] >= part[2] or part[1] >= part[3]:
            reasons.append(f"left out without land: {_shown(each)}")
            continue
        boxes.append(part)
        if _km2(part) < CUT_SHARE * _km2(each):
            reasons.append(
                f"cut to land, in cells of {CELL_DEG:g} degrees: {_shown(each)} became {_shown(part)}"
            )
    return outline.model_copy(update={"boxes": tuple(boxes), "reasons": tuple(reasons)})


def divided(outline: Outline, most_km2: float) -> Outline:
    """The same with each box that is larger than `most_km2` in equal parts."""
    boxes: list[Bounds] = []
    for each in outline.boxes:
        count = max(1, math.ceil(_km2(each) / most_km2))
        west, south, east, north = each
        wide = (east - west) * math.cos(math.radians((south + north) / 2)) / (north - south)
        columns = max(1, min(count, round(math.sqrt(count * wide))))
        rows = math.ceil(count / columns)
        for row in range(rows):
            for column in range(columns):
                boxes.append(
                    (
                        west + (east - west) * column / columns,
                        north - (north - south) * (row + 1) / rows,
                        west + (east - west) * (column + 1) / columns,
                        north - (north - south) * row / rows,
                    )
                )
    if len(boxes) == len(outline.boxes):
        return outline
    line = f"divided into {len(boxes)} areas: one may have {most_km2:,.0f} km² at most"
    return outline.model_copy(update={"boxes": tuple(boxes), "reasons": (*outline.reasons, line)})


def _km2(bounds: Bounds) -> float:
    square_metres: float = Geod(ellps="WGS84").geometry_area_perimeter(box(*bounds))[0]
    return abs(square_metres) / 1e6


def _shown(bounds: Sequence[float]) -> str:
    return ", ".join(f"{value:.3f}" for value in bounds)
