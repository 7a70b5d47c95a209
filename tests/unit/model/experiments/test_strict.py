"""Trials under the protocol `strict`: resumable, comparable, and on ground that no network has seen."""

from __future__ import annotations

import numpy as np
import pytest

from model.experiments.baselines import baselines
from model.experiments.ladder import climb
from model.experiments.left_out_events import LearntFrom, run_with_others
from model.experiments.recipes import ladder
from model.experiments.results.comparison import compare
from model.experiments.results.results import Others, Trial, TrialResult
from model.experiments.strict import run_strict
from model.experiments.studies import STUDIES, chosen, several_events
from model.experiments.trial_runs import jobs_of, run, scored
from model.inputs.inputs import Inputs
from model.inputs.windows import Box
from model.network.training_plan import Case, NetworkSpec, TrainingPlan
from pipeline.errors import ModelError
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


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    return str(write(small_cube(256), tmp_path_factory.mktemp("cubes") / "one.zarr"))


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    elsewhere = small_cube(256, seed=5)
    elsewhere = elsewhere.assign_coords(x=elsewhere.x + 10_000)
    return str(write(elsewhere, tmp_path_factory.mktemp("cubes") / "two.zarr"))


def test_a_trial_is_answered_from_its_file_the_second_time_and_made_anew_where_that_is_damaged(
    cube, tmp_path
):
    first = run_strict(cube, TRIAL, tmp_path)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert len(files) == 2 and files[0].endswith(".json") and files[1].endswith(".npz")
    assert run_strict(cube, TRIAL, tmp_path) == first
    (tmp_path / files[0]).write_text("{")
    again = run_strict(cube, TRIAL, tmp_path)
    assert again.evaluation == first.evaluation
    (tmp_path / files[1]).unlink()
    assert run_strict(cube, TRIAL, tmp_path).seconds > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == files


def test_what_is_scored_does_not_depend_on_what_a_trial_sees(cube):
    fewer = TRIAL.model_copy(update={"inputs": Inputs(backscatter=("vh",), terrain=(), before=1, after=1)})
    one, two = run_strict(cube, TRIAL), run_strict(cube, fewer)
    assert one.scored_digest == two.scored_digest and one.protocol_digest == two.protocol_digest
    assert one.evaluation.scene.pixels == two.evaluation.scene.pixels
    other_fold = run_strict(cube, TRIAL.model_copy(update={"fold": 1}))
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
    result = run_strict(cube, TRIAL.model_copy(update=changes))
    assert 0 < result.evaluation.scene.auprc <= 1
    assert result.steps == PLAN.steps * changes.get("members", 1)
    assert not any("no prediction" in note for note in result.notes)


def test_methods_without_a_network_are_ordered_as_they_must_be(cube, tmp_path):
    inputs = Inputs(terrain=("slope",))
    jobs = jobs_of([cube], baselines(inputs), folds=(0, 1), seeds=(0,))
    done = run(jobs, tmp_path)
    by_name = {
        method: scored(done, tmp_path, lambda trial, method=method: trial.method == method)
        for method in ("random", "log-ratio", "boosting")
    }
    prevalence = np.mean([s.result.evaluation.scene.prevalence for s in by_name["random"]])
    assert np.mean([s.result.evaluation.scene.auprc for s in by_name["random"]]) == pytest.approx(
        prevalence, rel=0.1
    )
    # only VV changes in this cube, and the log-ratio takes VH: the classifier sees both
    assert compare(by_name["boosting"], by_name["random"]).holds
    assert compare(by_name["boosting"], by_name["log-ratio"]).wins == 2


def test_a_classifier_sees_the_same_tile_by_tile(cube, monkeypatch):
    (trial,) = (t for t in baselines(Inputs(terrain=("slope",))) if t.method == "logistic")
    trial = trial.model_copy(update={"fold": 0})
    at_once = run_strict(cube, trial).evaluation
    monkeypatch.setattr("model.experiments.baselines.TILE_PX", 48)
    by_tiles = run_strict(cube, trial).evaluation
    assert by_tiles.scene.auprc == pytest.approx(at_once.scene.auprc, abs=1e-5)
    assert by_tiles.scene.pixels == at_once.scene.pixels
    monkeypatch.setattr(
        "model.experiments.baselines._around", lambda box, shape: box
    )  # blind to what lies beyond a tile
    assert run_strict(cube, trial).evaluation.scene.auprc != pytest.approx(at_once.scene.auprc, abs=1e-5)


def test_a_classifier_that_saw_half_landslides_still_says_how_likely_they_are(cube):
    for trial in baselines(Inputs(terrain=("slope",)))[2:]:
        result = run_strict(cube, trial.model_copy(update={"fold": 0}))
        assert result.evaluation.calibration_error < 0.03, trial.method


def test_a_chip_on_tested_ground_stops_a_trial(cube, monkeypatch):
    everywhere = Box(top=0, left=0, height=256, width=256)
    monkeypatch.setattr("model.split.chips.ChipTable.every", lambda self: [everywhere])
    with pytest.raises(ModelError, match="lie in a training chip"):
        run_strict(cube, TRIAL)


def test_trials_side_by_side_give_the_same_as_one_after_the_other(cube, tmp_path):
    jobs = jobs_of([cube], baselines(Inputs(terrain=("slope",)))[:2], folds=(0, 1), seeds=(0,))
    apart = run(jobs, tmp_path / "one")
    together = run(jobs, tmp_path / "two", workers=2)
    assert [d.result.evaluation for d in apart] == [d.result.evaluation for d in together]


def test_an_event_that_is_left_out_gives_no_label_away(cube, other, tmp_path):
    trial = TRIAL.model_copy(update={"fold": None})
    rest = Others(places=(cube,))
    result = run_with_others(other, rest, trial, tmp_path)
    assert result.cube.uri.endswith("two.zarr") and [f.uri for f in result.trained_on] == [cube]
    assert result.validation is None and 0 < result.evaluation.scene.threshold < 1
    assert run_with_others(other, rest, trial, tmp_path) == result
    pooled = run_with_others(other, rest.model_copy(update={"standardising": "training"}), trial)
    assert pooled.scored_digest == result.scored_digest and pooled.protocol_digest == result.protocol_digest


def test_other_events_are_compared_on_the_same_pixels_with_the_scenes_own(cube, other, tmp_path):
    rungs = [
        rung.model_copy(update={"trial": rung.trial.model_copy(update={"plan": PLAN, "network": NETWORK})})
        for rung in several_events(6, NETWORK)
    ]
    results = {r.name: r for r in climb([cube, other], rungs, tmp_path, folds=(0,))}
    assert results["other events"].difference.auprc.units == 2
    assert results["own scene and other events"].difference.second == "own scene"
    held = [TrialResult.model_validate_json(f.read_text()) for f in (tmp_path / "trials").glob("*.json")]
    by_name = {(r.trial.label, r.cube.uri): r for r in held if r.trial.method == "network"}
    assert len(by_name) == 8
    own, others, both = (
        by_name[name, cube] for name in ("own scene", "other events", "own scene and other events")
    )
    assert own.scored_digest == others.scored_digest == both.scored_digest
    assert own.trained_on == () and [f.uri for f in both.trained_on] == [other]
    assert others.validation is None and both.validation is not None
    with pytest.raises(ModelError, match="wants other events"):
        climb([cube], rungs, tmp_path, folds=(0,))


def test_a_scene_that_is_learned_from_too_is_scored_on_a_fold(cube, other):
    trial = TRIAL.model_copy(update={"fold": None})
    with pytest.raises(ModelError, match="name one"):
        run_with_others(cube, Others(places=(other,), own=True), trial)
    with pytest.raises(ModelError, match="no fold 9"):
        run_with_others(cube, Others(places=(other,)), TRIAL.model_copy(update={"fold": 9}))


def test_each_study_changes_one_thing_against_a_recipe_that_is_there():
    for make in STUDIES.values():
        rungs = make(10)
        names = [rung.name for rung in rungs]
        assert len(set(names)) == len(names)
        assert not set(names) & {trial.label for trial in baselines(Inputs())}
        for rung in rungs:
            assert rung.trial.label == rung.name
            assert rung.against is None or rung.against in names[: names.index(rung.name)]
            assert rung.trial.plan.steps == 10


def test_a_scene_of_which_nothing_is_tested_keeps_its_buffer():
    parts = LearntFrom(Box(top=10, left=20, height=30, width=40), 8)
    train, closed = parts.train_mask((100, 100)), parts.closed_mask((100, 100))
    assert closed.sum() == 1200 and not (train & closed).any()
    assert not train[2:48, 12:68].any() and train[1].all() and train[:, 11].all()


def test_the_ladder_writes_a_table_and_names_what_no_cube_can_serve(cube, tmp_path):
    rungs = [
        rung.model_copy(update={"trial": rung.trial.model_copy(update={"plan": PLAN, "network": NETWORK})})
        for rung in chosen(ladder(6, NETWORK), ["all passes before", "coherence"])
    ]
    results = climb([cube], rungs, tmp_path, folds=(0, 1))
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
    assert "Left out, because no cube has what they need: coherence" in words and "SIMULATED" in words
    assert (tmp_path / "ladder.csv").read_text().count("\n") == 8
    with pytest.raises(ModelError, match="no recipe 'luck'"):
        chosen(ladder(), ["luck"])


def test_a_fold_that_is_not_there_and_another_protocol_are_refused(cube):
    with pytest.raises(ModelError, match="no fold 9"):
        run_strict(cube, TRIAL.model_copy(update={"fold": 9}))
    with pytest.raises(ModelError, match="another protocol"):
        run_strict(cube, TRIAL.model_copy(update={"protocol": "paper"}))
