"""Studies over events: what is trained once and scored with several cases, what is left out, and how tables go on."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from model.experiments import network_prediction
from model.experiments.ladder import UNITS, run_ladder
from model.experiments.results.result_files import TRIALS
from model.experiments.results.results import CrossValidation
from model.experiments.results.scored_scene import open_scene
from model.experiments.studies import any_views, left_out, selected
from model.network.training_plan import NetworkSpec, TrainingPlan
from pipeline.errors import IncompleteError, ModelError
from tests.small_cube import small_cube, write
from tests.unit.model.bundle.test_bundle import both_ways

NETWORK = NetworkSpec(encoder_depth=3, decoder_channels=(32, 16, 8), in_channels=1)
PLAN = TrainingPlan(chip_px=32, stride_px=16, steps=2, batch=4, validate_every=2)
SIZE = 160
BLIND = np.s_[100:120, 40:60]
"""pixels that the descending passes do not see"""


def event(seed: int):
    """Another event: seen from both directions, 30 km away."""
    cube = both_ways(small_cube(SIZE, seed=seed, before=4, after=4))
    return cube.assign_coords(x=cube.x + 30_000.0 * seed).assign_attrs(area=f"event {seed}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("events")
    for seed in range(3):
        write(event(seed), root / f"{seed}.zarr")
    strip = event(3)  # its landslides lie in one of the four rectangles, and nowhere else
    inside = (strip.x < strip.x[32]) & (strip.y > strip.y[32])
    write(strip.assign(landslides=strip.landslides.where(inside, 0.0)), root / "strip.zarr")
    holed = event(4)
    vv = holed.vv.values.copy()
    vv[(np.flatnonzero(holed.relative_orbit.values == 46), *BLIND)] = np.nan
    write(holed.assign(vv=(holed.vv.dims, vv)), root / "holed.zarr")
    return root


@pytest.fixture(autouse=True)
def few_pixels(monkeypatch):
    """Classifiers of pixels are trained in a second."""
    monkeypatch.setattr("model.experiments.baselines.MOST_PIXELS", 500)


def quick(recipes):
    """The recipes with a plan of two steps for the networks."""
    return [
        recipe.model_copy(
            update={
                "trial": recipe.trial.model_copy(
                    update={
                        "plan": PLAN,
                        "network": NETWORK.model_copy(
                            update={"architecture": recipe.trial.network.architecture}
                        ),
                    }
                )
            }
        )
        if recipe.trial.network
        else recipe
        for recipe in recipes
    ]


def test_methods_without_a_network_have_the_inputs_of_the_network_and_its_training_events(folder, tmp_path):
    cubes = tuple(str(folder / f"{name}.zarr") for name in (0, 1, "strip"))
    recipes = quick(selected(left_out(), ["log-ratio", "boosting", "one encoder"]))
    assert len({recipe.trial.inputs for recipe in recipes}) == 1
    made = run_ladder(recipes, CrossValidation(cubes=cubes, folds=(0,)), tmp_path)
    units = pd.read_csv(tmp_path / UNITS)
    assert set(units.recipe) == {"network", "log-ratio", "boosting", "one encoder"}
    # the rectangle that holds no landslide ends its own trials, which are named
    ended = {one.task.cube for one in made.skipped}
    assert len(ended) <= 1 and all("strip" in cube for cube in ended)
    tested = units[units.recipe == "boosting"]
    assert all(area not in others for area, others in zip(tested.area, tested.trained_on, strict=True))
    lines = {line.name: line for line in made.lines}
    difference = lines["boosting"].difference
    assert difference is not None and difference.second == "network"
    assert (difference.auprc.over, difference.auprc.comparisons) == ("events", 3)
    words = (tmp_path / "ladder.md").read_text()
    assert "Student's t" in words and "Bonferroni" in words
    assert all(line.trial.network.channels for line in _results(made, "one encoder", tmp_path))


def _results(made, label: str, folder: Path):
    from model.experiments.results.result_files import read_result

    found = [read_result(file) for file in (folder / TRIALS).glob("*.json")]
    chosen = [one for one in found if one is not None and one.trial.label == label]
    assert chosen
    for one in chosen:  # named channels are those of the network that was trained
        network = one.trial.network.on(one.trial.inputs.channels)
        yield one.model_copy(update={"trial": one.trial.model_copy(update={"network": network})})


def test_a_training_event_without_landslides_to_train_and_validate_on_is_left_out_and_named(folder, tmp_path):
    cubes = tuple(str(folder / f"{name}.zarr") for name in (0, "strip"))
    recipes = quick(selected(left_out(), ["network"]))
    three = CrossValidation(cubes=(*cubes, str(folder / "1.zarr")), folds=(0,))
    run_ladder(recipes, three, tmp_path)
    notes = [note for one in _results(None, "network", tmp_path) for note in one.notes]
    assert any("not trained on" in note and "strip" in note for note in notes)
    alone = tmp_path / "alone"
    with pytest.raises(ModelError):  # the event's only other one has none to learn from
        run_ladder(recipes, CrossValidation(cubes=cubes[:1], folds=(0,)), alone)


def test_one_training_is_scored_with_every_case_of_views(folder, tmp_path, monkeypatch):
    trained = []
    whole = network_prediction._member
    monkeypatch.setattr(
        network_prediction, "_member", lambda *args: trained.append(args[1].label) or whole(*args)
    )
    recipes = [one for one in quick(any_views()) if "trained for any" in one.name]
    recipes = [one.model_copy(update={"against": None}) for one in recipes]
    cube = str(folder / "0.zarr")
    made = run_ladder(recipes, CrossValidation(cubes=(cube,), folds=(0,)), tmp_path)
    assert len(trained) == 1
    by_label = {one.trial.label: one for label in {r.name for r in recipes} for one in _by(label, tmp_path)}
    tracks = {label.partition(",")[0]: one.selection.track for label, one in by_label.items()}
    assert tracks["one descending pass"] == "track 46 (descending)"
    assert tracks["one ascending pass"] == "track 68 (ascending)"
    assert "and" in tracks["one pass of each"]
    scored = [one.scored_digest for one in by_label.values()]
    assert len(set(scored)) == 1  # all on the same pixels
    assert len(made.lines) == len(by_label) + 4
    four = by_label["four of each, trained for any"].selection
    assert max(len(view.before) for view in four.views) == 4 == max(len(view.after) for view in four.views)


def _by(label: str, folder: Path):
    from model.experiments.results.result_files import read_result

    found = [read_result(file) for file in (folder / TRIALS).glob("*.json")]
    return [one for one in found if one is not None and one.trial.label == label]


def test_a_table_whose_time_is_over_is_of_what_is_finished_and_goes_on(folder, tmp_path):
    recipes = quick(selected(left_out(), ["log-ratio"]))
    validation = CrossValidation(cubes=tuple(str(folder / f"{n}.zarr") for n in (0, 1)), folds=(0,))
    with pytest.raises(ModelError):  # nothing is finished
        run_ladder(recipes, validation, tmp_path, until=time.time() - 1)
    only = [one for one in recipes if one.name == "log-ratio"]
    run_ladder([one.model_copy(update={"against": None}) for one in only], validation, tmp_path)
    made = run_ladder(recipes, validation, tmp_path, until=time.time() - 1)
    assert [line.name for line in made.lines] == ["log-ratio"] and len(made.skipped) == 2
    with pytest.raises(IncompleteError):
        made.refuse_incomplete(tmp_path / "ladder.md")
    made = run_ladder(recipes, validation, tmp_path)
    assert {line.name for line in made.lines} == {"network", "log-ratio"} and not made.skipped


def test_a_pixel_that_one_direction_sees_is_scored_and_under_the_protocol_paper_the_best_track_decides(
    folder,
):
    cube = str(folder / "holed.zarr")
    scored = open_scene(cube).scored
    best = open_scene(cube, seen_by="best track").scored
    assert scored[BLIND].all() and not best[BLIND].any()
    assert (scored | best).sum() == scored.sum()
