"""A simulated cube in memory is what a build of the same world gives, up to what its docstring states."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from pipeline.areas.area import AreaOfInterest
from pipeline.cube.read import open_cube
from pipeline.sandbox.earth.events.random_event import random_event
from pipeline.sandbox.earth.parameters import TrackPlan
from pipeline.sandbox.posing.server import Sandbox
from pipeline.sandbox.simulated_cube import simulated_cube
from pipeline.sandbox.world import make_world
from tests.e2e.conftest import Command

AREA = AreaOfInterest.model_validate(
    {
        "name": "small",
        "bbox": (142.30, 42.30, 142.313, 42.31),
        "event": {
            "kind": "earthquake",
            "start": "2018-09-05T18:07:59Z",
            "end": "2018-09-05T18:07:59Z",
            "source": "simulated",
        },
        "start": "2018-06-01T00:00:00Z",
        "end": "2018-12-01T00:00:00Z",
    }
)


@pytest.mark.slow
def test_a_cube_in_memory_equals_the_built_one(tmp_path: Path) -> None:
    tracks = (
        TrackPlan(relative_orbit=46, direction="descending", before=2, after=1, incidence_deg=36.0),
        TrackPlan(relative_orbit=68, direction="ascending", before=1, after=1, incidence_deg=39.0),
    )
    event = random_event(3, "snow").model_copy(update={"tracks": tracks, "prevalence": 0.08})
    world = make_world(AREA, tmp_path / "world", event)
    with Sandbox(world) as sandbox:
        data = tmp_path / "data"
        environment = {
            **os.environ,
            **sandbox.environment,
            "SLIDECUBE_AOI_DIR": str(world.root / "aoi"),
            "SLIDECUBE_DATA_DIR": str(data),
        }
        Command(environment, data).run("build", AREA.name)
        built = open_cube(data / "cubes" / AREA.name).load()
    streamed = simulated_cube(AREA, event)
    assert set(streamed.data_vars) == set(built.data_vars)
    for name, ours in streamed.data_vars.items():
        theirs = built[name]
        assert ours.dims == theirs.dims and ours.dtype == theirs.dtype, name
        assert ours.attrs.items() <= theirs.attrs.items(), name
        seen = np.isfinite(theirs.values)
        assert np.array_equal(ours.values[seen], theirs.values[seen]), name
        # a build removes a rim of each pass where it ends within the area
        beyond = np.isfinite(ours.values) & ~seen
        assert beyond.mean() < (0.05 if name in {"vv", "vh"} else 1e-9), name
    assert set(built.coords) - set(streamed.coords) == {"timepair", "layer_digest"}
    for name in set(streamed.coords) - {"vv_coverage", "vh_coverage"}:
        assert (streamed[name] == built[name]).all(), name
    differ = {name for name, value in built.attrs.items() if streamed.attrs.get(name) != value}
    assert differ <= {"sources"}
