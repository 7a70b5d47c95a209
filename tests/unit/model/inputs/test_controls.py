"""Controls: where there is nothing to find, nothing is found, on simulated events through the protocol itself.

A network could win by a flaw of the simulator or by a leak. Methods that learn from pixels and their surroundings would
find the same flaw in a fraction of the time, so that they stand for it here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from model.experiments.baselines import baselines
from model.experiments.results.results import CrossValidation, Trial
from model.experiments.trial_runs import FinishedTrial, run_trials, scored
from model.inputs.inputs import Inputs
from model.scores.intervals import interval, paired_difference
from pipeline.sandbox.earth.scenarios import scenario
from tests.bench.acceptance import heights_as_published, labels_of, scene_of
from tests.small_cube import DAY, EVENT, EVENT_JSON, HOUR, write

SIDE_PX = 320


def cube_of(slid_passes: int | None, seed: int = 5) -> xr.Dataset:
    """Passes of one track over a simulated forest, half of them before the event of the cube.

    Args:
        slid_passes: passes on either side, those after the event with its landslides; None: two on either side, none of
            which shows a landslide although the labels do.
    """
    from pipeline.sandbox.earth.radar import observe
    from tests.bench.acceptance import window_of

    scene = scene_of(scenario("quiet").model_copy(update={"seed": seed, "prevalence": 0.08}), SIDE_PX)
    window = window_of(scene)
    quiet = [flight for flight in scene.flights if not flight.slid]
    slid = [flight for flight in scene.flights if flight.slid]
    # at most four passes before and four after: a flight that is used twice would repeat its speckle
    flights = quiet[:4] if slid_passes is None else [*quiet[:slid_passes], *slid[:slid_passes]]
    power = {pol: np.stack([observe(scene, f, pol)[window] for f in flights]) for pol in ("vv", "vh")}
    times = [EVENT + 2 * HOUR + (i - len(flights) // 2) * 12 * DAY for i in range(len(flights))]
    dem = heights_as_published(scene)[window]
    south, east = np.gradient(dem, scene.grid.resolution_m)
    labels = labels_of(scene)[window].astype(np.float32)
    height, width = labels.shape
    dims = ("timestep", "y", "x")
    return xr.Dataset(
        {
            "vv": (dims, power["vv"].astype(np.float32)),
            "vh": (dims, power["vh"].astype(np.float32)),
            "dem": (("y", "x"), dem.astype(np.float32)),
            "dem_slope_radians": (("y", "x"), np.arctan(np.hypot(south, east)).astype(np.float32)),
            "dem_aspect": (("y", "x"), (np.degrees(np.arctan2(-east, south)) % 360).astype(np.float32)),
            "landslides": (("y", "x"), labels),
        },
        coords={
            "timestep": np.array(times),
            "y": 4_700_000.0 - 5 - 10.0 * np.arange(height),
            "x": 500_005.0 + 10.0 * np.arange(width),
            "relative_orbit": ("timestep", np.full(len(flights), 46)),
            "sat:orbit_state": ("timestep", np.array(["descending"] * len(flights), dtype=object)),
        },
        attrs={"schema": "slidecube-1", "area": "controls", "event": EVENT_JSON, "simulated": True},
    )


RADAR = Inputs(terrain=())
TERRAIN = Inputs(backscatter=(), terrain=("dem", "slope", "aspect"))
BOTH = Inputs(terrain=("dem", "slope", "aspect"))


def tried(cube: Path, inputs: Inputs, out: Path) -> list[FinishedTrial]:
    boosting = next(trial for trial in baselines(inputs) if trial.method == "boosting")
    return run_trials(CrossValidation(cubes=(str(cube),)).tasks([boosting]), out)


def auprc(done: list[FinishedTrial]) -> float:
    return float(np.mean([d.result.evaluation.scene.auprc for d in done]))


def prevalence(done: list[FinishedTrial]) -> float:
    return float(np.mean([d.result.evaluation.scene.prevalence for d in done]))


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    """The cube of an event, and one of the same scene with a wrong event date, so that nothing changed."""
    root = tmp_path_factory.mktemp("events")
    return write(cube_of(2), root / "event.zarr"), write(cube_of(None), root / "quiet.zarr")


def test_the_event_itself_is_found(events, tmp_path):
    radar = tried(events[0], RADAR, tmp_path)
    assert auprc(radar) > 3 * prevalence(radar)


def test_a_wrong_date_shows_no_more_than_the_terrain_does(events, tmp_path):
    quiet = events[1]
    both, terrain = tried(quiet, BOTH, tmp_path), tried(quiet, TERRAIN, tmp_path)
    counts = [[s.counts for s in scored(done, tmp_path)] for done in (both, terrain)]
    assert paired_difference(*counts).lower <= 0.005
    # and radar alone scores no better than terrain alone
    assert auprc(tried(quiet, RADAR, tmp_path)) < auprc(terrain) + 0.01


def test_shuffled_labels_are_worth_the_prevalence(events, tmp_path):
    cube = xr.open_zarr(events[0]).load()
    rng = np.random.default_rng(0)
    # blocks of 16 px are permuted, so that landslides keep their shapes
    rows, columns = (n // 16 for n in cube.landslides.shape)
    blocks = cube.landslides.values[: rows * 16, : columns * 16].reshape(rows, 16, columns, 16).swapaxes(1, 2)
    mixed = rng.permutation(blocks.reshape(-1, 16, 16)).reshape(rows, columns, 16, 16).swapaxes(1, 2)
    values = np.full(cube.landslides.shape, np.nan, np.float32)
    values[: rows * 16, : columns * 16] = mixed.reshape(rows * 16, columns * 16)
    cube["landslides"] = (("y", "x"), values)
    for name in cube.variables:
        cube[name].encoding.clear()
    done = tried(write(cube, tmp_path / "mixed.zarr"), BOTH, tmp_path / "out")
    found = interval([s.counts for s in scored(done, tmp_path / "out")])
    assert found.lower <= prevalence(done) * 1.1
    assert found.mean < 1.35 * prevalence(done)


def test_random_scores_are_worth_the_prevalence(events, tmp_path):
    trial = Trial(label="random", method="random", inputs=RADAR, protocol="strict", seed=0)
    validation = CrossValidation(cubes=(str(events[0]),), seeds=(0, 1))
    done = run_trials(validation.tasks([trial]), tmp_path)
    assert auprc(done) == pytest.approx(prevalence(done), rel=0.05)
