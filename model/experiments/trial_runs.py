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
from model.experiments.results.results import SkippedTrial, Trial, TrialResult, TrialTask
from model.experiments.substitutes import substitute_for
from model.inputs.cubes import CubeFacts
from model.network.workers import run_each
from model.scores.intervals import counts_of_file
from pipeline.cube.read import decoding
from pipeline.errors import DiskError, IncompleteError, ModelError, SlidecubeError, number_of
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
    """the trial that ran, which may be the substitute of the one that was asked for"""
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


def run_trial(
    task: TrialTask,
    out: Path | None = None,
    progress: Progress = no_progress,
    until: float | None = None,
) -> TrialResult:
    """Run one trial, or read its result if `out` holds it.

    Where this machine cannot run the trial as it is, its substitute runs (`model.experiments.substitutes`): the result
    names the trial that ran, and has the digest of that one.

    Args:
        out: folder of the results, shared by any number of calls; None: nothing is written.
        until: time (`time.time`) after which nothing is trained.

    Raises:
        CubeError: a cube does not exist, or cannot be decoded.
        ModelError: the cube lacks what the trial needs (labels, size, a variable), the trial is incomplete,
            or training would leak.
    """
    others = task.other_events.cubes if task.other_events else ()
    with decoding(" or ".join((task.cube, *others))):
        return _run_trial(task, out, progress, until)


def _run_trial(task: TrialTask, out: Path | None, progress: Progress, until: float | None) -> TrialResult:
    asked = prepare(task, out or Path())
    if (earlier := _earlier_result(asked, out)) is not None:
        return earlier
    if until is not None and time.time() > until:
        raise ModelError(
            "The time of this call was over (--minutes).", "The same command runs what is missing."
        )
    trial, notes = substitute_for(task.trial)
    prepared = asked.with_trial(trial)
    result = None if trial == task.trial else _earlier_result(prepared, out)
    if result is None:
        started = time.monotonic()
        outcome = protocol_of(prepared.task).run(prepared, progress)
        result = _result(prepared, outcome, time.monotonic() - started)
        if out is not None:
            write_result(_file(prepared, out), result, outcome)
    return result.model_copy(update={"notes": (*notes, *result.notes)})


def _file(prepared: PreparedTrial, out: Path) -> Path:
    return out / f"{digest_of(prepared.task, prepared.scene.facts, prepared.trained_on)}.json"


def _earlier_result(prepared: PreparedTrial, out: Path | None) -> TrialResult | None:
    """The result that `out` holds of this very trial; None: there is none."""
    if out is None or (result := read_result(file := _file(prepared, out))) is None:
        return None
    stored = prepared.with_trial(result.trial).task
    if digest_of(stored, result.cube, result.trained_on) != file.stem:
        return (
            None  # of another trial: somebody renamed it, or it was stored under the name of what it replaced
        )
    return result.model_copy(update={"trial": prepared.trial})  # the label does not enter the digest


def run_trials(
    tasks: Sequence[TrialTask],
    out: Path,
    *,
    workers: int = 1,
    progress: Progress = no_progress,
    until: float | None = None,
) -> list[FinishedTrial | SkippedTrial]:
    """Run every trial whose result `out` does not hold. After an interruption, the next call runs the trials that are
    missing.

    A trial that cannot be run (a test area without a landslide, no valid pixel, no pass) is skipped and named; the
    others are run.

    Args:
        workers: processes; they share the processor's cores and take GPUs in turn.
        until: time (`time.time`) after which no trial begins; those that are missing are skipped and named.

    Returns:
        What became of each task, in the order of the tasks.

    Raises:
        ModelError: no trial can be run.
        DiskError: `out` cannot be written; trials that have started are finished first, and all results are kept.
    """
    ends: dict[int, FinishedTrial | SkippedTrial] = {}
    for index, end in run_each(_attempt, tasks, workers, out, until):
        ends[index] = end
        remark = (
            f"{end.task.trial.label}: skipped"
            if isinstance(end, SkippedTrial)
            else f"{end.result.trial.label}: AUPRC {end.result.evaluation.scene.auprc:.3f}"
        )
        progress("trials", len(ends), len(tasks), remark)
    found = [ends[index] for index in range(len(tasks))]
    if found and not finished_of(found):
        reasons = list(dict.fromkeys(one.reason for one in skipped_of(found)))
        raise ModelError(f"No trial can be run. {' '.join(reasons)}")
    return found


def _attempt(task: TrialTask, out: Path, until: float | None) -> FinishedTrial | SkippedTrial:
    """Run a trial; an error of the trial itself ends this trial alone."""
    try:
        result = run_trial(task, out, until=until)
    except DiskError:
        raise  # no other trial can be kept either
    except SlidecubeError as error:
        return SkippedTrial(task=task, reason=str(error))
    return FinishedTrial(task=task.model_copy(update={"trial": result.trial}), result=result)


def finished_of(ends: Iterable[FinishedTrial | SkippedTrial]) -> list[FinishedTrial]:
    """The trials that have a result."""
    return [one for one in ends if isinstance(one, FinishedTrial)]


def skipped_of(ends: Iterable[FinishedTrial | SkippedTrial]) -> list[SkippedTrial]:
    """The trials that could not be run."""
    return [one for one in ends if isinstance(one, SkippedTrial)]


def refuse_incomplete(skipped: Sequence[SkippedTrial], report: Path) -> None:
    """End a command that has written its tables from a part of its trials.

    Raises:
        IncompleteError: trials were skipped.
    """
    if skipped:
        reasons = list(dict.fromkeys(one.reason for one in skipped))
        more = f" And {number_of(len(reasons) - 1, 'other reason')}." if len(reasons) > 1 else ""
        raise IncompleteError(
            f"Not every trial could be run: {number_of(len(skipped), 'trial')} skipped. {reasons[0]}{more}",
            f"{report} names each.",
        )


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
