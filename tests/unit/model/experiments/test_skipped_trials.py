"""A fold, a cube or an event that cannot be scored ends its own trials alone, and is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import slidecube
from model.cli.bundles import train
from model.cli.experiments import ablate, ladder
from model.experiments.ladder import run_ladder
from model.experiments.recipes import improvements
from model.experiments.results.comparison import Scored, on_common_units
from model.experiments.results.results import CrossValidation, TrialTask
from model.experiments.studies import selected, several_events
from model.experiments.trial_runs import run_trial
from model.inputs.inputs import Inputs
from model.network.training_plan import NetworkSpec, TrainingPlan
from model.scores.intervals import BlockCounts
from pipeline.errors import CubeError, IncompleteError, ModelError
from tests.small_cube import small_cube, write
from tests.unit.made_results import made_result

NETWORK = NetworkSpec(encoder_depth=3, decoder_channels=(32, 16, 8), in_channels=1)
PLAN = TrainingPlan(chip_px=32, stride_px=16, steps=2, batch=4, validate_every=2)


SIZE = 160


def in_a_strip(cube):
    """A cube whose landslides lie in the western 60 columns: two of the four rectangles hold none."""
    inside = cube.x < cube.x[60]
    return cube.assign(landslides=cube.landslides.where(inside | cube.landslides.isnull(), 0.0))


def flat(cube):
    return cube.assign(landslides=cube.landslides * 0)


def blind(cube):
    """Without a valid pixel after the event."""
    later = cube.timestep > np.datetime64("2018-09-05T18:07:59")
    return cube.assign({name: cube[name].where(~later) for name in ("vv", "vh")})


def early(cube):
    return cube.isel(timestep=cube.timestep.values < np.datetime64("2018-09-05T18:07:59"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("cubes")
    whole = small_cube(SIZE)
    write(whole, root / "whole.zarr")
    write(whole.drop_vars("landslides"), root / "bare.zarr")
    for name, change in {"strip": in_a_strip, "flat": flat, "blind": blind, "early": early}.items():
        write(change(whole).assign_attrs(area=name), root / f"{name}.zarr")
    return root


@pytest.fixture(autouse=True)
def few_pixels(monkeypatch):
    """Classifiers of pixels are trained in a second."""
    monkeypatch.setattr("model.experiments.baselines.MOST_PIXELS", 500)


def quick(recipes):
    return [
        recipe.model_copy(
            update={"trial": recipe.trial.model_copy(update={"plan": PLAN, "network": NETWORK})}
        )
        for recipe in recipes
    ]


def run(command, *words):
    return CliRunner().invoke(command, [str(word) for word in words])


def test_cubes_that_cannot_be_scored_do_not_end_a_ladder(folder, tmp_path):
    names = ("flat", "blind", "early", "bare")
    cubes = tuple(str(folder / f"{name}.zarr") for name in (*names, "whole"))
    recipes = quick(selected(improvements(2, NETWORK), ["plain"]))
    made_of = run_ladder(recipes, CrossValidation(cubes=cubes, folds=(0,)), tmp_path)
    assert [line.name for line in made_of.lines] == ["random", "log-ratio", "logistic", "boosting", "plain"]
    assert set(made_of.unusable) == set(cubes[:-1])
    words = (tmp_path / "ladder.md").read_text()
    assert all(f"{name}.zarr" in words for name in names) and "1 cube," in words
    with pytest.raises(IncompleteError, match=r"flat\.zarr"):
        made_of.refuse_incomplete(tmp_path / "ladder.md")
    with pytest.raises(ModelError, match=r"flat\.zarr"):
        run_ladder(recipes, CrossValidation(cubes=cubes[:-1], folds=(0,)), tmp_path)


def test_folds_without_a_landslide_are_skipped_and_the_others_compared(folder, tmp_path):
    recipes = quick(selected(improvements(2, NETWORK), ["all passes before"]))
    cubes = (str(folder / "strip.zarr"), str(folder / "whole.zarr"))
    validation = CrossValidation(cubes=cubes, folds=(0, 1))
    made_of = run_ladder(recipes, validation, tmp_path)
    lines = {line.name: line for line in made_of.lines}
    folds = {one.task.trial.fold for one in made_of.skipped}
    assert folds and all(one.task.cube.endswith("strip.zarr") for one in made_of.skipped)
    assert lines["random"].auprc.units == 3, "a fold whose test rectangle holds a landslide is scored"
    compared = lines["all passes before"].difference
    assert compared is not None and compared.auprc.units == 2
    words = (tmp_path / "ladder.md").read_text()
    assert all(one.name in words for one in made_of.skipped)


def test_an_event_without_landslides_is_left_out_of_a_study_of_events(folder, tmp_path):
    cubes = tuple(str(folder / f"{name}.zarr") for name in ("strip", "flat", "whole"))
    made_of = run_ladder(
        quick(several_events(2, NETWORK)), CrossValidation(cubes=cubes, folds=(0,)), tmp_path
    )
    assert list(made_of.unusable) == [cubes[1]]
    assert all(
        cubes[1] not in one.task.other_events.cubes for one in made_of.skipped if one.task.other_events
    )
    assert "own scene" in {line.name for line in made_of.lines}


def test_the_commands_write_what_there_is_and_end_with_the_status_of_incomplete_work(folder, tmp_path):
    words = ("--steps", "2", "--chip", "32", "--out")
    few = ("--recipe", "plain", "--steps", "2", "--folds", "0,1")
    answer = run(ladder, folder / "strip.zarr", *few, "--out", tmp_path / "a")
    assert (answer.exit_code, "ladder.md" in answer.stderr) == (6, True), answer.output
    assert "| boosting |" in answer.stdout
    rows = ("--protocol", "strict", "--rows", "log-ratio,random", "--passes", "1", "--seeds", "1")
    answer = run(ablate, folder / "strip.zarr", *rows, *words, tmp_path / "b")
    assert (answer.exit_code, "report.md" in answer.stderr) == (6, True), answer.output
    trials = pd.read_csv(tmp_path / "b" / "trials.csv")
    report = (tmp_path / "b" / "report.md").read_text()
    skipped = set(range(4)) - set(trials["fold"])
    assert skipped and all(f"random on {folder / 'strip.zarr'}, fold {fold}" in report for fold in skipped)
    answer = run(ablate, folder / "flat.zarr", *rows, *words, tmp_path / "d")
    assert answer.exit_code == 7 and "Traceback" not in answer.output


def test_train_by_protocol_scores_the_folds_that_can_be_tested(folder, monkeypatch, tmp_path):
    def without_fold_2(task, out, progress):
        if task.trial.fold == 2:
            raise ModelError("No landslide in the test rectangle.")
        return made_result(label=task.trial.label, fold=task.trial.fold, auprc=0.1 * task.trial.fold)

    monkeypatch.setattr("model.experiments.trial_runs.run_trial", without_fold_2)
    answer = run(train, folder / "whole.zarr", "--protocol", "strict", "--out", tmp_path)
    assert answer.exit_code == 6 and "fold 2" in answer.stderr
    assert "Mean over 3 folds 0.133" in answer.stdout and "log-ratio 0.133" in answer.stdout


def test_the_commands_refuse_options_that_a_protocol_does_not_use(folder, tmp_path):
    for words in (("--imagenet",), ("--learning-rate", "0.1"), ("--mirrored",), ("--epochs", "3")):
        answer = run(train, folder / "whole.zarr", "--protocol", "strict", "--out", tmp_path, *words)
        assert answer.exit_code == 2 and words[0] in answer.output
    for words in (("--epochs", "3"), ("--network", "small")):
        assert run(train, folder / "whole.zarr", "--out", tmp_path / "x", *words).exit_code == 2


def test_two_methods_are_compared_on_the_units_of_both():
    nothing = BlockCounts(np.zeros((1, 1), np.int64), np.zeros((1, 1), np.int64))
    ours, theirs = (
        [Scored(made_result(label=label, seed=seed), nothing) for seed in seeds]
        for label, seeds in (("a", (0, 1, 2)), ("b", (1, 2, 3)))
    )
    first, second = on_common_units(ours, theirs)
    assert [s.result.trial.seed for s in first] == [s.result.trial.seed for s in second] == [1, 2]


@pytest.fixture(scope="module")
def damaged(tmp_path_factory) -> Path:
    """A cube of which one chunk of VV is not what was compressed."""
    root = tmp_path_factory.mktemp("damaged") / "damaged.zarr"
    write(small_cube(SIZE), root)
    chunk = next(path for path in sorted((root / "vv" / "c").rglob("*")) if path.is_file())
    chunk.write_bytes(b"nothing that was compressed")
    return root


def test_a_trial_on_a_cube_that_cannot_be_decoded_names_it(damaged):
    (recipe,) = selected(quick(improvements()), ("plain",))
    with pytest.raises(CubeError, match="damaged") as told:
        run_trial(TrialTask(cube=str(damaged), trial=recipe.trial.model_copy(update={"fold": 0})))
    assert told.value.exit_code == 5


def test_a_predictor_on_a_cube_that_cannot_be_decoded_names_it(damaged):
    with pytest.raises(CubeError, match="damaged") as told:
        slidecube.run_strict(str(damaged), predictor=lambda channels: channels[0])
    assert told.value.exit_code == 5


def test_a_cube_whose_labels_are_all_unmapped_says_so_and_not_that_buffers_are_wide(folder, tmp_path):
    whole = small_cube(SIZE)
    path = write(whole.assign(landslides=whole.landslides * np.nan), tmp_path / "unmapped.zarr")
    answer = run(train, path, "--protocol", "strict", "--out", tmp_path / "out")
    assert answer.exit_code == 7 and "label" in answer.stderr and "buffer" not in answer.stderr


def test_of_folds_that_all_fail_every_reason_is_named(folder, monkeypatch, tmp_path):
    def never(task, out, progress):
        raise ModelError(f"Reason {task.trial.fold % 2}.")

    monkeypatch.setattr("model.experiments.trial_runs.run_trial", never)
    answer = run(train, folder / "whole.zarr", "--protocol", "strict", "--out", tmp_path)
    assert answer.exit_code == 7 and answer.stderr.count("Reason 0.") == answer.stderr.count("Reason 1.") == 1


class NeedsLandslides:
    """A predictor that one training part does not suffice."""

    def fit(self, training):
        training.sample(200)
        if training.fold.index == 1:
            raise ModelError("The training area holds no landslide, or nothing else.")

    def predict(self, channels):
        return channels[1] - channels[0]


def test_a_predictor_that_cannot_be_fitted_in_one_fold_is_scored_on_the_others(folder, monkeypatch):
    settings = slidecube.StrictSettings(against=("random", "boosting"))
    inputs = Inputs(backscatter=("vv",))
    from model.experiments.predictors import strict_run

    made = strict_run.baseline_prediction

    def without_fold_2(scene, trial, fold, *more, **named):
        if trial.method == "boosting" and fold.index == 2:
            raise ModelError("The training area holds no landslide, or nothing else.")
        return made(scene, trial, fold, *more, **named)

    monkeypatch.setattr("model.experiments.predictors.strict_run.baseline_prediction", without_fold_2)
    cube = str(folder / "whole.zarr")
    found = slidecube.run_strict(cube, inputs, predictor=NeedsLandslides(), settings=settings)
    assert [fold.trial.fold for fold in found.folds] == [0, 2, 3]
    assert [(one.task.trial.label, one.task.trial.fold) for one in found.skipped] == [
        ("NeedsLandslides", 1),
        ("boosting", 2),
    ]
    by_name = {row.second: row.auprc.units for row in found.differences}
    assert by_name == {"random": 3, "boosting": 2}
    assert all(one.reason in found.card for one in found.skipped)
