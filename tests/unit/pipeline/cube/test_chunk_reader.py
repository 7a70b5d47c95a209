"""Windows straight from chunks are those that xarray reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cube.addresses import resolve_version
from pipeline.cube.chunk_reader import ChunkReader
from pipeline.cube.local_store import LocalStore
from pipeline.cube.versions import publish, version_key
from pipeline.errors import CubeError
from tests.unit.pipeline.cube.encoding.test_array_writer import old_layer
from tests.unit.pipeline.cube.test_cube import GRID, layer, manifest, values


@pytest.fixture(scope="module", params=["new codec", "old codec"])
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = LocalStore(tmp_path_factory.mktemp("cubes") / "cube")
    make = layer if request.param == "new codec" else old_layer
    publish(store, manifest([make(store, seed) for seed in (1, 2, 3)]))
    return store.root


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_any_window_of_any_passes(root: Path, data: st.DataObject) -> None:
    reader = ChunkReader(resolve_version(root), GRID.shape, kept_bytes=data.draw(st.sampled_from([1, 10**9])))
    top, left = data.draw(st.integers(0, GRID.height - 1)), data.draw(st.integers(0, GRID.width - 1))
    bottom = data.draw(st.integers(top + 1, GRID.height))
    right = data.draw(st.integers(left + 1, GRID.width))
    steps = data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=4))
    found = reader.read(["vv"], steps, slice(top, bottom), slice(left, right))
    wanted = np.stack([values(step + 1)[top:bottom, left:right] for step in steps])[None]
    np.testing.assert_array_equal(found, wanted)


def test_each_chunk_is_decoded_once_where_neighbours_are_asked_for(root: Path) -> None:
    reader = ChunkReader(resolve_version(root), GRID.shape)
    for top in range(0, 500, 50):
        for left in range(0, 250, 50):
            reader.read(["vv"], [0, 1], slice(top, top + 50), slice(left, left + 50))
    assert reader.decoded == 2 * 2, "two rows of chunks, one column, two passes"


def test_a_window_outside_and_a_variable_that_is_not_there(root: Path) -> None:
    reader = ChunkReader(resolve_version(root), GRID.shape)
    with pytest.raises(ValueError):
        reader.read(["vv"], [0], slice(0, GRID.height + 1), slice(0, 1))
    for name, step in (("vh", 0), ("vv", 9)):
        with pytest.raises(CubeError):
            reader.read([name], [step], slice(0, 1), slice(0, 1))


def test_damage_is_named(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "cube")
    publish(store, manifest([layer(store, 1)]))
    shard = store.path(f"{version_key(1)}/vv/c/0/0/0")
    raw = shard.read_bytes()
    for damaged in (raw[:100] + b"????" + raw[104:], raw[:-10], raw[:-3] + b"???", b""):
        shard.unlink()
        shard.write_bytes(damaged)
        with pytest.raises(CubeError):
            ChunkReader(resolve_version(store.root), GRID.shape).read(["vv"], [0], slice(0, 300), slice(0, 9))
