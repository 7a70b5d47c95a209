"""The objects of the detector as polygons, each with its status over the passes after the event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import geopandas as gpd
import numpy as np
from rasterio.features import shapes
from shapely.geometry import shape

from model.detector.detection import Detection
from model.detector.pass_status import WORDS, at_least_first
from model.detector.scene_views import in_order
from model.inputs.cubes import Georeference

COLUMNS: dict[str, str] = {
    "id": "int64",
    "mean_score": "float64",
    "max_score": "float64",
    "area_m2": "float64",
    "pixels": "int64",
    "status": "int64",
    "status_words": "str",
    "passes_seen": "int64",
    "passes_looked": "int64",
    "first_seen": "str",
    "last_seen": "str",
    "passes_before": "int64",
    "passes_after": "int64",
    "track": "str",
    "newest_pass": "str",
    "days_since_event": "float64",
    "threshold": "float64",
    "false_share": "float64",
    "false_low": "float64",
    "false_high": "float64",
    "events": "int64",
    "simulated": "bool",
    "review": "str",
}
"""attributes of a polygon and their types"""


def object_polygons(
    detection: Detection, reference: Georeference, attributes: Mapping[str, Any]
) -> gpd.GeoDataFrame:
    """One polygon for each object, in the order of their numbers.

    Args:
        attributes: what all polygons share; those that are no column are left out.

    Returns:
        The columns of `COLUMNS`; no row where there is no object.
    """
    count = detection.count
    passes = detection.object_status()
    status = at_least_first(passes.status())
    inside = detection.objects > 0
    of = detection.objects[inside]
    scores = np.asarray(detection.score[inside], dtype=np.float64)
    pixels = np.bincount(of, minlength=count + 1)[1:]
    means = np.bincount(of, weights=scores, minlength=count + 1)[1:] / np.maximum(pixels, 1)
    largest = np.zeros(count + 1)
    np.maximum.at(largest, of, scores)
    instants = _instants(detection)
    shared = {name: value for name, value in attributes.items() if name in COLUMNS}
    rows: list[dict[str, Any]] = []
    geometries = []
    for found, number in _outlines(detection, reference):
        at = number - 1
        rows.append(
            {
                "id": number,
                "mean_score": float(means[at]),
                "max_score": float(largest[number]),
                "area_m2": float(found.area),
                "pixels": int(pixels[at]),
                "status": int(status[at]),
                "status_words": WORDS[int(status[at])],
                "passes_seen": int(passes.seen[at]),
                "passes_looked": int(passes.looked[at]),
                "first_seen": instants[int(passes.first[at])],
                "last_seen": instants[int(passes.last[at])],
                "threshold": float(detection.detector.statistics.thresholds.landslide),
                **shared,
            }
        )
        geometries.append(found)
    columns = {name: [row[name] for row in rows] for name in COLUMNS}
    frame = gpd.GeoDataFrame(columns, geometry=geometries, crs=reference.crs.to_wkt())
    return frame.astype({name: kind for name, kind in COLUMNS.items() if kind != "str"})


def _outlines(detection: Detection, reference: Georeference) -> list[tuple[Any, int]]:
    """The polygon and the number of each object, by number."""
    found = shapes(detection.objects, mask=detection.objects > 0, connectivity=4, transform=reference.affine)
    return sorted(((shape(outline), int(number)) for outline, number in found), key=lambda pair: pair[1])


def _instants(detection: Detection) -> dict[int, str]:
    """The instant of each pass after the event by its number in order; -1: no pass."""
    views = detection.detector.selection.every_view
    order = in_order(detection.detector.selection)
    found = {
        number: views[view].after[position].instant.isoformat()
        for number, (view, position) in enumerate(order)
    }
    return {**found, -1: ""}
