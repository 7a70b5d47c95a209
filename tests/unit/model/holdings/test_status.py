"""The state of everything: what is damaged is named, the rest is told."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from model import api
from model.cli.housekeeping import status as command
from model.holdings.status import status
from pipeline.events import ledger
from pipeline.events.detected_event import DetectedEvent
from tests.faults.writer import write
from tests.quiet_cube import changed, ellipse, later, quiet_cube
from tests.small_cube import write as write_cube

NOON = datetime(2018, 9, 6, 12, tzinfo=UTC)
HOSTILE = "<b>\u202e\x07[red]" + "long " * 40


def event(name: str, **more) -> ledger.Entry:
    found = DetectedEvent(
        source="usgs", id=name, updated=NOON, kind="earthquake", start=NOON, end=NOON, longitude=142.0, latitude=42.7,
        magnitude=6.6, depth_km=35.0, place=HOSTILE,
    )  # fmt: skip
    return ledger.Entry(revisions=(found,), **more)


@pytest.fixture
def held(data, tmp_path):
    cube = quiet_cube(64, after=1)
    cube = changed(cube, ellipse(64, 30, 30, 9, 5), later(cube), 7.0, -4.0)
    write_cube(cube, tmp_path / "quiet.zarr")
    record = api.map(str(tmp_path / "quiet.zarr")).record
    write(data / "cubes/test")
    with ledger.locked():
        ledger.save(
            event(
                "us1", state="waiting", map_status="provisional", areas=(ledger.EventArea(name="test"),),
                waiting_for="track 46, 18 September about 20:30 UTC", decision=ledger.Decision(tier="build"),
            )
        )  # fmt: skip
    (data / "models/test").mkdir(parents=True)
    (data / "models/test/v2.refused.json").write_text(json.dumps({"model": "no labels"}))
    return record


def test_everything_is_told(data, held):
    found = status()
    (one,) = found.events
    assert (one.name, one.state, one.map_status, one.magnitude, one.areas) == (
        "usgs-us1", "waiting", "provisional", 6.6, ("test",),
    )  # fmt: skip
    assert one.next_pass.startswith("track 46") and "\u202e" not in one.place
    areas = {area.name: area for area in found.areas}
    assert (areas["test"].version, areas["test"].versions, areas["test"].passes) == (2, (1, 2), 3)
    assert areas["test"].events == ("usgs-us1",) and areas["test"].refused == ("v2, model: no labels",)
    (area,) = [area for area in found.areas if area.maps]
    (made,) = area.maps
    assert made.review == "unreviewed" and made.newest and made.polygons == held.polygons and not made.edited
    assert {use.kind for use in found.disk} == {"cubes", "maps", "models", "events"} and not found.problems
    assert found.free_bytes > 0 and all(use.size_bytes > 0 for use in found.disk)


def test_what_is_damaged_is_named_and_the_rest_told(data, held):
    with ledger.locked():
        ledger.save(event("us2"))
    (data / "events/usgs-us1.json").write_text("{")
    (data / "cubes/test/latest").write_bytes(b"\xff")
    (data / "models/test/v3.refused.json").write_text("[1]")
    for name in ("origin.json", "report.json"):
        (held.path / name).write_text("[" * 5000)
    (data / "maps/other").mkdir()
    (data / "maps/other/reviews.json").write_text("{}")
    found = status()
    assert [one.name for one in found.events] == ["usgs-us2"]
    assert {area.name for area in found.areas} >= {"test", "other"}
    for part in ("event usgs-us1", "cube test", "v3.refused.json", "map ", "verdicts on other"):
        assert any(part in line for line in found.problems), part


def test_an_empty_data_folder_and_none(data):
    assert not status().areas and not status().disk
    data.rmdir()
    found = status()
    assert found.free_bytes is None and not found.problems


def test_the_tables_hold_at_80_columns(data, held):
    done = CliRunner().invoke(command, [], env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    assert "usgs-us1" in done.stdout and "no labels" in done.stdout and "track 46" in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    plain = json.loads(CliRunner().invoke(command, ["--json"]).stdout)
    assert plain["events"][0]["state"] == "waiting"
