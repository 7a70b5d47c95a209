"""Vector features in the grid's CRS: those near the grid, by the best datum transformation, edges kept straight."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.aoi import AreaOfInterest as AreaOfUse
from pyproj.transformer import TransformerGroup

from pipeline.areas.area import without_empty_rings
from pipeline.errors import SourceDataError
from pipeline.grid import Grid

NAMED = 50
"""This many features are named one by one in the report; all are counted."""
FAR_M = 100_000.0
"""Polygons are cut at this distance from the grid before they are projected."""

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


def to_grid(frame: gpd.GeoDataFrame, grid: Grid, outcomes: Outcomes) -> gpd.GeoDataFrame:
    """The features near the grid, in its CRS; counts and the transformation go to `outcomes`.

    The geometries are valid and finite. Those that reach far from the grid are cut. The transformation is the most
    accurate installed one at the area, never one that ignores the datum. Long edges, straight in the file's CRS, get
    vertices first.

    Raises:
        SourceDataError: no transformation leads to the grid, or the CRS does not reach the area.
    """
    bounds_deg = _grid_in_degrees(grid)
    forward, outcomes.counts["datum_transformation"] = _operation(frame.crs, grid, bounds_deg)
    return _projected(_near(frame, forward, grid, outcomes), forward, grid)


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
    geometry: Geometries = np.asarray(frame.geometry.values, dtype=object)
    if frame.crs.is_geographic:
        east = east + 360 if east < west else east
        geometry = _turned(geometry, (west + east) / 2)
    around = shapely.box(west, south, east, north)
    bounds = shapely.bounds(geometry)
    apart = (bounds[:, 0] > east) | (bounds[:, 2] < west) | (bounds[:, 1] > north) | (bounds[:, 3] < south)
    within = (
        (bounds[:, 0] >= west) & (bounds[:, 2] <= east) & (bounds[:, 1] >= south) & (bounds[:, 3] <= north)
    )
    cut = ~apart & ~within
    geometry = geometry.copy()
    geometry[cut] = shapely.intersection(geometry[cut], around)
    outcomes.counts["outside_the_area"] = int(apart.sum())
    outcomes.counts["cut_far_from_the_area"] = int(cut.sum())
    return frame.set_geometry(gpd.GeoSeries(geometry, index=frame.index, crs=frame.crs))[~apart]


def _turned(geometry: Geometries, longitude: float) -> Geometries:
    """Each part of each geometry turned by whole circles, so that it lies within 180 degrees of a longitude.

    Parts that were cut at 180 degrees (RFC 7946) are joined where they come to touch.
    """
    parts, owner = shapely.get_parts(geometry, return_index=True)
    bounds = shapely.bounds(parts)
    turns = np.round(((bounds[:, 0] + bounds[:, 2]) / 2 - longitude) / 360) * 360
    geometry = geometry.copy()
    for i in np.unique(owner[turns != 0]):
        of_one = owner == i
        moved = [
            shapely.transform(part, lambda xy, turn=turn: xy - np.array([turn, 0.0]))
            for part, turn in zip(parts[of_one], turns[of_one], strict=True)
        ]
        geometry[i] = moved[0] if len(moved) == 1 else shapely.union_all(moved)
    return geometry


def _projected(frame: gpd.GeoDataFrame, forward: Transformer, grid: Grid) -> gpd.GeoDataFrame:
    """In the grid's CRS; long edges, straight in the file's CRS, get vertices first."""
    step = 0.01 if frame.crs.is_geographic else 1000.0
    geometry = np.array([without_empty_rings(one) for one in frame.geometry.values], dtype=object)
    dense = shapely.segmentize(geometry, step)

    def project(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(forward.transform(points[:, 0], points[:, 1]))

    moved = shapely.transform(dense, project) if len(dense) else dense
    return frame.set_geometry(gpd.GeoSeries(moved, index=frame.index, crs=f"EPSG:{grid.epsg}"))
