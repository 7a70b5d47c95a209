"""Bundles, maps and records from elsewhere: refused by name, before memory is taken, and no path comes from a name."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest
from click.testing import CliRunner

from model.api import load_bundle
from model.bundle.bundle import load
from model.bundle.document import DOCUMENT, WEIGHTS
from model.cli.bundles import map_landslides
from model.network.training_plan import InferencePlan, PaperPlan, TrainingPlan
from model.origin import ORIGIN, Made, Origin, changes, read_made
from pipeline.errors import ModelError, SlidecubeError
from tests.faults.made_bundle import as_json, made_weights, write_bundle
from tests.small_cube import small_cube, write


def giant(values):
    """Twenty networks of 0.69 GB each, declared by a few bytes."""
    values["network"] |= {
        "architecture": "unetplusplus",
        "encoder": "resnet50",
        "encoder_depth": 5,
        "decoder_channels": [1024] * 5,
    }
    values["members"] = 20
    return values


def header(entries: object) -> bytes:
    raw = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(raw)) + raw


def test_the_bundle_as_made_loads(tmp_path):
    bundle = load(write_bundle(tmp_path / "made"))
    assert len(bundle.networks) == 1 and load_bundle(str(tmp_path / "made")).document == bundle.document


def test_networks_are_built_only_once_the_weights_are_known_to_be_there(tmp_path, monkeypatch):
    monkeypatch.setattr("model.bundle.bundle.build_members", lambda *args: pytest.fail("memory was taken"))
    folder = write_bundle(tmp_path / "giant", giant(as_json()))
    assert sum(file.stat().st_size for file in folder.iterdir()) < 60_000_000
    with pytest.raises(ModelError, match=WEIGHTS):
        load(folder)


def test_a_file_with_holes_of_the_right_size_needs_memory_that_is_free(tmp_path, monkeypatch):
    """The header agrees and the file is as large as it says, though it takes no place on the disk."""
    from model.network.training_plan import NetworkSpec
    from model.network.weights import forms_of

    values = giant(as_json())
    forms = forms_of(NetworkSpec.model_validate(values["network"]), 20)
    entries, offset = {}, 0
    for name, (kind, shape) in forms.items():
        size = 8 if kind == "I64" else 4
        for side in shape:
            size *= side
        entries[name] = {"dtype": kind, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    folder = write_bundle(tmp_path / "holes", values, header(entries))
    os.truncate(folder / WEIGHTS, (folder / WEIGHTS).stat().st_size + offset)
    free = type("Memory", (), {"available": 8_000_000_000})
    monkeypatch.setattr("model.network.weights.psutil.virtual_memory", lambda: free)
    monkeypatch.setattr("model.bundle.bundle.build_members", lambda *args: pytest.fail("memory was taken"))
    with pytest.raises(ModelError, match=r"41\.\d GB"):
        load(folder)


@pytest.mark.parametrize(
    "weights",
    [
        b"",
        b"\x00" * 7,
        struct.pack("<Q", 2**63),
        struct.pack("<Q", 10**6) + b"{}",
        header(b"{"),
        header([]),
        header({"a": 1}),
        header({"a": {"dtype": "F32"}}),
        header({"a": {"dtype": "F32", "shape": 3, "data_offsets": [0, 4]}}),
        header(b'{"a":' * 3000),
        header({"a": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 4]}}),
        made_weights()[:-1],
        made_weights() + b"\x00",
    ],
)
def test_weights_that_are_no_safetensors_of_the_network_are_refused(tmp_path, weights):
    with pytest.raises(ModelError, match=WEIGHTS):
        load(write_bundle(tmp_path / "b", as_json(), weights))


def set_at(*keys_and_value):
    *keys, last, value = keys_and_value

    def change(values):
        at = values
        for key in keys:
            at = at[key]
        at[last] = value
        return values

    return change


@pytest.mark.parametrize(
    "change",
    [
        set_at("training", "chip_px", 32 * 10**9),
        set_at("training", "batch", 10**9),
        set_at("training", "steps", 10**18),
        set_at("training", "processes", 10**6),
        set_at("members", 21),
        set_at("network", "in_channels", 10**6),
        set_at("network", "decoder_channels", [10**9] * 3),
        set_at("split", "test", [{"top": 0, "left": 192, "height": 10**18, "width": 64}]),
        set_at("split", "test", [{"top": 0, "left": 192, "height": 1, "width": 1}] * 40_000),
        set_at("cube", "shape", [0, 256]),
        set_at("cube", "surprise", 1),
        set_at("inputs", "further", ["../../etc"]),
        set_at("history", [{"step": 1, "loss": 1.0, "validation_auprc": 1.0, "more": 1}]),
    ],
)
def test_documents_that_ask_for_too_much_are_refused(tmp_path, change):
    with pytest.raises(ModelError, match=DOCUMENT):
        load(write_bundle(tmp_path / "b", change(as_json())))


@pytest.mark.parametrize("kind", [TrainingPlan, InferencePlan, PaperPlan])
def test_a_plan_has_no_giant_windows(kind):
    field = "window_px" if kind is InferencePlan else "chip_px"
    with pytest.raises(ValueError, match=field):
        kind.model_validate({field: 32 * 10**6})


@pytest.mark.parametrize("name", ["fifo", "folder", "zero"])
@pytest.mark.parametrize("file", [DOCUMENT, WEIGHTS])
def test_only_regular_files_are_read(tmp_path, name, file):
    folder = write_bundle(tmp_path / "b")
    (folder / file).unlink()
    if name == "fifo":
        os.mkfifo(folder / file)
    elif name == "folder":
        (folder / file).mkdir()
    else:
        (folder / file).symlink_to("/dev/zero")
    with pytest.raises(ModelError, match=file):
        load(folder)


GOOD = Made(origin=Origin(kind="map", cube="a" * 64), record={"path": "."}, files=("a",)).model_dump(
    mode="json"
)


@pytest.mark.parametrize(
    "values",
    [
        GOOD | {"surprise": 1},
        GOOD | {"files": ["../../secret"]},
        GOOD | {"files": ["/etc/shadow"]},
        GOOD | {"files": ["a"] * 2000},
        GOOD | {"digests": {"../../etc/shadow": "0" * 64}},
        GOOD | {"digests": {"/proc/kcore": "0" * 64}},
        GOOD | {"digests": {"landslides.gpkg": "no digest"}},
        GOOD | {"origin": GOOD["origin"] | {"kind": "cube"}},
        [],
        7,
    ],
)
def test_a_hostile_origin_is_none(tmp_path, values):
    (tmp_path / ORIGIN).write_text(json.dumps(values))
    assert read_made(tmp_path) is None


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("bundle.json", {"network": [], "training": [], "inputs": 3, "cube": {}}),
        (
            "bundle.json",
            {"network": {}, "training": {}, "inputs": {}, "others": 7, "seed": 0, "cube": {"digest": 3}},
        ),
        ("report.json", {"format": "slidecube-map-1", "map": [], "cube": []}),
        (
            "report.json",
            {"format": "slidecube-map-1", "map": {"model": {}, "kind": []}, "cube": {"digest": "x"}},
        ),
        ("report.json", {"format": ["slidecube-map-1"], "map": {}}),
    ],
)
def test_hostile_records_of_earlier_releases_are_none(tmp_path, name, values):
    (tmp_path / name).write_text(json.dumps(values))
    assert read_made(tmp_path) is None


def test_a_link_in_place_of_the_polygons_is_not_read(tmp_path):
    (tmp_path / "landslides.gpkg").symlink_to("/proc/kcore")
    made = Made(
        origin=Origin(kind="map", cube="a" * 64),
        files=("landslides.gpkg",),
        digests={"landslides.gpkg": "0" * 64},
    )
    (line,) = changes(tmp_path, made)
    assert "landslides.gpkg" in line


@pytest.fixture(scope="module")
def mapped(tmp_path_factory) -> Path:
    """A cube, and a log-ratio map of it."""
    root = tmp_path_factory.mktemp("mapped")
    write(small_cube(128), root / "cube.zarr")
    answer = CliRunner().invoke(
        map_landslides, ["--log-ratio", str(root / "cube.zarr"), "--out", str(root / "map")]
    )
    assert answer.exit_code == 0, answer.output
    return root


@pytest.mark.parametrize(
    "record",
    [
        None,
        {},
        {"picture": "/etc/passwd"},
        {"picture": "../../../etc/passwd"},
        {"path": "../elsewhere"},
        {"report": 7},
        {"surprise": 1},
        {"area": ["a"]},
    ],
)
def test_a_record_that_was_changed_is_refused_and_leads_nowhere_else(mapped, record):
    file = mapped / "map" / ORIGIN
    before = file.read_text()
    values = json.loads(before)
    values["record"] = record if not record else values["record"] | record
    try:
        file.write_text(json.dumps(values))
        words = ["--log-ratio", str(mapped / "cube.zarr"), "--out", str(mapped / "map"), "--json"]
        answer = CliRunner().invoke(map_landslides, words)
    finally:
        file.write_text(before)
    assert answer.exit_code == 7 and isinstance(answer.exception, SystemExit)
    assert ORIGIN in answer.stderr and "passwd" not in answer.stdout


@pytest.mark.parametrize(
    "name", ["../..", "/tmp/elsewhere", "a/b", "..", ".", "", "a\x00b", "x" * 300, "\u202e/x"]
)
def test_a_name_in_a_cube_is_not_a_path(tmp_path, monkeypatch, name):
    """The area of a cube from elsewhere, in a folder that names a version: results stay below the data folder."""
    from model.inputs import cubes
    from pipeline.settings import settings

    data = tmp_path / "data" / "deep"
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(data))
    settings.cache_clear()
    path = tmp_path / "cubes" / "there" / "versions" / "1.zarr"
    path.parent.mkdir(parents=True)
    try:
        write(small_cube(64).assign_attrs(area=name), path)
        place = cubes.load(str(path))[1].place
        for folder in (place.models, place.maps, place.bundle(), place.map(None), place.refusals):
            assert folder.resolve().is_relative_to(data) and folder.parent.parent != data.parent
            assert folder not in (data, data / "models", data / "maps")
    except SlidecubeError as error:
        assert "area" in str(error)
    finally:
        settings.cache_clear()
