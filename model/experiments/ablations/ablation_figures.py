"""Figures of an ablation: scores against the number of passes; predicted and mapped landslides of some chips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.experiments.baselines import METHODS
from model.experiments.results.results import TrialResult
from model.experiments.trial_runs import FinishedTrial
from model.inputs.change import DB_PER_NEPER
from model.inputs.cubes import UNMAPPED
from model.inputs.windows import Box
from model.scores.stored_scores import read_scores
from pipeline.errors import number_of

CHIPS = 6
COLOURS = {
    "VV": "#2166ac",
    "VH": "#67a9cf",
    "VV+VH": "#1a9850",
    "VV+VH+DEM": "#b2182b",
    "DEM": "#8c6d31",
    "boosting": "#7b3294",
    "log-ratio": "#888888",
}


def draw_passes(means: pd.DataFrame, result: TrialResult, file: Path, skipped: int = 0) -> None:
    """The paper's Figure 4 as PNG: AUPRC against the number of passes, a line for each row, bars of one sd.

    Methods without a network are dashed.

    Args:
        result: of any trial of the ablation.
        skipped: number of trials that could not be run.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.add_subplot()
    numbers = sorted({int(n) for n in means["passes"] if n > 0}) or [1]
    for name, rows in means.groupby("row", sort=False):
        sd = rows["sd"].fillna(0)
        if (rows["passes"] > 0).all():
            # shifted, so that bars do not overlap
            shift = 0.03 * (list(COLOURS).index(str(name)) - 2) if str(name) in COLOURS else 0.0
            axes.errorbar(
                rows["passes"] + shift, rows["auprc"], yerr=sd, label=str(name), color=COLOURS.get(str(name)),
                marker="o", markersize=5, capsize=3, linewidth=1.8,
                linestyle="--" if name in METHODS else "-",
            )  # fmt: skip
        elif name != "random":
            axes.axhline(rows["auprc"].iloc[0], label=str(name), color=COLOURS.get(str(name)), linestyle="--")
    prevalence = float(means["prevalence"].mean())
    axes.axhline(prevalence, color="#555555", linestyle=":", label=f"random map ({prevalence:.3f})")
    trials = number_of(int(means["trials"].max()), "trial")
    if skipped:
        trials = f"at most {trials}; {skipped} skipped"
    simulated = "SIMULATED AREA, " if result.cube.simulated else ""
    axes.set(
        xlabel="passes before and after the event",
        ylabel="AUPRC",
        ylim=(0, min(1.0, float((means["auprc"] + means["sd"].fillna(0)).max()) * 1.05)),
        xticks=numbers,
        xlim=(numbers[0] - 0.3, numbers[-1] + 0.3),
    )
    axes.set_title(
        f"{simulated}{result.cube.area}, protocol {result.trial.protocol}; mean and sd of {trials}",
        fontsize=10,
    )
    figure.legend(fontsize=9, loc="outside lower center", ncols=4)
    axes.grid(alpha=0.3)
    figure.savefig(file, dpi=120)


def draw_chips(finished: FinishedTrial, scores: Path, file: Path) -> None:
    """The paper's Figure 5 as PNG: backscatter before and after, its change, labels and prediction of some chips.

    Args:
        scores: `.npz` of the trial.

    Raises:
        ModelError: the scores cannot be read.
    """
    from matplotlib.figure import Figure

    from model.inputs import cubes
    from model.inputs.cube_channels import CubeChannels

    task, result = finished.task, finished.result
    stored = read_scores(scores)
    score, labels, corner = stored.score, stored.labels, stored.corner
    wanted = task.trial.paper.chip_px if task.trial.paper is not None else 128
    size = wanted if min(score.shape) >= wanted else 32 * (min(score.shape) // 32)
    chips = _spread(score, labels, size)
    dataset, _ = cubes.load(task.cube)
    polarisation = "vv" if "vv" in dataset else "vh"
    inputs = task.trial.inputs.model_copy(
        update={"backscatter": (polarisation,), "terrain": (), "change": (), "geometry": (), "coherence": ()}
    )
    source = CubeChannels(dataset, inputs, result.selection)
    figure = Figure(figsize=(9.5, 2.0 * max(1, len(chips)) + 0.7), layout="constrained")
    axes = figure.subplots(max(1, len(chips)), 5, squeeze=False)
    name = polarisation.upper()
    titles = (f"{name} before, dB", f"{name} after, dB", "change, dB", "mapped landslides", "probability")
    for row, chip in zip(axes, chips, strict=False):
        at = Box(top=chip.top + corner[0], left=chip.left + corner[1], height=size, width=size)
        before, after = (DB_PER_NEPER * source.read(at)[:2]).astype(np.float32)
        low, high = np.nanpercentile(before, [2, 98])
        truth = np.where(labels[chip.slices] == UNMAPPED, np.nan, labels[chip.slices].astype(np.float32))
        panels = (
            (before, "gray", low, high), (after, "gray", low, high), (after - before, "RdBu_r", -4, 4),
            (truth, "Greens", 0, 1), (score[chip.slices], "magma", 0, 1),
        )  # fmt: skip
        for panel, (values, colours, lowest, highest) in zip(row, panels, strict=True):
            panel.imshow(values, cmap=colours, vmin=lowest, vmax=highest, interpolation="nearest")
            panel.set(xticks=[], yticks=[])
    for panel, title in zip(axes[0], titles, strict=True):
        panel.set_title(title, fontsize=10)
    simulated = "SIMULATED AREA, " if result.cube.simulated else ""
    figure.suptitle(
        f"{simulated}{result.trial.label} (inputs, passes): AUPRC {result.evaluation.scene.auprc:.3f} at prevalence "
        f"{result.evaluation.scene.prevalence:.3f}",
        fontsize=11,
    )
    figure.savefig(file, dpi=110)


def _spread(score: NDArray[np.float32], labels: NDArray[np.uint8], size: int) -> list[Box]:
    """Up to six scored chips with landslides, from the fewest landslide pixels to the most."""
    found = []
    for top in range(0, score.shape[0] - size + 1, size):
        for left in range(0, score.shape[1] - size + 1, size):
            box = Box(top=top, left=left, height=size, width=size)
            known = (labels[box.slices] != UNMAPPED) & np.isfinite(score[box.slices])
            slid = int((labels[box.slices] == 1).sum())
            if slid and known.mean() > 0.5:
                found.append((slid, top, left, box))
    found.sort()
    if len(found) <= CHIPS:
        return [box for *_, box in found]
    picked = np.linspace(0, len(found) - 1, CHIPS).round().astype(int)
    return [found[i][3] for i in picked]
