"""The paper's ablation: which inputs, and how many passes, under either protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model.experiments.ablations.ablation_plan import AblationPlan, trials_of
from model.experiments.ablations.ablation_tables import (
    FinishedRow,
    networks_with_passes,
    report,
    summary,
    table,
)
from model.experiments.results.result_files import TRIALS
from model.experiments.results.results import SkippedTrial, TrialResult
from model.experiments.results.scored_scene import open_scene
from model.experiments.trial_runs import run_trials, skipped_of
from pipeline.cube.read import decoding
from pipeline.files import whole_file, write_whole
from pipeline.progress import Progress, no_progress


@dataclass(frozen=True)
class AblationResult:
    """What became of the trials of an ablation."""

    results: list[TrialResult]
    skipped: list[SkippedTrial]


def run_ablation(
    cube: str, plan: AblationPlan, out: Path, *, workers: int = 1, progress: Progress = no_progress
) -> AblationResult:
    """Run the trials of a plan that have no result yet, and write table, figures and report to `out`.

    A trial that cannot be run is skipped; report and figures name it.

    Args:
        workers: processes; they share the processor's cores and take GPUs in turn.

    Raises:
        CubeError: there is no such cube.
        ModelError: the cube has no labels, no event or no pass before or after it, or no trial can be run.
    """
    with decoding(cube):
        trials = trials_of(cube, plan)
        open_scene(cube, plan.event)
    ends = run_trials([trial.task for trial in trials], out / TRIALS, workers=workers, progress=progress)
    rows = [
        FinishedRow(trial, end)
        for trial, end in zip(trials, ends, strict=True)
        if not isinstance(end, SkippedTrial)
    ]
    skipped = skipped_of(ends)
    with decoding(cube):
        write_tables(rows, skipped, out)
    return AblationResult([row.result for row in rows], skipped)


def write_tables(rows: Sequence[FinishedRow], skipped: Sequence[SkippedTrial], out: Path) -> None:
    """Write `trials.csv`, `trials.parquet`, `summary.csv`, the figures and `report.md`."""
    from model.experiments.ablations.ablation_figures import draw_chips, draw_passes

    out.mkdir(parents=True, exist_ok=True)
    trials = table(rows)
    with whole_file(out / "trials.csv") as csv, whole_file(out / "trials.parquet") as parquet:
        trials.to_csv(csv, index=False)
        trials.to_parquet(parquet, index=False)
    means = summary(trials)
    with whole_file(out / "summary.csv") as csv, whole_file(out / "figure4.png") as picture:
        means.to_csv(csv, index=False)
        draw_passes(means, rows[0].result, picture, len(skipped))
    if (best := _best_of_most_passes(rows)) is not None:
        with whole_file(out / "figure5.png") as picture:
            draw_chips(best.finished, best.finished.scores_file(out / TRIALS), picture)
    write_whole(out / "report.md", report(rows, skipped, means, out))


def _best_of_most_passes(rows: Sequence[FinishedRow]) -> FinishedRow | None:
    """The network with the highest AUPRC among those with the most passes; None: there is no network with passes."""
    return max(
        networks_with_passes(rows),
        key=lambda row: (row.of.passes or 0, row.result.evaluation.scene.auprc),
        default=None,
    )
