"""Cubes of simulated events straight from the simulator, for ladders over many events.

`python -m tests.bench.event_cubes FOLDER EVENT ...`, an event as SCENARIO:SEED, or random/LAND:SEED; without one, the
eight random events of `EVENTS`. Each is 5 km square, seen by one descending and one ascending track, and written as
FOLDER/SCENARIO-SEED.zarr; a cube that is there is kept. Terrain is derived from the published elevation by plain
differences: no archive, no build.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import cast

import numpy as np
import xarray as xr
from pyproj import CRS
from scipy import ndimage

from pipeline.area import AreaOfInterest
from pipeline.sandbox.earth.parameters import TrackPlan
from pipeline.sandbox.earth.radar import observe
from pipeline.sandbox.earth.realism.switches import Land
from pipeline.sandbox.earth.scenarios import scenario
from pipeline.sandbox.earth.scene import Scene, make_scene
from tests.bench.acceptance import heights_as_published, labels_of, window_of
from tests.small_cube import write

EVENTS = (
    "random/forest:1", "random/forest:2", "random/forest:3", "random/arid:4", "random/arid:5",
    "random/tropical:6", "random/snow:7", "random/forest:8",
)  # fmt: skip
"""two arid ones, a tropical one, one with snow"""
SIDE_M = 5120.0
BEFORE, AFTER = 6, 4
"""passes of each track"""
LATITUDE, LONGITUDE = 42.3, 142.3
EVENT = {
    "kind": "earthquake",
    "start": "2018-09-05T18:07:59Z",
    "end": "2018-09-05T18:07:59Z",
    "source": "simulated",
}


def scene_of(word: str) -> Scene:
    """The scene of an event, as in `random/arid:4`."""
    name, _, seed = word.partition(":")
    kind, _, land = name.partition("/")
    parameters = scenario(kind, int(seed), cast(Land, land) if land else None)
    side = SIDE_M / 111_100
    area = AreaOfInterest.model_validate(
        {
            "name": word.replace("/", "-").replace(":", "-"),
            "bbox": (LONGITUDE, LATITUDE, LONGITUDE + side / np.cos(np.radians(LATITUDE)), LATITUDE + side),
            "event": EVENT,
            "start": "2018-05-01T00:00:00Z",
            "end": "2018-12-31T00:00:00Z",
        }
    )
    angles = {track.direction: track.incidence_deg for track in parameters.tracks}
    tracks = tuple(
        TrackPlan(
            relative_orbit=orbit,
            direction=direction,
            before=BEFORE,
            after=AFTER,
            incidence_deg=angles.get(direction, usual),
        )
        for orbit, direction, usual in ((46, "descending", 35.9), (68, "ascending", 38.8))
    )
    changes = {"tracks": tracks, "missing_pass": False, "partial_pass": False}
    return make_scene(area, parameters.model_copy(update=changes))


def cube_of(scene: Scene, name: str) -> xr.Dataset:
    """The scene as a cube of our schema, without pairs and look geometry."""
    window, step = window_of(scene), scene.grid.resolution_m
    flights = sorted(scene.flights, key=lambda flight: flight.instant)
    power = {
        polarisation: np.stack([observe(scene, flight, polarisation)[window] for flight in flights])
        for polarisation in ("vv", "vh")
    }
    heights = heights_as_published(scene)[window].astype(np.float32)
    south, east = np.gradient(heights, step)
    curvature = 100 * ndimage.laplace(ndimage.gaussian_filter(heights, 1.0)) / step**2
    layers = {
        "dem": heights,
        "dem_slope_radians": np.arctan(np.hypot(south, east)),
        "dem_aspect": np.degrees(np.arctan2(-east, south)) % 360,
        "dem_curvature": curvature,
        "landslides": labels_of(scene)[window],
    }
    height, width = heights.shape
    return xr.Dataset(
        {name: (("timestep", "y", "x"), values.astype(np.float32)) for name, values in power.items()}
        | {name: (("y", "x"), values.astype(np.float32)) for name, values in layers.items()},
        coords={
            "timestep": np.array([np.datetime64(f.instant.replace(tzinfo=None), "us") for f in flights]),
            "y": scene.area_grid.top - step / 2 - step * np.arange(height),
            "x": scene.area_grid.left + step / 2 + step * np.arange(width),
            "relative_orbit": ("timestep", np.array([f.track.relative_orbit for f in flights])),
            "sat:orbit_state": ("timestep", np.array([f.track.direction for f in flights], dtype=object)),
            "spatial_ref": ((), 0, CRS.from_epsg(scene.grid.epsg).to_cf()),
        },
        attrs={
            "schema": "slidecube-1",
            "area": name,
            "event": json.dumps({"start": EVENT["start"], "end": EVENT["end"]}),
            "simulated": True,
        },
    )


def main(folder: Path, words: tuple[str, ...]) -> None:
    """Write the cubes that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for word in words or EVENTS:
        name = word.replace("/", "-").replace(":", "-")
        if (target := folder / f"{name}.zarr").exists():
            continue
        started = time.perf_counter()
        cube = cube_of(scene_of(word), name)
        write(cube, target)
        share = float(cube.landslides.mean())
        print(f"{target}: {share:.4f} landslides, {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), tuple(sys.argv[2:]))
