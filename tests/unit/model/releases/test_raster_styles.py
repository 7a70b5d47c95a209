"""Rasters are seen right at first sight: colour tables, names of values, styles."""

from __future__ import annotations

import pytest
import rasterio
from lxml import etree

from model.detector.pass_status import WORDS
from model.maps.validity import MEANINGS, NO_PASS_AFTER, NO_PASS_BEFORE, TOO_FLAT
from model.releases.categories import STATUS_COLOURS, change_ramp, class_of, rgb, score_ramp, validities

CLASS_RASTERS = ("landslides", "status", "validity")


@pytest.mark.parametrize("name", CLASS_RASTERS)
def test_rasters_of_classes_are_cogs_with_a_colour_table(folder, name):
    with rasterio.open(folder / f"{name}.tif") as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.colorinterp[0].name == "palette"
        table, nodata = file.colormap(1), file.nodata
    assert nodata == 255
    if name == "landslides":
        assert table[1][:3] == rgb("#bd0026") and table[0][:3] == rgb("#f0f0f0")
        assert table[255][:3] != table[1][:3] and table[255][3] == 0
    if name == "status":
        assert {value: table[value][:3] for value in STATUS_COLOURS} == {
            value: rgb(colour) for value, colour in STATUS_COLOURS.items()
        }


@pytest.mark.parametrize("name", CLASS_RASTERS)
def test_values_have_names_for_gdal_and_qgis(folder, name):
    auxiliary = etree.parse(folder / f"{name}.tif.aux.xml")
    names = [one.text or "" for one in auxiliary.iterfind(".//CategoryNames/Category")]
    style = etree.parse(folder / f"{name}.qml")
    labels = {int(e.get("value")): e.get("label") for e in style.iterfind(".//paletteEntry")}
    opacities = {int(e.get("value")): int(e.get("alpha")) for e in style.iterfind(".//paletteEntry")}
    rows = {int(row[0].text): row[1].text for row in auxiliary.iterfind(".//GDALRasterAttributeTable/Row")}
    assert rows == labels == {value: names[value] for value in labels}
    if name == "landslides":
        assert labels == {0: "no landslide", 1: "landslide", 255: "no data"}
        assert opacities == {0: 0, 1: 255, 255: 0}
    if name == "status":
        assert {labels[value] for value in STATUS_COLOURS} == {WORDS[value] for value in STATUS_COLOURS}
    if name == "validity":
        assert set(labels) == {0, 3, TOO_FLAT, 3 | TOO_FLAT}, "those that occur"
        assert MEANINGS[NO_PASS_BEFORE] in labels[3] and MEANINGS[NO_PASS_AFTER] in labels[3]


@pytest.mark.parametrize("name", ["score", "change_db"])
def test_quantities_have_a_ramp_whose_low_values_are_transparent(folder, name):
    items = etree.parse(folder / f"{name}.qml").findall(".//colorrampshader/item")
    values = [float(one.get("value")) for one in items]
    assert values == sorted(values) and len(values) == 6
    assert {int(one.get("alpha")) for one in items if abs(float(one.get("value"))) <= 1} == {0}
    assert int(items[-1].get("alpha")) == 255


def test_the_ramp_of_scores_is_opaque_from_the_threshold_on():
    for threshold, highest in ((0.4, 1.0), (3.7, 11.1), (None, 8.0)):
        stops = score_ramp(threshold, highest)
        middle = threshold if threshold is not None else 4.0
        assert stops[-1].value == highest and [s.value for s in stops] == sorted(s.value for s in stops)
        assert all((s.opacity > 200) == (s.value >= middle) for s in stops)
    assert [stop.value for stop in change_ramp()] == [-6, -3, -1, 1, 3, 6]


def test_each_sum_of_flags_has_words_and_the_colour_of_its_first_flag():
    found = {one.value: one for one in validities(MEANINGS, range(1, 255))}
    assert len(found) == 255
    assert found[TOO_FLAT | 64].name == f"{MEANINGS[TOO_FLAT]}; {MEANINGS[64]}"
    assert found[1 | TOO_FLAT].colour == found[1].colour != found[TOO_FLAT].colour


def test_a_class_is_that_of_the_first_limit_that_is_reached():
    limits = ((0.9, "high"), (0.0, "low"))
    assert [class_of(value, limits) for value in (0.9, 0.89, float("nan"))] == ["high", "low", ""]


def test_the_style_of_the_class_raster_draws_polygons_of_the_same_name_too(folder):
    style = etree.parse(folder / "landslides.qml")
    assert style.find(".//rasterrenderer") is not None
    assert '"status_words"' in style.find("renderer-v2").get("attr")
