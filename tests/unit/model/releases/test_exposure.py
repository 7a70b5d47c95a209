"""What lies within the polygons: counts, kilometres, administrative units."""

from __future__ import annotations

import csv
import json

import geopandas as gpd
import pytest
from shapely.geometry import LineString, Point, box

from model.releases.exposure import CSV, ExposureRow, digest_of_file, exposure, table
from pipeline.errors import ModelError
from tests.unit.model.releases.conftest import LEFT, SIZE, TOP

AREA = box(LEFT, TOP - 10 * SIZE, LEFT + 10 * SIZE, TOP)


def test_the_report_and_the_table_have_what_is_hit(made, folder):
    finished, _ = made
    report = json.loads((folder / "report.json").read_text())
    rows = [ExposureRow.model_validate(row) for row in report["exposure"]]
    assert rows == [row.model_copy() for row in finished.exposure]
    with (folder / CSV).open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(rows)
    whole = {row.file: row for row in rows if not row.unit}
    assert (whole["houses.gpkg"].features, whole["houses.gpkg"].features_hit) == (3, 2), (
        "one lies outside the area"
    )
    road, ground = whole["roads.geojson"], finished.frame[finished.frame.status != 4].union_all()
    line = LineString([(LEFT + 100, TOP - 505), (LEFT + 1270, TOP - 505)])
    assert road.kind == "lines" and road.km == pytest.approx(1.17, abs=0.002)
    assert road.km_hit == pytest.approx(line.intersection(ground).length / 1e3, abs=0.002)
    assert whole["districts.gpkg"].kind == "units"


def test_each_unit_has_its_landslides_and_what_is_hit_there(made):
    finished, _ = made
    rows = [row for row in finished.exposure if row.unit]
    units = {row.unit for row in rows}
    assert "=West" in units and len(units) == 2
    ground = finished.frame[finished.frame.status != 4].union_all()
    areas = [row.km2_hit for row in rows if row.kind == "units"]
    assert sum(areas) == pytest.approx(ground.area / 1e6, abs=1e-4)
    of_roads = [row.km_hit for row in rows if row.kind == "lines"]
    (whole,) = [row.km_hit for row in finished.exposure if row.kind == "lines" and not row.unit]
    assert sum(of_roads) == pytest.approx(whole, abs=0.002)


def test_a_text_is_no_formula_for_a_table_program():
    row = ExposureRow(file="a.gpkg", kind="units", unit="=1+1", features=1, features_hit=1)
    (read,) = csv.DictReader(table([row]).splitlines())
    assert read["unit"] == "'=1+1" and read["km"] == ""


def test_nothing_mapped_hits_nothing(tmp_path):
    gpd.GeoDataFrame(geometry=[Point(LEFT + 5, TOP - 5)], crs=32654).to_file(tmp_path / "a.gpkg")
    none = gpd.GeoDataFrame(geometry=[], crs=32654)
    (row,) = exposure([tmp_path / "a.gpkg"], none, AREA)
    assert (row.features, row.features_hit) == (1, 0)


def test_a_file_of_which_nothing_lies_in_the_area(tmp_path):
    gpd.GeoDataFrame(geometry=[Point(0, 0)], crs=4326).to_file(tmp_path / "a.gpkg")
    polygons = gpd.GeoDataFrame(geometry=[box(LEFT, TOP - 50, LEFT + 50, TOP)], crs=32654)
    (row,) = exposure([tmp_path / "a.gpkg"], polygons, AREA)
    assert (row.features, row.features_hit) == (0, 0)


@pytest.mark.parametrize("content", ["absent", "text", "no geometries", "no projection"])
def test_a_file_that_cannot_be_used_is_named(tmp_path, content):
    file = tmp_path / "given.geojson"
    if content == "text":
        file.write_text("not a map")
    elif content == "no geometries":
        file = tmp_path / "given.csv"
        file.write_text("a,b\n1,2\n")
    elif content == "no projection":
        file = tmp_path / "given.shp"
        gpd.GeoDataFrame({"a": [1]}, geometry=[Point(0, 0)], crs=4326).to_file(file)
        file.with_suffix(".prj").unlink()
    with pytest.raises(ModelError) as refused:
        digest_of_file(file)
    assert file.name in refused.value.message
