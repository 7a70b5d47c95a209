"""Shards as bytes: other programs read them, damage is found, and the same values give the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import LocalStore

from pipeline.cube.encoding import arrays
from pipeline.cube.encoding.codecs import CODECS, ChunkCodec, codec_of
from pipeline.cube.encoding.shards import decode_shard, differs, encode_shard
from pipeline.cube.schema import VARIABLES

codecs = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
SHAPES = ((3, 5), (256, 256), (300, 520), (2048, 2100), (2300, 257))


def made(shape: tuple[int, int], dtype: str, seed: int = 0) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    if dtype == "int32":
        return rng.integers(-9, 9, shape).astype("int32")
    values = rng.gamma(4.4, 0.05, shape).astype("float32")
    values[: shape[0] // 3] = np.nan
    return values


def stored(folder: Path, name: str, values: np.ndarray[Any, Any], codec: ChunkCodec) -> zarr.Array[Any]:
    variable = VARIABLES[name]
    array = arrays.create(LocalStore(folder), variable, values.shape, {}, codec)
    sizes = arrays.shard_of(values.shape), arrays.chunk_of(values.shape)
    for shard, window in arrays.shard_keys(values.shape):
        path = folder / "c" / shard
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_shard(values[window], *sizes, codec, variable.fill))
    return array


@codecs
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["dem", "landslide_id"])
def test_zarr_python_and_zarrs_read_what_is_written(
    tmp_path: Path, name: str, shape: tuple[int, int], codec: ChunkCodec
) -> None:
    values = made(shape, VARIABLES[name].dtype)
    array = stored(tmp_path / "a", name, values, codec)
    np.testing.assert_array_equal(np.asarray(array[:]), values)
    np.testing.assert_array_equal(np.asarray(arrays.open_fast(LocalStore(tmp_path / "a"))[:]), values)
    assert codec_of(array.metadata.to_dict()) == codec


@codecs
def test_what_zarr_python_writes_is_read(tmp_path: Path, codec: ChunkCodec) -> None:
    values = made((300, 520), "float32")
    array = arrays.create(LocalStore(tmp_path), VARIABLES["dem"], values.shape, {}, codec)
    array[:] = values
    shard, chunk = arrays.shard_of(values.shape), arrays.chunk_of(values.shape)
    raw = (tmp_path / "c" / "0" / "0").read_bytes()
    assert not differs(raw, values, shard, chunk, codec)
    np.testing.assert_array_equal(decode_shard(raw, values.shape, shard, chunk, codec, "float32"), values)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), codec=st.sampled_from(CODECS))
def test_damage_anywhere_is_found(data: st.DataObject, codec: ChunkCodec) -> None:
    values = made((300, 270), "float32")
    sizes = arrays.shard_of(values.shape), arrays.chunk_of(values.shape)
    raw = encode_shard(values, *sizes, codec, np.nan)
    assert encode_shard(values.copy(order="F"), *sizes, codec, np.nan) == raw
    assert not differs(raw, values, *sizes, codec)
    place = data.draw(st.integers(0, len(raw) - 1))
    flipped = raw[:place] + bytes([raw[place] ^ (1 << data.draw(st.integers(0, 7)))]) + raw[place + 1 :]
    torn = raw[:place] + bytes(len(raw) - place)
    for damaged in (flipped, raw[:place], *([torn] if torn != raw else [])):
        assert differs(damaged, values, *sizes, codec)
        with pytest.raises(ValueError):
            decode_shard(damaged, values.shape, *sizes, codec, "float32")


def test_another_nan_is_another_value() -> None:
    values = np.full((4, 4), np.nan, "float32")
    other = values.copy()
    other.view("uint32")[1, 1] ^= 1
    raw = encode_shard(values, (4, 4), (4, 4), CODECS[0], np.nan)
    assert not differs(raw, values, (4, 4), (4, 4), CODECS[0])
    assert differs(raw, other, (4, 4), (4, 4), CODECS[0])


def test_a_codec_that_no_release_wrote_is_not_taken_for_one() -> None:
    metadata = {"codecs": [{"name": "sharding_indexed", "configuration": {"codecs": [{"name": "bytes"}]}}]}
    assert codec_of(metadata) is None
    assert codec_of({}) is None
