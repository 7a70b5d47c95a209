"""The report of a map: the same content for a script (JSON) and for a person (Markdown)."""

from __future__ import annotations

import json
from pathlib import Path

from model.bundle.card import passes_in_words, scores_in_words
from model.bundle.summaries import ReleaseRecord
from model.inputs.cubes import CubeFacts
from model.inputs.selection import Selection
from model.scores.scores import Scores

REPORT = "report.json"


def write_report(
    folder: Path,
    record: ReleaseRecord,
    facts: CubeFacts,
    selection: Selection,
    scores: Scores | None,
    remarks: tuple[str, ...],
) -> None:
    """`report.json` and `report.md` in `folder`."""
    document = {
        "format": "slidecube-map-1",
        "map": record.model_dump(mode="json", exclude={"path", "picture", "report"}),
        "cube": facts.model_dump(mode="json"),
        "passes": selection.model_dump(mode="json"),
        "scores": scores.model_dump(mode="json") if scores else None,
        "remarks": list(remarks),
    }
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    (folder / REPORT).write_text(text, encoding="utf-8")
    (folder / "report.md").write_text(_words(record, facts, selection, scores, remarks), encoding="utf-8")


def _words(
    record: ReleaseRecord,
    facts: CubeFacts,
    selection: Selection,
    scores: Scores | None,
    remarks: tuple[str, ...],
) -> str:
    made = f"model `{record.model[:12]}`" if record.model else "log-ratio of medians, without a trained model"
    simulated = ""
    if record.simulated:
        simulated = (
            "> **SIMULATED AREA**: no real place, no real landslides.\n\n"
            if facts.simulated
            else "> **SIMULATED MODEL**: it was trained on a simulated area and has seen no real landslide.\n\n"
        )
    judged = (
        f"{scores_in_words(scores)}. Scored on: {record.scored_on}."
        if scores
        else f"Not scored. Scored on: {record.scored_on}."
    )
    polygons = (
        f"{record.polygons} polygons, {record.mapped_km2:.3f} km², none of them reviewed by a person. Smallest "
        f"mapped unit: {record.smallest_m2:g} m².\n\n"
        if record.polygons is not None and record.mapped_km2 is not None
        else ""
    )
    lines = [*remarks, *selection.notes]
    if facts.label_nan_assumed:
        lines.append(f"pixels without a label were taken as: {facts.label_nan_assumed}")
    lines += [f"the cube lacks: {name}" for name in facts.missing]
    flagged = "".join(f"- {100 * share:.1f} %: {words}\n" for words, share in record.flagged_share.items())
    reasons = f"\n\nOf the scene (`validity.tif`):\n\n{flagged}" if flagged else ""
    expected = f"\n\n{record.expected_words}." if record.expected_words else ""
    noted = "## Remarks\n\n" + "".join(f"- {line}\n" for line in lines) + "\n" if lines else ""
    return f"""# Landslide map of {record.area}

{simulated}Made with: {made}. Cube version {facts.version if facts.version is not None else "unknown"}, \
digest `{facts.digest[:12]}`.

{polygons}No data: {
        100 * record.no_data_share:.1f} % of the scene. There nothing is known; it is not "no landslide".{
        reasons
    }

## Scores

{judged}{expected}

## Passes

Event: {selection.event.start.isoformat()} to {selection.event.end.isoformat()}. \
{selection.track[:1].upper()}{selection.track[1:]}; the newest pass is of {
        selection.days_since_event:.1f} days after the \
event.

{passes_in_words(selection)}

Chosen by: {selection.rule}.

{noted}## Files

- `{"probability" if record.model else "score"}.tif`: {
        "calibrated probability of landslide, NaN no data"
        if record.model
        else "size of the change, dB, NaN no data"
    }
- {
        "`landslides.tif`: 1 landslide, 0 none, 255 no data; `landslides.gpkg`: polygons"
        if record.model
        else "`change_db.tif`: signed change, dB, NaN no data"
    }
- `validity.tif`: 0 valid, else flags that say why not
- `quicklook.png`: the picture; `report.json`: this report for a script
"""
