"""The model card: a model in words and one picture, for somebody who receives it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from model.bundle.expected import EventScore, ExpectedScore, baselines_in_words
from model.inputs.selection import Selection
from model.scores.scores import Scores
from model.split.split import PARTS

if TYPE_CHECKING:
    from model.bundle.document import BundleDocument
    from model.bundle.learnt_event import LearntEvent

VIEWS = {
    "plain": "",
    "mirrored": "A map is the mean with the prediction of the scene mirrored along the track.",
}
SIMULATED = (
    "> **Trained on a SIMULATED area.** This model has never seen a real landslide. It shows that the machinery works; "
    "it must not guide decisions in the field.\n\n"
)


def passes_in_words(selection: Selection) -> str:
    """The passes before and after the event of every track, one line for each."""
    parts = []
    for view in selection.every_view:
        of = f" of {view.track}" if len(selection.every_view) > 1 else ""
        for when, passes in (("before", view.before), ("after", view.after)):
            lines = "\n".join(f"- {p.instant:%Y-%m-%d %H:%M:%S} UTC, {p.id}" for p in passes)
            parts.append(f"Passes {when}{of}:\n\n{lines}\n")
    if len(selection.every_view) > 1:
        parts.append(f"Numbers of passes are those of {selection.every_view[0].track}.\n")
    return "\n".join(parts)


def scores_in_words(scores: Scores) -> str:
    """AUPRC never without its prevalence."""
    return (
        f"AUPRC {scores.auprc:.3f} at a prevalence of {scores.prevalence:.4f} ({scores.lift:.1f} times a random map), "
        f"F1 {scores.f1:.3f} (precision {scores.precision:.3f}, recall {scores.recall:.3f}) at threshold "
        f"{scores.threshold:.3f}; {scores.pixels:,} pixels, {scores.positives:,} of them landslide"
    )


def expected_in_words(rows: tuple[ExpectedScore, ...]) -> str:
    """A table, one row for each number of passes."""
    return (
        "| passes before | passes after | AUPRC | prevalence | F1 | pixels |\n|--:|--:|--:|--:|--:|--:|\n"
        + "".join(
            f"| {row.before} | {row.after} | {row.auprc:.3f} | {row.prevalence:.4f} | {row.f1:.3f} | {row.pixels:,} |\n"
            for row in rows
        )
    )


def _event_in_words(learnt: LearntEvent) -> str:
    """Cube, event, passes."""
    cube, selection = learnt.cube, learnt.selection
    assumed = (
        f"\nPixels without a label were taken as: {cube.label_nan_assumed}.\n"
        if cube.label_nan_assumed
        else ""
    )
    notes = "".join(f"- {note}\n" for note in selection.notes)
    return f"""\
Cube of `{cube.area}`, version {cube.version if cube.version is not None else "unknown"}, digest `{cube.digest[:12]}`, \
{cube.shape[0]} x {cube.shape[1]} pixels. Event: {selection.event.start.isoformat()} to \
{selection.event.end.isoformat()}. {selection.track[:1].upper()}{selection.track[1:]}.
{assumed}
{passes_in_words(selection)}

{notes}"""


def _areas_in_words(learnt: LearntEvent, several: bool) -> str:
    """The rectangles of each part; with several events, of which cube they are."""
    of = f" of `{learnt.cube.area}` `{learnt.cube.digest[:12]}`" if several else ""
    return "\n".join(
        f"- {part}{of}: "
        + "; ".join(
            f"rows {box.top} to {box.bottom}, columns {box.left} to {box.right}"
            for box in learnt.split.boxes(part)
        )
        for part in PARTS
    )


def _other_befores(document: BundleDocument) -> str:
    """Where the table's passes before the event are not those of every event."""
    befores = {len(one.selection.before) for one in document.learnt}
    if len(befores) == 1:
        return ""
    return (
        f"\nPasses before are those of `{document.cube.area}`; in the other events they are "
        f"{', '.join(str(len(one.selection.before)) for one in document.others)}.\n"
    )


def _events_in_words(events: tuple[EventScore, ...]) -> str:
    """A table, one row for each event; nothing where there is one."""
    if not events:
        return ""
    return (
        "\nThese are over the pixels of all events together. Test area by test area, at the same threshold:\n\n"
        "| event | cube | AUPRC | prevalence | F1 | pixels |\n|---|---|--:|--:|--:|--:|\n"
        + "".join(
            f"| {row.area} | `{row.cube[:12]}` | {row.auprc:.3f} | {row.prevalence:.4f} | {row.f1:.3f} | "
            f"{row.pixels:,} |\n"
            for row in events
        )
        + "\nAll of them are of events that training saw another part of. What the model is worth on an event that it "
        "never saw, this card does not know; `slidecube ladder ... --study events` measures it.\n"
    )


def _beside_in_words(document: BundleDocument) -> str:
    """What a network has to beat."""
    words = baselines_in_words(document.baselines)
    return f"- Without a network, on the same test pixels, AUPRC: {words}\n" if words else ""


def _meanings_in_words(document: BundleDocument) -> str:
    """A table of what each channel is."""
    rows = (f"| {name} | {meaning} |\n" for name, meaning in document.inputs.meanings.items())
    return "| channel | what it is |\n|:--|:--|\n" + "".join(rows)


def _kind(document: BundleDocument) -> str:
    kind = document.network.in_words
    if document.members == 1:
        return f"A {kind}"
    return (
        f"{document.members} networks, each a {kind} from its own seed, of whose log-odds the mean is taken,"
    )


def model_card(document: BundleDocument) -> str:
    """`MODEL_CARD.md`"""
    d = document
    several = len(d.learnt) > 1
    lacks = "".join(f"- {note}\n" for note in d.notes)
    lacks = (
        f"\nWhat the {'cubes lack' if several else 'cube lacks'} for the best inputs:\n{lacks}"
        if lacks
        else ""
    )
    pixels = sum(one.statistics.pixels for one in d.learnt)
    own = ", each event with those of its own" if several else ""
    area = "areas" if several else "area"
    splits = "One split of each scene" if several else "One scene, one split"
    seeds = "one seed" if d.members == 1 else f"{d.members} seeds from"
    seen = f"{len(d.learnt)} events" if several else "one event"
    return f"""# Landslide model `{d.digest[:12]}`

{SIMULATED if d.simulated else ""}{_kind(d)} \
({d.parameters:,} parameters, {d.network.initial_weights} initial weights) that gives each pixel a probability of \
being part of a landslide.

## What it sees

Channels: {", ".join(d.inputs.channels)}.

{_meanings_in_words(d)}
Backscatter is the {d.inputs.transform} over the passes of a track; \
passes before: {d.inputs.before or "all"}, after the event: {d.inputs.after or "all"}. Each channel is standardised \
with the mean and standard deviation of {pixels:,} training pixels{own}, \
or of all pixels of another scene where that is mapped. It was trained on \
{" and on ".join(map(str, sorted(d.cases)))} passes after the event\
{" in turn" if len(d.cases) > 1 else ""}. {VIEWS[d.test_time]}

## What it was trained on

{chr(10).join(map(_event_in_words, d.learnt))}{lacks}
## How it was judged

{"Each" if several else "The"} scene was divided into areas that share no pixel and lie at least {d.split.buffer_px} \
pixels apart:
{chr(10).join(_areas_in_words(one, several) for one in d.learnt)}

The weights are those of step {d.best_step} of {d.training.steps}, the best on the validation \
{area}{" (by the mean of their AUPRC)" if several else ""}{" (of the first network)" if d.members > 1 else ""}. \
The threshold was chosen there too{", one for all events" if several else ""}.

- Validation: {scores_in_words(d.validation)}
- Test: {scores_in_words(d.test)}
{_beside_in_words(d)}{_events_in_words(d.events)}
As predicted, the calibration error on the validation {area} was {d.calibration.error_before:.4f}; the log-odds are \
multiplied by {d.calibration.slope:.3f} and {d.calibration.intercept:+.3f} is added, which makes it \
{d.calibration.error_after:.4f} there. The map's probability is the calibrated one; on a scene with another share of \
landslides it is off by an unknown amount.

By number of passes, on the same test {area}, each calibrated and with its threshold chosen for that number:

{expected_in_words(d.expected)}{_other_befores(d)}
{splits}, {seeds} ({d.seed}): the spread over \
splits and seeds is not known.

## Limits

It has seen {seen}. Steep slopes that face the radar, layover and shadow are not masked. Expect it to mistake \
logging, ploughing, floods and new snow for landslides. A figure is comparable only with figures of the same pixels.

## Made with

{", ".join(f"{name} {number}" for name, number in d.software.items())}; on {d.device}; {d.created.isoformat()}.
"""


def precision_recall_picture(document: BundleDocument, file: Path) -> None:
    """The precision-recall curves of validation and test area as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.add_subplot()
    for name, scores, colour in (
        ("validation", document.validation, "#7f7f7f"),
        ("test", document.test, "#b2182b"),
    ):
        recall = [point.recall for point in scores.curve]
        precision = [point.precision for point in scores.curve]
        axes.plot(recall, precision, color=colour, label=f"{name}: AUPRC {scores.auprc:.3f}")
        axes.axhline(
            scores.prevalence,
            color=colour,
            linestyle=":",
            linewidth=1,
            label=f"random map: {scores.prevalence:.4f}",
        )
        axes.plot(scores.recall, scores.precision, "o", color=colour, markersize=5)
    title = f"{document.place}, model {document.digest[:12]}"
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title(title + ("\nSIMULATED AREA" if document.simulated else ""), fontsize=11)
    axes.legend(loc="upper right", fontsize=9)
    axes.grid(alpha=0.3)
    figure.savefig(file, dpi=120)


def reliability_picture(document: BundleDocument, file: Path) -> None:
    """Predicted against observed shares of landslide on the validation area, before and after calibration, as PNG."""
    from matplotlib.figure import Figure

    calibration = document.calibration
    figure = Figure(figsize=(6, 6.5), layout="constrained")
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    axes.plot([0, 1], [0, 1], color="black", linestyle=":", linewidth=1, label="perfect")
    for words, classes, error, colour, marker in (
        ("as predicted", calibration.before, calibration.error_before, "#7f7f7f", "s"),
        ("calibrated", calibration.after, calibration.error_after, "#b2182b", "o"),
    ):
        predicted = [part.predicted for part in classes]
        axes.plot(
            predicted,
            [part.observed for part in classes],
            color=colour,
            marker=marker,
            markersize=5,
            label=f"{words}: error {error:.4f}",
        )
        counts.plot(predicted, [part.pixels for part in classes], color=colour, marker=marker, markersize=4)
    axes.set(ylabel="share of landslide pixels", xlim=(0, 1), ylim=(0, 1.02))
    counts.set(xlabel="mean probability of the class", ylabel="pixels", yscale="log")
    title = f"{document.place}, model {document.digest[:12]}: validation"
    axes.set_title(title + ("\nSIMULATED AREA" if document.simulated else ""), fontsize=11)
    axes.legend(loc="upper left", fontsize=9)
    for part in (axes, counts):
        part.grid(alpha=0.3)
    figure.savefig(file, dpi=120)
