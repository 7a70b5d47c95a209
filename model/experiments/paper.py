"""The protocol `paper`: the experiment of Boehm et al. (2022) as its published code does it, its defects by name.

The code cuts chips of 128 x 128 pixels without overlap and keeps those that hold a landslide pixel. It splits them at
random into 0.7, 0.2 and 0.1 with seed 42 (309 chips give 216, 61 and 32). Inputs are the natural logarithm of linear
gamma0, the mean over passes, then z-scores. The loss is the cross entropy of two classes. Adam has a learning rate of
0.01 and a weight decay of 1e-4; the rate falls to a tenth when the training loss does not fall for ten epochs. Training
takes 100 epochs in batches of 64. The score is the average precision over all pixels of a split.

Two things differ. In the code the logarithm of a value that is not positive is minus infinity, which spoils the
statistics; here such a value is missing. In the code a pixel that nobody mapped counts as "no landslide"; here it
neither enters the loss nor is scored. The published cubes have no such pixel. Which pixels are scored does not depend
on a trial's inputs, so that trials can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.experiments.baselines import baseline_prediction
from model.experiments.prepared_trial import PreparedTrial
from model.experiments.results.prediction import Outcome, Prediction
from model.experiments.results.results import Trial, TrialTask
from model.experiments.results.scored_scene import ScoredScene
from model.inputs.channel_source import ScratchChannels
from model.inputs.channel_statistics import Statistics
from model.inputs.cube_channels import CubeChannels
from model.inputs.cubes import UNMAPPED, CubeFacts
from model.inputs.inputs import Inputs
from model.inputs.selection import Selection
from model.inputs.windows import Box, mask_of, whole
from model.network.paper_training import PaperChips, published_order, train_as_published
from model.network.training_plan import NetworkSpec, PaperPlan, PaperSwitches
from model.scores.evaluation import evaluate
from model.scores.scores import Ranking
from model.split.partition import Mask
from pipeline.errors import ModelError, number_of
from pipeline.progress import Progress
from pipeline.records import digest_of_json

SHARES = (0.7, 0.2)
"""of training and validation; the rest is the test split"""
UNCLIPPED_SD = 1e6
"""standardised values are not clipped, as published"""
PAPER_NETWORK = NetworkSpec(
    architecture="unetplusplus", encoder="resnet50", in_channels=1, classes=2, initial_weights="imagenet"
)
"""The network that the code builds; the paper calls it a U-Net. `in_channels` is set by the inputs."""


@dataclass(frozen=True)
class ChipSplit:
    """The chips of each split. Satisfies `model.split.partition.Partition`."""

    train: tuple[Box, ...]
    validation: tuple[Box, ...]
    test: tuple[Box, ...]
    """the split that the paper never used"""

    def boxes(self, part: str) -> tuple[Box, ...]:
        """The chips of a split."""
        found: tuple[Box, ...] = getattr(self, part)
        return found

    def train_mask(self, shape: tuple[int, int]) -> Mask:
        """(y, x) the training chips."""
        return mask_of(self.train, shape)

    def closed_mask(self, shape: tuple[int, int]) -> Mask:
        """(y, x) everything else."""
        return ~self.train_mask(shape)


def published_inputs(inputs: Inputs, switches: PaperSwitches) -> Inputs:
    """The inputs with the defects that the switches name, or without them."""
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

    The published code lets xbatcher cut windows over x and then y, so x is the slower one. Pixels at the eastern and
    southern edge that do not fill a chip are left out.
    """
    height, width = labels.shape
    chips = (
        Box(top=top, left=left, height=size_px, width=size_px)
        for left in range(0, width - size_px + 1, size_px)
        for top in range(0, height - size_px + 1, size_px)
    )
    return tuple(chip for chip in chips if (labels[chip.slices] == 1).any())


def split_chips(chips: tuple[Box, ...], seed: int = 42) -> ChipSplit:
    """The published random split. It leaks: neighbouring chips fall into different splits.

    Raises:
        ModelError: too few chips for three splits.
    """
    count = len(chips)
    first, second = int(SHARES[0] * count), int(SHARES[1] * count)
    if min(first, second, count - first - second) < 1:
        raise ModelError(
            f"Chips that hold a landslide: {count}, too few for three splits.",
            "Take a larger area or smaller chips, or the protocol strict.",
        )
    order = published_order(count, seed)
    parts = [
        tuple(chips[i] for i in order[a:b])
        for a, b in ((0, first), (first, first + second), (first + second, count))
    ]
    return ChipSplit(*parts)


def protocol_digest(task: TrialTask) -> str:
    """sha256 of what decides which pixels are scored and how: chips, split, event, and which split is reported."""
    plan = task.trial.paper or PaperPlan()
    parts = {
        "protocol": "paper",
        "version": 3,
        "chip_px": plan.chip_px,
        "split_seed": plan.split_seed,
        "reported": plan.switches.validation_as_test,
        "pixels without input": plan.switches.pixels_without_input,
        "event": task.event.model_dump(mode="json") if task.event else None,
    }
    return digest_of_json(parts)


def digest_of(task: TrialTask, tested: CubeFacts, trained_on: Sequence[CubeFacts] = ()) -> str:
    """sha256 of everything that decides a result but the software.

    Args:
        trained_on: no cube: the protocol trains on the tested one.
    """
    return task.digest_on(tested, protocol_digest(task))


def run(prepared: PreparedTrial, progress: Progress) -> Outcome:
    """Train and score as the published code does, with the switches of the trial's plan.

    The switch `validation_as_test` names the split that is evaluated. `validation` holds the scores of the other one,
    and notes give both.

    Raises:
        ModelError: there are too few chips, the cube lacks a variable or a pass, or the trial has settings that the
            published code does not have.
    """
    _refuse_unpublished(prepared.trial)
    scene, plan = prepared.scene, prepared.trial.paper or PaperPlan()
    split = split_chips(chips_of(scene.labels, plan.chip_px), plan.split_seed)
    made = _prediction(prepared, plan, split, progress)
    score = made.filled()
    scene = _as_scored(scene, plan.switches)
    validation, test = scene.within(split.validation), scene.within(split.test)
    truth = validation.truth
    of_validation, of_test = (Ranking.of(score[p.scored], truth[p.scored]) for p in (validation, test))
    if plan.switches.validation_as_test == "as published":
        reported, other = validation, of_test
    else:
        reported, other = test, of_validation
    return Outcome(
        prediction=made,
        tested=reported,
        box=whole(scene.shape),
        evaluation=evaluate(
            np.where(reported.scored, score, 0),
            reported,
            other.best_threshold,
            plan.chip_px,
            probability=made.probability,
        ),
        validation=other.scores().model_copy(update={"curve": ()}),
        protocol_digest=protocol_digest(prepared.task),
        scored_digest=reported.digest(),
        switches=plan.switches.model_dump() | made.switches,
        notes=(
            f"validation chips ({len(split.validation)}): AUPRC {of_validation.auprc:.4f}",
            f"chips never used by the paper ({len(split.test)}): AUPRC {of_test.auprc:.4f}",
            number_of(len(split.train), "training chip"),
        ),
    )


def _as_scored(scene: ScoredScene, switches: PaperSwitches) -> ScoredScene:
    """The scene with the pixels that the switch lets be scored: every mapped one, or those with every input."""
    if switches.pixels_without_input == "as published":
        return replace(scene, scored=scene.labels != UNMAPPED)
    return scene


def _refuse_unpublished(trial: Trial) -> None:
    """Refuse settings that the published code does not have: the result would be named after what was not done."""
    plain = Trial(label=trial.label, inputs=trial.inputs, protocol="paper", seed=trial.seed)
    settings = (
        "fold",
        "members",
        "test_time",
        "windows",
        "cases",
        "pretraining_steps",
        "label_share",
        "plan",
    )
    if others := [name for name in settings if getattr(trial, name) != getattr(plain, name)]:
        raise ModelError(
            f"The protocol paper follows the published code: it has no {', no '.join(others)}.",
            "Leave them out, or use the protocol strict.",
        )


def _prediction(prepared: PreparedTrial, plan: PaperPlan, split: ChipSplit, progress: Progress) -> Prediction:
    """Scores of the validation and test chips, NaN elsewhere."""
    trial, scene = prepared.trial, prepared.scene
    inputs, selection, notes = _selected(scene, published_inputs(trial.inputs, plan.switches))
    trial = trial.model_copy(update={"inputs": inputs})
    if trial.method == "network":
        chips = _Chips.of(prepared, trial, selection, split)
        made = _of_network(chips, trial, split, progress)
    else:
        baseline = baseline_prediction(scene, trial, split, prepared.scratch)
        inside = mask_of((*split.validation, *split.test), scene.shape)
        made = replace(baseline, score=np.where(inside, baseline.score, np.float32(np.nan)))
    if inputs.track == "best" and plan.switches.one_direction == "as published":
        made = replace(made, switches={"one_direction": "not as published: the best track"})
    return replace(made, notes=(*notes, *made.notes))


def _selected(scene: ScoredScene, inputs: Inputs) -> tuple[Inputs, Selection, tuple[str, ...]]:
    """The inputs, of the best track if the cube has no passes in the published direction; their passes; a note."""
    try:
        return inputs, scene.select(inputs), ()
    except ModelError as error:
        best = inputs.model_copy(update={"track": "best"})
        note = f"the best track is used instead of the published direction: {error.message}"
        return best, scene.select(best), (note,)


@dataclass(frozen=True)
class _Chips:
    """Reads chips of a scene as the network of the paper takes them."""

    scene: ScoredScene
    selection: Selection
    channels: ScratchChannels
    statistics: Statistics
    alone: bool
    """whether a channel's missing values are its own, as published, or those of all channels"""

    @classmethod
    def of(cls, prepared: PreparedTrial, trial: Trial, selection: Selection, split: ChipSplit) -> _Chips:
        """Copy the channels to the scratch folder, and compute the statistics over the area that the switch names."""
        scene, names = prepared.scene, trial.inputs.channels
        prepared.scratch.mkdir(parents=True, exist_ok=True)
        plan = trial.paper or PaperPlan()
        alone = plan.switches.pixels_without_input == "as published"
        cube = CubeChannels(scene.dataset, trial.inputs, selection, alone=alone)
        channels = ScratchChannels(cube, len(names), prepared.scratch)
        whole_scene = plan.switches.whole_scene_statistics == "as published"
        boxes = (whole(channels.shape),) if whole_scene else split.train
        statistics = Statistics.of(channels, names, boxes, alone=alone)
        statistics = statistics.model_copy(update={"clip_sd": UNCLIPPED_SD})
        return cls(_as_scored(scene, plan.switches), selection, channels, statistics, alone)

    def read(self, boxes: Sequence[Box]) -> PaperChips:
        """Inputs, targets, and which pixels enter the loss."""
        pairs = [self._standardised(box) for box in boxes]
        labels = [self.scene.labels[box.slices] for box in boxes]
        known = [counts & (mapped != UNMAPPED) for mapped, (_, counts) in zip(labels, pairs, strict=True)]
        return PaperChips(
            inputs=np.stack([scaled for scaled, _ in pairs]),
            targets=np.stack([(mapped == 1).astype(np.float32) for mapped in labels]),
            known=np.stack(known),
        )

    def _standardised(self, box: Box) -> tuple[NDArray[np.float32], Mask]:
        """(channel, y, x) values, 0 where they are missing; (y, x) the pixels that may enter the loss."""
        values = self.channels.read(box)
        if self.alone:
            return self.statistics.standardise_alone(values), np.ones(values.shape[1:], dtype=bool)
        return self.statistics.standardise(values)

    def lacking(self, boxes: Sequence[Box]) -> float:
        """The share of the scored pixels in the boxes that lack the value of a channel."""
        scored = lacking = 0
        for box in boxes:
            inside = self.scene.scored[box.slices]
            complete = np.isfinite(self.channels.read(box)).all(axis=0)
            scored, lacking = scored + int(inside.sum()), lacking + int((inside & ~complete).sum())
        return lacking / max(scored, 1)


def _of_network(chips: _Chips, trial: Trial, split: ChipSplit, progress: Progress) -> Prediction:
    if trial.network is None:
        raise ModelError("This trial names no network.")
    scene = chips.scene
    spec = trial.network.model_copy(update={"in_channels": len(trial.inputs.channels)})
    trained = train_as_published(
        spec, trial.paper or PaperPlan(), trial.seed, chips.read(split.train), progress
    )
    tested = (*split.validation, *split.test)
    score = np.full(scene.shape, np.nan, dtype=np.float32)
    for box in tested:
        score[box.slices] = trained.probability(chips.read((box,)).inputs[0])
    notes = []
    if share := chips.lacking(tested):
        notes.append(
            f"{100 * share:.2f} % of the scored pixels lack an input, which is 0 once standardised, as published"
        )
    return Prediction(
        score=score,
        selection=chips.selection,
        probability=True,
        parameters=trained.parameters,
        steps=trained.steps,
        best_step=trained.steps,
        device=trained.device,
        notes=tuple(notes),
    )
