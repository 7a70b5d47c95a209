"""The layers of a release's GeoPackage: landslides, ground that was not analysed, the area, the passes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
from affine import Affine
from pyproj.exceptions import ProjError
from rasterio.enums import Resampling
from rasterio.features import shapes, sieve
from shapely import get_coordinates, unary_union
from shapely.errors import ShapelyError
from shapely.geometry import MultiPolygon, shape

from model.bundle.markdown import one_line
from model.detector.pass_status import WORDS
from model.releases.categories import (
    CLASS_COLOURS,
    FLAG_COLOURS,
    LIKELIHOODS,
    NO_DATA,
    OTHER,
    STATUS_COLOURS,
    STRENGTHS,
    VALIDITY_NAME,
)
from model.releases.finished_map import FinishedMap
from model.releases.polygon_attributes import ALIASES
from model.releases.styles.qgis_style import Fill, polygon_style
from model.reviews.reviewed_polygons import ACCEPTED, EDITED, REJECTED, UNREVIEWED

LARGEST_PX = 1000
"""side of the raster by which ground that was not analysed is outlined"""
REVIEW = "review"
VERDICTS = (UNREVIEWED, ACCEPTED, REJECTED, EDITED)
"""that QGIS offers for that column"""
REJECTED_COLOUR, EDITED_COLOUR = "#636363", "#1b7837"
SMALLEST_M2 = 10_000.0
"""smaller parts are left out of the outlines; the raster has them"""


@dataclass(frozen=True)
class Layer:
    """One layer of the GeoPackage."""

    name: str
    title: str
    ems: str
    """name of the same thing in Copernicus EMS Rapid Mapping
    (https://emergency.copernicus.eu/mapping/book/export/html/138109)"""
    geometry: str
    frame: gpd.GeoDataFrame
    aliases: dict[str, str]
    column: str
    """by whose values it is drawn; empty: all alike"""
    fills: tuple[Fill, ...]

    @property
    def drawn_by(self) -> list[str]:
        """Of each row, the value by which it is drawn: that of the column, or what a person said of it."""
        return self.drawn_of(self.frame)

    def drawn_of(self, frame: gpd.GeoDataFrame) -> list[str]:
        """The same of some of the rows."""
        if self.column not in frame:
            return [""] * len(frame)
        values = [str(value) for value in frame[self.column]]
        if REVIEW not in frame:
            return values
        return [
            said if said in (REJECTED, EDITED) else value
            for said, value in zip(frame[REVIEW], values, strict=True)
        ]

    @property
    def style(self) -> list[Any]:
        """QGIS's elements of the layer's style."""
        columns = [name for name in self.frame.columns if name != "geometry"]
        reviewed = bool(self.column) and REVIEW in columns
        by = (
            f'CASE WHEN "{REVIEW}" IN (\'{REJECTED}\', \'{EDITED}\') THEN "{REVIEW}" ELSE "{self.column}" END'
            if reviewed and self.name == "landslides"
            else self.column
        )
        return polygon_style(
            by,
            self.fills,
            {name: self.aliases.get(name, name) for name in columns},
            {REVIEW: VERDICTS} if reviewed else {},
            "id" if self.name == "landslides" else "",
        )


def layers_of(finished: FinishedMap) -> tuple[Layer, ...]:
    """The layers in the order in which they are drawn, the topmost first."""
    makers: tuple[Callable[[FinishedMap], Layer], ...] = (_landslides, _not_analysed, _area, _passes)
    return tuple(make(finished) for make in makers)


def _landslides(finished: FinishedMap) -> Layer:
    if finished.by_model:
        column, names = "probability_class", [words for _, words in LIKELIHOODS]
        fills = [Fill(value=name, label=name, colour=CLASS_COLOURS[name], opacity=150) for name in names]
    elif "status_words" in finished.frame:
        column = "status_words"
        fills = [
            Fill(value=WORDS[value], label=WORDS[value], colour=colour, opacity=150)
            for value, colour in STATUS_COLOURS.items()
        ]
    else:
        column, names = "score_class", [words for _, words in STRENGTHS]
        fills = [Fill(value=name, label=name, colour=CLASS_COLOURS[name], opacity=150) for name in names]
    fills.append(
        Fill(
            value=REJECTED, label="rejected by a person", colour=REJECTED_COLOUR, pattern="no", outline=REJECTED_COLOUR,
            outline_style="dot",
        )
    )  # fmt: skip
    fills.append(Fill(value=EDITED, label="outline by a person", colour=EDITED_COLOUR, opacity=150))
    title = f"Landslides ({finished.record.review_state})"
    return Layer(
        "landslides", title, "observedEventA", "Polygon", finished.frame, ALIASES, column, tuple(fills)
    )


def _not_analysed(finished: FinishedMap) -> Layer:
    frame = _not_analysed_ground(finished)
    fills = tuple(
        Fill(
            value=words, label=words, colour=FLAG_COLOURS.get(flag, OTHER), pattern="b_diagonal",
            outline=FLAG_COLOURS.get(flag, OTHER),
        )
        for flag, words in finished.flag_meanings.items()
        if words in set(frame["reason"])
    )  # fmt: skip
    return Layer(
        "not_analysed", "Not analysed", "notAnalysedA", "MultiPolygon", frame,
        {"reason": "Why", "area_km2": "Area, km²", "outlined_m": "Outlined with blocks of, m"}, "reason", fills,
    )  # fmt: skip


def _not_analysed_ground(finished: FinishedMap) -> gpd.GeoDataFrame:
    """One row a reason: outlines of the validity raster, coarser where the scene is large."""
    with rasterio.open(finished.folder / f"{VALIDITY_NAME}.tif") as file:
        step = max(1, math.ceil(max(file.height, file.width) / LARGEST_PX))
        size = math.ceil(file.height / step), math.ceil(file.width / step)
        flags = file.read(1, out_shape=size, resampling=Resampling.nearest)
        scale = Affine.scale(file.width / size[1], file.height / size[0])
        pixel = finished.reference.pixel_m[0] * step
    main = np.zeros_like(flags)
    for flag in reversed(FLAG_COLOURS):
        main[(flags & flag > 0) & (flags != NO_DATA)] = flag
    main = sieve(main, max(2, round(SMALLEST_M2 / (finished.reference.pixel_area_m2 * step**2))))
    parts: dict[int, list[Any]] = {}
    for outline, value in shapes(main, mask=main > 0, transform=finished.reference.affine @ scale):
        parts.setdefault(int(value), []).append(shape(outline))
    known = [flag for flag in finished.flag_meanings if flag in parts]
    grounds = [_multi(unary_union(parts[flag])) for flag in known]
    return gpd.GeoDataFrame(
        {
            "reason": np.array([finished.flag_meanings[flag] for flag in known], dtype=object),
            "area_km2": np.array([round(ground.area / 1e6, 3) for ground in grounds], dtype=np.float64),
            "outlined_m": np.full(len(known), pixel),
        },
        geometry=grounds,
        crs=finished.reference.crs.to_wkt(),
    )


def _multi(ground: Any) -> MultiPolygon:
    return ground if isinstance(ground, MultiPolygon) else MultiPolygon([ground])


def _area(finished: FinishedMap) -> Layer:
    facts, event = finished.facts, finished.selection.event
    frame = gpd.GeoDataFrame(
        {
            "name": [one_line(facts.area)],
            "event_start": [event.start],
            "event_end": [event.end],
            "cube_version": ["unknown" if facts.version is None else str(facts.version)],
            "cube_digest": [facts.digest],
            "simulated": [finished.record.simulated],
            "review": [finished.record.review_state],
            **{name: [value] for name, value in _quake(finished).items()},
            **({"event_place": [place]} if (place := one_line(finished.event.place)) else {}),
            "expected": [one_line(finished.record.expected_words)],
            "licence": [one_line(facts.licence)],
            "attribution": [one_line(facts.attribution)],
        },
        geometry=[finished.extent],
        crs=finished.reference.crs.to_wkt(),
    )
    aliases = {
        "name": "Area", "event_start": "Event from (UTC)", "event_end": "Event to (UTC)",
        "cube_version": "Cube version", "cube_digest": "Cube digest",
        "simulated": "Simulated", "review": "Review", "magnitude": "Magnitude", "depth_km": "Depth, km",
        "epicentre_longitude": "Longitude of the epicentre, degrees",
        "epicentre_latitude": "Latitude of the epicentre, degrees",
        "event_place": "Place of the event, as its source names it", "licence": "Licence",
        "attribution": "Attribution", "expected": "How good such a map is",
    }  # fmt: skip
    fill = Fill(value="", label="Area", colour="#000000", pattern="no", outline="#000000", width_mm=0.5)
    return Layer("area", "Area", "areaOfInterestA", "Polygon", frame, aliases, "", (fill,))


def _quake(finished: FinishedMap) -> dict[str, float]:
    """The earthquake's figures where they are known."""
    event = finished.event
    longitude, latitude = event.epicentre or (None, None)
    found = {
        "magnitude": event.magnitude, "depth_km": event.depth_km, "epicentre_longitude": longitude,
        "epicentre_latitude": latitude,
    }  # fmt: skip
    return {name: float(value) for name, value in found.items() if value is not None}


def _reach(finished: FinishedMap, name: str) -> MultiPolygon:
    """How far a pass reaches, in the map's coordinates."""
    geometry = finished.footprints.get(name)
    if geometry is not None:
        try:
            found = (
                gpd.GeoSeries([shape(geometry)], crs="EPSG:4326")
                .to_crs(finished.reference.crs.to_wkt())
                .iloc[0]
            )
            if np.isfinite(get_coordinates(found)).all() and found.geom_type in ("Polygon", "MultiPolygon"):
                return _multi(found)
        except (ProjError, ShapelyError, ValueError, TypeError, KeyError):
            pass
    return _multi(finished.extent)


def _passes(finished: FinishedMap) -> Layer:
    """The passes that the map is made of, with the names that Copernicus EMS has for sources.

    The geometry is the footprint of the pass where the cube's catalogue has it, else the area.
    """
    rows: list[dict[str, Any]] = [
        {
            "src_id": used.index,
            "source_nam": one_line(used.platform or "Sentinel-1"),
            "src_date": used.instant,
            "eventphase": phase,
            "sensor_gsd": round(finished.reference.pixel_m[0], 2),
            "track": one_line(view.track),
            "direction": one_line(view.direction),
            "pass_id": one_line(used.id),
            "valid_share": round(used.valid, 4),
        }
        for view in finished.selection.every_view
        for phase, passes in (("Pre-event", view.before), ("Post-event", view.after))
        for used in passes
    ]
    rows.sort(key=lambda row: row["src_date"])
    frame = gpd.GeoDataFrame(
        {name: [row[name] for row in rows] for name in rows[0]},
        geometry=[_reach(finished, row["pass_id"]) for row in rows],
        crs=finished.reference.crs.to_wkt(),
    )
    aliases = {
        "src_id": "Number in the cube", "source_nam": "Satellite", "src_date": "Acquired (UTC)",
        "eventphase": "Before or after the event", "sensor_gsd": "Pixel, m", "track": "Track", "direction": "Direction",
        "pass_id": "Name of the pass", "valid_share": "Share of the area with data",
    }  # fmt: skip
    fill = Fill(
        value="", label="Passes", colour="#000000", pattern="no", outline="#7570b3", outline_style="dash"
    )
    return Layer("passes", "Passes", "imageFootprintA", "MultiPolygon", frame, aliases, "", (fill,))
