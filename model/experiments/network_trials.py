"""What networks say of a scene: trained on one or several scenes, predicted with the ground around what is tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from model.experiments.results.prediction import Answer, Score
from model.experiments.results.results import Trial
from model.experiments.results.scored_pixels import Ground
from model.inputs.channel_source import ScratchChannels
from model.inputs.channel_statistics import Statistics
from model.inputs.cube_channels import CubeChannels
from model.inputs.inputs import EventSpan
from model.inputs.selection import Selection, limit_passes, select
from model.inputs.windows import Box, whole
from model.network.training_plan import InferencePlan, NetworkSpec, TrainingPlan, member_seed
from model.scores.scores import Ranking
from model.split.chips import ChipTable
from model.split.leakage import MaskedChannels, assert_no_leak
from model.split.partition import Partition
from pipeline.errors import ModelError
from pipeline.progress import Progress, no_progress

if TYPE_CHECKING:
    from model.network.inference import Probability
    from model.network.training_scene import Scene, Trained

CONTEXT_PX = 64
"""pixels around a tested rectangle that are read, inputs only, so that its edge is not judged on padding"""
SCREENED = InferencePlan(window_px=256, overlap_px=64, margin_px=16)


def network_answer(
    learnt: Sequence[Ground],
    tested: Ground,
    trial: Trial,
    learnt_parts: Sequence[Partition],
    tested_parts: Partition,
    event: EventSpan | None,
    scratch: Path,
    progress: Progress = no_progress,
    *,
    standardising: Literal["scene", "training"] = "scene",
) -> tuple[Answer, tuple[float, ...]]:
    """Train the networks of a trial on some scenes and predict what is chosen on and tested in one.

    Args:
        standardising: of a tested scene that is none of those learned from: by its own inputs (labels are not read), or
            by the mean of the statistics of those learned from.

    Returns:
        The answer, and the threshold with the best F1 on what is chosen on in each scene that is learned from, where
        the tested scene is none of them.
    """
    from model.network.ensemble import probability_of
    from model.network.network import choose_device

    if trial.network is None or trial.plan is None:
        raise ModelError("This trial names no network or no training plan.")
    scratch.mkdir(parents=True, exist_ok=True)
    spec = trial.network.model_copy(update={"in_channels": len(trial.inputs.channels)})
    scenes: list[Scene] = []
    for place, parts in zip(learnt, learnt_parts, strict=True):
        scenes += _scenes(place, parts, trial, event, scratch)
    notes: list[str] = []
    members = [
        _member(scenes, spec, trial.plan, trial, member_seed(trial.seed, number), notes, progress)
        for number in range(trial.members)
    ]
    device = choose_device(trial.plan.device)
    at = next((i for i, place in enumerate(learnt) if place is tested), None)
    plain = trial.model_copy(update={"cases": (), "label_share": 1.0})
    if at is None:
        target = _scenes(tested, tested_parts, plain, event, scratch, everything=True)[0]
        if standardising == "training":
            target = replace(target, statistics=_mean_statistics([scene.statistics for scene in scenes]))
            notes.append("standardised with the mean statistics of the scenes learned from")
        else:
            notes.append("standardised with the statistics of the tested scene's own inputs")
    elif trial.cases:
        target = replace(
            _scenes(tested, tested_parts, plain, event, scratch)[0], statistics=scenes[0].statistics
        )
    else:
        target = scenes[at]
    probability = probability_of([m.network for m in members], device, trial.inputs.channels, trial.test_time)
    windows = trial.windows or SCREENED
    thresholds: list[float] = []
    if at is None:
        for scene in scenes:
            held = np.full(scene.labels.shape, np.nan, dtype=np.float32)
            for box in scene.split.boxes("validation"):
                _predict_into(held, scene, box, probability, windows)
            counted = np.isfinite(held) & scene.usable
            if (scene.labels[counted] == 1).any():
                thresholds.append(Ranking.of(held[counted], scene.labels[counted] == 1).best_threshold)
    shape = tested.labels.shape
    score = np.full(shape, np.nan, dtype=np.float32)
    for part in ("validation", "test"):
        for box in tested_parts.boxes(part):
            _predict_into(score, target, box, probability, windows)
    answer = Answer(
        score=score,
        selection=select(tested.dataset, trial.inputs, event),
        probability=True,
        parameters=members[0].parameters * len(members),
        steps=trial.plan.steps * len(members),
        best_step=members[0].best.step,
        device=members[0].device,
        notes=tuple(dict.fromkeys(notes)),
    )
    return answer, tuple(thresholds)


def _mean_statistics(several: Sequence[Statistics]) -> Statistics:
    """Mean of means, root of the mean variance, of scenes of the same channels."""
    mean = np.mean([s.mean for s in several], axis=0)
    sd = np.sqrt(np.mean(np.square([s.sd for s in several]), axis=0))
    return several[0].model_copy(
        update={"mean": tuple(map(float, mean)), "sd": tuple(map(float, sd)), "pixels": several[0].pixels}
    )


def _scenes(
    place: Ground,
    parts: Partition,
    trial: Trial,
    event: EventSpan | None,
    scratch: Path,
    *,
    everything: bool = False,
) -> list[Scene]:
    """A scene, or one for each number of passes that the trial is trained on; all with the first one's statistics.

    Args:
        everything: statistics over the whole scene, whose labels are then not read.
    """
    from model.network.training_scene import Scene

    inputs = trial.inputs
    full = select(place.dataset, inputs, event)
    cases: list[Selection] = [limit_passes(full, case.before, case.after) for case in trial.cases] or [full]
    shape = place.labels.shape
    may_see = np.ones(shape, dtype=bool) if everything else parts.train_mask(shape)
    divided = _labelled(parts, place, trial)
    scenes: list[Scene] = []
    for selection in cases:
        channels = ScratchChannels(
            CubeChannels(place.dataset, inputs, selection), len(inputs.channels), scratch
        )
        if scenes:
            statistics = scenes[0].statistics
        else:
            watched = MaskedChannels(channels, may_see)
            statistics = Statistics.of(watched, inputs.channels, (whole(shape),))
            if not everything:
                buffer_px = getattr(parts, "buffer_px", 0)
                assert_no_leak(parts, shape, buffer_px, statistics_mask=watched.given)
        usable = channels.usable() & place.scored
        if not everything and trial.plan is not None:
            side, stride = trial.plan.chip_px, trial.plan.stride_px
            chips = ChipTable(divided, place.labels, usable, side, stride).every()
            assert_no_leak(parts, shape, getattr(parts, "buffer_px", 0), chips)
        scenes.append(Scene(channels, place.labels, usable, divided, statistics))
    return scenes


def _labelled(parts: Partition, place: Ground, trial: Trial) -> Partition:
    if trial.label_share >= 1.0:
        return parts
    from model.network.pretraining import FewerLabels, keep_labels

    train = parts.train_mask(place.labels.shape) & place.scored
    return FewerLabels(parts, keep_labels(train, place.labels, trial.label_share, trial.seed))


def _member(
    scenes: Sequence[Scene],
    spec: NetworkSpec,
    plan: TrainingPlan,
    trial: Trial,
    seed: int,
    notes: list[str],
    progress: Progress,
) -> Trained:
    from model.network.pretraining import FewerLabels, PretrainingPlan, pretrain
    from model.network.training import train

    start = None
    if trial.pretraining_steps:
        unlabelled = [
            replace(scene, split=scene.split.parts) if isinstance(scene.split, FewerLabels) else scene
            for scene in scenes
        ]
        how = PretrainingPlan(steps=trial.pretraining_steps, chip_px=plan.chip_px, batch=plan.batch)
        learnt = pretrain(unlabelled, spec, how, seed, progress)
        start = learnt.weights
        notes.append(
            f"pretrained for {how.steps} steps on training pixels without labels (error {learnt.loss:.3f})"
        )
    return train(scenes, spec, plan, seed, progress, start)


def _predict_into(
    score: Score, scene: Scene, box: Box, probability: Probability, windows: InferencePlan
) -> None:
    """Fill one rectangle, predicted with the inputs around it."""
    from model.network.inference import predict

    height, width = score.shape
    top, left = max(box.top - CONTEXT_PX, 0), max(box.left - CONTEXT_PX, 0)
    area = Box(
        top=top,
        left=left,
        height=min(box.bottom + CONTEXT_PX, height) - top,
        width=min(box.right + CONTEXT_PX, width) - left,
    )
    held = np.empty((area.height, area.width), dtype=np.float32)
    for strip in predict(scene.channels, area, scene.statistics, probability, windows):
        held[strip.box.top - top : strip.box.bottom - top] = strip.probability
    score[box.slices] = held[box.top - top : box.bottom - top, box.left - left : box.right - left]
