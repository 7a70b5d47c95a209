"""The report of a map: the same content for a script (JSON) and for a person (Markdown)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from model.bundle.markdown import render_markdown
from model.bundle.summaries import ReleaseRecord
from model.maps.map_description import MapDescription
from model.releases.exposure import ExposureRow
from model.scores.scores import Scores

REPORT = "report.json"


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
        "map": record.model_dump(mode="json", exclude={"path", "picture", "report", "page"}),
        "cube": facts.model_dump(mode="json"),
        "passes": selection.model_dump(mode="json"),
        "scores": scores.model_dump(mode="json") if scores else None,
        "remarks": list(description.remarks),
        "status_values": description.status_values,
    }
    if exposed:
        document["exposure"] = [row.model_dump(mode="json", exclude_none=True) for row in exposed]
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    (folder / REPORT).write_text(text, encoding="utf-8")
    markdown = render_markdown(
        "model.maps",
        "map_report.md.j2",
        map=record,
        cube=facts,
        selection=selection,
        scores_of_map=scores,
        warning=description.warning,
        status_values=description.status_values,
        remarks=[*description.remarks, *selection.notes],
    )
    (folder / "report.md").write_text(markdown, encoding="utf-8")
