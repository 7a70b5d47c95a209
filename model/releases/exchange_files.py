"""The polygons for other programs: GeoJSON (RFC 7946), KML with colours, PMTiles for maps on the web."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from lxml import etree
from lxml.builder import ElementMaker
from shapely.geometry import Polygon
from shapely.geometry.polygon import orient

from model.bundle.markdown import one_line
from model.releases.categories import OTHER, rgb
from model.releases.finished_map import FinishedMap
from model.releases.vector_layers import Layer

GEOJSON, KML, PMTILES = "landslides.geojson", "landslides.kml", "landslides.pmtiles"
DIGITS = 6
"""of degrees: 0.1 m"""
ON_TILES = (
    "id", "probability_class", "score_class", "status_words", "mean_probability", "mean_score", "area_m2", "first_seen",
    "last_seen", "review", "simulated",
)  # fmt: skip
"""columns of the tiles: each more makes them slower to write, and a browser loads them all"""
ON_BALLOON = (
    *ON_TILES,
    "mean_slope_deg",
    "epicentre_km",
    "longitude",
    "latitude",
    "review_who",
    "review_when",
    "review_note",
)
"""columns that a click shows in Google Earth"""
NAMESPACE = "http://www.opengis.net/kml/2.2"
K = ElementMaker(namespace=NAMESPACE, nsmap={None: NAMESPACE})


def write_exchange_files(finished: FinishedMap, layer: Layer) -> None:
    """Write the polygons of the layer `landslides` as GeoJSON, KML and PMTiles, in degrees of WGS 84."""
    frame = _plain(layer.frame.to_crs("EPSG:4326"))
    frame.to_file(
        finished.folder / GEOJSON,
        driver="GeoJSON",
        engine="pyogrio",
        RFC7946="YES",
        COORDINATE_PRECISION=DIGITS,
        layer_options={"DESCRIPTION": _words(finished)},
    )
    (finished.folder / KML).write_bytes(_kml(finished, layer, frame))
    _write_pmtiles(frame, finished.folder / PMTILES)


def _plain(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """The frame with instants as ISO 8601 text, which every format holds."""
    texts = {
        name: [value.strftime("%Y-%m-%dT%H:%M:%SZ") if pd.notna(value) else None for value in frame[name]]
        for name in frame.columns
        if name != "geometry" and isinstance(frame[name].dtype, pd.DatetimeTZDtype)
    }
    return frame.assign(
        **{name: pd.Series(value, index=frame.index, dtype=object) for name, value in texts.items()}
    )


def _write_pmtiles(frame: gpd.GeoDataFrame, target: Path) -> None:
    """Tiles of the main columns; a browser enlarges those of the last zoom. Nothing is written without a polygon, which
    the format cannot hold.
    """
    if frame.empty:
        return
    frame[[*(name for name in ON_TILES if name in frame), "geometry"]].to_file(
        target,
        driver="PMTiles",
        engine="pyogrio",
        layer="landslides",
        dataset_options={"MINZOOM": "8", "MAXZOOM": "12", "NAME": "landslides"},
    )


def _words(finished: FinishedMap) -> str:
    """One line on what the polygons are."""
    facts, record = finished.facts, finished.record
    parts = (
        finished.warning,
        f"{finished.title}: area {facts.area}, mapped from Sentinel-1 radar ({record.track})",
        record.review_state,
        facts.attribution,
        facts.licence,
    )
    return one_line(". ".join(part for part in parts if part))


def _kml(finished: FinishedMap, layer: Layer, frame: gpd.GeoDataFrame) -> bytes:
    """The polygons with the colours of the layer, and with each attribute by its name for people."""
    styles = [_kml_style(number, fill.colour) for number, fill in enumerate(layer.fills)]
    styles.append(_kml_style(len(layer.fills), OTHER))
    numbers = {fill.value: number for number, fill in enumerate(layer.fills)}
    columns = [name for name in frame.columns if name in (*ON_BALLOON, layer.column)]
    values = frame[columns].to_dict("records")
    marks = [
        K.Placemark(
            K.name(f"Landslide {row['id']}"),
            K.styleUrl(f"#c{numbers.get(by, len(layer.fills))}"),
            K.ExtendedData(
                *(
                    K.Data(K.displayName(layer.aliases.get(name, name)), K.value(text), name=name)
                    for name, value in row.items()
                    if (text := _text(value))
                )
            ),
            _kml_polygon(shape),
        )
        for row, by, shape in zip(values, layer.drawn_by, frame.geometry, strict=True)
    ]
    title = one_line(finished.title)
    document = K.Document(K.name(title), K.open("1"), K.description(_words(finished)), *styles, *marks)
    content: bytes = etree.tostring(
        K.kml(document), xml_declaration=True, encoding="UTF-8", pretty_print=True
    )
    return content


def _kml_style(number: int, colour: str) -> Any:
    """KML writes colours as opacity, blue, green, red."""
    red, green, blue = rgb(colour)
    ordered = f"{blue:02x}{green:02x}{red:02x}"
    return K.Style(
        K.LineStyle(K.color(f"ff{ordered}"), K.width("1.5")),
        K.PolyStyle(K.color(f"90{ordered}")),
        id=f"c{number}",
    )


def _kml_polygon(polygon: Polygon) -> Any:
    polygon = orient(polygon)
    holes = [K.innerBoundaryIs(_kml_ring(ring)) for ring in polygon.interiors]
    return K.Polygon(K.tessellate("1"), K.outerBoundaryIs(_kml_ring(polygon.exterior)), *holes)


def _kml_ring(ring: Any) -> Any:
    return K.LinearRing(K.coordinates(" ".join(f"{x:.{DIGITS}f},{y:.{DIGITS}f}" for x, y, *_ in ring.coords)))


def _text(value: object) -> str:
    """A value for people; empty where there is none."""
    if value is None or (isinstance(value, float | np.floating) and not math.isfinite(value)):
        return ""
    return f"{value:.6g}" if isinstance(value, float | np.floating) else one_line(value)
