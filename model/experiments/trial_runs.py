"""Many trials, one after the other or side by side, each written as soon as it is done and never made twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pydantic import Field

from model.experiments import left_out_events
from model.experiments.left_out_events import run_with_others
from model.experiments.results.comparison import Scored
from model.experiments.results.results import Others, Trial, TrialResult
from model.experiments.strict import StrictPlan, digest_of, run_strict
from model.inputs.inputs import EventSpan
from model.network.workers import run_each
from model.scores.intervals import counts_of_file
from model.split.folds import FoldPlan
from pipeline.progress import Progress, no_progress
from pipeline.records import Frozen


class Job(Frozen):
    """A trial on a cube."""

    cube: str
    trial: Trial
    folds: FoldPlan = FoldPlan()
    event: EventSpan | None = None
    others: Others | None = Field(None, description="other events that it learns from; None: none")

    @property
    def plan(self) -> StrictPlan:
        """The protocol of the job."""
        return StrictPlan(folds=self.folds, event=self.event)


class Done(Frozen):
    """A job and what came of it."""

    job: Job
    result: TrialResult


def jobs_of(
    cubes: Sequence[str],
    trials: Iterable[Trial],
    folds: Sequence[int],
    seeds: Sequence[int],
    event: EventSpan | None = None,
) -> list[Job]:
    """Every trial on every cube, fold and seed; fold f and seed s draw from 100 s + f."""
    return [
        Job(
            cube=cube,
            trial=trial.model_copy(update={"fold": fold, "seed": 100 * seed + fold}),
            event=event,
        )
        for seed in seeds
        for fold in folds
        for trial in trials
        for cube in cubes
    ]


def run(jobs: Sequence[Job], out: Path, workers: int = 1, progress: Progress = no_progress) -> list[Done]:
    """Run what is not there yet. A kill loses the trials in work, and the next call goes on with the others.

    Args:
        out: folder of the results, shared by any number of calls.
        workers: processes side by side; the processor's cores are divided among them, and GPUs are taken in turn.

    Raises:
        SlidecubeError: a trial cannot be run; the others that were begun are finished first.
    """
    done: dict[int, Done] = {}
    for index, finished in run_each(run_job, jobs, workers, out):
        done[index] = finished
        remark = f"{finished.job.trial.label}: AUPRC {finished.result.evaluation.scene.auprc:.3f}"
        progress("trials", len(done), len(jobs), remark)
    return [done[index] for index in sorted(done)]


def run_job(job: Job, out: Path) -> Done:
    """One trial, or its result where it is there."""
    if job.others is None:
        return Done(job=job, result=run_strict(job.cube, job.trial, out, plan=job.plan))
    return Done(job=job, result=run_with_others(job.cube, job.others, job.trial, out, plan=job.plan))


def _name(done: Done) -> str:
    """Stem of the files of a result."""
    job, result = done.job, done.result
    if job.others is None:
        return digest_of(job.trial, result.cube, job.plan)
    return left_out_events.digest_of(job.trial, result.cube, result.trained_on, job.plan, job.others)


def scored(
    done: Iterable[Done], out: Path, keep: Callable[[Trial], bool] = lambda trial: True
) -> list[Scored]:
    """Results with the counts of their scores.

    Raises:
        ModelError: a file of scores is missing or damaged.
    """
    found = []
    for item in done:
        if keep(item.job.trial):
            file = out / f"{_name(item)}.npz"
            found.append(Scored(result=item.result, counts=counts_of_file(file)))
    return found
