"""Overviews and the conventions of GeoZarr: as readers find them on the disk, and what a build does with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from pipeline.cube.encoding.geozarr import MULTISCALES, PROJ, SPATIAL
from pipeline.cube.layers import LayerData, LayerRecord, Recipe, folder_of, write_layer
from pipeline.cube.local_store import LocalStore
from pipeline.cube.manifest import Manifest
from pipeline.cube.overviews import factors_of, make_overviews, write_with_overviews
from pipeline.cube.read import open_cube
from pipeline.cube.verify import verify_cube
from pipeline.cube.versions import doomed, publish, read_manifest, version_key
from pipeline.errors import CubeError
from pipeline.grid import Grid
from tests.unit.pipeline.cube.test_cube import GRID, layer, manifest
from tests.unit.pipeline.cube.test_cube_pairs import look, with_pairs


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "cube")


@pytest.fixture
def whole(store: LocalStore) -> Path:
    """A version with passes, pairs and look geometry."""
    made = with_pairs(store, (10, 22))
    looks, records = zip(*(look(store, track) for track in (46, 68)), strict=True)
    found = {**made.records, **{one.digest: one for one in records}}
    publish(store, made.model_copy(update={"looks": looks, "records": found}))
    return store.path(version_key(1))


def documents(version: Path) -> dict[str, dict[str, Any]]:
    """Zarr metadata, by path of the node."""
    return {
        path.parent.relative_to(version).as_posix(): json.loads(path.read_text())
        for path in version.rglob("zarr.json")
    }


def test_every_node_with_a_convention_meets_its_published_rules(whole: Path) -> None:
    zarr_cm = pytest.importorskip("zarr_cm", reason="zarr-cm is not installed")
    seen: dict[str, int] = {}
    for document in documents(whole).values():
        attributes = document["attributes"]
        for convention in attributes.get("zarr_conventions", ()):
            zarr_cm.validate_convention_metadata_object(convention)
            getattr(zarr_cm, convention["name"]).validate_node_metadata(document)
            seen[convention["name"]] = seen.get(convention["name"], 0) + 1
        zarr_cm.validate_all(attributes)
    assert seen == {"multiscales": 1, "spatial": 12, "proj": 12}


def test_conventions_agree_with_arrays_coordinates_and_each_other(whole: Path) -> None:
    nodes = documents(whole)
    root = nodes["."]["attributes"]
    assert root["zarr_conventions"] == [MULTISCALES, SPATIAL, PROJ]
    for where, document in nodes.items():
        attributes = document["attributes"]
        if "zarr_conventions" not in attributes or document["node_type"] != "array":
            continue
        assert set(attributes["spatial:dimensions"]) <= set(document["dimension_names"]), where
        assert attributes["spatial:shape"] == document["shape"][-2:], where
        step_x, _, left, _, step_y, top = attributes["spatial:transform"]
        group = whole / Path(where).parent
        for name, start, step in (("x", left, step_x), ("y", top, step_y)):
            stored = np.asarray(zarr.open_array(group / name, mode="r")[:])
            np.testing.assert_array_equal(stored, start + (np.arange(stored.size) + 0.5) * step)
    layout = root["multiscales"]["layout"]
    data = {name for name in nodes if "grid_mapping" in nodes[name]["attributes"]}
    assert {one["asset"] for one in layout} == data, "every array is a level of one of the variables"
    for one in layout:
        shape = nodes[one["asset"]]["shape"]
        assert one["spatial:shape"] == shape[-2:]
        assert one["spatial:transform"] == nodes[one["asset"]]["attributes"]["spatial:transform"]
        if "derived_from" in one:  # GDAL wants the same name, and one number for each dimension
            source = nodes[one["derived_from"]]
            assert Path(one["asset"]).name == one["derived_from"]
            assert len(one["transform"]["scale"]) == len(shape)
            for length, finer, scale in zip(shape, source["shape"], one["transform"]["scale"], strict=True):
                assert length == -(-finer // scale)
            assert nodes[one["asset"]]["data_type"] == source["data_type"]


def test_xarray_opens_an_overview_as_a_cube_of_larger_pixels(whole: Path) -> None:
    with xr.open_zarr(whole, group="overviews/4") as coarse, xr.open_zarr(whole) as fine:
        assert coarse["vv"].dims == fine["vv"].dims and coarse.sizes["y"] == -(-GRID.height // 4)
        np.testing.assert_array_equal(coarse["timestep"].values, fine["timestep"].values)
        np.testing.assert_allclose(
            coarse["vv"][0, 3, 5], float(fine["vv"][0, 12:16, 20:24].mean(skipna=True)), rtol=1e-6
        )
        assert "overviews" not in fine.variables
    assert "multiscales" not in open_cube(whole).attrs, "a copy in memory has no overviews"


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((1, 1), (4,)), ((520, 300), (4,)), ((2049, 10), (4, 16)), ((4398, 5382), (4, 16)), ((22000, 22000), (4, 16, 64)),
     ((1, 500_000_000), (4, 16, 64, 256))],
)  # fmt: skip
def test_there_is_one_overview_however_small_the_cube(
    shape: tuple[int, int], wanted: tuple[int, ...]
) -> None:
    assert factors_of(shape) == wanted


def test_blocks_lie_right_where_a_layer_has_several_shards(store: LocalStore) -> None:
    grid = Grid(epsg=32654, resolution_m=10, left=500000, top=4700000, width=3, height=2101)
    recipe = Recipe(kind="made", variables=("vv",), grid=grid.digest, sources=(), algorithm="made-1")
    ramp = np.repeat(np.arange(2101, dtype="float32")[:, None], 3, axis=1)
    record = write_layer(store, recipe, LayerData({"vv": ramp}), grid)
    base = manifest([layer(store, 1)])
    made = base.model_copy(update={"grid": grid, "records": {record.digest: record}})
    overviews = make_overviews(store, made)
    assert [one.factor for one in overviews] == [4, 16]
    for one in overviews:
        stored = zarr.open_array(store.zarr(f"{folder_of(one.records[record.digest].digest)}/vv"), mode="r")
        values = np.asarray(stored[0])
        rows = [
            np.arange(start, min(start + one.factor, 2101)).mean() for start in range(0, 2101, one.factor)
        ]
        np.testing.assert_allclose(values[:, 0], rows)


class Blanked(LayerData):
    """Values of which pixels are found to be without data after the last strip."""

    def blanked(self, rows: slice) -> Any:
        mask = np.zeros((rows.stop - rows.start, 700), bool)
        mask[5:200, 3:90] = rows.start == 0
        return mask if mask.any() else None


def test_overviews_made_while_a_layer_is_written_are_those_of_the_stored_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.cube.encoding.arrays.SHARD", 512)
    grid = Grid(epsg=32654, resolution_m=10, left=500000, top=4700000, width=700, height=2101)
    values = np.random.default_rng(0).random(grid.shape, dtype="float32")
    values[600:700, 650:] = np.nan
    recipe = Recipe(kind="made", variables=("vv",), grid=grid.digest, sources=(), algorithm="made-1")
    data = Blanked({"vv": values}, attributes={"vv": {"made": "here"}})
    written: dict[str, LayerRecord] = {}
    for name, write in (("with", write_with_overviews), ("after", write_layer)):
        store = LocalStore(tmp_path / name)
        written[name] = write(store, recipe, data, grid)
        assert len(store.names("layers")) == (3 if name == "with" else 1)
        made = manifest([layer(store, 1)]).model_copy(
            update={"grid": grid, "records": {written[name].digest: written[name]}}
        )
        assert [one.factor for one in make_overviews(store, made)] == [4, 16]
    assert written["with"] == written["after"]
    found = [
        {key: (tmp_path / name / key).read_bytes() for key in LocalStore(tmp_path / name).files("")}
        for name in written
    ]
    assert found[0] == found[1]


def test_a_pass_more_makes_the_overviews_of_that_pass_alone(store: LocalStore) -> None:
    publish(store, manifest([layer(store, 1), layer(store, 2)]))
    before = {name: store.path(f"layers/{name}").stat().st_mtime_ns for name in store.names("layers")}
    assert len(before) == 4
    publish(store, manifest([layer(store, 1), layer(store, 2), layer(store, 3)]))
    after = {name: store.path(f"layers/{name}").stat().st_mtime_ns for name in store.names("layers")}
    assert {name: after[name] for name in before} == before and len(after) == 6
    shard = next(store.path(f"{version_key(2)}/overviews/4/vv/c/0").rglob("0"))
    assert shard.is_dir() or shard.stat().st_nlink > 1


def without_overviews(store: LocalStore, patch: pytest.MonkeyPatch, found: Manifest) -> None:
    """Publish a version as earlier releases did."""
    with patch.context() as inner:
        inner.setattr("pipeline.cube.versions.make_overviews", lambda *_: ())
        publish(store, found)


def test_a_cube_of_an_earlier_release_is_read_verified_and_extended(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = manifest([layer(store, 1), layer(store, 2)])
    without_overviews(store, monkeypatch, first)
    assert "overviews" not in json.loads(store.path(f"{version_key(1)}/manifest.json").read_text())
    assert verify_cube(store.uri).sound and open_cube(store.uri).sizes["timestep"] == 2
    assert publish(store, first) == (1, False), "no new version for the overviews' sake"
    assert publish(store, manifest([layer(store, 1), layer(store, 2), layer(store, 3)])) == (2, True)
    verdict = verify_cube(store.uri)
    assert verdict.sound and verdict.shards == 6
    assert verify_cube(store.path(version_key(1))).sound


def test_overviews_go_with_their_layers(store: LocalStore) -> None:
    publish(store, manifest([layer(store, 1)]))
    publish(store, manifest([layer(store, 2)]))
    going, layers = doomed(store, 1)
    assert going == [1] and len(layers) == 2
    publish(store, manifest([layer(store, 3)]))
    assert set(store.names("layers")) == {
        digest for number in (2, 3) for digest in read_manifest(store, number).stored
    }


def test_a_damaged_shard_of_an_overview_is_found(store: LocalStore) -> None:
    publish(store, manifest([layer(store, 1)]))
    shard = store.path(f"{version_key(1)}/overviews/4/vv/c/0/0/0")
    raw = bytearray(shard.read_bytes())
    raw[len(raw) // 2] ^= 1
    shard.write_bytes(bytes(raw))
    verdict = verify_cube(store.uri)
    assert any("overviews/4/vv/c/0/0/0" in problem for problem in verdict.problems)


def test_a_layer_that_cannot_be_decoded_is_named(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    made = layer(store, 1)
    shard = store.path(f"{folder_of(made.digest)}/vv/c/0/0/0")
    shard.write_bytes(shard.read_bytes()[:50])
    with pytest.raises(CubeError, match=made.digest):
        publish(store, manifest([made]))
    assert not store.names("versions"), "nothing is left"
