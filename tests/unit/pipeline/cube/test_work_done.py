"""What must not grow: a pass more costs what the pass costs, and a layer takes the memory of a strip."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.cube.encoding import arrays
from pipeline.cube.layers import Recipe, layer_problems, write_layer
from pipeline.cube.local_store import LocalStore
from pipeline.cube.overviews import write_with_overviews
from pipeline.cube.store import MOST_BYTES
from pipeline.cube.versions import publish
from pipeline.grid import Grid
from tests.unit.pipeline.cube.test_cube import layer, manifest


class Counting(LocalStore):
    """A store that counts the bytes of shards, and of everything else, that pass through it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.bytes: Counter[str] = Counter()

    def _count(self, what: str, key: str, data: bytes | None) -> None:
        kind = "shards" if "/vv/c/" in key else "documents"
        self.bytes[f"{kind} {what}"] += len(data or b"")

    def put(self, key: str, data: bytes) -> None:
        self._count("written", key, data)
        super().put(key, data)

    def write(self, key: str, data: bytes) -> None:
        self._count("written", key, data)
        super().write(key, data)

    def read(self, key: str, most_bytes: int = MOST_BYTES) -> bytes | None:
        found = super().read(key, most_bytes)
        self._count("read", key, found)
        return found


@pytest.mark.parametrize("passes", [2, 14])
def test_a_version_appended_by_a_pass_costs_the_pass(tmp_path: Path, passes: int) -> None:
    plain = LocalStore(tmp_path / "cube")
    records = [layer(plain, seed) for seed in range(passes)]
    publish(plain, manifest(records))
    store = Counting(plain.root)
    held = set(store.names("layers"))
    records.append(layer(store, passes))
    publish(store, manifest(records))
    new = set(store.names("layers")) - held
    assert records[-1].digest in new, "and its overviews, a fifteenth of its pixels"
    folders = [store.path(f"layers/{digest}/vv/c") for digest in new]
    size = sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())
    assert store.bytes["shards written"] == size
    assert store.bytes["shards read"] == size, "each is read back once"
    assert store.bytes["documents read"] + store.bytes["documents written"] < 40_000 * (passes + 2)


def test_a_layer_is_read_back_once_and_not_read_again_for_its_overviews(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    zarr_of = LocalStore.zarr

    def noted(self: LocalStore, key: str) -> Any:
        opened.append(key)
        return zarr_of(self, key)

    monkeypatch.setattr("tests.unit.pipeline.cube.test_cube.write_layer", write_with_overviews)
    store = Counting(tmp_path / "cube")
    records = [layer(store, seed) for seed in (1, 2)]
    written = store.bytes["shards written"]
    assert store.bytes["shards read"] == written
    monkeypatch.setattr(LocalStore, "zarr", noted)
    publish(store, manifest(records))
    assert store.bytes["shards written"] == store.bytes["shards read"] == written, "publishing links"
    assert not [key for key in opened if key.startswith("layers/")], "no layer is opened, nor made"


class Tall:
    """Values made strip by strip."""

    def __init__(self) -> None:
        self.report: dict[str, Any] = {"coverage": 1.0}
        self.attributes: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}

    def strips(self, rows: Any) -> Any:
        rng = np.random.default_rng(0)
        for window in rows:
            yield {"vv": rng.random((window.stop - window.start, 512), dtype="float32")}

    def blanked(self, rows: slice) -> None:
        return None


def test_memory_grows_with_a_strip_and_not_with_the_scene(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "SHARD", 256)
    monkeypatch.setattr(arrays, "CHUNK", 128)
    peaks = {}
    for height in (512, 512, 4096):  # the first time, what is imported counts too
        grid = Grid(epsg=32654, resolution_m=10, left=500000, top=4700000, width=512, height=height)
        recipe = Recipe(kind="made", variables=("vv",), grid=grid.digest, sources=(), algorithm="1")
        store = LocalStore(tmp_path / str(len(peaks)) / str(height))
        tracemalloc.start()
        record = write_layer(store, recipe, Tall(), grid)
        peaks[height] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert layer_problems(store, record) == []
    strip = 256 * 512 * 4
    assert peaks[4096] < peaks[512] + strip
    assert peaks[4096] < 6 * strip < 4096 * 512 * 4
