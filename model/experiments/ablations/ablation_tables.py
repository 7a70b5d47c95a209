"""The tables and the report of an ablation, and which of the paper's orderings hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field

from model.experiments.ablations.ablation_plan import ROWS, AblationTrial
from model.experiments.results.comparison import Scored, compare, on_common_units
from model.experiments.results.result_files import TRIALS
from model.experiments.results.results import SkippedTrial, TrialResult, skipped_in_words
from model.experiments.trial_runs import FinishedTrial, scored
from pipeline.errors import ModelError, number_of
from pipeline.records import Frozen


@dataclass(frozen=True)
class FinishedRow:
    """A trial of an ablation, and its result."""

    of: AblationTrial
    finished: FinishedTrial

    @property
    def result(self) -> TrialResult:
        """The result of the trial."""
        return self.finished.result


def networks_with_passes(rows: Sequence[FinishedRow]) -> list[FinishedRow]:
    """The trials of networks that use passes: those whose chips can be drawn."""
    return [row for row in rows if row.of.passes is not None and row.of.task.trial.method == "network"]


def table(rows: Sequence[FinishedRow]) -> pd.DataFrame:
    """One row for each trial: inputs, passes, seed, fold, scores, budget, switches."""
    return pd.DataFrame([_columns(row.of, row.result) for row in rows])


def _columns(trial: AblationTrial, result: TrialResult) -> dict[str, object]:
    e = result.evaluation
    return {
        "row": trial.row,
        "passes": trial.passes,
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
        "initial_weights": result.trial.network.initial_weights if result.trial.network else None,
        **{f"switch_{name}": state for name, state in result.switches.items()},
    }


def summary(trials: pd.DataFrame) -> pd.DataFrame:
    """Mean, standard deviation and number of trials by row and passes, in the order of `ROWS`."""
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


class Ordering(Frozen):
    """An ordering that the paper found, and whether it holds here."""

    better: str
    worse: str
    difference: str = Field(description="the paired difference, or why there is none")
    holds: bool | None = Field(description="None: the two cannot be compared")


def orderings(rows: Sequence[FinishedRow], out: Path) -> list[Ordering]:
    """VV better than VH, both better than one, more passes better than fewer; each holds if its paired interval
    excludes zero.

    Only orderings whose two rows are both in the ablation are tested.
    """
    most = max((row.of.passes or 0 for row in rows), default=0)
    fewest = min((row.of.passes for row in rows if row.of.passes), default=0)
    pairs = [
        (f"VV, {most}", f"VH, {most}"),
        (f"VV+VH, {most}", f"VV, {most}"),
        (f"VV+VH, {most}", f"VV+VH, {fewest}"),
        (f"VV+VH+DEM, {fewest}", f"VV+VH, {fewest}"),
        (f"VV+VH, {fewest}", "DEM"),
        ("DEM", "random"),
    ]
    by_label: dict[str, list[Scored]] = {}
    for one in scored([row.finished for row in rows], out / TRIALS):
        by_label.setdefault(one.result.trial.label, []).append(one)
    return [
        _ordering(by_label[better], by_label[worse])
        for better, worse in pairs
        if better != worse and better in by_label and worse in by_label
    ]


def _ordering(better: Sequence[Scored], worse: Sequence[Scored]) -> Ordering:
    names = {"better": better[0].result.trial.label, "worse": worse[0].result.trial.label}
    try:
        difference = compare(*on_common_units(better, worse))
    except ModelError as error:
        return Ordering(**names, difference=str(error), holds=None)
    return Ordering(**names, difference=difference.text, holds=difference.holds)


def report(
    rows: Sequence[FinishedRow], skipped: Sequence[SkippedTrial], means: pd.DataFrame, out: Path
) -> str:
    """The report in Markdown.

    Args:
        means: from `summary`.
        out: folder of the ablation.
    """
    results = [row.result for row in rows]
    first = results[0]
    warning = ["> **SIMULATED AREA**: the figures say nothing of real landslides.", ""]
    lines = [
        f"# Ablation on `{first.cube.area}`, protocol {first.trial.protocol}",
        "",
        *(warning if first.cube.simulated else []),
        "![AUPRC by number of passes](figure4.png)",
        "",
        *_table(means),
        "",
        "A random map's AUPRC is the prevalence. An ordering holds if its paired interval excludes zero.",
        "",
        *_orderings(orderings(rows, out)),
        "",
        *skipped_in_words(skipped),
        "",
        *_network(results),
        *_defects(first),
    ]
    notes = _largest({note for result in results for note in result.notes if "AUPRC" not in note})
    lines += ["", *(f"- {note}" for note in notes)]
    if networks_with_passes(rows):
        lines += ["", "![Predicted and true chips](figure5.png)"]
    lines += ["", f"Cube `{first.cube.digest[:12]}`."]
    return "\n".join(lines) + "\n"


def _table(means: pd.DataFrame) -> list[str]:
    lines = ["| inputs | passes | AUPRC | sd | trials | prevalence |", "|---|---|---|---|---|---|"]
    for _, row in means.iterrows():
        sd = "" if np.isnan(row["sd"]) else f"{row['sd']:.3f}"
        passes = row["passes"] or "any"
        figures = f"{row['auprc']:.3f} | {sd} | {row['trials']} | {row['prevalence']:.4f}"
        lines.append(f"| {row['row']} | {passes} | {figures} |")
    return lines


def _orderings(found: Sequence[Ordering]) -> list[str]:
    if not found:
        return ["The rows of this ablation allow no ordering of the paper to be tested."]
    holds = {True: "yes", False: "no", None: "not tested"}
    return [
        "| ordering | difference [95 %], better in | holds |",
        "|---|---|---|",
        *(f"| {o.better} > {o.worse} | {o.difference} | {holds[o.holds]} |" for o in found),
    ]


def _network(results: Sequence[TrialResult]) -> list[str]:
    for result in results:
        spec = result.trial.network
        if result.parameters and spec is not None:
            return [
                f"Network: {spec.architecture} with a {spec.encoder} encoder of {spec.encoder_depth} halvings, "
                f"{number_of(result.parameters, 'parameter')}, {number_of(result.steps or 0, 'step')} "
                f"of the optimiser, on {result.device}."
            ]
    return []


def _defects(result: TrialResult) -> list[str]:
    if not result.switches:
        return []
    states = (f"- {name.replace('_', ' ')}: {state}" for name, state in result.switches.items())
    return ["", "Defects of the published experiment:", "", *states]


def _largest(notes: Iterable[str]) -> list[str]:
    """Notes in order; of notes that differ only in a leading percentage, the one with the largest."""
    shares: dict[str, float] = {}
    plain = []
    for note in notes:
        number, _, rest = note.partition(" % ")
        try:
            shares[rest] = max(shares.get(rest, 0.0), float(number))
        except ValueError:
            plain.append(note)
    return sorted([*plain, *(f"at most {share:.2f} % {rest}" for rest, share in shares.items())])
