"""Running the trials of all experiments. Each result is computed once, and written as soon as it is ready."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from model.experiments import left_out_events, strict
from model.experiments.prepared_trial import PreparedTrial, prepare
from model.experiments.results.comparison import Scored
from model.experiments.results.prediction import Outcome
from model.experiments.results.result_files import read_result, write_result
from model.experiments.results.results import Trial, TrialResult, TrialTask
from model.inputs.cubes import CubeFacts
from model.network.workers import run_each
from model.scores.intervals import counts_of_file
from pipeline.errors import ModelError
from pipeline.progress import Progress, no_progress
from pipeline.records import Frozen


class TrialProtocol(Protocol):
    """How a kind of trial is named, divided and scored; a module of this folder."""

    def digest_of(self, task: TrialTask, tested: CubeFacts, trained_on: Sequence[CubeFacts]) -> str:
        """sha256 of everything that decides a result but the software."""

    def run(self, prepared: PreparedTrial, progress: Progress) -> Outcome:
        """Train and score."""


class FinishedTrial(Frozen):
    """A trial and its result."""

    task: TrialTask
    result: TrialResult

    def scores_file(self, out: Path) -> Path:
        """The `.npz` with the scores, in the folder of the results."""
        name = digest_of(self.task, self.result.cube, self.result.trained_on)
        return out / f"{name}.npz"


def protocol_of(task: TrialTask) -> TrialProtocol:
    """The protocol of a trial.

    Raises:
        ModelError: the protocol trains on one event, and the task names others.
    """
    if task.trial.protocol == "strict":
        return strict if task.other_events is None else left_out_events
    if task.other_events is not None:
        raise ModelError("The protocol paper trains on one event.", "Use the protocol strict.")
    from model.experiments import paper

    return paper


def digest_of(task: TrialTask, tested: CubeFacts, trained_on: Sequence[CubeFacts] = ()) -> str:
    """sha256 of everything that decides a trial's result but the software: the name of its files.

    Args:
        trained_on: the cubes of the other events in the training set.
    """
    return protocol_of(task).digest_of(task, tested, trained_on)


def run_trial(task: TrialTask, out: Path | None = None, progress: Progress = no_progress) -> TrialResult:
    """Run one trial, or read its result if `out` holds it.

    Args:
        out: folder of the results, shared by any number of calls; None: nothing is written.

    Raises:
        CubeError: a cube does not exist.
        ModelError: the cube lacks what the trial needs (labels, size, a variable), the trial is incomplete,
            or training would leak.
    """
    protocol = protocol_of(task)
    prepared = prepare(task, out or Path())
    file = None
    if out is not None:
        file = out / f"{protocol.digest_of(task, prepared.scene.facts, prepared.trained_on)}.json"
        if (earlier := read_result(file)) is not None:
            return earlier.model_copy(update={"trial": task.trial})  # the label does not enter the digest
    started = time.monotonic()
    outcome = protocol.run(prepared, progress)
    result = _result(prepared, outcome, time.monotonic() - started)
    if file is not None:
        write_result(file, result, outcome)
    return result


def run_trials(
    tasks: Sequence[TrialTask], out: Path, *, workers: int = 1, progress: Progress = no_progress
) -> list[FinishedTrial]:
    """Run every trial whose result `out` does not hold. After an interruption, the next call runs the trials that are
    missing.

    Args:
        workers: processes; they share the processor's cores and take GPUs in turn.

    Raises:
        SlidecubeError: a trial cannot be run; trials that have started are finished first, and all results are kept.
    """
    results: dict[int, TrialResult] = {}
    for index, result in run_each(run_trial, tasks, workers, out):
        results[index] = result
        remark = f"{result.trial.label}: AUPRC {result.evaluation.scene.auprc:.3f}"
        progress("trials", len(results), len(tasks), remark)
    return [FinishedTrial(task=task, result=results[index]) for index, task in enumerate(tasks)]


def scored(
    finished: Iterable[FinishedTrial], out: Path, keep: Callable[[Trial], bool] = lambda trial: True
) -> list[Scored]:
    """Results with the counts of their scores.

    Raises:
        ModelError: a file of scores is missing or damaged.
    """
    return [
        Scored(result=one.result, counts=counts_of_file(one.scores_file(out)))
        for one in finished
        if keep(one.task.trial)
    ]


def _result(prepared: PreparedTrial, outcome: Outcome, seconds: float) -> TrialResult:
    from model.bundle.document import software

    made = outcome.prediction
    return TrialResult(
        trial=prepared.trial,
        cube=prepared.scene.facts,
        trained_on=prepared.trained_on,
        protocol_digest=outcome.protocol_digest,
        scored_digest=outcome.scored_digest,
        switches=outcome.switches or {},
        selection=made.selection,
        evaluation=outcome.evaluation,
        validation=outcome.validation,
        parameters=made.parameters,
        steps=made.steps,
        best_step=made.best_step,
        seconds=round(seconds, 1),
        device=made.device,
        software=software(),
        notes=(*made.notes, *made.missing_notes(outcome.tested.scored), *outcome.notes),
    )
