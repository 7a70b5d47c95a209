"""Several events together: trained on some, tested on the one left out."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from model.folds import folds
from model.parts import Mask, Parts
from model.plan import Progress, no_progress
from model.results import Trial, TrialResult
from model.strict import Ground, StrictPlan, ground, judged, network_answer, read_result, write_result
from model.windows import Box, whole
from pipeline.errors import ModelError


@dataclass(frozen=True)
class LearntFrom:
    """The parts of a scene of which nothing is tested: all of it is learned from but a rectangle to choose on.

    Satisfies `model.parts.Parts`.
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
class TestedWhole:
    """The parts of the scene that was left out: all of it is tested, nothing is learned from.

    Satisfies `model.parts.Parts`.
    """

    shape: tuple[int, int]

    def boxes(self, part: str) -> tuple[Box, ...]:
        """The whole scene for `test`; `validation` has none."""
        return (whole(self.shape),) if part == "test" else ()

    def train_mask(self, shape: tuple[int, int]) -> Mask:
        """(y, x) nothing."""
        return np.zeros(shape, dtype=bool)

    def closed_mask(self, shape: tuple[int, int]) -> Mask:
        """(y, x) everything."""
        return np.ones(shape, dtype=bool)


def run_left_out(
    places: Sequence[str],
    left_out: str,
    trial: Trial,
    out: Path | None = None,
    progress: Progress = no_progress,
    *,
    standardising: Literal["scene", "training"] = "scene",
) -> TrialResult:
    """Train on all cubes but one, and score all of that one.

    In each cube that is learned from, one of four rectangles is kept to choose the step on; the threshold is the mean
    of the best ones there, since the scene that was left out gives no label away before it is scored.

    Args:
        places: paths or names of all cubes, `left_out` among them.
        trial: of a network; its seed draws which rectangle is chosen on, and its fold is not used.
        standardising: the scene that was left out is standardised with its own inputs (no label is read), or with the
            mean of the statistics of those learned from.

    Raises:
        ModelError: `left_out` is none of `places`, or there is no other.
    """
    learnt_from = [place for place in places if place != left_out]
    if left_out not in places or not learnt_from:
        raise ModelError("Name at least two cubes, and leave out one of them.")
    plan = StrictPlan()
    tested = ground(left_out)
    learnt = [ground(place) for place in learnt_from]
    digest = _digest(trial, tested, learnt, plan, standardising)
    file = None if out is None else out / f"{digest}.json"
    if file is not None and (held := read_result(file)) is not None:
        return held
    started = time.monotonic()
    parts: list[Parts] = []
    for place in learnt:
        divided = folds(place.labels, place.scored, plan.folds)
        parts.append(LearntFrom(divided[trial.seed % len(divided)].test, plan.folds.buffer_px))
    shape = tested.labels.shape
    whole_scene = TestedWhole(shape)
    scratch = out or Path()
    made, thresholds = network_answer(
        learnt, tested, trial, parts, whole_scene, None, scratch, progress, standardising=standardising
    )
    result = judged(
        tested,
        trial,
        whole_scene,
        protocol_digest(plan),
        made,
        time.monotonic() - started,
        threshold=float(np.mean(thresholds)),
    ).model_copy(update={"trained_on": tuple(place.facts for place in learnt)})
    if file is not None:
        write_result(file, result, tested, made.score, whole(shape))
    return result


def protocol_digest(plan: StrictPlan) -> str:
    """sha256 of the protocol of one event left out."""
    return hashlib.sha256(f"event left out, 1, {plan.digest}".encode()).hexdigest()


def _digest(
    trial: Trial, tested: Ground, learnt: Sequence[Ground], plan: StrictPlan, standardising: str
) -> str:
    parts = {
        "trial": trial.model_dump(mode="json", exclude={"label", "fold"}),
        "tested": tested.facts.digest,
        "learnt": [place.facts.digest for place in learnt],
        "protocol": protocol_digest(plan),
        "standardising": standardising,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
