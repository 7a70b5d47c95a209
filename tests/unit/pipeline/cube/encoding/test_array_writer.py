"""What is written is what is on the disk; cubes of the codec of earlier releases are extended in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pipeline.cube.encoding import array_writer
from pipeline.cube.encoding.array_writer import codec_of_cube, stored_codec
from pipeline.cube.encoding.codecs import BLOSC_LZ4, NEW_CODEC, ZSTD
from pipeline.cube.layers import LayerData, LayerRecord, folder_of, layer_problems, read_record, write_layer
from pipeline.cube.local_store import LocalStore
from pipeline.cube.read import open_cube
from pipeline.cube.verify import verify_cube
from pipeline.cube.versions import publish, version_key
from pipeline.errors import CubeError
from tests.unit.pipeline.cube.test_cube import GRID, layer, manifest, recipe, values


class Damaging(LocalStore):
    """A disk that keeps other bytes of shards than it was given."""

    def __init__(self, root: Path, damage: Any) -> None:
        super().__init__(root)
        self.damage = damage

    def put(self, key: str, data: bytes) -> None:
        super().put(key, self.damage(data) if data else data)


DAMAGE = {
    "torn": lambda data: data[: len(data) // 2],
    "torn with zeros": lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
    "one bit": lambda data: data[:100] + bytes([data[100] ^ 4]) + data[101:],
    "lost": lambda data: b"",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_torn_or_wrong_write_is_found_before_the_layer_is_committed(tmp_path: Path, damage: Any) -> None:
    store = Damaging(tmp_path / "cube", damage)
    with pytest.raises(CubeError):
        layer(store, 1)
    assert store.names("layers") == []
    assert read_record(store, recipe(1).digest) is None


def old_layer(store: LocalStore, seed: int) -> LayerRecord:
    """A layer as an earlier release wrote it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(array_writer, "NEW_CODEC", ZSTD)
        patch.setattr(array_writer, "codec_of_cube", lambda store, name: ZSTD)
        return layer(store, seed)


def test_a_cube_of_the_old_codec_is_opened_verified_extended_and_verified(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "cube")
    old = [old_layer(store, seed) for seed in (1, 9)]
    publish(store, manifest(old))
    assert stored_codec(store, f"{version_key(1)}/vv") == ZSTD
    assert verify_cube(store.root).sound
    before = {record.digest: store.stamp(folder_of(record.digest)) for record in old}
    assert publish(store, manifest(old)) == (1, False), "a rebuild is not forced"
    # the same recipes are the same layers
    assert [layer(store, seed) for seed in (1, 9)] == old
    new = layer(store, 5)
    assert stored_codec(store, f"{folder_of(new.digest)}/vv") == ZSTD
    assert publish(store, manifest([*old, new])) == (2, True)
    assert verify_cube(store.root).sound
    assert {record.digest: store.stamp(folder_of(record.digest)) for record in old} == before
    for found in (open_cube(store.root), xr.open_zarr(store.path(version_key(2)))):
        for index, seed in enumerate((1, 5, 9)):
            np.testing.assert_array_equal(found["vv"][index].values, values(seed))
    linked = store.path(f"{version_key(2)}/vv/c/0/0/0").stat().st_ino
    assert linked == store.path(f"{folder_of(old[0].digest)}/vv/c/0/0/0").stat().st_ino


@pytest.mark.parametrize(("old", "new", "wanted"), [((1,), (5, 9), BLOSC_LZ4), ((1, 9), (5,), ZSTD)])
def test_layers_of_two_codecs_make_one_version(
    tmp_path: Path, old: tuple[int, ...], new: tuple[int, ...], wanted: Any
) -> None:
    """A build of an earlier release was killed before it published, and this one ends it."""
    store = LocalStore(tmp_path / "cube")
    records = [old_layer(store, seed) for seed in old]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(array_writer, "codec_of_cube", lambda store, name: NEW_CODEC)
        records += [layer(store, seed) for seed in new]
    publish(store, manifest(records))
    assert stored_codec(store, f"{version_key(1)}/vv") == wanted
    assert verify_cube(store.root).sound
    for index, seed in enumerate(sorted((*old, *new))):
        np.testing.assert_array_equal(open_cube(store.root)["vv"][index].values, values(seed))


def test_a_new_cube_has_the_new_codec(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "cube")
    assert codec_of_cube(store, "vv") == NEW_CODEC
    record = layer(store, 1)
    assert stored_codec(store, f"{folder_of(record.digest)}/vv") == NEW_CODEC
    assert layer_problems(store, record) == []


class Late:
    """A layer of which some pixels turn out to be without data only at its end."""

    def __init__(self, pixels: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
        self.pixels = pixels
        self.report: dict[str, Any] = {"coverage": 0.5}
        self.attributes: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}

    def strips(self, rows: Any) -> Any:
        buffer = np.empty(GRID.shape, "float32")
        for window in rows:
            buffer[...] = -1  # a strip may be changed when the next one is asked for
            buffer[: window.stop - window.start] = values(1)[window]
            yield {"vv": buffer[: window.stop - window.start]}

    def blanked(self, rows: slice) -> Any:
        return self.pixels[rows] if self.pixels[rows].any() else None


@pytest.mark.parametrize("rows", [slice(0, 0), slice(10, 30), slice(500, 520)])
def test_pixels_found_to_be_without_data_at_the_end_are_written_so(tmp_path: Path, rows: slice) -> None:
    pixels = np.zeros(GRID.shape, bool)
    pixels[rows, 7:290] = True
    wanted = values(1)
    wanted[pixels] = np.nan
    one, two = LocalStore(tmp_path / "one"), LocalStore(tmp_path / "two")
    record = write_layer(one, recipe(1), Late(pixels), GRID)
    assert record == write_layer(two, recipe(1), LayerData({"vv": wanted}, report={"coverage": 0.5}), GRID)
    np.testing.assert_array_equal(LayerData.of(Late(pixels), GRID.shape).arrays["vv"], wanted)
    assert layer_problems(one, record) == []
    shard = f"{folder_of(record.digest)}/vv/c/0/0/0"
    assert one.read(shard) == two.read(shard)
