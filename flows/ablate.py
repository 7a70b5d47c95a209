"""The flow `ablate`: the paper's ablation, one task for each trial, on this machine or on Dask workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.serving import log_progress
from flows.serving.run_log import in_pages, library_log
from flows.workers.dask_workers import Runner, task_runner
from flows.workers.layer_tasks import reason
from model.experiments.ablations.ablation import run_ablation
from model.experiments.ablations.ablation_plan import AblationPlan, trials_of
from model.experiments.results.result_files import TRIALS
from model.experiments.results.results import TrialTask
from model.experiments.trial_runs import run_trial
from pipeline.records import Frozen


class TrialRecord(Frozen):
    """The figures of a trial, which its task returns; the result itself is in the folder."""

    label: str
    seed: int
    auprc: float
    prevalence: float
    seconds: float


@task(name="trial", cache_policy=NO_CACHE)
def trial(one: TrialTask, out: Path) -> TrialRecord:
    """Run one trial, or read its result if `out` holds it."""
    with library_log():  # on a Dask worker the log of the libraries goes nowhere else
        result = run_trial(one, out, log_progress.in_log())
    scores = result.evaluation.scene
    return TrialRecord(
        label=one.trial.label,
        seed=one.trial.seed,
        auprc=scores.auprc,
        prevalence=scores.prevalence,
        seconds=result.seconds,
    )


@task(name="tables", cache_policy=NO_CACHE)
def tables(cube: str, plan: AblationPlan, out: Path) -> str:
    """Write table, figures and report from finished trials; the report's text."""
    run_ablation(cube, plan, out)
    return (out / "report.md").read_text(encoding="utf-8")


def run_name() -> str:
    """Name of the current flow run: cube and protocol."""
    parameters = flow_run.parameters
    plan = parameters["plan"]
    protocol = plan.get("protocol", "paper") if isinstance(plan, dict) else plan.protocol
    return f"{Path(str(parameters['cube'])).name}, {protocol}"


@flow(name="ablate", flow_run_name=run_name)
@in_pages
def ablate(
    cube: str,
    plan: AblationPlan,
    out: str,
    runner: Runner = "threads",
    jobs: int = 1,
    address: str | None = None,
) -> State[Any]:
    """Run the paper's ablation: inputs by number of passes and seed. Finished trials are not run again.

    Parameters:
        cube: name of a built area, path of a cube, or of one of its versions; Dask workers must see the same data
            folder and the same paths.
        plan: which trials run, as in `--param 'plan={"network": {"in_channels": 1}, "seeds": [0, 1, 2]}'`.
        out: folder of results, which Dask workers must see too.
        runner: threads, or dask for many trainings on many machines.
        jobs: trials at the same time; if a Dask cluster starts here, its workers.
        address: of a running Dask scheduler; None: a cluster starts here.
    """
    folder = Path(out)
    trials = _trials.with_options(task_runner=task_runner(runner, jobs, address))
    failed = trials(cube, plan, folder)
    if len(failed) == len(trials_of(cube, plan)):
        return Failed(message=f"No trial could be run: {failed[0]}")
    create_markdown_artifact(key="ablation", markdown=tables(cube, plan, folder))
    if failed:
        return Failed(
            message=f"Trials that could not be run: {len(failed)}. The report in {folder} names them: "
            f"{'; '.join(failed[:3])}"
        )
    return Completed(message=f"The report is in {folder / 'report.md'}.")


@flow(name="ablation-trials")
def _trials(cube: str, plan: AblationPlan, out: Path) -> list[str]:
    """Run every trial of the plan as a task; the reasons of those that failed."""
    futures = [trial.submit(one.task, out / TRIALS) for one in trials_of(cube, plan)]
    for future in futures:
        future.wait()
    return [reason(future.state) for future in futures if not future.state.is_completed()]
