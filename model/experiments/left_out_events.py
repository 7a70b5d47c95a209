"""Several events together: networks trained on some, tested on another one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from model.experiments.baselines import baseline_prediction
from model.experiments.network_prediction import DividedScene, Division, network_prediction
from model.experiments.prepared_trial import PreparedTrial
from model.experiments.results.prediction import Outcome
from model.experiments.results.results import BATCHES, OtherEvents, TrialTask
from model.experiments.results.scored_scene import ScoredScene
from model.experiments.strict import StrictPlan, fold_of, scored_outcome
from model.inputs.cubes import CubeFacts
from model.inputs.windows import Box, whole
from model.split.folds import FoldPlan, folds
from model.split.partition import Mask
from pipeline.errors import ModelError
from pipeline.progress import Progress
from pipeline.records import digest_of_json


@dataclass(frozen=True)
class TrainingOnly:
    """The division of a scene that is not tested: all but a validation rectangle and its buffer is training area.

    Satisfies `model.split.partition.Partition`.
    """

    validation: Box
    buffer_px: int

    def boxes(self, part: str) -> tuple[Box, ...]:
        """The rectangle of `validation`; `test` has none."""
        return (self.validation,) if part == "validation" else ()

    def train_mask(self, shape: tuple[int, int]) -> Mask:
        """(y, x) everything further than the buffer from the validation rectangle."""
        mask = np.ones(shape, dtype=bool)
        box, reach = self.validation, self.buffer_px
        rows = slice(max(box.top - reach, 0), box.bottom + reach)
        mask[rows, max(box.left - reach, 0) : box.right + reach] = False
        return mask

    def closed_mask(self, shape: tuple[int, int]) -> Mask:
        """(y, x) pixels that no training chip may hold."""
        mask = np.zeros(shape, dtype=bool)
        mask[self.validation.slices] = True
        return mask


@dataclass(frozen=True)
class TestOnly:
    """The division of a scene that is not trained on: a rectangle is tested, or all of it.

    Satisfies `model.split.partition.Partition`.
    """

    tested: Box

    def boxes(self, part: str) -> tuple[Box, ...]:
        """The rectangle of `test`; `validation` has none."""
        return (self.tested,) if part == "test" else ()

    def train_mask(self, shape: tuple[int, int]) -> Mask:
        """(y, x) nothing."""
        return np.zeros(shape, dtype=bool)

    def closed_mask(self, shape: tuple[int, int]) -> Mask:
        """(y, x) everything."""
        return np.ones(shape, dtype=bool)


def digest_of(task: TrialTask, tested: CubeFacts, trained_on: Sequence[CubeFacts]) -> str:
    """sha256 of everything that decides a result but the software."""
    others = _others(task)
    parts = {
        "trial": task.trial.model_dump(mode="json", exclude={"label"}),
        "tested": tested.digest,
        "learnt": [facts.digest for facts in trained_on],
        "own": others.own_scene,
        "protocol": _protocol_digest(task),
        "standardising": others.standardising,
    }
    if task.event is not None:
        # results of version 0.1.0, which gave this event to the other cubes too, have the digest without this part
        parts["event of the others"] = "as their cubes record it"
    if task.trial.inputs.newest_before == "dropped":
        parts["newest before"] = 2  # version of the rule in `model.inputs.selection`
    if task.trial.begins_with_tied_filters:
        parts["imagenet filters"] = 2  # version of the rule in `model.network.parts.imagenet`
    if task.trial.mixes_scenes(len(trained_on) + others.own_scene):
        parts["batches"] = BATCHES
    return digest_of_json(parts)


def run(prepared: PreparedTrial, progress: Progress) -> Outcome:
    """Train on other events, and score the tested scene.

    If the task says so, the training part of the tested scene is in the training set as well. With a fold, its
    rectangle is scored under the protocol strict: the result can be compared with that of a network that was trained
    around the rectangle. Without a fold the whole scene is scored. In each other event one of the four rectangles,
    which the trial's seed chooses, is for validation; an event without landslides for both is left out and named. If
    the tested scene is not in the training set, the threshold is the mean of the best thresholds of the other events,
    since no label of the scene may be used.

    Raises:
        ModelError: the tested scene is in the training set and no fold is named, there is no such fold, or the trial
            names no network; or as `model.experiments.strict.run`.
    """
    task, trial = prepared.task, prepared.trial
    others = _others(task)
    tested = _tested(prepared, others)
    found = [(scene, _training(scene, task.folds, trial.seed)) for scene in prepared.other_scenes]
    training = [divided for _, divided in found if divided is not None]
    left_out = [scene.facts.uri for scene, divided in found if divided is None]
    if others.own_scene:
        training.insert(0, tested)
    if not training:
        raise ModelError("None of the other events has landslides to train on and others to validate on.")
    threshold = 0.5
    if trial.method == "network":
        division = Division(tuple(training), tested, others.standardising)
        made, thresholds = network_prediction(division, trial, prepared.scratch, progress)
        threshold = float(np.mean(thresholds)) if thresholds else 0.5
    else:
        learned = [(divided.scene, divided.parts) for divided in training]
        made = baseline_prediction(tested.scene, trial, tested.parts, prepared.scratch, learned_on=learned)
    outcome = scored_outcome(tested, made, _protocol_digest(task), threshold)
    notes = [f"not trained on, for lack of landslides: {', '.join(left_out)}"] if left_out else []
    return replace(outcome, notes=(*outcome.notes, *notes))


def _others(task: TrialTask) -> OtherEvents:
    if task.other_events is None:
        raise ModelError("This trial names no other events.")
    return task.other_events


def _tested(prepared: PreparedTrial, others: OtherEvents) -> DividedScene:
    scene, fold_number = prepared.scene, prepared.trial.fold
    if fold_number is None:
        if others.own_scene:
            raise ModelError("A scene that is in the training set too is scored on a fold; name one.")
        return DividedScene(scene, TestOnly(whole(scene.shape)))
    fold = fold_of(scene, prepared.task.folds, fold_number)
    return DividedScene(scene, fold if others.own_scene else TestOnly(fold.test))


def _training(scene: ScoredScene, plan: FoldPlan, seed: int) -> DividedScene | None:
    """The division with the seed's rectangle for validation, or the next one that has landslides and leaves some; None:
    there is none."""
    slid = (scene.labels == 1) & scene.scored
    divided = folds(scene.labels, scene.scored, plan)
    for number in range(len(divided)):
        parts = TrainingOnly(divided[(seed + number) % len(divided)].test, plan.buffer_px)
        if slid[parts.validation.slices].any() and (slid & parts.train_mask(scene.shape)).any():
            return DividedScene(scene, parts)
    return None


def _protocol_digest(task: TrialTask) -> str:
    """sha256 of the protocol: strict on a fold, another one on a whole scene."""
    plan = StrictPlan.of(task)
    if task.trial.fold is not None:
        return plan.digest
    return hashlib.sha256(f"event left out, 1, {plan.digest}".encode()).hexdigest()
