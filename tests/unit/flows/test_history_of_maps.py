"""Each map of an event's areas has one line in its history: version, passes, status, score where one is known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flows.history_of_maps import lines_of_maps
from pipeline.events.detected_event import DetectedEvent
from pipeline.events.ledger import Entry, EventArea
from pipeline.settings import settings

AT = datetime(2018, 9, 5, 18, tzinfo=UTC)
AREA = "usgs-us2000h8ty"


@pytest.fixture
def maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path))
    settings.cache_clear()
    yield tmp_path / "maps" / AREA
    settings.cache_clear()


def entry() -> Entry:
    event = DetectedEvent(
        source="usgs", id="us2000h8ty", updated=AT, kind="earthquake", start=AT, end=AT, longitude=142, latitude=42,
        magnitude=6.6,
    )  # fmt: skip
    return Entry(revisions=(event,), areas=(EventArea(name=AREA),))


def write_map(folder: Path, **fields: Any) -> None:
    record = {
        "path": ".", "kind": "detector", "area": AREA, "cube": "c", "cube_version": 2, "model": None, "track": "46",
        "passes_before": 8, "passes_after": 1, "days_since_event": 0.1, "polygons": 12, "mapped_km2": 0.5,
        "no_data_share": 0.0, "auprc": None, "prevalence": None, "scored_on": "", "picture": "p.png",
        "report": "report.md", "simulated": False, "seconds": 1.0, **fields,
    }  # fmt: skip
    folder.mkdir(parents=True)
    made = {"origin": {"kind": "map", "cube": "c"}, "record": record}
    (folder / "origin.json").write_text(json.dumps(made))


def test_each_map_has_one_line_in_order_of_versions(maps: Path) -> None:
    write_map(maps / "v10-detector", cube_version=10, passes_after=3)
    write_map(maps / "v2-detector")
    write_map(maps / "v9-abc", cube_version=9, passes_after=2, kind="model", auprc=0.474, prevalence=0.059)
    (maps / "latest").symlink_to("v10-detector")
    (maps / ".v3.partial").mkdir()
    (maps / "notes").mkdir()
    first, second, third = lines_of_maps(entry())
    assert "version 2, first, 1 pass after the event" in first and "no score" in first
    assert "version 9, provisional" in second and "0.474" in second and "0.059" in second
    assert "version 10, confirmed, 3 passes" in third and "12 polygons" in third
    told = entry().noted(AT, first).noted(AT, second).noted(AT, third)
    assert lines_of_maps(told) == []
    write_map(maps / "v11-detector", cube_version=11)
    assert len(lines_of_maps(told)) == 1


def test_the_passes_of_all_tracks_count(maps: Path) -> None:
    write_map(maps / "v3-detector", passes_after=1, every_pass_after=2)
    (line,) = lines_of_maps(entry())
    assert "provisional, 2 passes after the event" in line


def test_a_map_that_cannot_be_read_stops_no_other(maps: Path) -> None:
    write_map(maps / "v1-detector", passes_after="many")
    write_map(maps / "v2-detector")
    (line,) = lines_of_maps(entry())
    assert "v2-detector" in line


def test_without_maps_there_is_nothing_to_say(maps: Path) -> None:
    assert lines_of_maps(entry()) == []
