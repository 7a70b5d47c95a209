"""The paper's ablation: which inputs, and how many passes, under either protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from model.experiments.ablation_plan import AblationPlan, trials_of
from model.experiments.ablation_tables import FinishedRow, networks_with_passes, report, summary, table
from model.experiments.results.result_files import TRIALS
from model.experiments.results.results import TrialResult
from model.experiments.trial_runs import run_trials
from pipeline.progress import Progress, no_progress


def run_ablation(
    cube: str, plan: AblationPlan, out: Path, *, workers: int = 1, progress: Progress = no_progress
) -> list[TrialResult]:
    """Run the trials of a plan that have no result yet, and write table, figures and report to `out`.

    Args:
        workers: processes; they share the processor's cores and take GPUs in turn.

    Raises:
        SlidecubeError: a trial cannot be run; the results of the others are kept.
    """
    trials = trials_of(cube, plan)
    finished = run_trials([trial.task for trial in trials], out / TRIALS, workers=workers, progress=progress)
    rows = [FinishedRow(trial, one) for trial, one in zip(trials, finished, strict=True)]
    write_tables(rows, out)
    return [row.result for row in rows]


def write_tables(rows: Sequence[FinishedRow], out: Path) -> None:
    """Write `trials.csv`, `trials.parquet`, `summary.csv`, the figures and `report.md`."""
    from model.experiments.ablation_figures import draw_chips, draw_passes

    out.mkdir(parents=True, exist_ok=True)
    trials = table(rows)
    trials.to_csv(out / "trials.csv", index=False)
    trials.to_parquet(out / "trials.parquet", index=False)
    means = summary(trials)
    means.to_csv(out / "summary.csv", index=False)
    draw_passes(means, rows[0].result, out / "figure4.png")
    if (best := _best_of_most_passes(rows)) is not None:
        draw_chips(best.finished, best.finished.scores_file(out / TRIALS), out / "figure5.png")
    (out / "report.md").write_text(report(rows, means, out), encoding="utf-8")


def _best_of_most_passes(rows: Sequence[FinishedRow]) -> FinishedRow | None:
    """The network with the highest AUPRC among those with the most passes; None: there is no network with passes."""
    return max(
        networks_with_passes(rows),
        key=lambda row: (row.of.passes or 0, row.result.evaluation.scene.auprc),
        default=None,
    )
