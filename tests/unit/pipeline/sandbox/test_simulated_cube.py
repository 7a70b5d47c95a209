"""Cubes in memory: schema, determinism, and events without landslides."""

from __future__ import annotations

import json

import numpy as np

from pipeline.cube.schema import BACKSCATTER, LABELS, SCHEMA_VERSION, TERRAIN
from pipeline.sandbox.earth.events.lands import realistic
from pipeline.sandbox.earth.events.random_event import random_event
from pipeline.sandbox.earth.parameters import WorldParameters
from pipeline.sandbox.simulated_cube import simulated_cube, simulated_cubes

SIDE = 72


def test_a_cube_has_the_schema_and_names_its_event() -> None:
    event = random_event(5, "arid").model_copy(update={"prevalence": 0.08})
    cube = simulated_cube(SIDE, event)
    assert set(cube.data_vars) == {*BACKSCATTER, *TERRAIN, *LABELS}
    assert cube.sizes["timestep"] == 14 and min(cube.sizes["y"], cube.sizes["x"]) >= SIDE
    assert cube.attrs["schema"] == SCHEMA_VERSION and cube.attrs["simulated"] == 1
    assert WorldParameters.model_validate_json(cube.attrs["simulated_event"]) == event
    assert json.loads(cube.attrs["event"])["source"] == "simulated"
    times = cube["timestep"].values
    assert (np.diff(times) > np.timedelta64(0, "s")).all()
    after = times > np.datetime64("2018-09-05T18:07:59")
    assert after.sum() == 5
    assert cube["vv"].notnull().mean() > 0.9 and float(cube["vv"].min()) > 0
    assert 0 < float(cube["landslide_fraction"].mean()) < 0.4
    assert np.isfinite(cube["dem"].values).all()


def test_the_same_event_gives_the_same_cube_and_another_seed_another() -> None:
    one, again, other = simulated_cubes([random_event(1), random_event(1), random_event(2)], SIDE)
    assert one.identical(again)
    assert not np.array_equal(one["vv"].values, other["vv"].values, equal_nan=True)


def test_an_event_without_landslides_has_empty_labels() -> None:
    cube = simulated_cube(SIDE, realistic("forest").model_copy(update={"prevalence": 0.0}))
    assert float(cube["landslides"].sum()) == 0 and int(cube["landslide_id"].max()) == 0
