"""Landslide polygons: the features of an inventory that count, valid and projected, and the outcome of each."""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from shapely import GeometryType

from pipeline.areas.area import Inventory
from pipeline.errors import SourceDataError, number_of
from pipeline.grid import Grid
from pipeline.layers.outlines.deciding_attributes import counted_features
from pipeline.layers.outlines.reprojection import Geometries, Outcomes, to_grid

MAX_OUTLINE_STEPS = 200_000
"""An outline longer than this many steps (of 0.01 degrees, or 1000 units) is no landslide's."""
_POLYGONS = (GeometryType.POLYGON, GeometryType.MULTIPOLYGON)
_POINTS = (GeometryType.POINT, GeometryType.MULTIPOINT)
_LINES = (GeometryType.LINESTRING, GeometryType.LINEARRING, GeometryType.MULTILINESTRING)


def counted_polygons(
    frame: gpd.GeoDataFrame, inventory: Inventory, grid: Grid
) -> tuple[gpd.GeoDataFrame, dict[str, Any]]:
    """The landslides that count, as valid polygons in the grid's CRS that meet the grid, and a report.

    In this order: features of other classes or days are left out; empty, unreadable, not finite or impossible
    geometry is refused; of equal geometries one is kept; features far from the grid are left out; the rest is
    projected with the best installed datum transformation (never one that ignores the datum), points become discs
    of the stated radius, invalid polygons are repaired (GEOS "structure": rings are areas, holes are holes), and
    of collections the polygons are kept. Adds the columns "class", "source_feature" and "area_m2".

    Raises:
        SourceDataError: a deciding attribute is missing, no feature counts, lines or points without a radius are
            among those that count, the datum cannot be transformed, or nothing meets the grid and the inventory may not
            be empty.
    """
    outcomes = Outcomes()
    outcomes.counts["features_read"] = len(frame)
    frame = counted_features(frame, inventory, outcomes)
    frame = _sound(frame, outcomes)
    _check_kinds(frame, inventory)
    frame = _repair(_distinct(frame, outcomes), outcomes)
    frame = _repair(to_grid(frame, grid, outcomes), outcomes)
    frame = _as_polygons(frame, inventory.point_radius_m, outcomes)
    box = shapely.box(*grid.bounds)
    meets = shapely.intersects(frame.geometry.values, box) & ~shapely.touches(frame.geometry.values, box)
    outcomes.counts["outside_the_area"] += int((~meets).sum())
    frame = frame[meets]
    if frame.empty and not inventory.may_be_empty:
        raise SourceDataError(
            f"No landslide of inventory {inventory.name!r} meets the area ({_reasons(outcomes)}).",
            "Check that the inventory belongs to the area and that its CRS is right.",
        )
    frame = frame.assign(area_m2=frame.geometry.area)
    outcomes.counts["polygons_counted"] = len(frame)
    return frame, outcomes.report()


def extent_on_grid(frame: gpd.GeoDataFrame, grid: Grid) -> shapely.Geometry:
    """The union of the polygons of a mapped extent, in the grid's CRS; empty where none is near the grid.

    Points and lines are left out; the polygons of collections are taken.

    Raises:
        SourceDataError: a feature cannot be read, no feature covers an area, or the CRS cannot be transformed.
    """
    outcomes = Outcomes()
    frame = _sound(frame[~shapely.is_missing(frame.geometry.values)], outcomes)
    if outcomes.refused:
        name, reason = next(iter(outcomes.refused.items()))
        raise SourceDataError(
            f"The mapped extent has a feature that cannot be used ({name}: {reason}).",
            "Correct or remove it.",
        )
    kinds = shapely.get_type_id(frame.geometry.values)
    frame = _repair(frame[~np.isin(kinds, (*_POINTS, *_LINES))], outcomes)
    whole = _as_polygons(frame, None, Outcomes())
    if whole.empty:
        raise SourceDataError("The mapped extent holds no polygon.", "Give a polygon, or a file of polygons.")
    frame = _as_polygons(_repair(to_grid(whole, grid, outcomes), outcomes), None, outcomes)
    return shapely.union_all(frame.geometry.values)


def _reasons(outcomes: Outcomes) -> str:
    numbers = {k: v for k, v in outcomes.counts.items() if isinstance(v, int) and v}
    numbers["refused"] = len(outcomes.refused)
    first = next(iter(outcomes.refused.values()), None)
    return ", ".join(f"{k}: {v}" for k, v in numbers.items()) + (
        f", the first refused for: {first}" if first else ""
    )


def _sound(frame: gpd.GeoDataFrame, outcomes: Outcomes) -> gpd.GeoDataFrame:
    """The features with coordinates that are present, finite and possible; Z and M are dropped."""
    geometry: Geometries = shapely.force_2d(np.asarray(frame.geometry.values, dtype=object))
    why = np.full(len(frame), "", dtype=object)
    why[shapely.is_missing(geometry) | shapely.is_empty(geometry)] = "it has no geometry that can be read"
    points, owner = shapely.get_coordinates(geometry, return_index=True)
    why[np.unique(owner[~np.isfinite(points).all(axis=1)])] = "coordinates that are not finite"
    if frame.crs.is_geographic:
        limits, step, words = (360.0, 90.0), 0.01, "degrees that do not exist; is the CRS right?"
    else:
        limits, step, words = (1e8, 1e8), 1000.0, f"coordinates outside {frame.crs.name}"
    with np.errstate(invalid="ignore"):
        beyond = np.unique(owner[(np.abs(points) > np.array(limits)).any(axis=1)])
    why[beyond[why[beyond] == ""]] = words
    good = why == ""
    why[good & (shapely.length(_only(geometry, good)) > MAX_OUTLINE_STEPS * step)] = (
        "an outline longer than any landslide's"
    )
    if frame.crs.is_geographic:
        parts, owner = shapely.get_parts(_only(geometry, why == ""), return_index=True)
        bounds = shapely.bounds(parts)
        why[np.unique(owner[bounds[:, 2] - bounds[:, 0] > 180])] = (
            "a part of it spans more than 180 degrees of longitude; cut it there"
        )
    for name, reason in zip(frame.index, why, strict=True):
        if reason:
            outcomes.refused[str(name)] = reason
    good = why == ""
    return frame.set_geometry(gpd.GeoSeries(geometry, index=frame.index, crs=frame.crs))[good]


def _only(geometry: Geometries, chosen: NDArray[np.bool_]) -> Geometries:
    """The chosen geometries, None instead of the others."""
    kept = geometry.copy()
    kept[~chosen] = None
    return kept


def _check_kinds(frame: gpd.GeoDataFrame, inventory: Inventory) -> None:
    kinds = shapely.get_type_id(frame.geometry.values)
    lines = int(np.isin(kinds, _LINES).sum())
    if lines:
        raise SourceDataError(
            f"Inventory {inventory.name!r} has {number_of(lines, 'line')} among {len(frame)} features; "
            "a line has no area.",
            "Choose the layer with polygons, or leave lines out by class_field.",
        )
    points = int(np.isin(kinds, _POINTS).sum())
    if points and inventory.point_radius_m is None:
        raise SourceDataError(
            f"Inventory {inventory.name!r} has {number_of(points, 'point')} among {len(frame)} features; "
            "a point has no area.",
            "State point_radius_m in the area file, or choose the layer with polygons.",
        )


def _distinct(frame: gpd.GeoDataFrame, outcomes: Outcomes) -> gpd.GeoDataFrame:
    keys = pd.Series(
        shapely.to_wkb(shapely.normalize(frame.geometry.values)), index=frame.index, dtype=object
    )
    again = keys.duplicated().to_numpy()
    outcomes.counts["duplicates_dropped"] = int(again.sum())
    return frame[~again]


def _repair(frame: gpd.GeoDataFrame, outcomes: Outcomes) -> gpd.GeoDataFrame:
    """Valid geometry. Before vertices are added (GEOS would drop parts in silence) and again once projected."""
    geometry = np.asarray(frame.geometry.values, dtype=object).copy()
    invalid = ~shapely.is_valid(geometry)
    geometry[invalid] = shapely.make_valid(geometry[invalid], method="structure", keep_collapsed=False)
    named = (str(name) for name in frame.index[invalid])
    outcomes.repaired.extend(name for name in named if name not in outcomes.repaired)
    return frame.set_geometry(gpd.GeoSeries(geometry, index=frame.index, crs=frame.crs))


def _as_polygons(
    frame: gpd.GeoDataFrame, point_radius_m: float | None, outcomes: Outcomes
) -> gpd.GeoDataFrame:
    """Points as discs, and the polygons of collections; features that cover no area are refused."""
    geometry = np.asarray(frame.geometry.values, dtype=object).copy()
    names = np.array([str(name) for name in frame.index], dtype=object)
    kinds = shapely.get_type_id(geometry)
    points = np.isin(kinds, _POINTS)
    if points.any():
        geometry[points] = shapely.buffer(geometry[points], point_radius_m, quad_segs=32)
    outcomes.counts["points_given_radius"] = int(points.sum())
    mixed = shapely.get_type_id(geometry) == GeometryType.GEOMETRYCOLLECTION
    for i in np.flatnonzero(mixed):
        geometry[i] = shapely.union_all(_polygon_parts(geometry[i]))
    covering = np.isin(shapely.get_type_id(geometry), _POLYGONS) & (shapely.area(geometry) > 0)
    outcomes.counts["collections_reduced_to_polygons"] = int(
        np.count_nonzero(covering & (kinds == GeometryType.GEOMETRYCOLLECTION))
    )
    for name in names[~covering]:
        outcomes.refused[name] = "it covers no area, even repaired"
    frame = frame.set_geometry(gpd.GeoSeries(geometry, index=frame.index, crs=frame.crs))
    return frame.assign(source_feature=names)[covering]


def _polygon_parts(geometry: shapely.Geometry) -> list[shapely.Geometry]:
    parts: list[shapely.Geometry] = []
    for part in shapely.get_parts(geometry):
        kind = shapely.get_type_id(part)
        if kind == GeometryType.GEOMETRYCOLLECTION:
            parts.extend(_polygon_parts(part))
        elif kind in _POLYGONS:
            parts.append(part)
    return parts
