"""Landslide polygons: the features of an inventory that count, valid and projected, and the outcome of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.aoi import AreaOfInterest as AreaOfUse
from pyproj.transformer import TransformerGroup
from shapely import GeometryType

from pipeline.area import Inventory
from pipeline.errors import SourceDataError, number_of
from pipeline.grid import Grid

NAMED = 50
"""This many features are named one by one in the report; all are counted."""
FAR_M = 100_000.0
"""Polygons are cut at this distance from the grid before they are projected."""
MAX_OUTLINE_STEPS = 200_000
"""An outline longer than this many steps (of 0.01 degrees, or 1000 units) is no landslide's."""
_POLYGONS = (GeometryType.POLYGON, GeometryType.MULTIPOLYGON)
_POINTS = (GeometryType.POINT, GeometryType.MULTIPOINT)
_LINES = (GeometryType.LINESTRING, GeometryType.LINEARRING, GeometryType.MULTILINESTRING)

Geometries = NDArray[np.object_]
Bounds = tuple[float, float, float, float]


@dataclass
class Outcomes:
    """The outcome of the features: which were refused or repaired, and counts of all."""

    refused: dict[str, str] = field(default_factory=dict)
    """feature id: why"""
    repaired: list[str] = field(default_factory=list)
    counts: dict[str, Any] = field(default_factory=dict)

    def report(self) -> dict[str, Any]:
        """JSON-able counts; the first `NAMED` refused and repaired features by id."""
        return {
            **self.counts,
            "refused": len(self.refused),
            "refused_features": [{"feature": k, "why": v} for k, v in list(self.refused.items())[:NAMED]],
            "repaired": len(self.repaired),
            "repaired_features": self.repaired[:NAMED],
        }


def counted_polygons(
    frame: gpd.GeoDataFrame, inventory: Inventory, grid: Grid
) -> tuple[gpd.GeoDataFrame, dict[str, Any]]:
    """The landslides that count, as valid polygons in the grid's CRS that meet the grid, and a report.

    In this order: features of other classes are left out; empty, unreadable, not finite or impossible
    geometry is refused; of equal geometries one is kept; features far from the grid are left out; the rest is
    projected with the best installed datum transformation (never one that ignores the datum), points become discs
    of the stated radius, invalid polygons are repaired (GEOS "structure": rings are areas, holes are holes), and
    of collections the polygons are kept. Adds the columns "class", "source_feature" and "area_m2".

    Raises:
        SourceDataError: the class attribute is missing, no feature counts, lines or points without a radius are
            among those that count, the datum cannot be transformed, or nothing meets the grid.
    """
    outcomes = Outcomes()
    outcomes.counts["features_read"] = len(frame)
    frame = _of_class(frame, inventory, outcomes)
    frame = _sound(frame, outcomes)
    _check_kinds(frame, inventory)
    frame = _repair(_distinct(frame, outcomes), outcomes)
    bounds_deg = _grid_in_degrees(grid)
    forward, description = _operation(frame.crs, grid, bounds_deg)
    outcomes.counts["datum_transformation"] = description
    frame = _near(frame, forward, grid, outcomes)
    frame = _projected(frame, forward, grid)
    frame = _as_polygons(_repair(frame, outcomes), inventory, outcomes)
    box = shapely.box(*grid.bounds)
    meets = shapely.intersects(frame.geometry.values, box) & ~shapely.touches(frame.geometry.values, box)
    outcomes.counts["outside_the_area"] += int((~meets).sum())
    frame = frame[meets]
    if frame.empty:
        raise SourceDataError(
            f"No landslide of inventory {inventory.name!r} meets the area ({_reasons(outcomes)}).",
            "Check that the inventory belongs to the area and that its CRS is right.",
        )
    frame = frame.assign(area_m2=frame.geometry.area)
    outcomes.counts["polygons_counted"] = len(frame)
    return frame, outcomes.report()


def _reasons(outcomes: Outcomes) -> str:
    numbers = {k: v for k, v in outcomes.counts.items() if isinstance(v, int) and v}
    numbers["refused"] = len(outcomes.refused)
    first = next(iter(outcomes.refused.values()), None)
    return ", ".join(f"{k}: {v}" for k, v in numbers.items()) + (
        f", the first refused for: {first}" if first else ""
    )


def _key(value: object) -> str | None:
    """One text for 1, 1.0, '1' and ' 1'; None for what is missing."""
    if value is None or (isinstance(value, float) and np.isnan(value)) or value is pd.NA:
        return None
    text = str(value).strip()
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if np.isfinite(number) and number == int(number) else text


def _of_class(frame: gpd.GeoDataFrame, inventory: Inventory, outcomes: Outcomes) -> gpd.GeoDataFrame:
    if inventory.class_field is None:
        outcomes.counts["by_class"] = {"new": len(frame)}
        return frame.assign(**{"class": "new"})
    attributes = [c for c in frame.columns if c != frame.geometry.name]
    if inventory.class_field not in attributes:
        raise SourceDataError(
            f"Inventory {inventory.name!r} has no attribute {inventory.class_field!r}.",
            f"Its attributes are: {', '.join(map(str, attributes)) or 'none'}. Correct class_field.",
        )
    meaning = {_key(value): name for name, values in inventory.classes.items() for value in values}
    keys = [_key(value) for value in frame[inventory.class_field]]
    names = np.array([meaning.get(key, "unlisted") for key in keys], dtype=object)
    found, numbers = np.unique(names.astype(str), return_counts=True)
    outcomes.counts["by_class"] = dict(zip(found.tolist(), numbers.tolist(), strict=True))
    unlisted = pd.Series([str(k) for k, n in zip(keys, names, strict=True) if n == "unlisted"], dtype=object)
    if len(unlisted):
        outcomes.counts["unlisted_class_values"] = {
            str(k): int(v) for k, v in unlisted.value_counts().head(NAMED).items()
        }
    counts = np.isin(names.astype(str), inventory.count)
    if not counts.any():
        values = ", ".join(sorted({str(k) for k in keys})[:20])
        raise SourceDataError(
            f"No feature of inventory {inventory.name!r} is of class {' or '.join(inventory.count)}.",
            f"{inventory.class_field} holds: {values}. Correct classes or count.",
        )
    return frame.assign(**{"class": names})[counts]


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
        bounds = shapely.bounds(_only(geometry, why == ""))
        why[(why == "") & (bounds[:, 2] - bounds[:, 0] > 180)] = "it spans more than 180 degrees of longitude"
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


def _grid_in_degrees(grid: Grid) -> Bounds:
    to_degrees = Transformer.from_crs(grid.epsg, 4326, always_xy=True)
    west, south, east, north = to_degrees.transform_bounds(*grid.bounds, densify_pts=32)
    return west, south, east, north


def _operation(source: CRS, grid: Grid, bounds_deg: Bounds) -> tuple[Transformer, dict[str, Any]]:
    """The most accurate transformation to the grid's CRS at the area, and its name."""
    options: dict[str, Any] = {"always_xy": True, "allow_ballpark": False}
    flat = CRS.from_user_input(source).to_2d()
    here = AreaOfUse(*bounds_deg) if bounds_deg[0] <= bounds_deg[2] else None
    group = TransformerGroup(flat, grid.epsg, area_of_interest=here, **options)
    if not group.transformers:
        raise SourceDataError(
            f"No datum transformation leads from {flat.name} to EPSG:{grid.epsg} at the area.",
            "Check that the inventory's CRS is right for the area; if it is, transform the file with a tool that "
            "has the datum's grid.",
        )
    best: Transformer = group.transformers[0]
    lacking = [operation.name for operation in group.unavailable_operations]
    described = {"from": flat.name, "operation": best.description, "accuracy_m": best.accuracy}
    return best, {**described, "more_accurate_ones_not_installed": lacking} if lacking else described


def _near(frame: gpd.GeoDataFrame, forward: Transformer, grid: Grid, outcomes: Outcomes) -> gpd.GeoDataFrame:
    """The features near the grid. Those that reach far from it are cut, so that they can be projected."""
    pixels = int(np.ceil(FAR_M / grid.resolution_m))
    with np.errstate(all="ignore"):
        west, south, east, north = forward.transform_bounds(
            *grid.padded(pixels).bounds, densify_pts=32, direction="INVERSE"
        )
    if not np.isfinite([west, south, east, north]).all():
        raise SourceDataError(
            f"The CRS {frame.crs.name} of the inventory does not reach the area.", "Check that it is right."
        )
    geometry = frame.geometry.values
    if frame.crs.is_geographic:
        east = east + 360 if east < west else east
        bounds = shapely.bounds(geometry)
        turns = np.round(((bounds[:, 0] + bounds[:, 2]) / 2 - (west + east) / 2) / 360) * 360
        geometry = np.array(
            [shapely.affinity.translate(g, -t) if t else g for g, t in zip(geometry, turns, strict=True)],
            dtype=object,
        )
    around = shapely.box(west, south, east, north)
    bounds = shapely.bounds(geometry)
    apart = (bounds[:, 0] > east) | (bounds[:, 2] < west) | (bounds[:, 1] > north) | (bounds[:, 3] < south)
    within = (
        (bounds[:, 0] >= west) & (bounds[:, 2] <= east) & (bounds[:, 1] >= south) & (bounds[:, 3] <= north)
    )
    cut = ~apart & ~within
    geometry = np.asarray(geometry, dtype=object)
    geometry[cut] = shapely.intersection(geometry[cut], around)
    outcomes.counts["outside_the_area"] = int(apart.sum())
    outcomes.counts["cut_far_from_the_area"] = int(cut.sum())
    return frame.set_geometry(gpd.GeoSeries(geometry, index=frame.index, crs=frame.crs))[~apart]


def _projected(frame: gpd.GeoDataFrame, forward: Transformer, grid: Grid) -> gpd.GeoDataFrame:
    """In the grid's CRS; long edges, straight in the file's CRS, get vertices first."""
    step = 0.01 if frame.crs.is_geographic else 1000.0
    dense = shapely.segmentize(np.asarray(frame.geometry.values, dtype=object), step)

    def project(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(forward.transform(points[:, 0], points[:, 1]))

    moved = shapely.transform(dense, project) if len(dense) else dense
    return frame.set_geometry(gpd.GeoSeries(moved, index=frame.index, crs=f"EPSG:{grid.epsg}"))


def _as_polygons(frame: gpd.GeoDataFrame, inventory: Inventory, outcomes: Outcomes) -> gpd.GeoDataFrame:
    """Points as discs, and the polygons of collections; features that cover no area are refused."""
    geometry = np.asarray(frame.geometry.values, dtype=object).copy()
    names = np.array([str(name) for name in frame.index], dtype=object)
    kinds = shapely.get_type_id(geometry)
    points = np.isin(kinds, _POINTS)
    if points.any():
        geometry[points] = shapely.buffer(geometry[points], inventory.point_radius_m, quad_segs=32)
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
