"""Chips straight from a cube: `ChunkReader` beside zarr-python, the zarrs decoder and xbatcher, chips a second.

Chips of 128 pixels of VV and VH, of 2 and of 24 passes, visited chunk by chunk and in random order.
"""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from pipeline.areas.area import Event
from pipeline.cube.addresses import resolve_version
from pipeline.cube.chunk_reader import ChunkReader
from pipeline.cube.encoding.arrays import FAST_CODECS, PYTHON_CODECS
from pipeline.cube.layers import LayerData, Recipe, write_layer
from pipeline.cube.local_store import LocalStore
from pipeline.cube.manifest import Manifest, Timestep
from pipeline.cube.versions import publish, version_key
from pipeline.grid import Grid

SIDE, PASSES, CHIP, POLARISATIONS = int(os.environ.get("BENCH_SIDE", "2048")), 24, 128, ("vv", "vh")
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
Corner = tuple[int, int]


def main() -> None:
    """Print chips a second, medians of rounds in turn, and of the processor's seconds."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        path = _cube(Path(folder) / "cube")
        for passes in (2, 24):
            for order in ("chunk by chunk", "at random"):
                _compare(path, passes, order)


def _compare(path: Path, passes: int, order: str) -> None:
    corners = [(y, x) for y in range(0, SIDE, CHIP) for x in range(0, SIDE, CHIP)]
    if order == "at random":
        corners = [(int(y), int(x)) for y, x in np.random.default_rng(0).integers(0, SIDE - CHIP, (64, 2))]
    else:
        corners.sort(key=lambda at: (at[0] // 256, at[1] // 256, at))
    corners = corners[: max(16, 512 // passes)]
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(ROUNDS):
        for name, take in _readers(path, range(passes)).items():
            began, used = time.perf_counter(), time.process_time()
            take(corners)
            spent = time.perf_counter() - began, time.process_time() - used
            found.setdefault(name, []).append((len(corners) / spent[0], len(corners) / spent[1]))
    for name, rates in found.items():
        wall, cpu = np.median(rates, axis=0)
        print(
            f"{passes:3} passes, {order:15} {name:26}{wall:9.0f} a second{cpu:9.0f} a CPU second", flush=True
        )


def _readers(path: Path, steps: Sequence[int]) -> dict[str, Callable[[list[Corner]], None]]:
    reader = ChunkReader(resolve_version(path), (SIDE, SIDE))
    version = LocalStore(path).path(version_key(1))

    def ours(corners: list[Corner]) -> None:
        for y, x in corners:
            reader.read(POLARISATIONS, steps, slice(y, y + CHIP), slice(x, x + CHIP))

    def through_zarr(codecs: str) -> Callable[[list[Corner]], None]:
        with zarr.config.set({"codec_pipeline.path": codecs}):
            stacks = [zarr.open_array(version / name, mode="r") for name in POLARISATIONS]

        def take(corners: list[Corner]) -> None:
            for y, x in corners:
                for stack in stacks:
                    np.asarray(stack[: len(steps), y : y + CHIP, x : x + CHIP])

        return take

    found = {
        "slidecube": ours, "zarr-python": through_zarr(PYTHON_CODECS), "zarrs": through_zarr(FAST_CODECS),
    }  # fmt: skip
    if find_spec("xbatcher"):
        found["xbatcher"] = _xbatcher(version, len(steps))
    return found


def _xbatcher(version: Path, passes: int) -> Callable[[list[Corner]], None]:
    import xbatcher

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = xr.open_zarr(version, chunks=None)[list(POLARISATIONS)].isel(timestep=slice(0, passes))
    batches: Any = xbatcher.BatchGenerator(dataset, input_dims={"y": CHIP, "x": CHIP}, preload_batch=False)

    def take(corners: list[Corner]) -> None:
        for _, batch in zip(corners, batches, strict=False):
            batch.load()

    return take


def _cube(path: Path) -> Path:
    grid = Grid(epsg=32654, resolution_m=10, left=500000, top=4700000, width=SIDE, height=SIDE)
    store = LocalStore(path)
    rng = np.random.default_rng(0)
    steps, records = [], {}
    for number in range(PASSES):
        layers = {}
        for name in POLARISATIONS:
            recipe = Recipe(
                kind="backscatter", variables=(name,), grid=grid.digest, sources=(), parameters={"pass": number},
                algorithm="made",
            )  # fmt: skip
            values = rng.standard_gamma(4.4, grid.shape, dtype="float32") / np.float32(20)
            record = write_layer(store, recipe, LayerData({name: values}, report={"coverage": 1.0}), grid)
            layers[name], records[record.digest] = record.digest, record
        steps.append(
            Timestep(
                pass_id=f"pass-{number}", instant=datetime(2018, 7, 1, tzinfo=UTC) + timedelta(days=6 * number),
                platform="sentinel-1a", absolute_orbit=number, relative_orbit=46, direction="descending",
                layers=layers,
            )
        )  # fmt: skip
    instant = datetime(2018, 9, 5, 18, tzinfo=UTC)
    event = Event(kind="earthquake", start=instant, end=instant, source="made")
    publish(
        store,
        Manifest(
            area="made", title="", event=event, grid=grid, catalogue="none", timesteps=tuple(steps), static={},
            records=records,
        ),
    )  # fmt: skip
    return path


if __name__ == "__main__":
    main()
