"""Containers: zips, file geodatabases, folders, odd names; what is no vector file is named by what it is."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from pipeline.errors import SourceDataError
from pipeline.layers.outlines.vectors import read_features, read_header
from tests.unit.pipeline.layers.outlines.test_vectors import written


def refusal(path: Path, layer: str | None = None) -> str:
    """The message; the header and the features are refused alike."""
    messages = set()
    for read in (read_header, read_features):
        with pytest.raises(SourceDataError) as caught:
            read(path, layer, "inventory.layer")
        messages.add(str(caught.value))
    (message,) = messages
    return message


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_the_recorded_containers(shared_data: Path) -> None:
    folder = shared_data / "cases" / "containers"
    assert len(read_features(folder / "gdb.zip", None, "inventory.layer")) == 98
    assert read_header(folder / "gdb.zip", "nep", "inventory.layer").driver == "OpenFileGDB"
    assert "inner/Nepal.zip" in refusal(folder / "nested.zip")
    assert "damaged" in refusal(folder / "trunc.zip")


def test_a_file_geodatabase_as_a_folder(shared_data: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(shared_data / "cases" / "containers" / "gdb.zip") as archive:
        archive.extractall(tmp_path)
    assert len(read_features(tmp_path / "nep.gdb", None, "inventory.layer")) == 98
    odd = tmp_path / "x!y" / "n e#p.gdb"
    shutil.copytree(tmp_path / "nep.gdb", odd)
    assert len(read_features(odd, None, "inventory.layer")) == 98


@pytest.mark.parametrize("folder", ["x!y", "a{b}", "q?r=1#s", "vsizip", "100 %", "zip:", "日本"])
@pytest.mark.parametrize("name", ["a.gpkg", "a.shp", "a.geojson", "a!b#c.fgb", "a.zip"])
def test_any_name_of_a_file_or_folder(tmp_path: Path, folder: str, name: str) -> None:
    place = tmp_path / folder
    place.mkdir()
    path = place / name
    if path.suffix == ".zip":
        written(tmp_path, "inner.gpkg")
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(tmp_path / "inner.gpkg", "in!ner.gpkg")
    else:
        source = written(tmp_path, f"made{path.suffix}")
        for one in tmp_path.glob("made.*"):
            one.rename(place / one.name.replace("made", path.stem))
        assert not source.exists()
    frame = read_features(path, None, "inventory.layer")
    assert len(frame) == 2 and frame.crs is not None
    assert list(frame.columns) == ["name", "geometry"]
    if path.suffix == ".shp":
        assert len(read_features(path, path.stem, "inventory.layer")) == 2


def test_what_is_no_vector_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.geojson.gz").write_bytes(gzip.compress(b"{}"))
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 cut")
    (tmp_path / "a.gpkg").write_bytes(b"\n<!DOCTYPE html><html><title>Sign in</title></html>")
    (tmp_path / "a.shp").write_bytes(b"<html>404</html>")
    (tmp_path / "a.json").write_bytes(b"")
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7")
    (tmp_path / "a.tif").write_bytes(b"II*\x00rest")
    (tmp_path / "a.fgb").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    for name, word in (
        ("a.geojson.gz", "gzip"), ("a.zip", "damaged"), ("a.gpkg", "web page"), ("a.shp", "web page"),
        ("a.json", "empty"), ("a.pdf", "PDF"), ("a.tif", "TIFF"), ("a.fgb", "LFS"),
    ):  # fmt: skip
        message = refusal(tmp_path / name)
        assert word in message and name in message
    page = zipped(tmp_path / "page.zip", **{"b.geojson": b"<html></html>"})
    assert "web page" in refusal(page) and "b.geojson" in refusal(page)


def test_folders_pipes_and_absent_paths_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    assert str(folder) in refusal(folder)
    written(folder, "a.gpkg")
    assert "a.gpkg" in refusal(folder)
    assert str(tmp_path / "absent.gpkg") in refusal(tmp_path / "absent.gpkg")
    os.mkfifo(tmp_path / "pipe.gpkg")
    assert "regular" in refusal(tmp_path / "pipe.gpkg")


def test_zips_without_a_vector_file_list_what_they_hold(tmp_path: Path) -> None:
    assert "readme.txt" in refusal(zipped(tmp_path / "a.zip", **{"readme.txt": b"x", "folder/": b""}))
    many = zipped(tmp_path / "b.zip", **{f"{n}.txt": b"" for n in range(500)})
    assert "480 more" in refusal(many)
    two = zipped(tmp_path / "c.zip", **{"one.zip": b"", "two.KMZ": b"", "x.txt": b""})
    assert "one.zip, two.KMZ" in refusal(two)
    hidden = zipped(tmp_path / "d.zip", **{"__MACOSX/a.shp": b"", "._a.shp": b""})
    assert "vector file" in refusal(hidden)


def test_a_file_geodatabase_and_a_file_in_one_zip_need_a_choice(shared_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "both.zip"
    shutil.copy(shared_data / "cases" / "containers" / "gdb.zip", path)
    written(tmp_path, "a.gpkg")
    with zipfile.ZipFile(path, "a") as archive:
        archive.write(tmp_path / "a.gpkg", "a.gpkg")
    message = refusal(path)
    assert "a.gpkg" in message and "nep.gdb" in message and "inventory.layer" in message
    assert len(read_features(path, "nep.gdb", "inventory.layer")) == 98
    assert len(read_features(path, "a", "inventory.layer")) == 2


def test_a_tar_is_refused(tmp_path: Path) -> None:
    written(tmp_path, "a.gpkg")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "a.gpkg", "a.gpkg")
    assert "a.tar" in refusal(tmp_path / "a.tar")
