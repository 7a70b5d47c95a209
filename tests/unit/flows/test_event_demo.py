"""What a new play of an event removes of an earlier one, and what it leaves."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows.event_demo import remove_play
from pipeline.events import ledger
from pipeline.events.detected_event import DetectedEvent
from pipeline.events.ledger import Entry, EventArea
from pipeline.settings import settings

AT = datetime(2018, 9, 5, 18, tzinfo=UTC)


def entry(code: str, *, simulated: bool) -> Entry:
    event = DetectedEvent(
        source="usgs", id=code, updated=AT, kind="earthquake", start=AT, end=AT, longitude=142, latitude=42,
        magnitude=6, simulated=simulated,
    )  # fmt: skip
    return Entry(revisions=(event,), areas=(EventArea(name=f"usgs-{code}"),))


def test_only_simulated_events_and_what_was_made_of_them_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path))
    settings.cache_clear()
    for one in (entry("us1", simulated=True), entry("us2", simulated=False)):
        ledger.save(one)
    kept = [tmp_path / "cubes" / "usgs-us2", tmp_path / "cubes" / "hokkaido", tmp_path / "maps" / "usgs-us2"]
    gone = [tmp_path / "cubes" / "usgs-us1", tmp_path / "maps" / "usgs-us1", tmp_path / "prefect"]
    for folder in (*kept, *gone):
        folder.mkdir(parents=True)
    remove_play(tmp_path)
    assert ledger.names() == ["usgs-us2"]
    assert all(folder.is_dir() for folder in kept)
    assert not any(folder.exists() for folder in gone)
    settings.cache_clear()
