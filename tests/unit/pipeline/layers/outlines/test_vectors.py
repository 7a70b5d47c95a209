"""Vector files: each format is read, a choice is asked for by name, and everything else is refused by its cause."""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import warnings
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import SourceDataError
from pipeline.layers.label_rasters import rasterise_labels, read_inventory
from pipeline.layers.outlines import vectors
from pipeline.layers.outlines.vectors import read_features
from tests.unit.pipeline.layers.test_label_rasters import GRID, INVENTORY, frame_of, local, moved


def written(folder: Path, name: str, **options: Any) -> Path:
    path = folder / name
    frame = frame_of(local(10, 10), local(100, 100), crs=32654, name=["a", "b"])
    if path.suffix in {".geojson", ".kml"}:
        frame = frame.to_crs(4326)
    if path.suffix == ".kml":
        options["driver"] = "KML"
    frame.to_file(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.fgb", "a.shp", "a.kml"])
def test_formats_are_read(tmp_path: Path, name: str) -> None:
    frame = read_inventory(written(tmp_path, name), INVENTORY)
    assert len(frame) == 2 and frame.crs is not None
    assert frame.attrs["file"] == name
    layer = rasterise_labels(frame, INVENTORY, GRID, None)
    assert layer.report["fraction_area_m2"] == pytest.approx(2 * 35**2, rel=1e-4)


def test_zips_of_shapefiles_and_the_choice_in_them(tmp_path: Path) -> None:
    for stem in ("slides", "extent"):
        written(tmp_path, f"{stem}.shp")
    path = tmp_path / "inventory.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for part in tmp_path.glob("slides.*"):
            archive.write(part, f"data/{part.name}")
    assert len(read_inventory(path, INVENTORY)) == 2
    with zipfile.ZipFile(path, "a") as archive:
        for part in tmp_path.glob("extent.*"):
            archive.write(part, f"data/{part.name}")
    with pytest.raises(SourceDataError, match=r"2 vector files: data/extent\.shp, data/slides\.shp"):
        read_inventory(path, INVENTORY)
    for name in ("slides", "slides.shp", "data/slides.shp"):
        assert read_inventory(path, INVENTORY.model_copy(update={"layer": name})).attrs["layer"] == "slides"
    with pytest.raises(SourceDataError, match="'x'"):
        read_inventory(path, INVENTORY.model_copy(update={"layer": "x"}))


def test_layers_are_listed_and_chosen(tmp_path: Path) -> None:
    path = written(tmp_path, "two.gpkg", layer="slides")
    frame_of(local(1, 1)).to_file(path, layer="area")
    with pytest.raises(SourceDataError, match="2 layers: slides, area"):
        read_inventory(path, INVENTORY)
    assert len(read_inventory(path, INVENTORY.model_copy(update={"layer": "area"}))) == 1
    with pytest.raises(SourceDataError, match=r"'old'.* slides, area"):
        read_inventory(path, INVENTORY.model_copy(update={"layer": "old"}))


def test_no_crs_is_refused_and_geojson_is_wgs84(tmp_path: Path) -> None:
    path = written(tmp_path, "bare.shp")
    path.with_suffix(".prj").unlink()
    with pytest.raises(SourceDataError, match=r"bare\.shp"):
        read_inventory(path, INVENTORY)
    assert read_inventory(written(tmp_path, "b.geojson"), INVENTORY).crs.to_epsg() == 4326


def test_unreadable_geometry_is_refused_by_name_and_not_the_file(tmp_path: Path) -> None:
    def feature(ring: list[list[float]]) -> dict[str, Any]:
        return {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}

    degrees = np.array(moved(local(100, 100), 4326).exterior.coords).tolist()
    path = tmp_path / "odd.geojson"
    features = [
        feature(degrees),
        feature(degrees[:2]),
        {"type": "Feature", "properties": {}, "geometry": None},
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    layer = rasterise_labels(read_inventory(path, INVENTORY), INVENTORY, GRID, None)
    assert layer.report["polygons_counted"] == 1
    assert layer.report["refused"] == 2


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.geojson", b"", r"empty\.geojson"),
        ("none.geojson", b'{"type": "FeatureCollection", "features": []}', r"none\.geojson"),
        ("noise.gpkg", bytes(range(256)) * 20, r"noise\.gpkg"),
        ("torn.zip", b"PK\x03\x04 torn", r"torn\.zip"),
        ("page.shp", b"<html>Sign in</html>", "web page"),
        (
            "pointer.geojson",
            b'<OGRVRTDataSource><OGRVRTLayer name="x"><SrcDataSource>/etc/passwd</SrcDataSource></OGRVRTLayer>'
            b"</OGRVRTDataSource>",
            r"pointer\.geojson",
        ),
        ("table.csv", b"name,value\na,1\n", r"table\.csv"),
    ],
)
def test_hostile_files_are_refused(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(SourceDataError, match=words) as caught:
            read_inventory(path, INVENTORY)
    assert str(tmp_path) not in str(caught.value)


def test_a_missing_file_and_a_zip_with_a_pointer_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceDataError, match=r"nowhere\.gpkg"):
        read_inventory(tmp_path / "nowhere.gpkg", INVENTORY)
    path = tmp_path / "pointer.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inner.json", "<OGRVRTDataSource></OGRVRTDataSource>")
    with pytest.raises(SourceDataError, match=r"inner\.json"):
        read_inventory(path, INVENTORY)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(SourceDataError, match=r"readme\.txt"):
        read_inventory(path, INVENTORY)


# what comes from outside --------------------------------------------------------------------------------------------


def altered(path: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(path)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()
    return path


ENDLESS = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS fid, geom FROM n, slides"
)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("packed", [False, True])
def test_a_view_is_not_read_however_long_it_would_take(tmp_path: Path, packed: bool) -> None:
    path = altered(
        written(tmp_path, "view.gpkg", layer="slides"),
        f"CREATE VIEW endless AS {ENDLESS}",
        "UPDATE gpkg_contents SET table_name = 'endless'",
        "UPDATE gpkg_geometry_columns SET table_name = 'endless'",
    )
    if packed:
        with zipfile.ZipFile(tmp_path / "view.zip", "w") as archive:
            archive.write(path, "view.gpkg")
        path = tmp_path / "view.zip"
    with pytest.raises(SourceDataError, match=r"view\.(gpkg|zip)"):
        read_features(path)


def test_a_geopackage_in_a_zip_is_read(tmp_path: Path) -> None:
    written(tmp_path, "a.gpkg")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "a.gpkg", "folder/a.gpkg")
    assert len(read_features(tmp_path / "a.zip")) == 2


def test_more_features_than_a_file_can_hold_take_no_memory(tmp_path: Path) -> None:
    path = written(tmp_path, "many.fgb", SPATIAL_INDEX="NO")
    content = bytearray(path.read_bytes())
    at = content.index(struct.pack("<Q", 2))  # the number of features in the header
    struct.pack_into("<Q", content, at, 2_000_000_000)
    path.write_bytes(content)
    with pytest.raises(SourceDataError, match="2000000000"):
        read_features(path)


VRT = (
    b'<OGRVRTDataSource><OGRVRTLayer name="x"><SrcDataSource>/etc/passwd</SrcDataSource></OGRVRTLayer>'
    b"</OGRVRTDataSource>"
)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.gpkg", VRT),
        ("a.geojson", b" " * 70_000 + VRT),
        ("a.csv", b'WKT,a\n"POINT (1 2)",1\n'),
        ("a.tab", b"!table\n!version 300\nDefinition Table\n Type LINKED\n"),
        ("a.dxf", b"  0\nSECTION\n"),
        ("a.xml", b"<?xml version='1.0'?><gpx/>"),
        ("a.json", b"#!/bin/sh\n"),
        ("a.sql", b"SELECT load_extension('x')"),
    ],
)
def test_other_formats_are_refused_before_gdal_sees_them(
    tmp_path: Path, name: str, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors.pyogrio, "list_layers", lambda *_: pytest.fail("opened"))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceDataError, match=name.replace(".", r"\.")):
        read_features(tmp_path / name)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gpkg")
    for path in (
        tmp_path / "pipe.gpkg",
        tmp_path,
        Path("/dev/zero"),
        Path("/vsicurl/http://127.0.0.1:1/a.gpkg"),
    ):
        with pytest.raises(SourceDataError):
            read_features(path)


@pytest.mark.parametrize("name", ["a!b.gpkg", "zip+s3:a.gpkg", "x#1 ü.gpkg", "%2e.gpkg", "a.gpkg?sig=1"])
def test_a_name_is_a_name(tmp_path: Path, name: str) -> None:
    written(tmp_path, "plain.gpkg").rename(tmp_path / name)
    assert len(read_features(tmp_path / name)) == 2
