"""Trials under the protocol `strict`: resumable, comparable, and on pixels that no network was trained on."""

from __future__ import annotations

import re

import numpy as np
import pytest

from model.experiments.baselines import baselines
from model.experiments.ladder import run_ladder
from model.experiments.left_out_events import TrainingOnly
from model.experiments.prepared_trial import prepare
from model.experiments.recipes import improvements
from model.experiments.results.comparison import compare
from model.experiments.results.results import (
    CrossValidation,
    OtherEvents,
    SkippedTrial,
    Trial,
    TrialResult,
    TrialTask,
)
from model.experiments.strict import StrictPlan
from model.experiments.studies import STUDIES, selected, several_events
from model.experiments.trial_runs import FinishedTrial, digest_of, finished_of, run_trial, run_trials, scored
from model.inputs import cubes
from model.inputs.inputs import EventSpan, Inputs
from model.inputs.windows import Box
from model.network.training_plan import Case, NetworkSpec, TrainingPlan
from pipeline.errors import ModelError
from pipeline.records import digest_of_json
from tests.small_cube import small_cube, write

PLAN = TrainingPlan(
    chip_px=32, stride_px=16, steps=6, batch=4, validate_every=3, augmentation=("mirror along track", "gain")
)
NETWORK = NetworkSpec(encoder_depth=3, decoder_channels=(32, 16, 8), in_channels=1)
TRIAL = Trial(
    label="small",
    inputs=Inputs(terrain=("slope",)),
    network=NETWORK,
    plan=PLAN,
    protocol="strict",
    seed=0,
    fold=0,
)


def run(cube, trial, out=None, others=None):
    return run_trial(TrialTask(cube=cube, trial=trial, other_events=others), out)


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    return str(write(small_cube(256), tmp_path_factory.mktemp("cubes") / "one.zarr"))


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    elsewhere = small_cube(256, seed=5)
    elsewhere = elsewhere.assign_coords(x=elsewhere.x + 10_000)
    return str(write(elsewhere, tmp_path_factory.mktemp("cubes") / "two.zarr"))


def test_a_result_is_read_from_its_file_and_computed_again_if_that_is_damaged(cube, tmp_path):
    first = run(cube, TRIAL, tmp_path)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert len(files) == 2 and files[0].endswith(".json") and files[1].endswith(".npz")
    assert run(cube, TRIAL, tmp_path) == first
    (tmp_path / files[0]).write_text("{")
    again = run(cube, TRIAL, tmp_path)
    assert again.evaluation == first.evaluation
    (tmp_path / files[1]).unlink()
    assert run(cube, TRIAL, tmp_path).seconds > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == files


def test_the_scored_pixels_do_not_depend_on_a_trials_inputs(cube):
    fewer = TRIAL.model_copy(update={"inputs": Inputs(backscatter=("vh",), terrain=(), before=1, after=1)})
    one, two = run(cube, TRIAL), run(cube, fewer)
    assert one.scored_digest == two.scored_digest and one.protocol_digest == two.protocol_digest
    assert one.evaluation.scene.pixels == two.evaluation.scene.pixels
    other_fold = run(cube, TRIAL.model_copy(update={"fold": 1}))
    assert other_fold.scored_digest != one.scored_digest


@pytest.mark.parametrize(
    "changes",
    [
        {"members": 2},
        {"test_time": "mirrored"},
        {"cases": (Case(after=1), Case())},
        {"pretraining_steps": 3},
        {"label_share": 0.3},
    ],
)
def test_every_way_of_training_gives_scores_everywhere(cube, changes):
    result = run(cube, TRIAL.model_copy(update=changes))
    assert 0 < result.evaluation.scene.auprc <= 1
    assert result.steps == PLAN.steps * changes.get("members", 1)
    assert not any("no prediction" in note for note in result.notes)


def test_methods_without_a_network_are_ordered_as_they_must_be(cube, tmp_path):
    inputs = Inputs(terrain=("slope",))
    tasks = CrossValidation(cubes=(cube,), folds=(0, 1)).tasks(baselines(inputs))
    done = finished_of(run_trials(tasks, tmp_path))
    by_name = {
        method: scored(done, tmp_path, lambda trial, method=method: trial.method == method)
        for method in ("random", "log-ratio", "boosting")
    }
    prevalence = np.mean([s.result.evaluation.scene.prevalence for s in by_name["random"]])
    assert np.mean([s.result.evaluation.scene.auprc for s in by_name["random"]]) == pytest.approx(
        prevalence, rel=0.1
    )
    # only VV changes in this cube, and the log-ratio takes VH: the classifier uses both
    assert compare(by_name["boosting"], by_name["random"]).holds
    assert compare(by_name["boosting"], by_name["log-ratio"]).wins == 2


def test_a_classifier_predicts_the_same_tile_by_tile(cube, monkeypatch):
    (trial,) = (t for t in baselines(Inputs(terrain=("slope",))) if t.method == "logistic")
    trial = trial.model_copy(update={"fold": 0})
    at_once = run(cube, trial).evaluation
    monkeypatch.setattr("model.experiments.baselines.TILE_PX", 48)
    by_tiles = run(cube, trial).evaluation
    assert by_tiles.scene.auprc == pytest.approx(at_once.scene.auprc, abs=1e-5)
    assert by_tiles.scene.pixels == at_once.scene.pixels
    monkeypatch.setattr("model.experiments.baselines.CONTEXT_PX", 0)  # box means end at a tile's edge
    assert run(cube, trial).evaluation.scene.auprc != pytest.approx(at_once.scene.auprc, abs=1e-5)


def test_a_classifier_trained_on_half_landslides_is_calibrated(cube):
    for trial in baselines(Inputs(terrain=("slope",)))[2:]:
        result = run(cube, trial.model_copy(update={"fold": 0}))
        assert result.evaluation.calibration_error < 0.03, trial.method


def test_a_training_chip_on_tested_pixels_stops_a_trial(cube, monkeypatch):
    everywhere = Box(top=0, left=0, height=256, width=256)
    monkeypatch.setattr("model.split.chips.ChipTable.every", lambda self: [everywhere])
    with pytest.raises(ModelError, match="training chip"):
        run(cube, TRIAL)


def test_parallel_trials_give_the_same_as_sequential_ones(cube, tmp_path):
    validation = CrossValidation(cubes=(cube,), folds=(0, 1))
    tasks = validation.tasks(baselines(Inputs(terrain=("slope",)))[:2])
    apart = finished_of(run_trials(tasks, tmp_path / "one"))
    together = finished_of(run_trials(tasks, tmp_path / "two", workers=2))
    assert [d.result.evaluation for d in apart] == [d.result.evaluation for d in together]


def test_a_failed_trial_leaves_the_results_of_the_others(cube, tmp_path):
    tasks = CrossValidation(cubes=(cube,), folds=(0, 9)).tasks(baselines(Inputs(terrain=("slope",)))[:1])
    one, other = run_trials(tasks, tmp_path)
    assert isinstance(one, FinishedTrial) and isinstance(other, SkippedTrial)
    assert other.task == tasks[1] and "fold 9" in other.reason
    with pytest.raises(ModelError, match="fold 9"):
        run_trials(tasks[1:], tmp_path)
    (file,) = tmp_path.glob("*.json")
    (finished,) = run_trials(tasks[:1], tmp_path)
    assert finished.result == TrialResult.model_validate_json(file.read_text())
    assert finished.scores_file(tmp_path) == file.with_suffix(".npz")


def test_an_event_that_is_given_is_that_of_the_tested_cube_alone(cube, other, tmp_path):
    when = EventSpan(start="2018-09-05T18:07:59Z", end="2018-09-06T18:07:59Z")
    rest = OtherEvents(cubes=(other,))
    prepared = prepare(TrialTask(cube=cube, trial=TRIAL, event=when, other_events=rest), tmp_path)
    assert prepared.scene.event == prepared.scene.select(TRIAL.inputs).event == when
    (scene,) = prepared.other_scenes
    assert scene.event is None and scene.select(TRIAL.inputs).event != when


def test_a_given_event_does_not_answer_results_that_gave_it_to_the_other_cubes_too(cube, other):
    """Version 0.1.0 named such a result by the digest without the last part."""
    when = EventSpan(start="2018-09-05T18:07:59Z", end="2018-09-06T18:07:59Z")
    task = TrialTask(cube=cube, trial=TRIAL, event=when, other_events=OtherEvents(cubes=(other,)))
    tested, trained = (cubes.load(path)[1] for path in (cube, other))
    earlier = {
        "trial": TRIAL.model_dump(mode="json", exclude={"label"}),
        "tested": tested.digest,
        "learnt": [trained.digest],
        "own": False,
        "protocol": StrictPlan.of(task).digest,
        "standardising": "scene",
    }
    plain = task.model_copy(update={"event": None})
    assert digest_of(task, tested, [trained]) != digest_of_json(earlier)
    earlier["protocol"] = StrictPlan.of(plain).digest
    assert digest_of(plain, tested, [trained]) == digest_of_json(earlier)


def test_no_label_of_a_left_out_event_is_used(cube, other, tmp_path):
    trial = TRIAL.model_copy(update={"fold": None})
    rest = OtherEvents(cubes=(cube,))
    result = run(other, trial, tmp_path, rest)
    assert result.cube.uri.endswith("two.zarr") and [f.uri for f in result.trained_on] == [cube]
    assert result.validation is None and 0 < result.evaluation.scene.threshold < 1
    assert run(other, trial, tmp_path, rest) == result
    pooled = run(other, trial, others=rest.model_copy(update={"standardising": "training"}))
    assert pooled.scored_digest == result.scored_digest and pooled.protocol_digest == result.protocol_digest


def test_other_events_are_compared_on_the_same_pixels_with_the_scenes_own(cube, other, tmp_path):
    recipes = [
        recipe.model_copy(
            update={"trial": recipe.trial.model_copy(update={"plan": PLAN, "network": NETWORK})}
        )
        for recipe in several_events(6, NETWORK)
    ]
    results = {
        r.name: r
        for r in run_ladder(recipes, CrossValidation(cubes=(cube, other), folds=(0,)), tmp_path).lines
    }
    assert results["other events"].difference.auprc.units == 2
    assert results["own scene and other events"].difference.second == "own scene"
    results_on_disk = [
        TrialResult.model_validate_json(f.read_text()) for f in (tmp_path / "trials").glob("*.json")
    ]
    by_name = {(r.trial.label, r.cube.uri): r for r in results_on_disk if r.trial.method == "network"}
    assert len(by_name) == 8
    own, others, both = (
        by_name[name, cube] for name in ("own scene", "other events", "own scene and other events")
    )
    assert own.scored_digest == others.scored_digest == both.scored_digest
    assert own.trained_on == () and [f.uri for f in both.trained_on] == [other]
    assert others.validation is None and both.validation is not None
    with pytest.raises(ModelError, match="other events"):
        run_ladder(recipes, CrossValidation(cubes=(cube,), folds=(0,)), tmp_path)


def test_a_scene_in_the_training_set_is_scored_on_a_fold(cube, other):
    trial = TRIAL.model_copy(update={"fold": None})
    with pytest.raises(ModelError, match="name one"):
        run(cube, trial, others=OtherEvents(cubes=(other,), own_scene=True))
    with pytest.raises(ModelError, match="no fold 9"):
        run(cube, TRIAL.model_copy(update={"fold": 9}), others=OtherEvents(cubes=(other,)))


def test_every_recipe_of_a_study_is_compared_with_an_earlier_one():
    for make in STUDIES.values():
        recipes = make(10)
        names = [recipe.name for recipe in recipes]
        assert len(set(names)) == len(names)
        if all(recipe.trial.method == "network" for recipe in recipes):
            assert not set(names) & {trial.label for trial in baselines(Inputs())}
        for recipe in recipes:
            assert recipe.trial.label == recipe.name
            assert recipe.against is None or recipe.against in names[: names.index(recipe.name)]
            assert recipe.trial.plan is None or recipe.trial.plan.steps == 10


def test_a_training_scene_keeps_a_buffer_around_its_validation_rectangle():
    parts = TrainingOnly(Box(top=10, left=20, height=30, width=40), 8)
    train, closed = parts.train_mask((100, 100)), parts.closed_mask((100, 100))
    assert closed.sum() == 1200 and not (train & closed).any()
    assert not train[2:48, 12:68].any() and train[1].all() and train[:, 11].all()


def test_the_ladder_writes_a_table_and_names_recipes_that_no_cube_can_serve(cube, tmp_path):
    recipes = [
        recipe.model_copy(
            update={"trial": recipe.trial.model_copy(update={"plan": PLAN, "network": NETWORK})}
        )
        for recipe in selected(improvements(6, NETWORK), ["all passes before", "coherence"])
    ]
    results = run_ladder(recipes, CrossValidation(cubes=(cube,), folds=(0, 1)), tmp_path).lines
    names = [r.name for r in results]
    assert names == [
        "random",
        "log-ratio",
        "logistic",
        "boosting",
        "plain",
        "all passes before",
        "training hygiene",
    ]
    assert results[5].difference is not None and results[5].difference.second == "plain"
    words = (tmp_path / "ladder.md").read_text()
    assert re.search(r"^Left out.*: coherence\.$", words, re.MULTILINE) and "SIMULATED" in words
    assert (tmp_path / "ladder.csv").read_text().count("\n") == 8
    with pytest.raises(ModelError, match="no recipe 'luck'"):
        selected(improvements(), ["luck"])


def test_a_fold_that_does_not_exist_and_a_trial_without_one_are_refused(cube):
    with pytest.raises(ModelError, match="no fold 9"):
        run(cube, TRIAL.model_copy(update={"fold": 9}))
    with pytest.raises(ModelError, match="needs a fold"):
        run(cube, TRIAL.model_copy(update={"fold": None}))
