"""Any predictor under the protocol `strict`: its folds, the guard against leakage, intervals."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.bundle.document import software
from model.experiments.baselines import baseline_prediction
from model.experiments.network_prediction import DividedScene
from model.experiments.predictors.leak_control import control_auprc
from model.experiments.predictors.predictor import FoldPredictor, Predictor, predicted
from model.experiments.predictors.strict_result import CARD, RESULT, StrictResult, StrictSettings
from model.experiments.predictors.training_pixels import training_pixels
from model.experiments.results.comparison import Scored, compare, on_common_units
from model.experiments.results.prediction import Outcome, Prediction
from model.experiments.results.result_files import write_result
from model.experiments.results.results import SkippedTrial, Trial, TrialResult, TrialTask
from model.experiments.results.scored_scene import ScoredScene, open_scene
from model.experiments.strict import fold_of, scored_outcome
from model.inputs.best_inputs import best_inputs
from model.inputs.channel_source import ScratchChannels
from model.inputs.cube_channels import CubeChannels
from model.inputs.cubes import UNMAPPED
from model.inputs.inputs import Inputs
from model.inputs.selection import Selection
from model.scores.intervals import counts_of, interval
from model.scores.scores import Method
from model.split.leakage import assert_no_leak
from pipeline.errors import ModelError
from pipeline.files import whole_folder, write_whole
from pipeline.progress import Progress, no_progress


@dataclass(frozen=True)
class _Task:
    """A predictor and the cube that it is scored on."""

    cube: str
    scene: ScoredScene
    inputs: Inputs
    selection: Selection
    channels: ScratchChannels
    settings: StrictSettings
    name: str

    def trial(self, method: Method, fold: int) -> Trial:
        """The trial of a method on a fold."""
        label = self.name if method == "predictor" else method
        return Trial(label=label, method=method, inputs=self.inputs, protocol="strict", seed=0, fold=fold)


@dataclass(frozen=True)
class _Scored:
    """A method on one fold."""

    result: TrialResult
    outcome: Outcome

    @property
    def scored(self) -> Scored:
        """With the counts of its scores."""
        box, pixels = self.outcome.box, self.outcome.tested
        labels = np.where(pixels.scored, pixels.labels, np.uint8(UNMAPPED))
        counts = counts_of(self.outcome.prediction.score[box.slices], labels[box.slices], (box.top, box.left))
        return Scored(result=self.result, counts=counts)


def score_predictor(
    cube: str,
    inputs: Inputs | None,
    predictor: Predictor,
    settings: StrictSettings,
    out: Path | None,
    progress: Progress = no_progress,
) -> StrictResult:
    """Score a predictor on every fold of a cube; `model.api.run_strict` says how.

    Raises:
        CubeError: there is no such cube.
        ModelError: the cube cannot be scored on, no fold can be run, the predictor cannot be used, or it leaks.
    """
    task = _task(cube, inputs, predictor, settings)
    FoldPredictor(predictor)  # refuses what is no predictor before anything is fitted
    with whole_folder(out, RESULT) if out is not None else nullcontext() as folder:
        found, controls, skipped = _folds(task, predictor, folder, progress)
        others, lacking = _others(task, [one.result.trial.fold or 0 for one in found], progress)
        result = _result(task, found, controls, [*skipped, *lacking], others).model_copy(update={"path": out})
        if folder is not None:
            write_whole(folder / CARD, result.card)
            write_whole(folder / RESULT, result.model_dump_json(indent=1) + "\n")
    return result


def _task(cube: str, inputs: Inputs | None, predictor: Predictor, settings: StrictSettings) -> _Task:
    scene = open_scene(cube, settings.plan.event)
    chosen = best_inputs(scene.dataset, settings.plan.event)[0] if inputs is None else inputs
    selection = scene.select(chosen)
    channels = ScratchChannels(
        CubeChannels(scene.dataset, chosen, selection), len(chosen.channels), Path(tempfile.gettempdir())
    )
    name = settings.name or getattr(predictor, "__name__", type(predictor).__name__)
    return _Task(cube, scene, chosen, selection, channels, settings, name)


def _folds(
    task: _Task, predictor: Predictor, folder: Path | None, progress: Progress
) -> tuple[list[_Scored], list[float], list[SkippedTrial]]:
    """The predictor on every fold: the scored ones with their controls, and those that could not be run."""
    found, controls, skipped = [], [], []
    plan = task.settings.plan
    numbers = task.settings.only or tuple(range(plan.folds.count))
    for done, number in enumerate(numbers):
        progress("folds", done, len(numbers), f"fold {number}")
        trial = task.trial("predictor", number)
        try:
            one, control = _fold(task, predictor, trial)
        except _FoldError as error:
            skipped.append(_skipped(task, trial, str(error)))
            continue
        found.append(one)
        controls.append(control)
        if folder is not None:
            write_result(folder / f"fold-{number}.json", one.result, one.outcome)
    progress("folds", len(numbers), len(numbers), "")
    if not found:
        reasons = dict.fromkeys(one.reason for one in skipped)
        raise ModelError(" ".join(["No fold can be scored.", *reasons]))
    return found, controls, skipped


class _FoldError(ModelError):
    """One fold cannot be run, and the others may be."""


@contextmanager
def _of_the_fold() -> Iterator[None]:
    """What is wrong in the block is a matter of one fold, such as a part of it without a landslide."""
    try:
        yield
    except ModelError as error:
        raise _FoldError(error.message, error.remedy) from error


def _fold(task: _Task, predictor: Predictor, trial: Trial) -> tuple[_Scored, float]:
    """Fit a fresh copy of the predictor to the training part, score it, and check it by its control."""
    started = time.monotonic()
    scene = task.scene
    with _of_the_fold():
        fold = fold_of(scene, task.settings.plan.folds, trial.fold or 0)
    divided = DividedScene(scene, fold)
    if not scene.within(divided.parts.boxes("test")).landslides:
        raise _FoldError("The test rectangle holds no landslide.")
    assert_no_leak(fold, scene.shape, fold.buffer_px)
    usable = scene.scored & task.channels.usable()
    own = FoldPredictor(predictor)
    with _of_the_fold():
        own.fit(training_pixels(task.channels, task.inputs.channels, scene.labels, usable, fold))
    score = np.full(scene.shape, np.nan, dtype=np.float32)
    predicted(own, task.channels, (*fold.boxes("validation"), *fold.boxes("test")), score)
    score[~usable] = np.nan
    made = Prediction(score, task.selection, probability=False)
    with _of_the_fold():
        outcome = scored_outcome(divided, made, task.settings.plan.digest)
    control = control_auprc(own, task.channels, outcome.tested, outcome.box)
    return _Scored(_trial_result(task, trial, outcome, time.monotonic() - started), outcome), control


def _others(
    task: _Task, numbers: list[int], progress: Progress
) -> tuple[dict[Method, list[_Scored]], list[SkippedTrial]]:
    """The methods that the predictor is compared with, on the same folds, and the folds where one cannot be run."""
    found: dict[Method, list[_Scored]] = {}
    skipped = []
    for method in task.settings.against:
        for done, number in enumerate(numbers):
            progress(method, done, len(numbers), f"fold {number}")
            trial = task.trial(method, number)
            try:
                found.setdefault(method, []).append(_other(task, trial, number))
            except ModelError as error:
                skipped.append(_skipped(task, trial, f"{method}: {error}"))
        progress(method, len(numbers), len(numbers), "")
    return {method: scored for method, scored in found.items() if scored}, skipped


def _other(task: _Task, trial: Trial, number: int) -> _Scored:
    """A method without a network on one fold."""
    started = time.monotonic()
    fold = fold_of(task.scene, task.settings.plan.folds, number)
    made = baseline_prediction(task.scene, trial, fold, Path(tempfile.gettempdir()), channels=task.channels)
    outcome = scored_outcome(DividedScene(task.scene, fold), made, task.settings.plan.digest)
    return _Scored(_trial_result(task, trial, outcome, time.monotonic() - started), outcome)


def _result(
    task: _Task,
    found: list[_Scored],
    controls: list[float],
    skipped: list[SkippedTrial],
    others: dict[Method, list[_Scored]],
) -> StrictResult:
    own = [one.scored for one in found]
    theirs = {method: [one.scored for one in several] for method, several in others.items()}
    return StrictResult(
        name=task.name,
        cube=task.scene.facts,
        inputs=task.inputs,
        plan=task.settings.plan,
        protocol_digest=task.settings.plan.digest,
        auprc=interval([one.counts for one in own]),
        prevalence=float(np.mean([one.result.evaluation.scene.prevalence for one in found])),
        folds=tuple(one.result for one in found),
        controls=tuple(controls),
        others={method: interval([one.counts for one in several]) for method, several in theirs.items()},
        differences=tuple(compare(*on_common_units(own, several)) for several in theirs.values()),
        skipped=tuple(skipped),
    )


def _skipped(task: _Task, trial: Trial, reason: str) -> SkippedTrial:
    plan = task.settings.plan
    return SkippedTrial(
        task=TrialTask(cube=task.cube, trial=trial, folds=plan.folds, event=plan.event), reason=reason
    )


def _trial_result(task: _Task, trial: Trial, outcome: Outcome, seconds: float) -> TrialResult:
    made = outcome.prediction
    return TrialResult(
        trial=trial,
        cube=task.scene.facts,
        protocol_digest=outcome.protocol_digest,
        scored_digest=outcome.scored_digest,
        selection=made.selection,
        evaluation=outcome.evaluation,
        validation=outcome.validation,
        seconds=round(seconds, 1),
        device=made.device,
        software=software(),
        notes=(*made.notes, *made.missing_notes(outcome.tested.scored), *outcome.notes),
    )
