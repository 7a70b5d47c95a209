"""The protocol `strict`: every pixel tested once by a network that knew nothing of its surroundings."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import numpy as np
from pydantic import Field

from model.experiments.network_trials import network_answer
from model.experiments.results.prediction import Answer
from model.experiments.results.result_files import read_result, write_result
from model.experiments.results.results import Trial, TrialResult
from model.experiments.results.scored_pixels import Ground, ground
from model.inputs.cubes import CubeFacts
from model.inputs.inputs import EventSpan
from model.inputs.windows import mask_of
from model.scores.evaluation import CALIBRATION_CLASSES, CELL_M, CHIP_PX, SIZES_M2, evaluate
from model.scores.scores import Ranking, Scores
from model.split.folds import FoldPlan, folds
from model.split.leakage import assert_no_leak
from model.split.partition import Mask, Partition
from pipeline.errors import ModelError
from pipeline.progress import Progress, no_progress
from pipeline.records import Frozen


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


def judged(
    place: Ground,
    trial: Trial,
    parts: Partition,
    protocol_digest: str,
    made: Answer,
    seconds: float,
    threshold: float = 0.5,
) -> TrialResult:
    """Score an answer: the threshold from the validation rectangle, everything else from the tested one.

    Args:
        threshold: used where nothing is chosen on this scene.
    """
    from model.bundle.document import software

    shape = place.labels.shape
    truth = place.labels == 1
    score = made.ranked()

    def within(part: str) -> Mask:
        return mask_of(parts.boxes(part), shape) & place.scored

    chosen_on, tested = within("validation"), within("test")
    validation: Scores | None = None
    if (truth & chosen_on).any():
        validation = Ranking.of(score[chosen_on], truth[chosen_on]).scores()
        threshold = validation.threshold
    evaluation = evaluate(score, place.labels, tested, threshold, place.pixel_m, probability=made.probability)
    notes = [*made.notes, *made.silence(tested)]
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
    place: Ground, trial: Trial, fold: Partition, plan: StrictPlan, scratch: Path, progress: Progress
) -> Answer:
    if trial.method == "network":
        return network_answer([place], place, trial, [fold], fold, plan.event, scratch, progress)[0]
    from model.experiments.baselines import answer

    return answer(place, trial, fold, plan.event, scratch)


def digest_of(trial: Trial, cube: CubeFacts, plan: StrictPlan) -> str:
    """sha256 of everything that decides a result but the software."""
    parts = {
        "trial": trial.model_dump(mode="json", exclude={"label"}),
        "cube": cube.digest,
        "protocol": plan.digest,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
