"""The paper's ablation: which inputs, and how many passes, under either protocol."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field

from model.experiments.ablation_plan import ROWS, AblationPlan, Task, tasks
from model.experiments.results.comparison import Scored, compare
from model.experiments.results.results import TrialResult
from model.network.workers import run_each
from model.scores.intervals import counts_of_file
from pipeline.errors import ModelError
from pipeline.progress import Progress, no_progress
from pipeline.records import Frozen

TRIALS = "trials"


def run_task(task: Task, out: Path, progress: Progress = no_progress) -> TrialResult:
    """One trial, or its result where it is there.

    Raises:
        SlidecubeError: the trial cannot be run.
    """
    if task.trial.protocol == "paper":
        from model.experiments.paper import run_paper

        return run_paper(task.cube, task.trial, out / TRIALS, progress, event=task.event)
    from model.experiments.strict import StrictPlan, run_strict

    return run_strict(task.cube, task.trial, out / TRIALS, progress, plan=StrictPlan(event=task.event))


def run_ablation(
    cube: str, plan: AblationPlan, out: Path, *, workers: int = 1, progress: Progress = no_progress
) -> list[TrialResult]:
    """Run what is not there yet, and write table, figures and report to `out`.

    Args:
        workers: processes side by side; the cores are divided among them, and GPUs are taken in turn.

    Raises:
        SlidecubeError: a trial cannot be run; those that are done are kept.
    """
    wanted = tasks(cube, plan)
    results: dict[int, TrialResult] = {}

    for index, result in run_each(run_task, wanted, workers, out):
        results[index] = result
        remark = f"{result.trial.label}: AUPRC {result.evaluation.scene.auprc:.3f}"
        progress("trials", len(results), len(wanted), remark)
    ordered = [results[index] for index in range(len(wanted))]
    write_tables(wanted, ordered, out)
    return ordered


def table(wanted: Sequence[Task], results: Sequence[TrialResult]) -> pd.DataFrame:
    """One row a trial: inputs, passes, seed, fold, scores, budget, switches."""
    rows = []
    for task, result in zip(wanted, results, strict=True):
        e = result.evaluation
        rows.append(
            {
                "row": task.row,
                "passes": task.passes,
                "seed": result.trial.seed,
                "fold": result.trial.fold,
                "protocol": result.trial.protocol,
                "auprc": e.scene.auprc,
                "prevalence": e.scene.prevalence,
                "lift": e.scene.lift,
                "auprc_other_part": result.validation.auprc if result.validation else None,
                "f1": e.scene.f1,
                "best_f1": e.best_f1,
                "roc_auc_cells": e.roc_auc_cells,
                "calibration_error": e.calibration_error,
                "passes_before": len(result.selection.before),
                "passes_after": len(result.selection.after),
                "track": result.selection.track,
                "steps": result.steps,
                "parameters": result.parameters,
                "seconds": result.seconds,
                "device": result.device,
                **{f"switch_{name}": state for name, state in result.switches.items()},
            }
        )
    return pd.DataFrame(rows)


def summary(trials: pd.DataFrame) -> pd.DataFrame:
    """Mean, standard deviation and number of trials by row and passes, in the order of the rows."""
    grouped = trials.assign(passes=trials["passes"].fillna(0).astype(int)).groupby(
        ["row", "passes"], sort=False
    )
    frame = grouped.agg(
        auprc=("auprc", "mean"),
        sd=("auprc", "std"),
        trials=("auprc", "size"),
        prevalence=("prevalence", "mean"),
    ).reset_index()
    order = {name: number for number, name in enumerate(ROWS)}
    return frame.sort_values(
        ["row", "passes"], key=lambda c: c.map(order) if c.name == "row" else c
    ).reset_index(drop=True)


def write_tables(wanted: Sequence[Task], results: Sequence[TrialResult], out: Path) -> None:
    """`trials.csv`, `.parquet`, `summary.csv`, the figures and `report.md`."""
    from model.experiments.ablation_figures import draw_chips, draw_passes

    out.mkdir(parents=True, exist_ok=True)
    trials = table(wanted, results)
    trials.to_csv(out / "trials.csv", index=False)
    trials.to_parquet(out / "trials.parquet", index=False)
    means = summary(trials)
    means.to_csv(out / "summary.csv", index=False)
    simulated = results[0].cube.simulated
    draw_passes(means, results[0], out / "figure4.png")
    best = _most_inputs(wanted, results)
    if best is not None:
        draw_chips(best[0], best[1], _file(best[0], best[1], out), out / "figure5.png")
    (out / "report.md").write_text(_report(wanted, results, means, out, simulated), encoding="utf-8")


def _file(task: Task, result: TrialResult, out: Path) -> Path:
    if task.trial.protocol == "paper":
        from model.experiments.paper import paper_digest_of

        return out / TRIALS / f"{paper_digest_of(task.trial, result.cube, task.event)}.npz"
    from model.experiments.strict import StrictPlan, digest_of

    return out / TRIALS / f"{digest_of(task.trial, result.cube, StrictPlan(event=task.event))}.npz"


def _most_inputs(wanted: Sequence[Task], results: Sequence[TrialResult]) -> tuple[Task, TrialResult] | None:
    """The trial with the most passes of the row with the best one of them."""
    networks = [
        (task, result)
        for task, result in zip(wanted, results, strict=True)
        if task.passes is not None and task.trial.method == "network"
    ]
    if not networks:
        return None
    most = max(task.passes or 0 for task, _ in networks)
    return max(((t, r) for t, r in networks if t.passes == most), key=lambda p: p[1].evaluation.scene.auprc)


class Ordering(Frozen):
    """An ordering that the paper found, and whether it holds here."""

    better: str
    worse: str
    words: str = Field(description="the paired difference, or why there is none")
    holds: bool | None = Field(description="None: it could not be asked")


def orderings(wanted: Sequence[Task], results: Sequence[TrialResult], out: Path) -> list[Ordering]:
    """VV above VH, both above one, more passes above fewer; each only where its paired interval excludes zero."""
    most = max((t.passes or 0 for t in wanted), default=0)
    fewest = min((t.passes for t in wanted if t.passes), default=0)
    asked = [
        (f"VV, {most}", f"VH, {most}"),
        (f"VV+VH, {most}", f"VV, {most}"),
        (f"VV+VH, {most}", f"VV+VH, {fewest}"),
        (f"VV+VH+DEM, {fewest}", f"VV+VH, {fewest}"),
        (f"VV+VH, {fewest}", "DEM"),
        ("DEM", "random"),
    ]
    by_label: dict[str, list[Scored]] = {}
    for task, result in zip(wanted, results, strict=True):
        by_label.setdefault(result.trial.label, []).append(
            Scored(result=result, counts=counts_of_file(_file(task, result, out)))
        )
    found = []
    for better, worse in asked:
        if better == worse or better not in by_label or worse not in by_label:
            continue
        try:
            difference = compare(by_label[better], by_label[worse])
        except ModelError as error:
            found.append(Ordering(better=better, worse=worse, words=str(error), holds=None))
            continue
        found.append(Ordering(better=better, worse=worse, words=difference.words, holds=difference.holds))
    return found


def _report(
    wanted: Sequence[Task], results: Sequence[TrialResult], means: pd.DataFrame, out: Path, simulated: bool
) -> str:
    first = results[0]
    network = next((r for r in results if r.parameters), None)
    lines = [
        f"# Ablation on `{first.cube.area}`, protocol {first.trial.protocol}",
        "",
        *(["> **SIMULATED AREA**: the figures say nothing of real landslides.", ""] if simulated else []),
        "![AUPRC by number of passes](figure4.png)",
        "",
        "| inputs | passes | AUPRC | sd | trials | prevalence |",
        "|---|---|---|---|---|---|",
    ]
    for _, row in means.iterrows():
        sd = "" if np.isnan(row["sd"]) else f"{row['sd']:.3f}"
        passes = row["passes"] or "any"
        lines.append(
            f"| {row['row']} | {passes} | {row['auprc']:.3f} | {sd} | {row['trials']} | {row['prevalence']:.4f} |"
        )
    lines += [
        "",
        "A random map's AUPRC is the prevalence. An ordering counts where its paired interval excludes zero.",
        "",
    ]
    lines += ["| ordering | difference [95 %], better in | holds |", "|---|---|---|"]
    says = {True: "yes", False: "no", None: "not asked"}
    lines += [
        f"| {o.better} > {o.worse} | {o.words} | {says[o.holds]} |" for o in orderings(wanted, results, out)
    ]
    lines.append("")
    if network is not None and network.trial.network is not None:
        spec = network.trial.network
        lines.append(
            f"Network: {spec.architecture} with a {spec.encoder} encoder of {spec.encoder_depth} halvings, "
            f"{network.parameters:,} parameters, {network.steps} steps of the optimiser, on {network.device}."
        )
    if first.switches:
        lines += ["", "Defects of the published experiment:", ""]
        lines += [f"- {name.replace('_', ' ')}: {state}" for name, state in first.switches.items()]
    notes = _largest({note for result in results for note in result.notes if "AUPRC" not in note})
    lines += ["", *(f"- {note}" for note in notes)]
    lines += ["", "![Predicted and true chips](figure5.png)", "", f"Cube `{first.cube.digest[:12]}`."]
    return "\n".join(lines) + "\n"


def _largest(notes: Iterable[str]) -> list[str]:
    """Notes in order; of those that differ in a leading percentage alone the largest."""
    shares: dict[str, float] = {}
    plain = []
    for note in notes:
        number, _, rest = note.partition(" % ")
        try:
            shares[rest] = max(shares.get(rest, 0.0), float(number))
        except ValueError:
            plain.append(note)
    return sorted([*plain, *(f"at most {share:.2f} % {rest}" for rest, share in shares.items())])
