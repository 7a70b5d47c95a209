"""The ledger keeps what a source stated, whole, and names what it cannot read."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.errors import LedgerError
from pipeline.events import ledger
from pipeline.events.detected_event import DetectedEvent
from pipeline.settings import settings

AT = datetime(2018, 9, 5, 18, 7, 59, tzinfo=UTC)
EVENT = DetectedEvent(
    source="usgs", id="us2000h8ty", updated=AT, kind="earthquake", start=AT, end=AT,
    longitude=141.93, latitude=42.686, magnitude=6.6, depth_km=35.0, place="27 km E of Tomakomai, Japan",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path))
    settings.cache_clear()


def test_an_entry_is_read_as_it_was_saved() -> None:
    entry = ledger.Entry(revisions=(EVENT,), decision=ledger.Decision(tier="build", reasons=("M 6.6",)))
    with ledger.locked():
        ledger.save(entry.noted(AT, "detected"))
    assert ledger.names() == ["usgs-us2000h8ty"]
    read = ledger.read("usgs-us2000h8ty")
    assert read == entry.noted(AT, "detected")
    assert read.open


@pytest.mark.parametrize("name", ["../elsewhere", "", "absent", "/etc/passwd"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(LedgerError) as caught:
        ledger.read(name)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["", "{", "[]", '{"revisions": []}', "[" * 100_000])
def test_a_damaged_entry_is_named(text: str) -> None:
    ledger.folder().mkdir(parents=True)
    path = ledger.folder() / "usgs-damaged.json"
    path.write_text(text)
    with pytest.raises(LedgerError) as caught:
        ledger.read("usgs-damaged")
    assert str(path) in caught.value.message


def test_a_person_s_decision_takes_precedence() -> None:
    entry = ledger.Entry(revisions=(EVENT,), decision=ledger.Decision(tier="watch"), forced="build")
    assert entry.tier == "build"
    assert not entry.model_copy(update={"paused": True}).open
