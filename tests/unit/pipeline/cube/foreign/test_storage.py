"""Codecs that would run what they decode, and chunks without bound, are refused before anything decodes them."""

from __future__ import annotations

import contextlib
import json
import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.cube.local_store import LocalStore
from pipeline.cube.read import open_cube
from pipeline.cube.verify import verify_cube
from pipeline.cube.versions import publish, version_key
from pipeline.errors import CubeError
from tests.faults.mutations import places
from tests.small_cube import small_cube, write, write_published
from tests.unit.pipeline.cube.test_cube import layer, manifest


class Bomb:
    """Leaves a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("where", [".zarray", ".zmetadata"])
@pytest.mark.parametrize("codec", ["pickle", "unknown", "../../x"])
def test_a_filter_that_runs_code_is_refused_by_name(tmp_path: Path, where: str, codec: str) -> None:
    path = write_published(small_cube(32), tmp_path / "brought.zarr")
    mark = tmp_path / "executed"
    document = json.loads((path / "platform/.zarray").read_text()) if (path / "platform").exists() else {
        "chunks": [1], "compressor": None, "dtype": "|O", "fill_value": None, "filters": None, "order": "C",
        "shape": [1], "zarr_format": 2,
    }  # fmt: skip
    document["filters"] = [{"id": codec}]
    (path / "bomb").mkdir()
    (path / "bomb/.zattrs").write_text('{"_ARRAY_DIMENSIONS": ["n"]}')
    (path / "bomb/0").write_bytes(pickle.dumps([Bomb(mark)]))
    if where == ".zarray":
        (path / "bomb/.zarray").write_text(json.dumps(document))
    else:
        whole = json.loads((path / ".zmetadata").read_text())
        whole["metadata"] |= {"bomb/.zarray": document, "bomb/.zattrs": {"_ARRAY_DIMENSIONS": ["n"]}}
        (path / ".zmetadata").write_text(json.dumps(whole))
    with pytest.raises(CubeError) as caught:
        open_cube(path)
    assert repr(codec) in caught.value.message
    assert not mark.exists()


@pytest.mark.parametrize("name", ["pickle", "numcodecs.pickle"])
def test_a_codec_of_zarr_v3_is_checked_in_shards_too(tmp_path: Path, name: str) -> None:
    path = write(small_cube(32), tmp_path / "brought.zarr")
    document = json.loads((path / "vv/zarr.json").read_text())
    document["codecs"] = [{
        "name": "sharding_indexed",
        "configuration": {"chunk_shape": [1, 32, 32], "codecs": [{"name": name}], "index_codecs": []},
    }]  # fmt: skip
    (path / "vv/zarr.json").write_text(json.dumps(document))
    with pytest.raises(CubeError) as caught:
        open_cube(path)
    assert repr(name) in caught.value.message


def test_a_version_is_checked_too_when_it_is_opened_and_verified(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "cube")
    publish(store, manifest([layer(store, 1)]))
    path = store.path(f"{version_key(1)}/vv/zarr.json")
    path.write_text(path.read_text().replace('"blosc"', '"pickle"'))
    for act in (open_cube, verify_cube):
        with pytest.raises(CubeError):
            act(store.uri)


@pytest.mark.parametrize("shape", [[7, 10**9, 1], [7, 40_000, 40_000], [10**12, 32, 32]])
def test_an_array_larger_than_any_memory_is_refused_before_it_is_read(
    tmp_path: Path, shape: list[int]
) -> None:
    path = write_published(small_cube(32), tmp_path / "brought.zarr")
    array = json.loads((path / "vv/.zarray").read_text())
    (path / "vv/.zarray").write_text(json.dumps(array | {"shape": shape}))
    with pytest.raises(CubeError) as caught:
        open_cube(path)
    assert " x ".join(f"{n:,}" for n in shape) in caught.value.message


def test_a_coordinate_larger_than_any_memory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = write_published(small_cube(32), tmp_path / "brought.zarr")
    whole = json.loads((path / ".zmetadata").read_text())
    whole["metadata"]["x/.zarray"] |= {"shape": [10**10], "chunks": [1]}
    (path / ".zmetadata").write_text(json.dumps(whole))
    with pytest.raises(CubeError):
        open_cube(path)


def test_a_chunk_larger_than_any_memory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = write_published(small_cube(32), tmp_path / "brought.zarr")
    array = json.loads((path / "vv/.zarray").read_text())
    array["chunks"] = [1, 65536, 65536]
    (path / "vv/.zarray").write_text(json.dumps(array))
    with pytest.raises(CubeError) as caught:
        open_cube(path)
    assert "16 GiB" in caught.value.message


@pytest.mark.parametrize("text", ["{", "[" * 100_000, ""])
def test_metadata_that_is_no_json_is_an_error_of_ours(tmp_path: Path, text: str) -> None:
    path = write_published(small_cube(32), tmp_path / "brought.zarr")
    (path / ".zmetadata").write_text(text)
    with pytest.raises(CubeError):
        open_cube(path)


@pytest.mark.parametrize("compressor", ["zlib", "lz4", "bz2", "lzma", "blosc", "gzip", "zstd"])
def test_common_compressors_are_read(tmp_path: Path, compressor: str) -> None:
    import numcodecs

    cube = small_cube(64)[["vv", "dem"]]
    codec = numcodecs.get_codec({"id": compressor})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cube.to_zarr(
            tmp_path / "a.zarr",
            zarr_format=2,
            encoding={name: {"compressors": (codec,)} for name in cube.data_vars},
        )
    np.testing.assert_array_equal(open_cube(tmp_path / "a.zarr")["dem"], cube["dem"])


def test_words_and_packed_numbers_are_read(tmp_path: Path) -> None:
    cube = small_cube(64)[["vv"]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cube.to_zarr(
            tmp_path / "a.zarr", zarr_format=2,
            encoding={"vv": {"dtype": "int16", "scale_factor": 1e-3, "_FillValue": -1}},
        )  # fmt: skip
    opened: xr.Dataset = open_cube(tmp_path / "a.zarr")
    np.testing.assert_allclose(opened["vv"], cube["vv"], atol=6e-4)
    assert opened["sat:orbit_state"].values[0] in ("ascending", "descending")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**31),
    value=st.none() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=3),
)
def test_any_value_in_the_metadata_gives_a_cube_or_an_error_of_ours(
    whole: Path, tmp_path: Path, seed: int, value: Any
) -> None:
    path = tmp_path / f"{seed}-{abs(hash(str(value)))}.zarr"
    shutil.copytree(whole, path, dirs_exist_ok=True)
    document = json.loads((path / ".zmetadata").read_text())
    found = places(document)
    node, key = found[seed % len(found)]
    node[key] = value
    (path / ".zmetadata").write_text(json.dumps(document))
    with contextlib.suppress(CubeError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        open_cube(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_published(small_cube(32), tmp_path_factory.mktemp("whole") / "brought.zarr")
