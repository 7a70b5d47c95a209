"""The GeoPackage: layers, types, styles, names for people, what each polygon says."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
from lxml import etree
from pyproj import Geod

from model.maps.validity import MEANINGS, NO_PASS_BEFORE, TOO_FLAT
from model.releases.event_facts import EventFacts, event_facts
from model.releases.polygon_attributes import ALIASES, described, mean_inside, reviewed
from model.releases.vector_layers import layers_of
from tests.unit.model.releases.conftest import EPICENTRE, SIZE, hostile_cube

LAYERS = ["landslides", "not_analysed", "area", "passes"]


def read(folder, layer):
    return gpd.read_file(folder / "landslides.gpkg", layer=layer)


def test_four_layers_and_their_styles(folder):
    names = [name for name, _ in pyogrio.list_layers(folder / "landslides.gpkg")]
    assert names == [*LAYERS, "layer_styles"]
    with closing(sqlite3.connect(folder / "landslides.gpkg")) as database:
        rows = database.execute("SELECT f_table_name, styleQML, useAsDefault FROM layer_styles").fetchall()
        identifiers = dict(database.execute("SELECT table_name, identifier FROM gpkg_contents").fetchall())
    assert [name for name, _, default in rows if default] == LAYERS
    for _, style, _ in rows:
        assert etree.fromstring(style.encode()).find("renderer-v2/symbols/symbol") is not None
    assert [identifiers[name].split("(")[1].split()[0] for name in LAYERS] == [
        "observedEventA", "notAnalysedA", "areaOfInterestA", "imageFootprintA",
    ]  # fmt: skip


def test_each_value_that_occurs_is_drawn(folder):
    frame = read(folder, "landslides")
    with closing(sqlite3.connect(folder / "landslides.gpkg")) as database:
        ((text,),) = database.execute("SELECT styleQML FROM layer_styles WHERE f_table_name = 'landslides'")
    renderer = etree.fromstring(text.encode()).find("renderer-v2")
    drawn = {one.get("value") for one in renderer.iterfind("categories/category")}
    assert '"review"' in renderer.get("attr") and '"status_words"' in renderer.get("attr")
    assert set(frame["status_words"]) | {"rejected", "edited"} <= drawn
    offered = etree.fromstring(text.encode()).find(
        "fieldConfiguration/field[@name='review']//Option[@name='map']"
    )
    assert [one[0].get("value") for one in offered] == ["unreviewed", "accepted", "rejected", "edited"]


def test_fields_are_of_readable_types_with_names_for_people(folder):
    info = pyogrio.read_info(folder / "landslides.gpkg", layer="landslides")
    types = dict(zip(info["fields"], info["ogr_types"], strict=True))
    assert {types[name] for name in ("first_seen", "last_seen", "newest_pass")} == {"OFTDateTime"}
    frame = read(folder, "landslides")
    assert frame["simulated"].dtype == bool and frame["simulated"].all()
    assert isinstance(frame["first_seen"].dtype, pd.DatetimeTZDtype)
    with closing(sqlite3.connect(folder / "landslides.gpkg")) as database:
        names = dict(database.execute(
            "SELECT column_name, name FROM gpkg_data_columns WHERE table_name = 'landslides'"
        ))  # fmt: skip
    assert set(names) == set(frame.columns) - {"geometry"}
    assert names["area_m2"] == "Area, m²" and len(set(names.values())) == len(names)


def test_a_polygon_says_where_it_is_and_on_what_slope(folder):
    frame = read(folder, "landslides")
    largest = frame.loc[frame.area_m2.idxmax()]
    assert largest.mean_slope_deg == pytest.approx(20.0)
    point = gpd.GeoSeries(gpd.points_from_xy([largest.longitude], [largest.latitude]), crs=4326).to_crs(
        frame.crs
    )
    assert largest.geometry.contains(point[0])
    _, _, metres = Geod(ellps="WGS84").inv(largest.longitude, largest.latitude, *EPICENTRE)
    assert largest.epicentre_km == pytest.approx(metres / 1e3, abs=0.02)
    assert largest.area_ha == pytest.approx(largest.area_m2 / 1e4, abs=0.01)
    assert set(frame.review) == {"unreviewed"} and set(frame.score_class) <= {"strong", "clear", "faint"}
    assert set(frame.event_type) == {"6-Mass movement"}


def test_what_the_cube_does_not_know_has_no_column(made):
    finished, _ = made
    cube = hostile_cube().drop_vars(["dem", "dem_slope_radians"])
    raw = finished.mapped.drop(columns=["mean_slope_deg"])
    mapped = described(raw, cube, finished.reference, finished.record)
    frame = reviewed(replace(finished, mapped=mapped, event=EventFacts()), None).frame
    assert not {"mean_slope_deg", "epicentre_km"} & set(frame.columns)


@pytest.mark.parametrize("epicentre", ["[999, 0]", '"here"', "[1]", "null"])
def test_an_epicentre_that_is_no_place_is_none(epicentre):
    assert event_facts("nowhere", f'{{"epicentre": {epicentre}}}').epicentre is None


def test_a_models_polygons_have_a_class_of_likelihood(by_model):
    frame = by_model.frame
    assert set(frame["probability_class"]) <= {"very likely", "likely", "about as likely as not", "unlikely"}
    assert frame.loc[frame.mean_probability.idxmin(), "probability_class"] == "unlikely"
    layer = layers_of(by_model)[0]
    assert layer.column == "probability_class" and set(frame[layer.column]) <= {f.value for f in layer.fills}


def test_the_mean_inside_is_that_of_the_polygons_own_pixels(made):
    finished, _ = made
    values = np.arange(SIZE * SIZE, dtype=np.float32).reshape(SIZE, SIZE)
    values[:, 100:] = np.nan
    cube = hostile_cube().assign(some=(("y", "x"), values))
    affine = finished.reference.affine
    from shapely.geometry import box

    shapes = [box(*(affine @ (3, 10)), *(affine @ (6, 12))), box(*(affine @ (110, 0)), *(affine @ (120, 9)))]
    inside, unknown = mean_inside(cube, "some", shapes, finished.reference)
    assert inside == pytest.approx(values[10:12, 3:6].mean()) and np.isnan(unknown)
    assert mean_inside(cube, "some", [], finished.reference).shape == (0,)


def test_ground_that_was_not_analysed_has_its_reason_and_area(folder):
    frame = read(folder, "not_analysed").set_index("reason")
    assert set(frame.index) == {MEANINGS[NO_PASS_BEFORE], MEANINGS[TOO_FLAT]}
    assert frame.loc[MEANINGS[NO_PASS_BEFORE], "area_km2"] == pytest.approx(5 * SIZE * 1e-4, abs=2e-3)
    assert frame.loc[MEANINGS[TOO_FLAT]].geometry.bounds[1] == pytest.approx(4_700_000 - 10 * SIZE)


def test_area_and_passes_are_those_of_the_map(made, folder):
    finished, _ = made
    (area,) = read(folder, "area").itertuples()
    assert area.geometry.equals(finished.extent) and area.review == "unreviewed"
    passes = read(folder, "passes")
    assert list(passes["eventphase"]) == ["Pre-event"] * 8 + ["Post-event"] * 2
    used = [one.instant for view in finished.selection.every_view for one in (*view.before, *view.after)]
    assert [value.to_pydatetime() for value in passes["src_date"]] == [
        one.replace(microsecond=one.microsecond // 1000 * 1000) for one in used
    ]


def test_the_event_s_place_is_that_of_its_source_and_plain_text(made):
    finished, _ = made
    assert "event_place" not in finished.frame, "neither cube nor ledger names one"
    placed = reviewed(replace(finished, event=EventFacts(place="27 km E of\n\u202e<b>X</b>")), None)
    area = layers_of(placed)[2]
    for (place,) in (set(placed.frame["event_place"]), set(area.frame["event_place"])):
        assert place.isprintable() and place.startswith("27 km E of") and place.endswith("<b>X</b>")
    assert "source" in area.aliases["event_place"] and "source" in ALIASES["event_place"]
