"""The protocol `paper`: the experiment of Boehm et al. (2022) as its published code does it, its defects by name.

What the code does is told in the field's terms: chips of 128 x 128 pixels without overlap that hold a landslide pixel;
a random split of 0.7, 0.2 and 0.1 with seed 42 (309 chips give 216, 61 and 32); two classes and their cross entropy;
Adam with a rate of 0.01 and a weight decay of 1e-4; the rate falls to a tenth when the training loss stays for ten
epochs; 100 epochs in batches of 64; the natural logarithm of linear gamma0, then the mean over passes, then z-scores;
average precision over all pixels of a split.

Where it cannot be followed: the logarithm of a value that is not positive is minus infinity in the code and poisons its
statistics; here such a value is none. A pixel without a value goes to the network as 0 once standardised, as in the
code, and is not learned from. What is scored does not depend on a trial's inputs, so that trials can be compared.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.experiments.results.prediction import Answer
from model.experiments.results.result_files import read_result, write_result
from model.experiments.results.results import Trial, TrialResult
from model.experiments.results.scored_pixels import Ground, ground
from model.inputs.channel_source import ScratchChannels
from model.inputs.channel_statistics import Statistics
from model.inputs.cube_channels import CubeChannels
from model.inputs.cubes import UNMAPPED, CubeFacts
from model.inputs.inputs import EventSpan, Inputs
from model.inputs.selection import select
from model.inputs.windows import Box, mask_of, whole
from model.network.paper_training import PaperChips, published_order, train_as_published
from model.network.training_plan import NetworkSpec, PaperPlan, PaperSwitches
from model.scores.evaluation import evaluate
from model.scores.scores import Ranking
from model.split.partition import Mask
from pipeline.errors import ModelError
from pipeline.progress import Progress, no_progress

SHARES = (0.7, 0.2)
"""of training and validation; the rest is the third part"""
UNCUT_SD = 1e6
"""where standardised values are cut: nowhere, as published"""
PAPER_NETWORK = NetworkSpec(
    architecture="unetplusplus", encoder="resnet50", in_channels=1, classes=2, initial_weights="imagenet"
)
"""What the code builds; the paper calls it a U-Net. `in_channels` is set by the inputs."""


@dataclass(frozen=True)
class ChipSplit:
    """Positions of chips by part."""

    train: tuple[Box, ...]
    validation: tuple[Box, ...]
    test: tuple[Box, ...]
    """the part that the paper never used"""

    def boxes(self, part: str) -> tuple[Box, ...]:
        """The chips of a part."""
        found: tuple[Box, ...] = getattr(self, part)
        return found

    def train_mask(self, shape: tuple[int, int]) -> Mask:
        """(y, x) the training chips."""
        return mask_of(self.train, shape)

    def closed_mask(self, shape: tuple[int, int]) -> Mask:
        """(y, x) everything else."""
        return ~self.train_mask(shape)


def published_inputs(inputs: Inputs, switches: PaperSwitches) -> Inputs:
    """The inputs as the switches have them."""
    as_published = "as published"
    return inputs.model_copy(
        update={
            "newest_before": "dropped" if switches.dropped_newest_before == as_published else "used",
            "compare": "dates" if switches.date_string_slicing == as_published else "instants",
            "track": "descending" if switches.one_direction == as_published else "both",
            "aspect": "degrees" if switches.raw_aspect == as_published else "direction",
        }
    )


def chips_of(labels: NDArray[np.uint8], size_px: int) -> tuple[Box, ...]:
    """Whole chips without overlap that hold a landslide pixel, column by column of chips from the west.

    The published code has xbatcher cut windows over x and then y, which is the order of a product whose first factor is
    x; what does not fill a chip at the eastern and southern edge is left out.
    """
    height, width = labels.shape
    chips = (
        Box(top=top, left=left, height=size_px, width=size_px)
        for left in range(0, width - size_px + 1, size_px)
        for top in range(0, height - size_px + 1, size_px)
    )
    return tuple(chip for chip in chips if (labels[chip.slices] == 1).any())


def split_chips(chips: tuple[Box, ...], seed: int = 42) -> ChipSplit:
    """The published random split; neighbouring chips fall on either side of it, so that it leaks.

    Raises:
        ModelError: too few chips for three parts.
    """
    count = len(chips)
    first, second = int(SHARES[0] * count), int(SHARES[1] * count)
    if min(first, second, count - first - second) < 1:
        raise ModelError(
            f"{count} chips hold a landslide: too few for three parts.",
            "Take a larger area or smaller chips, or the protocol strict.",
        )
    order = published_order(count, seed)
    parts = [
        tuple(chips[i] for i in order[a:b])
        for a, b in ((0, first), (first, first + second), (first + second, count))
    ]
    return ChipSplit(*parts)


def run_paper(
    cube: str,
    trial: Trial,
    out: Path | None = None,
    progress: Progress = no_progress,
    *,
    event: EventSpan | None = None,
) -> TrialResult:
    """Train and score as the published code does, with the switches of the trial's plan.

    The evaluation is of the part that the switch `validation_as_test` names, `validation` holds the scores of the other
    one, and notes tell both.

    Raises:
        CubeError: there is no such cube.
        ModelError: the cube has no labels, too few chips, or lacks a variable or pass.
    """
    plan = trial.paper or PaperPlan()
    if trial.protocol != "paper":
        raise ModelError("This trial is of another protocol.")
    place = ground(cube, event)
    file = None if out is None else out / f"{paper_digest_of(trial, place.facts, event)}.json"
    if file is not None and (held := read_result(file)) is not None:
        return held
    started = time.monotonic()
    split = split_chips(chips_of(place.labels, plan.chip_px), plan.split_seed)
    made = _answered(place, trial, plan, split, event, out or Path(), progress)
    score = made.ranked()
    published = plan.switches.validation_as_test == "as published"
    masks = {name: _within(place, boxes) for name, boxes in (("61", split.validation), ("32", split.test))}
    reported, other = ("61", "32") if published else ("32", "61")
    both = {name: Ranking.of(score[mask], place.labels[mask] == 1) for name, mask in masks.items()}
    notes = [
        *made.notes,
        *made.silence(masks[reported]),
        f"validation chips ({len(split.validation)}): AUPRC {both['61'].auprc:.4f}",
        f"chips never used by the paper ({len(split.test)}): AUPRC {both['32'].auprc:.4f}",
        f"{len(split.train)} training chips",
    ]
    threshold = both[other].best_threshold
    evaluation = evaluate(
        np.where(masks[reported], score, 0),
        place.labels,
        masks[reported],
        threshold,
        place.pixel_m,
        plan.chip_px,
        probability=made.probability,
    )
    from model.bundle.document import software

    result = TrialResult(
        trial=trial,
        cube=place.facts,
        protocol_digest=protocol_digest(plan, event),
        scored_digest=_digest_of_mask(place, masks[reported]),
        switches=plan.switches.model_dump(),
        selection=made.selection,
        evaluation=evaluation,
        validation=both[other].scores().model_copy(update={"curve": ()}),
        parameters=made.parameters,
        steps=made.steps,
        best_step=made.best_step,
        seconds=round(time.monotonic() - started, 1),
        device=made.device,
        software=software(),
        notes=tuple(notes),
    )
    if file is not None:
        counted = Ground(place.dataset, place.facts, place.labels, masks[reported], place.pixel_m)
        write_result(file, result, counted, made.score, whole(place.labels.shape))
    return result


def protocol_digest(plan: PaperPlan, event: EventSpan | None) -> str:
    """sha256 of what decides which pixels are scored and how: chips, split, and which part is reported."""
    parts = {
        "protocol": "paper",
        "version": 1,
        "chip_px": plan.chip_px,
        "split_seed": plan.split_seed,
        "reported": plan.switches.validation_as_test,
        "event": event.model_dump(mode="json") if event else None,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def paper_digest_of(trial: Trial, cube: CubeFacts, event: EventSpan | None) -> str:
    """sha256 of everything that decides a result but the software."""
    parts = {
        "trial": trial.model_dump(mode="json", exclude={"label"}),
        "cube": cube.digest,
        "protocol": protocol_digest(trial.paper or PaperPlan(), event),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _within(place: Ground, boxes: tuple[Box, ...]) -> Mask:
    return mask_of(boxes, place.labels.shape) & place.scored


def _digest_of_mask(place: Ground, mask: Mask) -> str:
    digest = hashlib.sha256(np.packbits(mask).tobytes())
    digest.update(place.labels[mask].tobytes())
    return digest.hexdigest()


def _answered(
    place: Ground,
    trial: Trial,
    plan: PaperPlan,
    split: ChipSplit,
    event: EventSpan | None,
    scratch: Path,
    progress: Progress,
) -> Answer:
    """Scores of validation and test chips, NaN elsewhere."""
    inputs = published_inputs(trial.inputs, plan.switches)
    notes: list[str] = []
    try:
        selection = select(place.dataset, inputs, event)
    except ModelError:
        inputs = inputs.model_copy(update={"track": "best"})
        selection = select(place.dataset, inputs, event)
        notes.append("no passes as published in direction: the best track is used")
    tested = (*split.validation, *split.test)
    if trial.method != "network":
        from model.experiments.baselines import answer

        baseline = answer(place, trial.model_copy(update={"inputs": inputs}), split, event, scratch)
        within = np.where(mask_of(tested, baseline.score.shape), baseline.score, np.float32(np.nan))
        return replace(baseline, score=within, notes=(*notes, *baseline.notes))
    if trial.network is None:
        raise ModelError("This trial names no network.")
    scratch.mkdir(parents=True, exist_ok=True)
    channels = ScratchChannels(CubeChannels(place.dataset, inputs, selection), len(inputs.channels), scratch)
    everywhere = (
        (whole(channels.shape),) if plan.switches.whole_scene_statistics == "as published" else split.train
    )
    statistics = Statistics.of(channels, inputs.channels, everywhere).model_copy(update={"clip_sd": UNCUT_SD})

    def read(boxes: tuple[Box, ...]) -> PaperChips:
        pairs = [statistics.standardise(channels.read(box)) for box in boxes]
        labels = [place.labels[box.slices] for box in boxes]
        known = [valid & (mapped != UNMAPPED) for mapped, (_, valid) in zip(labels, pairs, strict=True)]
        return PaperChips(
            inputs=np.stack([scaled for scaled, _ in pairs]),
            targets=np.stack([(mapped == 1).astype(np.float32) for mapped in labels]),
            known=np.stack(known),
        )

    spec = trial.network.model_copy(update={"in_channels": len(inputs.channels)})
    made = train_as_published(spec, plan, trial.seed, read(split.train), progress)
    notes += made.notes
    score = np.full(place.labels.shape, np.nan, dtype=np.float32)
    for box in tested:
        score[box.slices] = made.probability(read((box,)).inputs[0])
    if share := float(_within(place, tested)[~channels.usable()].sum() / _within(place, tested).sum()):
        notes.append(
            f"{100 * share:.2f} % of the scored pixels lack an input, which is 0 once standardised, as published"
        )
    return Answer(
        score=score,
        selection=selection,
        probability=True,
        parameters=made.parameters,
        steps=made.steps,
        best_step=made.steps,
        device=made.device,
        notes=tuple(notes),
    )
