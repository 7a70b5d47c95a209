"""The figures of a bundle: precision against recall, and the reliability of the probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.bundle.document import BundleDocument

CURVE, RELIABILITY = "pr_curve.png", "reliability.png"
GREY, RED = "#7f7f7f", "#b2182b"


def draw_precision_recall(document: BundleDocument, file: Path) -> None:
    """The precision-recall curves of the validation and the test areas as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.add_subplot()
    pooled = ", pixels of all events" if document.others else ""
    for name, scores, colour in (("validation", document.validation, GREY), ("test", document.test, RED)):
        recall = [point.recall for point in scores.curve]
        precision = [point.precision for point in scores.curve]
        axes.plot(recall, precision, color=colour, label=f"{name}{pooled}: AUPRC {scores.auprc:.3f}")
        axes.axhline(
            scores.prevalence,
            color=colour,
            linestyle=":",
            linewidth=1,
            label=f"random map: {scores.prevalence:.4f}",
        )
        axes.plot(scores.recall, scores.precision, "o", color=colour, markersize=5)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(loc="upper right", fontsize=9)
    axes.grid(alpha=0.3)
    _set_title(axes, document, "")
    figure.savefig(file, dpi=120)


def draw_reliability(document: BundleDocument, file: Path) -> None:
    """Predicted and observed shares of landslides on the validation areas, before and after calibration, as PNG."""
    from matplotlib.figure import Figure

    calibration = document.calibration
    figure = Figure(figsize=(6, 6.5), layout="constrained")
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    axes.plot([0, 1], [0, 1], color="black", linestyle=":", linewidth=1, label="perfect")
    for name, classes, error, colour, marker in (
        ("before calibration", calibration.before, calibration.error_before, GREY, "s"),
        ("calibrated", calibration.after, calibration.error_after, RED, "o"),
    ):
        predicted = [part.predicted for part in classes]
        axes.plot(
            predicted,
            [part.observed for part in classes],
            color=colour,
            marker=marker,
            markersize=5,
            label=f"{name}: error {error:.4f}",
        )
        counts.plot(predicted, [part.pixels for part in classes], color=colour, marker=marker, markersize=4)
    axes.set(ylabel="share of landslide pixels", xlim=(0, 1), ylim=(0, 1.02))
    counts.set(xlabel="mean probability of the class", ylabel="pixels", yscale="log")
    axes.legend(loc="upper left", fontsize=9)
    for part in (axes, counts):
        part.grid(alpha=0.3)
    left_out = any(case.part == "left-out event" for case in document.evidence)
    _set_title(axes, document, ": events left out" if left_out else ": validation")
    figure.savefig(file, dpi=120)


def _set_title(axes: Any, document: BundleDocument, end: str) -> None:
    title = f"{document.area_names}, model {document.digest[:12]}{end}"
    # an area's name comes from a cube: a dollar sign in it is no formula
    axes.set_title(title + ("\nSIMULATED AREA" if document.simulated else ""), fontsize=11, parse_math=False)
