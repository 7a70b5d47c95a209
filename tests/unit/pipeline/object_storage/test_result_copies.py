"""Bundles and maps in an object store: copied once written, fetched by another machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from model.origin import ORIGIN, Origin, whole_result
from model.releases.announcement.latest_map import point_at
from pipeline.errors import ModelError
from pipeline.object_storage.bucket import Bucket
from pipeline.object_storage.result_copies import DOCUMENT, fetch, keep
from pipeline.places import Place, bundle_named, bundles_of, map_named
from pipeline.settings import settings


@pytest.fixture
def data(s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", f"{s3_bucket}/data")
    monkeypatch.setenv("SLIDECUBE_WORK_DIR", str(tmp_path / "work"))
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    yield tmp_path / "work"
    settings.cache_clear()


def made(folder: Path, **files: str) -> Path:
    for name, text in {"bundle.json": '{"created": "2026-01-01T00:00:00Z"}', **files}.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    keep(folder)
    return folder


def objects() -> Bucket:
    address = settings().data_store
    assert address is not None
    return Bucket(address)


def test_a_bundle_is_found_by_another_machine(data: Path) -> None:
    made(data / "models/here/v1", weights="1")
    made(data / "models/here/v2", weights="2", sub__card="card")
    shutil.rmtree(data)
    assert bundle_named("here/v2").resolve() == data / "models/here/v2"
    assert (data / "models/here/v2/sub/card").read_text() == "card"
    assert [each.name for each in bundles_of("here")] == ["v1", "v2"]
    assert Place(area="here", version=1).found_bundle() is not None
    with pytest.raises(ModelError):
        bundle_named("nowhere")


def test_a_result_of_a_command_is_found_under_its_own_name_and_not_its_scratch_folder(data: Path) -> None:
    with whole_result(data / "models/here/v1", Origin(kind="bundle", cube="0" * 64), replace=False) as result:
        made(result.folder, weights="1")
    assert {one.key.split("/")[2] for one in objects().states("")} == {"v1"}
    shutil.rmtree(data)
    found = bundle_named("here/v1")
    assert (found / "weights").read_text() == "1" and (found / ORIGIN).is_file()


def test_a_map_and_which_is_the_latest(data: Path) -> None:
    for name in ("v1-detector", "v2-detector"):
        point_at(made(data / "maps/here" / name, report=name), data / "maps/here/latest")
    shutil.rmtree(data)
    assert map_named("here") == data / "maps/here/v2-detector"
    assert [each.name for each in Place(area="here", version=1).found_maps()] == ["v1-detector"]


def test_a_folder_that_is_replaced_is_the_new_one(data: Path) -> None:
    folder = made(data / "models/here/v1", old="old")
    (folder / "old").unlink()
    made(folder, weights="new")
    shutil.rmtree(data)
    assert sorted(path.name for path in bundle_named("here").iterdir()) == ["bundle.json", "weights"]


def test_what_is_elsewhere_is_not_copied(data: Path, tmp_path: Path) -> None:
    made(tmp_path / "mine")
    made(data / "insar/here/x")
    assert objects().states("") == []


def test_damage_in_the_store_is_an_error_and_leaves_nothing(data: Path) -> None:
    folder = made(data / "models/here/v1", weights="1")
    (weights,) = [one.key for one in objects().states("") if one.key.endswith("/weights")]
    shutil.rmtree(data)
    objects().put(weights, b"2")
    with pytest.raises(ModelError):
        fetch("models", "here")
    assert not folder.exists()


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/../../x", ""])
def test_no_name_leaves_the_folder(data: Path, name: str) -> None:
    files = {name: {"sha256": "0" * 64, "size": 1}}
    document = json.dumps({"objects": "0" * 32, "files": files}).encode()
    objects().put(f"models/here/v1/{DOCUMENT}", document)
    with pytest.raises(ModelError):
        fetch("models", "here")


def test_without_an_object_store_nothing_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path))
    settings.cache_clear()
    made(tmp_path / "models/here/v1")
    fetch("models", "here")
    assert bundle_named("here") == tmp_path / "models/here/v1"
    settings.cache_clear()
