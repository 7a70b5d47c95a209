"""Vector files: each format is read, a choice is asked for by name, and everything else is refused by its cause."""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import SourceDataError
from pipeline.layers.label_rasters import rasterise_labels, read_inventory
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
        ("noise.gpkg", bytes(range(256)) * 20, "cannot be read"),
        ("torn.zip", b"PK\x03\x04 torn", r"torn\.zip"),
        ("page.shp", b"<html>Sign in</html>", "web page"),
        (
            "pointer.geojson",
            b'<OGRVRTDataSource><OGRVRTLayer name="x"><SrcDataSource>/etc/passwd</SrcDataSource></OGRVRTLayer>'
            b"</OGRVRTDataSource>",
            r"pointer\.geojson",
        ),
        ("table.csv", b"name,value\na,1\n", "geometry"),
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
