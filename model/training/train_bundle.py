"""Training of a model on one cube or several: networks are trained, calibrated, evaluated and written as a bundle."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.bundle.left_out_evidence import with_left_out
from model.bundle.starting_bundle import StartingBundle
from model.bundle.summaries import BundleRecord, record_of
from model.inputs.best_inputs import best_inputs
from model.inputs.inputs import Inputs
from model.network.architectures import architecture_named
from model.network.augmentation import mirror_signs
from model.network.training_plan import NetworkSpec, TrainingPlan, member_seed
from model.scores.input_ranges import InputRanges
from model.training.experiment import Experiment
from model.training.reference_scores import reference_scores
from model.training.training_data import (
    EventData,
    LabelledCube,
    TrainingRun,
    event_data,
    labelled_cubes,
    select_passes,
)
from pipeline.errors import ModelError
from pipeline.files import writable_parent
from pipeline.progress import Progress, no_progress

if TYPE_CHECKING:
    from model.bundle.document import BundleDocument
    from model.network.inference import Probability
    from model.network.training_scene import Trained
    from model.scores.case_evidence import CaseEvidence

log = logging.getLogger(__name__)

LEAST_EVENTS = 3
"""that can be left out in turn: with two, each network would be trained on one"""


def train_bundle(
    cube: str,
    out: Path,
    *,
    plan: TrainingPlan | None = None,
    seed: int = 0,
    experiment: Experiment | None = None,
    progress: Progress = no_progress,
) -> BundleRecord:
    """Train a network on a cube, and on those of other events that `experiment` names, and write it as a bundle.

    Args:
        cube: path of a cube, or name of a built area. The model is scored with each number of passes that this cube
            has; another event counts where it has as many.
        out: folder of the bundle; a bundle that is there is replaced.
        seed: seed of the split, the initial weights and the chips; further members of an ensemble have seeds of their
            own (`member_seed`).

    Raises:
        CubeError: the cube does not exist.
        ModelError: the cube cannot be trained on (no labels, no pass before or after the event, a missing variable, a
            part of the split without landslides), two cubes show the same event, or `out` holds something else.
    """
    started = time.monotonic()
    plan, experiment = plan or TrainingPlan(), experiment or Experiment()
    start, experiment = with_start(experiment)
    labelled = labelled_cubes(cube, experiment)
    inputs, notes = _inputs(labelled, experiment)
    if experiment.test_time == "mirrored":
        mirror_signs(inputs.channels)  # refuses, before training, a channel that cannot be mirrored
    selected = select_passes(labelled, inputs)  # refuses before anything is written
    if experiment.left_out and len(selected) < LEAST_EVENTS:
        raise ModelError(
            f"Leaving events out needs {LEAST_EVENTS} events or more, and there are {len(selected)}.",
            "Name more with --with, or train without --left-out.",
        )
    run = TrainingRun(inputs, experiment, plan, seed, writable_parent(out), progress)
    events = [event_data(one, run) for one in selected]
    spec = _network(experiment, inputs, start)
    members = _trained(events, spec, run, start)
    document, weights = _evaluated(events, spec, members, run, notes)
    if experiment.left_out:
        document = with_left_out(document, _left_out(events, spec, run, start))
    document = document.model_copy(update={"start": start})

    from model.bundle import bundle

    bundle.save(document, weights, out)
    log.info(
        "model %s: test AUPRC %.4f at prevalence %.4f",
        document.digest[:12],
        document.test_score.auprc,
        document.test_score.prevalence,
    )
    return record_of(document, out, time.monotonic() - started)


def with_start(experiment: Experiment) -> tuple[StartingBundle | None, Experiment]:
    """The bundle that an experiment starts from, and the experiment with the inputs of that bundle.

    Raises:
        ModelError: there is no such bundle, or the experiment has other inputs.
    """
    if experiment.start is None:
        return None, experiment
    from model.bundle.starting_weights import document_of, starting_bundle

    start = starting_bundle(experiment.start)
    inputs = document_of(start).inputs
    if experiment.inputs not in (None, inputs):
        raise ModelError(
            f"A training that starts from {start.name} has the inputs of that bundle.",
            "Leave the inputs out.",
        )
    return start, experiment.model_copy(update={"inputs": inputs})


def _network(experiment: Experiment, inputs: Inputs, start: StartingBundle | None) -> NetworkSpec:
    if start is not None:
        from model.bundle.starting_weights import document_of, network_from

        return network_from(document_of(start))
    return NetworkSpec(
        architecture=experiment.architecture,
        encoder=experiment.encoder,
        in_channels=len(inputs.channels),
        initial_weights=experiment.initial_weights,
        builder=architecture_named(experiment.architecture).origin,
    ).on(inputs.channels)


def _inputs(labelled: Sequence[LabelledCube], experiment: Experiment) -> tuple[Inputs, tuple[str, ...]]:
    """The experiment's inputs, or the best that the cubes allow and notes on what they lack."""
    if experiment.inputs is not None:
        return experiment.inputs, ()
    first, *others = (one.dataset for one in labelled)
    return best_inputs(first, experiment.event, experiment.settled, others)


def _trained(
    events: Sequence[EventData], spec: NetworkSpec, run: TrainingRun, start: StartingBundle | None = None
) -> list[Trained]:
    """Train the members of the ensemble, one after the other."""
    from model.network.training import train

    weights: list[dict[str, Any] | None] = [None] * run.experiment.members
    if start is not None:
        from model.bundle.starting_weights import weights_from

        weights = [weights_from(start, run.inputs, number) for number in range(run.experiment.members)]
    scenes = [scene for one in events for scene in one.training_scenes()]
    count = run.experiment.members
    return [
        train(
            scenes,
            spec,
            run.plan,
            member_seed(run.seed, number),
            _member_progress(run.progress, number, count),
            weights[number],
        )
        for number in range(count)
    ]


def _member_progress(progress: Progress, number: int, members: int) -> Progress:
    """A progress that names the member of an ensemble in training."""
    if members == 1:
        return progress

    def member_progress(what: str, done: int, total: int | None = None, remark: str = "", /) -> None:
        progress(f"{what} {number + 1} of {members}", done, total, remark)

    return member_progress


def _left_out(
    events: Sequence[EventData], spec: NetworkSpec, run: TrainingRun, start: StartingBundle | None
) -> tuple[CaseEvidence, ...]:
    """What maps are worth on each event, by networks that were trained on the others."""
    from model.training.left_out_training import LeftOutTraining

    return LeftOutTraining(
        events,
        run,
        lambda others: _probability(_trained(others, spec, run, start), run),
        spec.model_dump_json(),
    ).evidence()


def _probability(members: Sequence[Trained], run: TrainingRun) -> Probability:
    """The mean of trained members."""
    from model.network.ensemble import probability_of
    from model.network.network import choose_device

    return probability_of(
        [member.network for member in members],
        choose_device(run.plan.device),
        run.inputs.channels,
        run.experiment.test_time,
    )


def _evaluated(
    events: Sequence[EventData],
    spec: NetworkSpec,
    members: Sequence[Trained],
    run: TrainingRun,
    notes: tuple[str, ...],
) -> tuple[BundleDocument, bytes]:
    """Evaluate the trained networks; the document of their bundle, and their weights."""
    from model.bundle import bundle
    from model.network.weights import weights_of
    from model.training.evaluation_by_passes import evaluations

    networks, experiment = [member.network for member in members], run.experiment
    *by_passes, every = evaluations(events, _probability(members, run))
    first, *others = (one.event for one in events)
    weights = weights_of(networks)
    document = bundle.new_document(
        weights,
        inputs=run.inputs,
        network=spec,
        members=len(members),
        parameters=sum(member.parameters for member in members),
        statistics=first.statistics,
        training=run.plan,
        cases=tuple(dict.fromkeys(len(used.after) for one in events for used in one.selections)),
        test_time=experiment.test_time,
        notes=notes,
        seed=run.seed,
        split=first.split,
        grid=first.grid,
        cube=first.cube,
        selection=first.selection,
        others=tuple(others),
        history=members[0].history,
        best_step=members[0].best.step,
        validation=every.validation,
        test=every.test,
        events=every.events if others else (),
        validation_events=every.validation_events if others else (),
        baselines=tuple(
            row for number, one in enumerate(events) for row in reference_scores(one, run, run.seed + number)
        ),
        calibration=every.calibration,
        by_passes=tuple(found.case_calibration() for found in by_passes),
        expected=tuple(found.expected_score() for found in (*by_passes, every)),
        evidence=tuple(found.evidence for found in (*by_passes, every)),
        input_ranges=InputRanges.of(
            (one.land, one.event.statistics, one.event.split.train) for one in events
        ),
        device=members[0].device,
    )
    return document, weights
