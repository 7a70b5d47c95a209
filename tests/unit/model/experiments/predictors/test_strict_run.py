"""Predictors of other people under the protocol strict: folds, guard, intervals, card; and predictors that cheat."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

import slidecube
from model.experiments.predictors.predictor import FoldPredictor, ShuffledChannels
from model.experiments.predictors.strict_result import CARD, RESULT, StrictResult, StrictSettings
from model.experiments.results.results import Trial, TrialTask
from model.experiments.trial_runs import run_trial
from model.inputs.inputs import Inputs
from model.inputs.windows import Box, whole
from model.network.torch_guard import torch
from model.scores.intervals import counts_of_file
from pipeline.errors import ModelError
from tests.small_cube import small_cube, write

INPUTS = Inputs(backscatter=("vv",), terrain=("slope",))
ALONE = StrictSettings(against=())
BEFORE, AFTER, SLOPE = range(3)


@pytest.fixture(scope="module")
def cube(tmp_path_factory) -> str:
    return str(write(small_cube(256), tmp_path_factory.mktemp("cubes") / "one.zarr"))


def change(channels: np.ndarray) -> np.ndarray:
    """A plain function of channels: the change of VV."""
    return channels[AFTER] - channels[BEFORE]


def run(cube: str, predictor, settings: StrictSettings = ALONE, **more) -> StrictResult:
    return slidecube.run_strict(cube, INPUTS, predictor=predictor, settings=settings, **more)


def test_a_function_of_channels_gets_folds_intervals_and_a_card(cube, tmp_path):
    found = run(cube, change, StrictSettings(against=("random", "boosting")), out=tmp_path / "mine")
    assert [fold.trial.fold for fold in found.folds] == [0, 1, 2, 3] and found.name == "change"
    assert found.auprc.lower < found.auprc.mean < found.auprc.upper and found.auprc.units == 4
    assert found.auprc.mean > 4 * found.prevalence
    by_name = {row.second: row for row in found.differences}
    assert by_name["random"].holds and set(found.others) == {"random", "boosting"}
    assert found.others["random"].mean == pytest.approx(found.prevalence, rel=0.2)
    assert max(found.controls) < 2 * found.prevalence
    kept = StrictResult.model_validate(json.loads((tmp_path / "mine" / RESULT).read_text()))
    assert kept == found and (tmp_path / "mine" / CARD).read_text() == found.card
    counts = counts_of_file(tmp_path / "mine" / "fold-2.npz")
    assert float(counts.auprc()[0]) == pytest.approx(found.folds[2].evaluation.scene.auprc, abs=2e-3)


def test_the_pixels_and_the_protocol_are_those_of_a_network(cube):
    found = run(cube, change).folds[1]
    trial = Trial(label="", method="random", inputs=INPUTS, protocol="strict", seed=0, fold=1)
    other = run_trial(TrialTask(cube=cube, trial=trial))
    assert (found.scored_digest, found.protocol_digest) == (other.scored_digest, other.protocol_digest)


def test_a_classifier_of_scikit_learn_is_fitted_in_every_fold(cube):
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    own = HistGradientBoostingClassifier(max_iter=20, random_state=0)
    found = run(cube, own)
    assert found.auprc.mean > 3 * found.prevalence
    with pytest.raises(NotFittedError):
        check_is_fitted(own)  # what was given is not changed


class Watcher:
    """Fits the mean change of landslides, and records what it saw."""

    seen: list[tuple[np.ndarray, np.ndarray, object]] = []  # noqa: RUF012  (shared by all copies)

    def fit(self, training) -> None:
        assert not hasattr(self, "level")  # nothing is left of another fold
        channels, labels = training.channels, training.labels
        Watcher.seen.append((channels, labels, training))
        self.level = float(change(channels)[labels == 1].mean())

    def predict(self, channels: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(-np.abs(change(channels) - self.level))[None].requires_grad_()


def test_an_object_that_is_fitted_sees_training_pixels_alone(cube):
    Watcher.seen.clear()
    found = run(cube, Watcher())
    assert found.auprc.mean > 3 * found.prevalence and len(Watcher.seen) == 4
    labels = xr.open_zarr(cube).landslides.values
    for channels, learnt, training in Watcher.seen:
        train = training.fold.train_mask((256, 256))
        assert np.isnan(channels[:, ~train]).all() and (learnt[~train] == 255).all()
        assert (learnt[learnt != 255] == labels[learnt != 255]).all() and (learnt == 1).any()
        with pytest.raises(ValueError):
            channels[0, 0, 0] = 1.0
        values, truth = training.sample(1000)
        assert values.shape == (len(truth), 3) and 0 < truth.mean() <= 0.5
        held, known = training.validation
        (box,) = training.fold.boxes("validation")
        assert held.shape == (3, box.height, box.width) and known.shape == held.shape[1:]


def test_windows_have_inputs_around_them_and_sides_of_32(cube):
    shapes = set()

    def smooth(channels: np.ndarray) -> np.ndarray:
        shapes.add(channels.shape[1:])
        return change(channels)

    run(cube, smooth, StrictSettings(against=(), only=(0,)))
    assert shapes and all(side % 32 == 0 for shape in shapes for side in shape)


def test_a_predictor_that_knows_the_labels_by_place_is_refused(cube):
    labels = xr.open_zarr(cube).landslides.values

    class Cheat:
        def fit(self, training) -> None:
            (area,) = training.fold.boxes("test")
            (held,) = training.fold.boxes("validation")
            self.around = [
                Box(
                    top=max(b.top - 64, 0), left=max(b.left - 64, 0),
                    height=min(b.bottom + 64, 256) - max(b.top - 64, 0),
                    width=min(b.right + 64, 256) - max(b.left - 64, 0),
                )
                for b in (held, area)
            ]  # fmt: skip
            self.calls = 0

        def predict(self, channels: np.ndarray) -> np.ndarray:
            b = self.around[min(self.calls, 1)]
            self.calls += 1
            score = np.zeros(channels.shape[1:], np.float32)
            score[: b.height, : b.width] = np.nan_to_num(labels[b.slices])
            return score

    with pytest.raises(ModelError) as error:
        run(cube, Cheat())
    assert "leaks" in error.value.message


class Rememberer:
    """Keeps the labels of every fold that it was fitted to, which hold what other folds test."""

    def __init__(self) -> None:
        self.known = np.zeros((256, 256), bool)
        self.folds = 0

    def fit(self, training) -> None:
        self.known |= training.labels == 1
        self.folds += 1
        assert self.folds == 1

    def predict(self, channels: np.ndarray) -> np.ndarray:
        return np.zeros(channels.shape[1:])


def test_what_was_learnt_in_another_fold_is_not_kept(cube):
    own = Rememberer()
    found = run(cube, own)
    assert own.folds == 0 and found.auprc.mean == pytest.approx(found.prevalence, rel=0.05)


@pytest.mark.parametrize(
    "predictor", ["no predictor", lambda channels: channels, lambda channels: np.zeros((3, 3)), object()]
)
def test_what_is_no_predictor_is_named(cube, predictor):
    with pytest.raises(ModelError):
        run(cube, predictor, StrictSettings(against=(), only=(0,)))


def test_a_fold_without_landslides_is_skipped_and_named(tmp_path):
    empty = small_cube(256)
    empty["landslides"] = empty.landslides.where((empty.landslides != 1) | (empty.y > empty.y[100]), 0)
    path = str(write(empty, tmp_path / "half.zarr"))
    plan = {"folds": {"count": 3, "shortest_px": 80}}
    found = run(path, change, StrictSettings(against=(), plan=plan))
    assert len(found.folds) + len(found.skipped) == 3
    assert found.auprc.units == len(found.folds)


def test_the_control_has_the_same_values_in_another_order():
    class Source:
        shape = (40, 50)

        def read(self, box: Box) -> np.ndarray:
            values = (
                np.arange(2000, dtype=np.float32).reshape(1, 40, 50)[:, box.slices[0], box.slices[1]].copy()
            )
            values[0, 0, :] = np.nan
            return values

    box = Box(top=4, left=6, height=20, width=30)
    shuffled = ShuffledChannels(Source(), box, np.random.default_rng(0))
    inner, plain = shuffled.read(box), Source().read(box)
    assert (np.isnan(inner) == np.isnan(plain)).all()
    assert (
        sorted(inner[np.isfinite(inner)]) == sorted(plain[np.isfinite(plain)]) and not (inner == plain).all()
    )
    assert np.isfinite(shuffled.read(whole((40, 50)))).sum() == np.isfinite(plain).sum()


def test_a_state_that_cannot_be_a_predictor_is_refused_before_anything_is_read():
    with pytest.raises(ModelError):
        FoldPredictor(3)
