"""Layers, versions, reading and verifying, on a small cube without any archive."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.areas.area import Event
from pipeline.cube.encoding import arrays
from pipeline.cube.layers import LayerData, LayerRecord, Recipe, Source, read_record, write_layer
from pipeline.cube.local_store import LocalStore
from pipeline.cube.manifest import Manifest, Timestep
from pipeline.cube.read import open_cube
from pipeline.cube.store import STAGING
from pipeline.cube.verify import verify_cube
from pipeline.cube.versions import current_version, publish, read_manifest, version_key, version_numbers
from pipeline.errors import CubeError, GridError
from pipeline.grid import Grid

GRID = Grid(epsg=32654, resolution_m=10, left=500000, top=4700000, width=300, height=520)
EVENT = Event(
    kind="earthquake",
    start=datetime(2018, 9, 5, 18, tzinfo=UTC),
    end=datetime(2018, 9, 5, 18, tzinfo=UTC),
    source="test",
)


def recipe(seed: int, variable: str = "vv") -> Recipe:
    return Recipe(
        kind="backscatter",
        variables=(variable,),
        grid=GRID.digest,
        sources=(Source(id=f"item-{seed}", fingerprint=f"etag-{seed}"),),
        algorithm="test-1",
    )


def values(seed: int) -> np.ndarray[Any, Any]:
    made = np.random.default_rng(seed).gamma(4.4, 0.05, GRID.shape).astype("float32")
    made[:3] = np.nan
    return made


def layer(store: LocalStore, seed: int) -> LayerRecord:
    return write_layer(store, recipe(seed), LayerData({"vv": values(seed)}, report={"coverage": 0.5}), GRID)


def manifest(records: list[LayerRecord]) -> Manifest:
    steps = [
        Timestep(
            pass_id=record.recipe.sources[0].id,
            instant=datetime(2018, 8, 1, tzinfo=UTC) + timedelta(days=int(record.recipe.sources[0].id[5:])),
            platform="sentinel-1a",
            absolute_orbit=1,
            relative_orbit=46,
            direction="descending",
            layers={"vv": record.digest},
        )
        for record in records
    ]
    return Manifest(
        area="test",
        title="",
        event=EVENT,
        grid=GRID,
        catalogue="none",
        timesteps=tuple(sorted(steps, key=lambda step: step.instant)),
        static={},
        records={record.digest: record for record in records},
    )


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "cube")


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_version_opens_with_plain_xarray_and_holds_what_was_written(store: LocalStore) -> None:
    number, new = publish(store, manifest([layer(store, 7), layer(store, 3)]))
    assert (number, new) == (1, True)
    dataset = xr.open_zarr(store.path(version_key(1)))
    assert dataset["vv"].dims == ("timestep", "y", "x")
    np.testing.assert_array_equal(dataset["vv"][0].values, values(3))
    np.testing.assert_array_equal(dataset["vv"][1].values, values(7))
    assert dataset["x"].values[0] == 500005.0
    assert dataset["y"].values[0] == 4699995.0
    assert str(dataset["timestep"].values[0])[:10] == "2018-08-04"
    assert list(dataset["sat:orbit_state"].values) == ["descending"] * 2
    assert list(dataset["vv_coverage"].values) == [0.5, 0.5]
    assert set(dataset.coords) == {
        "x", "y", "timestep", "spatial_ref", "sat:orbit_state", "platform", "pass_id", "layer_digest", "source",
        "relative_orbit", "absolute_orbit", "vv_coverage", "timepair",
    }  # fmt: skip
    assert set(dataset.data_vars) == {"vv"}
    assert dataset["spatial_ref"].attrs["GeoTransform"].split()[0] == "500000.0"
    assert json.loads(dataset.attrs["event"])["start"] == "2018-09-05T18:00:00Z"
    assert open_cube(store.root).identical(open_cube(store.path(version_key(1))))


def test_the_same_manifest_again_is_no_new_version(store: LocalStore) -> None:
    made = manifest([layer(store, 1)])
    publish(store, made)
    assert publish(store, made) == (1, False)
    assert publish(store, made.model_copy(update={"catalogue": "another search"})) == (1, False)


def test_inserting_in_the_middle_and_replacing_gives_the_bytes_of_a_fresh_cube(
    store: LocalStore, tmp_path: Path
) -> None:
    publish(store, manifest([layer(store, s) for s in (1, 9)]))
    publish(store, manifest([layer(store, s) for s in (1, 5, 9)]))
    publish(store, manifest([layer(store, s) for s in (1, 6, 9)]))
    fresh = LocalStore(tmp_path / "fresh")
    publish(fresh, manifest([layer(fresh, s) for s in (9, 6, 1)]))
    assert tree(store.path(version_key(3))) == tree(fresh.path(version_key(1)))
    assert version_numbers(store) == [2, 3]
    assert read_record(store, recipe(5).digest) is not None, "version 2 still uses it"
    publish(store, manifest([layer(store, s) for s in (1, 9)]))
    assert read_record(store, recipe(5).digest) is None, "swept with the last version that used it"


def test_a_layer_that_a_later_build_wants_is_spared(store: LocalStore) -> None:
    publish(store, manifest([layer(store, 1)]))
    lonely = layer(store, 4)
    publish(store, manifest([layer(store, 1), layer(store, 2)]), spare=frozenset({lonely.digest}))
    assert read_record(store, lonely.digest) is not None
    publish(store, manifest([layer(store, 1), layer(store, 3)]))
    assert read_record(store, lonely.digest) is None


def test_versions_share_bytes_with_layers(store: LocalStore) -> None:
    record = layer(store, 1)
    publish(store, manifest([record]))
    shard = store.path(f"{version_key(1)}/vv/c/0/0/0")
    assert shard.stat().st_nlink == 2


def test_a_sound_cube_verifies(store: LocalStore) -> None:
    publish(store, manifest([layer(store, 1), layer(store, 2)]))
    seen: list[tuple[int, int]] = []
    verdict = verify_cube(store.root, lambda what, done, total=None, remark="": seen.append((done, total)))
    assert verdict.sound, verdict.problems
    assert verdict.shards == 4, "two layers, and an overview of each"
    assert seen[-1] == (4, 4)


@pytest.mark.parametrize("where", ["head", "middle", "index"])
def test_a_flipped_byte_is_found(store: LocalStore, where: str) -> None:
    publish(store, manifest([layer(store, 1)]))
    shard = store.path(f"{version_key(1)}/vv/c/0/0/0")
    raw = bytearray(shard.read_bytes())
    position = {"head": 3, "middle": len(raw) // 2, "index": len(raw) - 20}[where]
    raw[position] ^= 1
    shard.write_bytes(bytes(raw))
    verdict = verify_cube(store.root)
    assert not verdict.sound
    assert any("vv/c/0/0/0" in problem for problem in verdict.problems)


def test_a_deleted_shard_a_stray_file_and_changed_metadata_are_found(store: LocalStore) -> None:
    publish(store, manifest([layer(store, 1)]))
    folder = store.path(version_key(1))
    (folder / "vv/c/0/0/0").unlink()
    (folder / "vv/c/0/7").mkdir()
    (folder / "vv/c/0/7/7").write_bytes(b"stray")
    group = folder / "zarr.json"
    group.write_text(group.read_text().replace('"test"', '"tost"', 1))
    keys = [problem.partition(":")[0] for problem in verify_cube(store.root).problems]
    assert sorted(keys) == ["vv/c/0/0/0", "vv/c/0/7/7", "zarr.json"]


def test_a_damaged_manifest_is_named(store: LocalStore) -> None:
    publish(store, manifest([layer(store, 1)]))
    path = store.path(f"{version_key(1)}/manifest.json")
    path.write_text(path.read_text().replace('"epsg": 32654', '"epsg": "x"'))
    with pytest.raises(CubeError, match=r"grid\.epsg"):
        verify_cube(store.root)


def test_a_layer_off_the_grid_is_refused_and_nothing_is_left(store: LocalStore) -> None:
    with pytest.raises(GridError, match=r"\(520, 300\)"):
        write_layer(store, recipe(1), LayerData({"vv": np.zeros((5, 5), "float32")}), GRID)
    with pytest.raises(GridError, match="float64"):
        write_layer(store, recipe(1), LayerData({"vv": np.zeros(GRID.shape)}), GRID)
    assert store.names("layers") == []


def test_what_a_killed_writer_left_is_swept_and_never_read(store: LocalStore) -> None:
    publish(store, manifest([layer(store, 1)]))
    store.path(f"layers/{STAGING}dead").mkdir()
    store.path(f"versions/{STAGING}dead").mkdir()
    # the version was renamed, and the kill came before `latest` was replaced
    store.path(version_key(2)).mkdir()
    assert current_version(store) == 1
    number, _ = publish(store, manifest([layer(store, 1), layer(store, 2)]))
    assert number == 2
    assert read_manifest(store, 2).timesteps[1].pass_id == "item-2"
    assert not [
        name for folder in ("layers", "versions") for name in store.names(folder) if name.startswith(".")
    ]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hnp.arrays("float32", (7, 5), elements=st.floats(width=32, allow_nan=True)))
def test_content_digest_knows_one_nan(sample: np.ndarray[Any, Any]) -> None:
    other = sample.copy()
    other.view("uint32")[np.isnan(sample)] ^= 1
    assert arrays.content_digest(sample) == arrays.content_digest(other)
    changed = sample.copy()
    changed[0, 0] = 1.5 if sample[0, 0] != 1.5 else 2.5
    assert arrays.content_digest(sample) != arrays.content_digest(changed)


def test_content_digest_is_that_of_the_whole_array_however_many_rows_are_taken_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = np.random.default_rng(0).random((70, 40), dtype="float32")
    whole[33, 20] = np.nan
    part = whole[:, 3:37]
    wanted = hashlib.sha256(np.ascontiguousarray(part).tobytes()).hexdigest()
    for size in (1, 1000, 2**20):
        monkeypatch.setattr(arrays, "DIGESTED_BYTES", size)
        assert arrays.content_digest(part) == wanted


def test_shards_tile_the_grid_exactly() -> None:
    count = np.zeros((5382, 4398), "uint8")
    for _, window in arrays.shard_keys(count.shape):
        count[window] += 1
    assert (count == 1).all()


def test_an_empty_cube_without_passes_opens(store: LocalStore) -> None:
    record = write_layer(
        store,
        recipe(1, "dem"),
        LayerData({"dem": values(1)}),
        GRID,
    )
    publish(
        store,
        manifest([]).model_copy(
            update={"static": {"dem": record.digest}, "records": {record.digest: record}}
        ),
    )
    assert open_cube(store.root)["dem"].shape == GRID.shape
    assert verify_cube(store.root).sound
