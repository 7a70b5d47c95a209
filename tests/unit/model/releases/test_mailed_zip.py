"""One file to mail: everything of the release, and a QGIS project with relative paths."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import zipfile
from contextlib import closing

import pytest
from click.testing import CliRunner
from lxml import etree

from model.cli.exports import export_map_or_cube
from model.releases.mailed_zip import PROJECT, is_map, write_zip
from pipeline.errors import ModelError
from tests.quiet_cube import quiet_cube
from tests.small_cube import write


@pytest.fixture(scope="module")
def packed(folder, tmp_path_factory):
    target = tmp_path_factory.mktemp("zip") / "map.zip"
    record = write_zip(folder, target)
    with zipfile.ZipFile(target) as file:
        (root,) = {name.split("/")[0] for name in file.namelist()}
        return record, root, {name.partition("/")[2]: file.read(name) for name in file.namelist()}


DOCUMENTS = {"report.json", "origin.json", "map.stac.json", "cube.stac.json", "model.stac.json"}


def test_every_file_is_in_it_byte_for_byte(folder, packed):
    record, root, content = packed
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(content) == names | {PROJECT} and record.files == len(content) and record.simulated
    assert all(content[name] == (folder / name).read_bytes() for name in names - DOCUMENTS)
    assert root.isascii() and "<" not in root and "/" not in root


def test_no_document_names_a_folder_of_the_sender(folder, packed):
    _, _, content = packed
    assert str(folder.parent) in (folder / "report.json").read_text()
    assert all(str(folder.parent).encode() not in one for one in content.values())
    assert json.loads(content["report.json"])["map"]["cube"] == "cube.zarr"
    assert json.loads(content["cube.stac.json"])["assets"] == {}
    assets = json.loads(content["map.stac.json"])["assets"].values()
    checked = {one["href"].removeprefix("./"): one for one in assets if "file:checksum" in one}
    assert "report.json" in checked
    for name, one in checked.items():
        assert one["file:checksum"] == f"1220{hashlib.sha256(content[name]).hexdigest()}"
        assert one["file:size"] == len(content[name])


def test_the_project_finds_each_layer_beside_it(packed):
    _, _, content = packed
    project = etree.fromstring(content[PROJECT])
    layers = project.findall("projectlayers/maplayer")
    sources = [layer.findtext("datasource") for layer in layers]
    assert all(source.startswith("./") and source[2:].split("|")[0] in content for source in sources)
    assert [source.partition("layername=")[2] for source in sources[:4]] == [
        "landslides", "not_analysed", "area", "passes",
    ]  # fmt: skip
    assert {f"./{name}.tif" for name in ("score", "landslides", "status", "validity", "change_db")} == set(
        sources[4:]
    )
    for layer in layers:
        drawn = layer.find("renderer-v2" if layer.get("type") == "vector" else "pipe/rasterrenderer")
        assert drawn is not None and layer.findtext("srs/spatialrefsys/authid") == "EPSG:32654"
    ids = [layer.findtext("id") for layer in layers]
    tree = [one.get("id") for one in project.iterfind("layer-tree-group//layer-tree-layer")]
    assert tree == ids and len(set(ids)) == len(ids)
    assert project.findtext("properties/Paths/Absolute") == "false"


def test_text_from_outside_is_text_in_the_project(packed):
    _, _, content = packed
    assert b"<script>" not in content[PROJECT]
    project = etree.fromstring(content[PROJECT])
    assert "<script>alert(1)</script>" in project.findtext("title")
    assert "<script>alert(1)</script>" in project.findtext(".//attribution")


def test_what_is_no_map_is_not_packed(tmp_path, folder):
    (tmp_path / "report.json").write_text("{}")
    assert not is_map(tmp_path) and not is_map(tmp_path / "absent") and is_map(folder)
    with pytest.raises(ModelError):
        write_zip(tmp_path, tmp_path / "a.zip")
    with pytest.raises(ModelError):
        write_zip(folder, folder / "a.zip")
    assert not (folder / "a.zip").exists()


@pytest.mark.parametrize("damage", ["no styles", "no layers", "no style of XML", "no file"])
def test_a_map_without_what_a_release_has_is_named(folder, tmp_path, damage):
    shutil.copytree(folder, tmp_path / "map")
    polygons = tmp_path / "map" / "landslides.gpkg"
    if damage == "no layers":
        polygons.write_bytes(b"SQLite format 3\0 and nothing more")
    elif damage == "no file":
        polygons.unlink()
    else:
        order = (
            "DELETE FROM layer_styles" if damage == "no styles" else "UPDATE layer_styles SET styleQML = '<a'"
        )
        with closing(sqlite3.connect(polygons)) as database, database:
            database.execute(order)
    with pytest.raises(ModelError):
        write_zip(tmp_path / "map", tmp_path / "map.zip")
    assert not (tmp_path / "map.zip").exists()


def test_one_command_exports_maps_and_cubes(folder, tmp_path):
    runner = CliRunner()
    done = runner.invoke(export_map_or_cube, [str(folder), "--zip", str(tmp_path / "m.zip"), "--json"])
    assert done.exit_code == 0 and json.loads(done.stdout)["files"] == len(
        zipfile.ZipFile(tmp_path / "m.zip").namelist()
    )
    assert runner.invoke(export_map_or_cube, [str(folder)]).exit_code == 2
    assert runner.invoke(export_map_or_cube, [str(folder), "--published", str(tmp_path / "p")]).exit_code == 2
    write(quiet_cube(32), tmp_path / "cube.zarr")
    cube = str(tmp_path / "cube.zarr")
    assert runner.invoke(export_map_or_cube, [cube, "--zip", str(tmp_path / "c.zip")]).exit_code == 2
    assert runner.invoke(export_map_or_cube, [cube, "--published", str(tmp_path / "p.zarr")]).exit_code == 0
    assert (tmp_path / "p.zarr").is_dir() and not (tmp_path / "c.zip").exists()
    assert runner.invoke(export_map_or_cube, [str(tmp_path / "nothing"), "--zip", "a.zip"]).exit_code not in (
        0,
        1,
        2,
    )


@pytest.mark.parametrize("name", ["score.qml", "map.stac.json", "origin.json"])
@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None], ids=["no text", "64 GiB"])
def test_an_odd_file_of_a_map_is_named(folder, tmp_path, name, content):
    shutil.copytree(folder, tmp_path / "map")
    odd = tmp_path / "map" / name
    if content is None:
        with odd.open("wb") as file:
            file.truncate(2**36)
    else:
        odd.write_bytes(content)
    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        write_zip(tmp_path / "map", tmp_path / "map.zip")
    assert not (tmp_path / "map.zip").exists()
