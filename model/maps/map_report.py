"""The report of a map: the same content for a script (JSON) and for a person (Markdown)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from model.bundle.markdown import render_markdown
from model.bundle.summaries import ReleaseRecord
from model.inputs.cubes import CubeFacts
from model.inputs.selection import Selection
from model.maps.accuracy.map_statements import ESTIMATOR
from model.maps.map_description import MapDescription
from model.releases.exposure import ExposureRow
from model.scores.scores import Scores

REPORT = "report.json"
PATHS = {"path", "picture", "report", "page"}
"""fields of the record that the report leaves out"""


def write_report(
    folder: Path,
    record: ReleaseRecord,
    description: MapDescription,
    scores: Scores | None,
    exposed: tuple[ExposureRow, ...] = (),
) -> None:
    """Write `report.json` and, from `templates/map_report.md.j2`, `report.md` to `folder`."""
    facts, selection = description.scene.facts, description.scene.selection
    document: dict[str, Any] = {
        "format": "slidecube-map-1",
        "map": record.model_dump(mode="json", exclude=PATHS),
        "cube": facts.model_dump(mode="json"),
        "passes": selection.model_dump(mode="json"),
        "scores": scores.model_dump(mode="json") if scores else None,
        "remarks": list(description.remarks),
        "status_values": description.status_values,
    }
    if exposed:
        document["exposure"] = [row.model_dump(mode="json", exclude_none=True) for row in exposed]
    _write(folder, document, record, description.warning)


def rewrite_report(document: dict[str, Any], folder: Path, record: ReleaseRecord, warning: str) -> None:
    """Write the report of a map again, with another record.

    Args:
        document: `report.json` as it is.

    Raises:
        KeyError, ValueError: it is no report of this release.
    """
    plain = record.model_dump(mode="json", exclude=PATHS)
    _write(folder, {**document, "map": plain}, record, warning)


def _write(folder: Path, document: dict[str, Any], record: ReleaseRecord, warning: str) -> None:
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    (folder / REPORT).write_text(text, encoding="utf-8")
    selection, scores = Selection.model_validate(document["passes"]), document["scores"]
    markdown = render_markdown(
        "model.maps",
        "map_report.md.j2",
        map=record,
        cube=CubeFacts.model_validate(document["cube"]),
        selection=selection,
        scores_of_map=Scores.model_validate(scores) if scores else None,
        warning=warning,
        status_values=document["status_values"],
        estimator=ESTIMATOR,
        remarks=[*document["remarks"], *selection.notes],
    )
    (folder / "report.md").write_text(markdown, encoding="utf-8")
