"""A writer of a small cube that kills itself (SIGKILL) at the n-th operation on the disk or in the object store.

Run as `python writer.py CUBE N`, where CUBE is a path or an address; N = 0 never kills and prints how many operations
there were.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np

from pipeline.areas.area import Event
from pipeline.catalogue.slc import pair_id
from pipeline.cube import versions
from pipeline.cube.addresses import open_store
from pipeline.cube.layers import LayerData, LayerRecord, Recipe, Source, write_layer
from pipeline.cube.manifest import Manifest, Timepair, Timestep
from pipeline.cube.objects import object_store
from pipeline.cube.store import Store
from pipeline.grid import Grid

GRID = Grid(epsg=32654, resolution_m=10, left=500000, top=4700000, width=40, height=50)
NOW = datetime(2018, 9, 5, 18, tzinfo=UTC)
REQUESTS = ("get", "get_range", "head", "put", "delete", "list", "list_with_delimiter")
"""of obstore"""
INLINE_BYTES = 2000
"""shards of this cube are small, and objects all the same"""
WATCHED = ("fsync", "link", "rename", "replace", "mkdir", "unlink", "rmdir")


def pair_of(store: Store, first: int, second: int) -> tuple[Timepair, LayerRecord]:
    """A pair of two days and its layer of two variables, made where it is missing."""
    recipe = Recipe(
        kind="interferometry", variables=("interferogram", "coherence"), grid=GRID.digest,
        sources=(Source(id=f"{first}-{second}", fingerprint="1"),), algorithm="test-1",
    )  # fmt: skip
    rng = np.random.default_rng(100 * first + second)
    arrays: dict[str, Any] = {
        "interferogram": rng.uniform(-3, 3, GRID.shape).astype("float32"),
        "coherence": rng.random(GRID.shape).astype("float32"),
    }
    record = write_layer(store, recipe, LayerData(arrays, report={"coverage": 1.0}), GRID)
    start, end = NOW + timedelta(days=first), NOW + timedelta(days=second)
    pair = Timepair(
        pair_id=pair_id(46, start, end), start=start, end=end, relative_orbit=46,
        perpendicular_baseline_m=10.0 * first, backend="pygmtsar", layers=dict.fromkeys(arrays, record.digest),
    )  # fmt: skip
    return pair, record


def manifest_of(store: Store, days: list[int]) -> Manifest:
    """Layers of those days and of each with the next, made where they are missing, and their manifest."""
    records = []
    for day in days:
        recipe = Recipe(
            kind="backscatter", variables=("vv",), grid=GRID.digest,
            sources=(Source(id=str(day), fingerprint="1"),), algorithm="test-1",
        )  # fmt: skip
        values = np.random.default_rng(day).gamma(4.4, 0.05, GRID.shape).astype("float32")
        records.append(write_layer(store, recipe, LayerData({"vv": values}, report={"coverage": 1.0}), GRID))
    steps = tuple(
        Timestep(
            pass_id=str(day), instant=NOW + timedelta(days=day), platform="sentinel-1a", absolute_orbit=day,
            relative_orbit=46, direction="descending", layers={"vv": record.digest},
        )
        for day, record in zip(days, records, strict=True)
    )  # fmt: skip
    pairs = [pair_of(store, first, second) for first, second in pairwise(days)]
    records += [record for _, record in pairs]
    event = Event(kind="earthquake", start=NOW, end=NOW, source="test")
    return Manifest(
        area="test", title="", event=event, grid=GRID, catalogue="none", timesteps=steps,
        timepairs=tuple(pair for pair, _ in pairs), static={},
        records={record.digest: record for record in records},
    )  # fmt: skip


def write(root: str) -> None:
    """Two versions, as a build makes them: the second has a pass more in the middle, and two pairs for one."""
    store = open_store(root)
    for days in ([1, 9], [1, 5, 9]):
        with store.lock(versions.LOCK, wait=True):
            for prefix in ("layers", "versions"):
                store.sweep(prefix)
            versions.publish(store, manifest_of(store, days))


def count_and_kill(deadly: int, *, remote: bool) -> Callable[[], int]:
    """Count operations on the disk, or requests to an object store, and kill at the `deadly`-th.

    Returns:
        what gives the count.
    """
    count = 0
    lock = threading.Lock()

    def watched(function: Any) -> Any:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            with lock:
                count += 1
                if count == deadly:
                    os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return wrapper

    if remote:
        import obstore

        for name in REQUESTS:
            setattr(obstore, name, watched(getattr(obstore, name)))
        object_store.INLINE_BYTES = INLINE_BYTES
    for name in () if remote else WATCHED:
        setattr(os, name, watched(getattr(os, name)))
    return lambda: count


def main() -> None:
    """Count operations and die at the wanted one."""
    root, deadly = sys.argv[1], int(sys.argv[2])
    operations = count_and_kill(deadly, remote="://" in root)
    write(root)
    print(operations())


if __name__ == "__main__":
    main()
