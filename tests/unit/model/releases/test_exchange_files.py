"""GeoJSON, KML and PMTiles hold the same polygons, in degrees, with text from outside as text."""

from __future__ import annotations

import json
from dataclasses import replace

import geopandas as gpd
import pyogrio
import pytest
from lxml import etree
from shapely.geometry import Polygon, shape

from model.releases.exchange_files import GEOJSON, KML, PMTILES, write_exchange_files
from model.releases.vector_layers import layers_of
from tests.unit.model.releases.conftest import HOSTILE

SPACE = {"k": "http://www.opengis.net/kml/2.2"}


def polygons(folder):
    return gpd.read_file(folder / "landslides.gpkg", layer="landslides").to_crs(4326)


def test_geojson_is_that_of_rfc_7946(folder):
    document = json.loads((folder / GEOJSON).read_text())
    assert document["type"] == "FeatureCollection" and "crs" not in document
    assert len(document["features"]) == len(polygons(folder))
    for feature, expected in zip(document["features"], polygons(folder).geometry, strict=True):
        ring = feature["geometry"]["coordinates"][0]
        assert Polygon(ring).exterior.is_ccw, "the outer ring runs counterclockwise"
        assert shape(feature["geometry"]).symmetric_difference(expected).area < 0.02 * expected.area
        assert feature["properties"]["first_seen"].endswith("Z")
    assert "\u202e" not in document["description"] and "unreviewed" in document["description"]


def test_kml_has_colours_and_names_for_people(folder):
    root = etree.parse(folder / KML)
    marks = root.findall(".//k:Placemark", SPACE)
    assert len(marks) == len(polygons(folder))
    styles = {f"#{one.get('id')}" for one in root.findall(".//k:Style", SPACE)}
    assert {mark.findtext("k:styleUrl", namespaces=SPACE) for mark in marks} <= styles
    names = {one.text for one in marks[0].findall(".//k:displayName", SPACE)}
    assert {"Status over the passes", "Longitude, degrees"} <= names
    assert pyogrio.read_info(folder / KML)["features"] == len(marks)
    title = root.findtext("k:Document/k:name", namespaces=SPACE)
    assert "<script>alert(1)</script>]]>" in title and "\x07" not in title and "\u202e" not in title
    assert not root.findall(".//k:script", SPACE)


def test_tiles_hold_the_polygons_up_to_zoom_12(folder):
    info = pyogrio.read_info(folder / PMTILES)
    assert info["driver"] == "PMTiles" and {"id", "status_words", "area_m2"} <= set(info["fields"])
    assert len(gpd.read_file(folder / PMTILES)) >= len(polygons(folder))


def test_without_a_polygon_there_are_empty_files_and_no_tiles(made, tmp_path):
    finished = replace(made[0], frame=made[0].frame.iloc[:0])
    layers = layers_of(finished)
    write_exchange_files(replace(finished, folder=tmp_path), layers[0])
    assert json.loads((tmp_path / GEOJSON).read_text())["features"] == []
    assert not etree.parse(tmp_path / KML).findall(".//k:Placemark", SPACE)
    assert not (tmp_path / PMTILES).exists()


@pytest.mark.parametrize("name", [HOSTILE, "a & b < c", "]]>", "\ud800 half a character"])
def test_a_value_is_text_in_every_format(made, tmp_path, name):
    frame = made[0].frame.assign(track=name.encode("utf-8", "replace").decode())
    finished = replace(made[0], frame=frame)
    write_exchange_files(replace(finished, folder=tmp_path), layers_of(finished)[0])
    assert json.loads((tmp_path / GEOJSON).read_text())["features"][0]["properties"]["track"]
    assert len(etree.parse(tmp_path / KML).findall(".//k:Placemark", SPACE)) == len(frame)
