"""Several events together: trained on some, tested on the one left out."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.experiments.network_trials import network_answer
from model.experiments.results.result_files import read_result, write_result
from model.experiments.results.results import Others, Trial, TrialResult
from model.experiments.results.scored_pixels import ground
from model.experiments.strict import StrictPlan, judged
from model.inputs.cubes import CubeFacts
from model.inputs.windows import Box, whole
from model.split.folds import folds
from model.split.partition import Mask, Partition
from pipeline.errors import ModelError
from pipeline.progress import Progress, no_progress


@dataclass(frozen=True)
class LearntFrom:
    """The parts of a scene of which nothing is tested: all of it is learned from but a rectangle to choose on.

    Satisfies `model.split.partition.Partition`.
    """

    validation: Box
    buffer_px: int

    def boxes(self, part: str) -> tuple[Box, ...]:
        """The rectangles of `validation`; `test` has none."""
        return (self.validation,) if part == "validation" else ()

    def train_mask(self, shape: tuple[int, int]) -> Mask:
        """(y, x) everything further than the buffer from what is chosen on."""
        mask = np.ones(shape, dtype=bool)
        box, reach = self.validation, self.buffer_px
        mask[max(box.top - reach, 0) : box.bottom + reach, max(box.left - reach, 0) : box.right + reach] = (
            False
        )
        return mask

    def closed_mask(self, shape: tuple[int, int]) -> Mask:
        """(y, x) what no training chip may hold."""
        mask = np.zeros(shape, dtype=bool)
        mask[self.validation.slices] = True
        return mask


@dataclass(frozen=True)
class TestedAlone:
    """The parts of a scene of which nothing is learned: a rectangle is tested, or all of it.

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


def run_with_others(
    cube: str,
    others: Others,
    trial: Trial,
    out: Path | None = None,
    progress: Progress = no_progress,
    *,
    plan: StrictPlan | None = None,
) -> TrialResult:
    """Train on other events, and on what a fold leaves of this one where `others.own` says so, and score this one.

    With a fold its rectangle is scored, under the protocol strict: the result compares with that of a network that was
    trained around the rectangle. Without one the whole scene is. In each other event one of four rectangles is kept to
    choose the step on; where nothing of this scene is learned from, the threshold is the mean of the best ones there,
    since the scene gives no label away before it is scored.

    Args:
        trial: of a network; its seed draws which rectangle of each other event is chosen on.

    Raises:
        CubeError: a cube is not there.
        ModelError: no fold is named where the scene itself is learned from too, or there is no such fold; or as
            `model.experiments.strict.run_strict`.
    """
    plan = plan or StrictPlan()
    tested = ground(cube, plan.event)
    learnt = [ground(place) for place in others.places]
    digest = digest_of(trial, tested.facts, [place.facts for place in learnt], plan, others)
    file = None if out is None else out / f"{digest}.json"
    if file is not None and (held := read_result(file)) is not None:
        return held.model_copy(update={"trial": trial})  # the same but perhaps for its label
    started = time.monotonic()
    parts: list[Partition] = []
    for place in learnt:
        divided = folds(place.labels, place.scored, plan.folds)
        parts.append(LearntFrom(divided[trial.seed % len(divided)].test, plan.folds.buffer_px))
    if trial.fold is None:
        if others.own:
            raise ModelError("A scene that is learned from too is scored on a fold; name one.")
        tested_parts: Partition = TestedAlone(whole(tested.labels.shape))
    else:
        own_folds = folds(tested.labels, tested.scored, plan.folds)
        if trial.fold >= len(own_folds):
            raise ModelError(f"There is no fold {trial.fold}; there are {len(own_folds)}.")
        fold = own_folds[trial.fold]
        tested_parts = fold if others.own else TestedAlone(fold.test)
        if others.own:
            learnt.insert(0, tested)
            parts.insert(0, fold)
    made, thresholds = network_answer(
        learnt,
        tested,
        trial,
        parts,
        tested_parts,
        plan.event,
        out or Path(),
        progress,
        standardising=others.standardising,
    )
    result = judged(
        tested,
        trial,
        tested_parts,
        _protocol_digest(plan, trial),
        made,
        time.monotonic() - started,
        threshold=float(np.mean(thresholds)) if thresholds else 0.5,
    ).model_copy(update={"trained_on": tuple(place.facts for place in learnt if place is not tested)})
    if file is not None:
        write_result(file, result, tested, made.score, *tested_parts.boxes("test"))
    return result


def _protocol_digest(plan: StrictPlan, trial: Trial) -> str:
    """sha256 of the protocol: strict on a fold, another one on a whole scene."""
    if trial.fold is not None:
        return plan.digest
    return hashlib.sha256(f"event left out, 1, {plan.digest}".encode()).hexdigest()


def digest_of(
    trial: Trial, tested: CubeFacts, learnt: Sequence[CubeFacts], plan: StrictPlan, others: Others
) -> str:
    """sha256 of everything that decides a result but the software."""
    parts = {
        "trial": trial.model_dump(mode="json", exclude={"label"}),
        "tested": tested.digest,
        "learnt": [facts.digest for facts in learnt],
        "own": others.own,
        "protocol": _protocol_digest(plan, trial),
        "standardising": others.standardising,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
