"""The protocol `strict`: every pixel tested once by a network that knew nothing of its surroundings."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from model import cubes
from model.channels import CubeChannels, ScratchChannels, Statistics
from model.chips import ChipTable
from model.cubes import UNMAPPED, CubeFacts
from model.evaluation import CALIBRATION_CLASSES, CELL_M, CHIP_PX, SIZES_M2, evaluate
from model.folds import FoldPlan, folds
from model.inputs import TERRAIN_VARIABLES, EventSpan, Inputs
from model.leakage import OnlyWithin, assert_no_leak
from model.parts import Mask, Parts
from model.plan import InferencePlan, NetworkSpec, Progress, TrainingPlan, no_progress
from model.results import Trial, TrialResult
from model.scores import Ranking, Scores
from model.selection import Selection, narrowed, select
from model.windows import Box, whole
from pipeline.errors import ModelError
from pipeline.records import Frozen

if TYPE_CHECKING:
    from model.inference import Probability
    from model.training import Scene, Trained

CONTEXT_PX = 64
"""pixels around a tested rectangle that are read, inputs only, so that its edge is not judged on padding"""
SCREENED = InferencePlan(window_px=256, overlap_px=64, margin_px=16)

Score = NDArray[np.float32]


class StrictPlan(Frozen):
    """What decides which pixels are scored and how, beside the cube itself."""

    folds: FoldPlan = FoldPlan()
    event: EventSpan | None = Field(None, description="None: the one that the cube records")

    @property
    def digest(self) -> str:
        """sha256 of the protocol: its name, its version, the plan, the constants of the evaluation."""
        parts = {
            "protocol": "strict",
            "version": 1,
            "plan": self.model_dump(mode="json"),
            "evaluation": [CHIP_PX, CELL_M, CALIBRATION_CLASSES, SIZES_M2],
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Ground:
    """One cube as every trial on it meets it."""

    dataset: xr.Dataset
    facts: CubeFacts
    labels: NDArray[np.uint8]
    """(y, x) 1, 0, or 255 not mapped"""
    scored: Mask
    """(y, x) pixels that are scored, whatever a trial's inputs"""
    pixel_m: tuple[float, float]


def ground(cube: str, event: EventSpan | None = None) -> Ground:
    """Open a cube and settle which of its pixels are scored.

    They are the labelled ones whose backscatter (in all polarisations of the cube, on its best track) is known before
    and after the event and whose terrain is known: the same for every trial, so that trials can be compared. A process
    reads every pass for it once, and not once a trial.

    Raises:
        ModelError: the cube has no labels, or no pass before or after the event.
    """
    dataset, facts = cubes.load(cube)
    labels, scored = _surveyed(facts.uri, facts.digest, event)
    x, y = dataset.x.values, dataset.y.values
    return Ground(
        dataset=dataset,
        facts=facts,
        labels=labels,
        scored=scored,
        pixel_m=(abs(float(x[1] - x[0])), abs(float(y[1] - y[0]))),
    )


@lru_cache(maxsize=2)
def _surveyed(uri: str, digest: str, event: EventSpan | None) -> tuple[NDArray[np.uint8], Mask]:
    """(y, x) labels, and which pixels are scored.

    Args:
        digest: of the cube, so that another one at the same place is read anew.
    """
    dataset, _ = cubes.load(uri)
    labels = cubes.labels(dataset)
    reference = Inputs.model_validate(
        {
            "backscatter": [name for name in ("vv", "vh") if name in dataset],
            "terrain": [name for name, variable in TERRAIN_VARIABLES.items() if variable in dataset],
        }
    )
    return labels, _usable(dataset, reference, event) & (labels != UNMAPPED)


def _usable(dataset: xr.Dataset, inputs: Inputs, event: EventSpan | None) -> Mask:
    source = CubeChannels(dataset, inputs, select(dataset, inputs, event))
    mask = np.zeros(source.shape, dtype=bool)
    height, width = source.shape
    for top in range(0, height, 512):
        box = Box(top=top, left=0, height=min(512, height - top), width=width)
        mask[box.slices] = np.isfinite(source.read(box)[0])
    return mask


def run_strict(
    cube: str,
    trial: Trial,
    out: Path | None = None,
    progress: Progress = no_progress,
    *,
    plan: StrictPlan | None = None,
) -> TrialResult:
    """Train on all but one rectangle of a cube and its surroundings, choose on a second, score the first.

    A result that is in `out` is answered and not made again. Beside `<digest>.json` stands `<digest>.npz` with the
    scores of the tested rectangle.

    Args:
        trial: with `fold`.

    Raises:
        CubeError: there is no such cube.
        ModelError: the cube cannot be tried: no labels, too small, a missing variable; or a leak.
    """
    plan = plan or StrictPlan()
    if trial.protocol != "strict" or trial.fold is None:
        raise ModelError("This trial is of another protocol, or names no fold.")
    place = ground(cube, plan.event)
    file = None if out is None else out / f"{digest_of(trial, place.facts, plan)}.json"
    if file is not None and (held := read_result(file)) is not None:
        return held.model_copy(update={"trial": trial})  # the same but perhaps for its label
    started = time.monotonic()
    divided = folds(place.labels, place.scored, plan.folds)
    if trial.fold >= len(divided):
        raise ModelError(f"There is no fold {trial.fold}; there are {len(divided)}.")
    fold = divided[trial.fold]
    assert_no_leak(fold, place.labels.shape, fold.buffer_px)
    made = _answered(place, trial, fold, plan, out or Path(), progress)
    result = judged(place, trial, fold, plan.digest, made, time.monotonic() - started)
    if file is not None:
        write_result(file, result, place, made.score, fold.test)
    return result


@dataclass(frozen=True)
class Answer:
    """What a method says of a scene, and what is to be told of how it came to it."""

    score: Score
    """(y, x) NaN where it says nothing"""
    selection: Selection
    probability: bool
    parameters: int | None = None
    steps: int | None = None
    best_step: int | None = None
    device: str = "cpu"
    notes: tuple[str, ...] = ()


def judged(
    place: Ground,
    trial: Trial,
    parts: Parts,
    protocol_digest: str,
    made: Answer,
    seconds: float,
    threshold: float = 0.5,
) -> TrialResult:
    """Score an answer: the threshold from the validation rectangle, everything else from the tested one.

    Args:
        threshold: used where nothing is chosen on this scene.
    """
    from model.bundle import software

    shape = place.labels.shape
    truth = place.labels == 1
    silent = ~np.isfinite(made.score)
    lowest = np.float32(0.0 if made.probability else np.nanmin(made.score))
    score = np.where(silent, lowest, made.score).astype(np.float32)

    def within(part: str) -> Mask:
        mask = np.zeros(shape, dtype=bool)
        for box in parts.boxes(part):
            mask[box.slices] = True
        return mask & place.scored

    chosen_on, tested = within("validation"), within("test")
    validation: Scores | None = None
    if (truth & chosen_on).any():
        validation = Ranking.of(score[chosen_on], truth[chosen_on]).scores()
        threshold = validation.threshold
    evaluation = evaluate(score, place.labels, tested, threshold, place.pixel_m, probability=made.probability)
    notes = list(made.notes)
    if (share := float((silent & tested).sum() / tested.sum())) > 0:
        notes.append(f"no prediction for {100 * share:.2f} % of the scored pixels: they count as lowest")
    return TrialResult(
        trial=trial,
        cube=place.facts,
        protocol_digest=protocol_digest,
        scored_digest=_scored_digest(place, tested),
        selection=made.selection,
        evaluation=evaluation,
        validation=validation.model_copy(update={"curve": ()}) if validation else None,
        parameters=made.parameters,
        steps=made.steps,
        best_step=made.best_step,
        seconds=round(seconds, 1),
        device=made.device,
        software=software(),
        notes=tuple(notes),
    )


def _scored_digest(place: Ground, tested: Mask) -> str:
    digest = hashlib.sha256(str(tested.shape).encode())
    digest.update(np.packbits(tested).tobytes())
    digest.update(place.labels[tested].tobytes())
    return digest.hexdigest()


def _answered(
    place: Ground, trial: Trial, fold: Parts, plan: StrictPlan, scratch: Path, progress: Progress
) -> Answer:
    if trial.method == "network":
        return network_answer([place], place, trial, [fold], fold, plan.event, scratch, progress)[0]
    from model.baselines import answer

    return answer(place, trial, fold, plan.event)


def network_answer(
    learnt: Sequence[Ground],
    tested: Ground,
    trial: Trial,
    learnt_parts: Sequence[Parts],
    tested_parts: Parts,
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
    from model.network import choose_device

    if trial.network is None or trial.plan is None:
        raise ModelError("This trial names no network or no training plan.")
    scratch.mkdir(parents=True, exist_ok=True)
    spec = trial.network.model_copy(update={"in_channels": len(trial.inputs.channels)})
    scenes: list[Scene] = []
    for place, parts in zip(learnt, learnt_parts, strict=True):
        scenes += _scenes(place, parts, trial, event, scratch)
    notes: list[str] = []
    members = [
        _member(scenes, spec, trial.plan, trial, trial.seed + 1000 * number, notes, progress)
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
    probability = _probability([m.network for m in members], trial, device)
    thresholds: list[float] = []
    if at is None:
        for scene in scenes:
            held = np.full(scene.labels.shape, np.nan, dtype=np.float32)
            for box in scene.split.boxes("validation"):
                _predict_into(held, scene, box, probability)
            counted = np.isfinite(held) & scene.usable
            if (scene.labels[counted] == 1).any():
                thresholds.append(Ranking.of(held[counted], scene.labels[counted] == 1).best_threshold)
    shape = tested.labels.shape
    score = np.full(shape, np.nan, dtype=np.float32)
    for part in ("validation", "test"):
        for box in tested_parts.boxes(part):
            _predict_into(score, target, box, probability)
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
    parts: Parts,
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
    from model.training import Scene

    inputs = trial.inputs
    full = select(place.dataset, inputs, event)
    cases: list[Selection] = [narrowed(full, case.before, case.after) for case in trial.cases] or [full]
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
            watched = OnlyWithin(channels, may_see)
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


def _labelled(parts: Parts, place: Ground, trial: Trial) -> Parts:
    if trial.label_share >= 1.0:
        return parts
    from model.pretraining import FewerLabels, keep_labels

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
    from model.pretraining import FewerLabels, PretrainingPlan, pretrain
    from model.training import train

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


def _probability(networks: Sequence[object], trial: Trial, device: object) -> Probability:
    from model.ensemble import Ensemble, MirroredViews
    from model.inference import NetworkProbability

    together = Ensemble([NetworkProbability(network, device) for network in networks])  # type: ignore[arg-type]
    return MirroredViews(together, trial.inputs.channels) if trial.test_time == "mirrored" else together


def _predict_into(score: Score, scene: Scene, box: Box, probability: Probability) -> None:
    """Fill one rectangle, predicted with the inputs around it."""
    from model.inference import predict

    height, width = score.shape
    top, left = max(box.top - CONTEXT_PX, 0), max(box.left - CONTEXT_PX, 0)
    area = Box(
        top=top,
        left=left,
        height=min(box.bottom + CONTEXT_PX, height) - top,
        width=min(box.right + CONTEXT_PX, width) - left,
    )
    held = np.empty((area.height, area.width), dtype=np.float32)
    for strip in predict(scene.channels, area, scene.statistics, probability, SCREENED):
        held[strip.box.top - top : strip.box.bottom - top] = strip.probability
    score[box.slices] = held[box.top - top : box.bottom - top, box.left - left : box.right - left]


def digest_of(trial: Trial, cube: CubeFacts, plan: StrictPlan) -> str:
    """sha256 of everything that decides a result but the software."""
    parts = {
        "trial": trial.model_dump(mode="json", exclude={"label"}),
        "cube": cube.digest,
        "protocol": plan.digest,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def read_result(file: Path) -> TrialResult | None:
    """A result that was written before; None: none, or not a whole one."""
    if not file.is_file() or not file.with_suffix(".npz").is_file():
        return None
    try:
        return TrialResult.model_validate_json(file.read_text(encoding="utf-8"))
    except ValidationError:
        return None


def write_result(file: Path, result: TrialResult, place: Ground, score: Score, box: Box) -> None:
    """The scores of a rectangle first, then the result, which marks them as whole.

    Args:
        score: (y, x) of the whole scene.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}.part.npz")
    labels = np.where(place.scored, place.labels, np.uint8(UNMAPPED))
    np.savez_compressed(
        partial,
        score=score[box.slices],
        labels=labels[box.slices],
        corner=np.array([box.top, box.left], dtype=np.int64),
    )
    partial.replace(file.with_suffix(".npz"))
    text = file.with_suffix(f".{os.getpid()}.part")
    text.write_text(result.model_dump_json(indent=1), encoding="utf-8")
    text.replace(file)
