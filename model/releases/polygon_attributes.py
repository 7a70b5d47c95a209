"""What a release adds to each polygon: its class in words, slope, place, and the fields of Copernicus EMS."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from pyproj import Geod
from rasterio.features import rasterize
from rasterio.transform import Affine

from model.bundle.markdown import one_line
from model.bundle.summaries import ReleaseRecord, ReviewSummary
from model.inputs.cubes import Georeference, shape_of
from model.releases.categories import LIKELIHOODS, STRENGTHS, class_of
from model.releases.finished_map import FinishedMap
from model.reviews.reviewed_polygons import EDITED, with_verdicts
from model.reviews.verdict import Reviews

SLOPE = "dem_slope_radians"
INSTANTS = ("first_seen", "last_seen", "newest_pass")
ROWS_PX = 512
EMS = {"event_type": "6-Mass movement", "obj_desc": "Landslide", "det_method": "Automatic extraction"}
"""Fields of the layer `observedEvent` of Copernicus EMS Rapid Mapping and their values
(https://emergency.copernicus.eu/mapping/book/export/html/138262, "Group B: Crisis information layer")."""
ALIASES = {
    "id": "Number", "probability_class": "Likelihood", "score_class": "Strength of the change",
    "status_words": "Status over the passes", "status": "Status (value)",
    "mean_probability": "Mean probability", "max_probability": "Largest probability",
    "mean_score": "Mean score", "max_score": "Largest score", "area_m2": "Area, m²", "area_ha": "Area, ha",
    "pixels": "Pixels", "first_seen": "First seen (UTC)", "last_seen": "Last seen (UTC)",
    "passes_seen": "Passes that saw it", "passes_looked": "Passes that looked",
    "mean_slope_deg": "Mean slope, degrees", "epicentre_km": "Distance to the epicentre, km",
    "event_place": "Place of the event, as its source names it",
    "longitude": "Longitude, degrees", "latitude": "Latitude, degrees", "review": "Review",
    "review_who": "Reviewed by", "review_when": "Reviewed (UTC)", "review_note": "Note of the review",
    "review_remark": "Remark on the review",
    "passes_before": "Passes before the event", "passes_after": "Passes after the event", "track": "Tracks",
    "newest_pass": "Newest pass (UTC)", "days_since_event": "Days from the event to the newest pass",
    "false_share": "Share of such polygons that was false on tested events",
    "false_low": "The same on the best event", "false_high": "The same on the worst event",
    "events": "Tested events", "threshold": "Threshold of the score", "expected_auprc": "Expected AUPRC",
    "expected_prevalence": "Prevalence where that was scored", "model": "Model", "simulated": "Simulated",
    "event_type": "Event type", "obj_desc": "Object", "det_method": "Determination method",
}  # fmt: skip
"""columns of the polygons in their order, with names for people; others follow as they are"""


def described(
    frame: gpd.GeoDataFrame, cube: xr.Dataset, reference: Georeference, record: ReleaseRecord
) -> gpd.GeoDataFrame:
    """The polygons of a map with what the cube and the map say of them, in the cube's coordinate reference system.

    Added are the class in words, the mean slope in degrees where the cube has one, longitude and latitude of a point
    inside, and the area in hectares. Instants are instants in UTC.
    """
    frame = frame.copy()
    for name in INSTANTS:
        if name in frame:
            frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601", errors="coerce")
    if record.kind == "model":
        frame["probability_class"] = _classes(frame["mean_probability"], LIKELIHOODS)
    else:
        relative = frame["mean_score"] / (record.threshold or np.nan)
        frame["score_class"] = _classes(relative, STRENGTHS)
    if SLOPE in cube:
        slope = mean_inside(cube, SLOPE, list(frame.geometry), reference)
        frame["mean_slope_deg"] = np.round(np.degrees(slope), 1)
    points = gpd.GeoSeries(frame.geometry.representative_point(), crs=frame.crs).to_crs("EPSG:4326")
    frame["longitude"], frame["latitude"] = np.round(points.x.to_numpy(), 6), np.round(points.y.to_numpy(), 6)
    frame["area_ha"] = np.round(frame["area_m2"] / 1e4, 2)
    return _ordered(frame)


def reviewed(finished: FinishedMap, reviews: Reviews | None) -> FinishedMap:
    """The map with what persons said of its polygons, as every file of the release shows it.

    Each polygon also has the distance to the epicentre in km and the event's place, where they are known, and the
    fields by which Copernicus EMS names what was mapped and how, the latter not where a person drew the outline.

    Args:
        reviews: the verdicts of the area; None: they cannot be read.
    """
    kept = Reviews(area=finished.facts.area) if reviews is None else reviews
    frame, summary = with_verdicts(finished.mapped, kept, finished.extent)
    if reviews is None:
        summary = ReviewSummary(digest="", unreviewed=len(frame))
    if (epicentre := finished.epicentre) is not None:
        places = frame["longitude"].to_numpy(), frame["latitude"].to_numpy()
        frame["epicentre_km"] = _distance_km(*places, epicentre)
    if place := one_line(finished.event.place):
        frame["event_place"] = pd.Series([place] * len(frame), index=frame.index, dtype=object)
    for name, value in EMS.items():
        frame[name] = pd.Series([value] * len(frame), index=frame.index, dtype=object)
    frame.loc[frame["review"] == EDITED, "det_method"] = None
    record = finished.record.model_copy(update={"review": summary})
    return replace(finished, frame=_ordered(frame), record=record)


def _ordered(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """The columns of `ALIASES` first."""
    first = [name for name in ALIASES if name in frame]
    rest = [name for name in frame.columns if name not in first and name != "geometry"]
    return frame[[*first, *rest, "geometry"]]


def mean_inside(
    cube: xr.Dataset, name: str, polygons: list[Any], reference: Georeference
) -> NDArray[np.float64]:
    """The mean of a variable (y, x) over the pixels whose centres lie in each polygon; NaN where none is finite.

    Rows without a polygon are not read; in memory: `ROWS_PX` rows.
    """
    count, (height, width) = len(polygons), shape_of(cube)
    total, number = np.zeros(count + 1), np.zeros(count + 1)
    pixel, top_edge = reference.pixel_m[1], reference.transform[5]
    bounds = np.array([one.bounds for one in polygons]).reshape(count, 4)
    first = np.floor((top_edge - bounds[:, 3]) / pixel)
    last = np.ceil((top_edge - bounds[:, 1]) / pixel)
    for top in range(0, height, ROWS_PX):
        bottom = min(top + ROWS_PX, height)
        inside = np.flatnonzero((last > top) & (first < bottom))
        if not inside.size:
            continue
        found = rasterize(
            [(polygons[index], int(index) + 1) for index in inside],
            out_shape=(bottom - top, width),
            transform=reference.affine @ Affine.translation(0, top),
            dtype="int32",
        )
        values = np.asarray(cube[name].isel(y=slice(top, bottom)).values, dtype=np.float64)
        known = (found > 0) & np.isfinite(values)
        total += np.bincount(found[known], weights=values[known], minlength=count + 1)
        number += np.bincount(found[known], minlength=count + 1)
    means: NDArray[np.float64] = np.where(number > 0, total / np.maximum(number, 1), np.nan)[1:]
    return means


def _classes(values: pd.Series, limits: tuple[tuple[float, str], ...]) -> pd.Series:
    return pd.Series([class_of(float(v), limits) for v in values], index=values.index, dtype=object)


def _distance_km(
    longitude: NDArray[np.float64], latitude: NDArray[np.float64], epicentre: tuple[float, float]
) -> NDArray[np.float64]:
    """Distance on the WGS 84 ellipsoid."""
    count = len(longitude)
    _, _, metres = Geod(ellps="WGS84").inv(
        longitude, latitude, np.full(count, epicentre[0]), np.full(count, epicentre[1])
    )
    found: NDArray[np.float64] = np.round(np.asarray(metres) / 1000.0, 2)
    return found
