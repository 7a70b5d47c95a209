"""Cubes of simulated events on the disk, for ladders over many events.

`python -m tests.bench.event_cubes FOLDER EVENT ...`, an event as SCENARIO:SEED, or random/LAND:SEED; without one, the
eight random events of `EVENTS`. Each is 5 km square and written as FOLDER/SCENARIO-SEED.zarr; a cube that is there is
kept. No archive, no build: `pipeline.sandbox.simulated_cube` computes them.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import cast

from pipeline.sandbox.earth.realism.switches import Land
from pipeline.sandbox.earth.scenarios import scenario
from pipeline.sandbox.simulated_cube import simulated_cube
from tests.small_cube import write

EVENTS = (
    "random/forest:1", "random/forest:2", "random/forest:3", "random/arid:4", "random/arid:5",
    "random/tropical:6", "random/snow:7", "random/forest:8",
)  # fmt: skip
"""two arid ones, a tropical one, one with snow"""
SIDE_PX = 512
BEFORE, AFTER = 6, 4
"""passes of each track"""


def main(folder: Path, words: tuple[str, ...]) -> None:
    """Write the cubes that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for word in words or EVENTS:
        name = word.replace("/", "-").replace(":", "-")
        if (target := folder / f"{name}.zarr").exists():
            continue
        started = time.perf_counter()
        kind, _, seed = word.partition(":")
        kind, _, land = kind.partition("/")
        parameters = scenario(kind, int(seed), cast(Land, land) if land else None)
        tracks = tuple(
            track.model_copy(update={"before": BEFORE, "after": AFTER}) for track in parameters.tracks
        )
        parameters = parameters.model_copy(
            update={"tracks": tracks, "missing_pass": False, "partial_pass": False}
        )
        cube = simulated_cube(SIDE_PX, parameters).assign_attrs(area=name)
        write(cube, target)
        share = float(cube.landslides.mean())
        print(f"{target}: {share:.4f} landslides, {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), tuple(sys.argv[2:]))
