"""The prediction of networks for a scene: trained on one or several scenes, with inputs around the tested
rectangles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from model.experiments.results.prediction import Prediction, Score
from model.experiments.results.results import Trial
from model.experiments.results.scored_scene import ScoredScene
from model.inputs.channel_statistics import Statistics, mean_statistics
from model.inputs.pass_subsets import limit_passes
from model.inputs.selection import Selection
from model.inputs.windows import Box, whole
from model.network.training_plan import InferencePlan, TrainingPlan, member_seed
from model.scores.scores import Ranking
from model.split.chips import ChipTable
from model.split.leakage import MaskedChannels, assert_no_leak
from model.split.partition import Partition
from pipeline.errors import ModelError, number_of
from pipeline.progress import Progress, no_progress
from pipeline.records import digest_of_json

if TYPE_CHECKING:
    from model.network.inference import Probability
    from model.network.training_scene import Scene, Trained

CONTEXT_PX = 64
"""pixels around a tested rectangle that are read, inputs only, so that its edge is not predicted from padding"""
SCREENED = InferencePlan(window_px=256, overlap_px=64, margin_px=16)


@dataclass(frozen=True)
class DividedScene:
    """A scene and its division into training, validation and test."""

    scene: ScoredScene
    parts: Partition


@dataclass(frozen=True)
class Division:
    """The scenes that networks are trained on, and the one that they are tested on."""

    training: tuple[DividedScene, ...]
    tested: DividedScene
    standardising: Literal["scene", "training"] = "scene"
    """of a tested scene outside the training set: by its own inputs (labels are not read), or by the mean of the
    statistics of the training scenes"""

    @property
    def tests_itself(self) -> bool:
        """Whether the tested scene is in the training set; it is then the first one."""
        return any(divided is self.tested for divided in self.training)


@dataclass(frozen=True)
class _Predictor:
    probability: Probability
    windows: InferencePlan

    def fill(self, score: Score, scene: Scene, boxes: Sequence[Box]) -> None:
        """Predict rectangles, with the inputs around them."""
        from model.network.inference import predict

        height, width = score.shape
        for box in boxes:
            top, left = max(box.top - CONTEXT_PX, 0), max(box.left - CONTEXT_PX, 0)
            bottom, right = min(box.bottom + CONTEXT_PX, height), min(box.right + CONTEXT_PX, width)
            area = Box(top=top, left=left, height=bottom - top, width=right - left)
            predicted = np.empty((area.height, area.width), dtype=np.float32)
            for strip in predict(scene.channels, area, scene.statistics, self.probability, self.windows):
                predicted[strip.box.top - top : strip.box.bottom - top] = strip.probability
            score[box.slices] = predicted[
                box.top - top : box.bottom - top, box.left - left : box.right - left
            ]


def network_prediction(
    division: Division, trial: Trial, scratch: Path, progress: Progress = no_progress
) -> tuple[Prediction, tuple[float, ...]]:
    """Train the networks of a trial and predict the validation and test rectangles of the tested scene.

    Args:
        scratch: folder for copies of the channels, which leave no file.

    Returns:
        The prediction; and, if the tested scene is not in the training set, the threshold with the best F1 on the
        validation rectangle of each training scene.

    Raises:
        ModelError: the trial names no network or no plan, a cube lacks what the inputs need, or training would leak.
    """
    from model.network.ensemble import probability_of
    from model.network.network import choose_device

    plan = _plan(trial)
    scratch.mkdir(parents=True, exist_ok=True)
    learned = _learned(division, trial, scratch, progress)
    scenes = learned.scenes
    target, notes = _target(division, scenes, trial, scratch)
    networks, notes = learned.networks, (*learned.notes, *notes)
    device = choose_device(plan.device)
    probability = probability_of(
        [one.network for one in networks], device, trial.inputs.channels, trial.test_time
    )
    predictor = _Predictor(probability, trial.windows or SCREENED)
    thresholds = () if division.tests_itself else _best_thresholds(scenes, predictor)
    tested = division.tested
    score = np.full(tested.scene.shape, np.nan, dtype=np.float32)
    predictor.fill(score, target, (*tested.parts.boxes("validation"), *tested.parts.boxes("test")))
    made = Prediction(
        score=score,
        selection=_mapped(tested.scene.select(trial.inputs), trial),
        probability=True,
        parameters=networks[0].parameters * len(networks),
        steps=plan.steps * len(networks),
        best_step=networks[0].best.step,
        device=networks[0].device,
        notes=tuple(dict.fromkeys(notes)),
    )
    return made, thresholds


@dataclass(frozen=True)
class _Learned:
    """Trained networks, and the scenes that they were trained on."""

    digest: str
    """of everything that decides the weights"""
    scenes: tuple[Scene, ...]
    networks: tuple[Trained, ...]
    notes: tuple[str, ...]


_LAST: list[_Learned] = []
"""the last training: the next trial may score the same networks with other passes"""


def _learned(division: Division, trial: Trial, scratch: Path, progress: Progress) -> _Learned:
    """Train the networks of a trial; those of the trial before where it differs only in what is mapped."""
    parts = {
        "trial": trial.model_dump(mode="json", exclude={"label", "tested", "test_time", "windows"}),
        "scenes": [
            (each.scene.facts.digest, str(each.scene.event), repr(each.parts)) for each in division.training
        ],
    }
    digest = digest_of_json(parts)
    if _LAST and _LAST[0].digest == digest:
        return _LAST[0]
    _LAST.clear()  # its scratch copies are given back first
    scenes = [scene for divided in division.training for scene in _scenes(divided, trial, scratch)]
    members = [_member(scenes, trial, number, progress) for number in range(trial.members)]
    notes = tuple(note for _, note in members if note)
    found = _Learned(digest, tuple(scenes), tuple(member for member, _ in members), notes)
    if trial.tested is not None:
        _LAST.append(found)
    return found


def _mapped(selection: Selection, trial: Trial) -> Selection:
    """The passes of the tested scene that are mapped.

    Raises:
        ModelError: the scene has not as many.
    """
    if trial.tested is None:
        return selection
    found = trial.tested.of(selection)
    if found is None:
        raise ModelError(f"The scene has no {' and no '.join(trial.tested.directions)} passes, or too few.")
    return found


def _plan(trial: Trial) -> TrainingPlan:
    if trial.network is None or trial.plan is None:
        raise ModelError("This trial names no network or no training plan.")
    return trial.plan


def _best_thresholds(scenes: Sequence[Scene], predictor: _Predictor) -> tuple[float, ...]:
    """The threshold with the best F1 on the validation rectangle of each scene that has a landslide there."""
    found = []
    for scene in scenes:
        score = np.full(scene.labels.shape, np.nan, dtype=np.float32)
        predictor.fill(score, scene, scene.split.boxes("validation"))
        counted = np.isfinite(score) & scene.usable
        if (scene.labels[counted] == 1).any():
            found.append(Ranking.of(score[counted], scene.labels[counted] == 1).best_threshold)
    return tuple(found)


def _target(
    division: Division, scenes: Sequence[Scene], trial: Trial, scratch: Path
) -> tuple[Scene, tuple[str, ...]]:
    """The tested scene with all passes and the statistics that it is standardised with; and notes on these."""
    plain = trial.model_copy(update={"cases": (), "label_share": 1.0})
    if not division.tests_itself:
        target = _scenes(division.tested, plain, scratch, whole_scene=True, mapped=True)[0]
        if division.standardising == "scene":
            return target, ("standardised with the statistics of the tested scene's own inputs",)
        statistics = mean_statistics([scene.statistics for scene in scenes])
        note = "standardised with the mean statistics of the training scenes"
        return replace(target, statistics=statistics), (note,)
    if not trial.cases and trial.tested is None:
        return scenes[0], ()
    target = _scenes(division.tested, plain, scratch, mapped=True)[0]
    return replace(target, statistics=scenes[0].statistics), ()


def _scenes(
    divided: DividedScene, trial: Trial, scratch: Path, *, whole_scene: bool = False, mapped: bool = False
) -> list[Scene]:
    """A scene, or one for each number of passes that the trial trains on; all with the statistics of the first one.

    Args:
        mapped: the passes that the trial maps instead.
        whole_scene: take the statistics over the whole scene, whose labels are then not read.
    """
    from model.network.training_scene import Scene

    scene, parts = divided.scene, divided.parts
    inputs, shape = trial.inputs, scene.shape
    full = scene.select(inputs)
    cases: list[Selection] = [limit_passes(full, case.before, case.after) for case in trial.cases] or [full]
    if mapped:
        cases = [_mapped(full, trial)]
    labelled = _labelled(divided, trial)
    buffer_px = getattr(parts, "buffer_px", 0)
    scenes: list[Scene] = []
    for selection in cases:
        channels = scene.copied(inputs, selection, scratch)
        if scenes:
            statistics = scenes[0].statistics
        elif whole_scene:
            statistics = Statistics.of(channels, inputs.channels, (whole(shape),))
        else:
            watched = MaskedChannels(channels, parts.train_mask(shape))
            statistics = Statistics.of(watched, inputs.channels, (whole(shape),))
            assert_no_leak(parts, shape, buffer_px, statistics_mask=watched.given)
        usable = channels.usable() & scene.scored
        if not whole_scene:
            plan = _plan(trial)
            chips = ChipTable(labelled, scene.labels, usable, plan.chip_px, plan.stride_px).every()
            assert_no_leak(parts, shape, buffer_px, chips)
        scenes.append(Scene(channels, scene.labels, usable, labelled, statistics))
    return scenes


def _labelled(divided: DividedScene, trial: Trial) -> Partition:
    """The division, with labels of a share of the training area only where the trial says so."""
    if trial.label_share >= 1.0:
        return divided.parts
    from model.network.pretraining import FewerLabels, keep_labels

    scene = divided.scene
    train = divided.parts.train_mask(scene.shape) & scene.scored
    return FewerLabels(divided.parts, keep_labels(train, scene.labels, trial.label_share, trial.seed))


def _member(scenes: Sequence[Scene], trial: Trial, number: int, progress: Progress) -> tuple[Trained, str]:
    """A trained network of an ensemble, and a note on its pretraining."""
    from model.network.pretraining import FewerLabels, PretrainingPlan, pretrain
    from model.network.training import train

    plan = _plan(trial)
    if trial.network is None:
        raise ModelError("This trial names no network.")
    spec = trial.network.on(trial.inputs.channels)
    seed = member_seed(trial.seed, number)
    if trial.start is not None:
        from model.bundle.starting_weights import weights_from

        begun = weights_from(trial.start, trial.inputs, number)
        return train(scenes, spec, plan, seed, progress, begun), f"started from {trial.start.in_words}"
    if not trial.pretraining_steps:
        return train(scenes, spec, plan, seed, progress), ""
    unlabelled = [
        replace(scene, split=scene.split.parts) if isinstance(scene.split, FewerLabels) else scene
        for scene in scenes
    ]
    pretraining = PretrainingPlan(steps=trial.pretraining_steps, chip_px=plan.chip_px, batch=plan.batch)
    start = pretrain(unlabelled, spec, pretraining, seed, progress)
    note = (
        f"pretrained for {number_of(pretraining.steps, 'step')} on training pixels without labels "
        f"(error {start.loss:.3f})"
    )
    return train(scenes, spec, plan, seed, progress, start.weights), note
