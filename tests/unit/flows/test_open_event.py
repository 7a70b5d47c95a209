"""An event followed over days: areas, schedules, looks, states; on an archive and a server of objects in memory."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flows import open_event
from flows.serving import event_schedules
from pipeline.areas.area import load_area
from pipeline.errors import ArchiveError, DiskError, LedgerError
from pipeline.events import ledger
from pipeline.events.following import area_look, area_making
from pipeline.events.following.pass_account import saved_account
from pipeline.events.following.pass_history import seen
from pipeline.events.following.waiting import MOST_DAYS, PASSES_A_TRACK, SOONEST_RTC
from pipeline.settings import settings
from tests.faults.failing_disk import failing_disk
from tests.unit.flows.serving.test_event_schedules import Server
from tests.unit.pipeline.events.following.made_archive import (
    EVENT,
    FIRST_AFTER,
    Archive,
    detected,
    entry,
    turns,
)

NAME = "usgs-us2000h8ty"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass
class World:
    """Everything around `follow`; `cube` holds the instants of the cube's passes, None where there is none."""

    archive: Archive
    server: Server
    runs: list[str] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    cube: list[datetime] | None = None
    mapped: bool = False

    def follow(self, now: datetime) -> open_event.Followed:
        return open_event.follow(self.server, NAME, now)

    def build(self, *turn_numbers: int) -> None:
        """As a build would: the cube holds the passes before the event and those turns after it."""
        self.cube = [FIRST_AFTER + n * 12 * DAY for n in (*range(-8, 0), *turn_numbers)]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path / "data"))
    settings.cache_clear()
    archive = Archive(turns(range(-30, 0)))
    made = World(archive, Server())

    def of_cube(area):
        if made.cube is None:
            return None, ()
        history = {one.instant: one for one in seen(made_passes(made.cube))}
        return len(made.cube), tuple(history.values())

    monkeypatch.setattr(area_making, "serving", lambda collection: archive)
    monkeypatch.setattr(area_look, "_of_cube", of_cube)
    monkeypatch.setattr(area_look, "asf_passes", lambda area, at: None)
    monkeypatch.setattr(event_schedules, "is_under_way", lambda *given: False)
    monkeypatch.setattr(
        open_event, "run_deployment", lambda name, parameters, **rest: made.runs.append(parameters["aoi"])
    )
    monkeypatch.setattr(open_event, "emit_event", lambda **fields: made.events.append(fields))
    monkeypatch.setattr(open_event, "_is_mapped", lambda area: made.mapped)
    ledger.save(entry())
    yield made
    settings.cache_clear()


def made_passes(instants: list[datetime]) -> list[Any]:
    from pipeline.events.following.pass_history import SeenPass

    return [
        SeenPass(relative_orbit=46, direction="descending", platform="sentinel-1a", instant=instant)
        for instant in instants
    ]


def test_an_event_gets_area_schedule_and_the_stack_before_it_at_once(world):
    found = world.follow(EVENT + HOUR)
    assert found.begun == (NAME,) and world.runs == [NAME] and not found.problems
    assert load_area(NAME).tracks == (46,)
    (own,) = world.server.own
    assert own.parameters["aoi"] == NAME and own.active
    kept = ledger.read(NAME)
    assert kept.state == "waiting" and kept.areas[0].schedule == own.slug
    assert "track 46" in kept.waiting_for and kept.next_look == FIRST_AFTER + SOONEST_RTC
    (told,) = world.events
    assert "46" in told["resource"]["slidecube.says"]
    assert told["event"] == "event.waiting" and told["payload"]["next"][0]["relative_orbit"] == 46


def test_nothing_is_done_twice_and_the_archives_rest_until_a_pass_is_due(world):
    world.follow(EVENT + HOUR)
    world.build()
    lines = len(ledger.read(NAME).history)
    again = world.follow(EVENT + 2 * HOUR)
    assert (again.begun, len(world.runs), len(world.events)) == ((), 1, 1)
    assert len(ledger.read(NAME).history) == lines
    due = world.follow(FIRST_AFTER + SOONEST_RTC)
    assert due.begun == (NAME,) and len(world.runs) == 2
    assert ledger.read(NAME).next_look == FIRST_AFTER + SOONEST_RTC + HOUR
    account = saved_account(NAME)
    assert account is not None and [one.relative_orbit for one in account.missing] == [46]


def test_states_advance_with_the_passes_until_enough_came(world):
    world.follow(EVENT + HOUR)
    states = []
    for turn in range(PASSES_A_TRACK):
        world.build(*range(turn + 1))
        world.mapped = True
        world.follow(FIRST_AFTER + turn * 12 * DAY + 26 * HOUR)
        kept = ledger.read(NAME)
        states.append((kept.state, kept.map_status))
    assert states == [
        ("mapped", "first"),
        ("mapped", "provisional"),
        ("mapped", "confirmed"),
        ("finished", "confirmed"),
    ]
    assert world.server.own == [] and kept.next_look is None and not kept.missing
    assert world.follow(FIRST_AFTER + 50 * DAY).begun == () and world.cube is not None


def test_after_its_days_it_is_finished_and_says_what_is_missing(world):
    world.follow(EVENT + HOUR)
    world.build(0)
    world.follow(EVENT + (MOST_DAYS + 1) * DAY)
    kept = ledger.read(NAME)
    assert kept.state == "finished" and len(kept.missing) >= 1
    assert "missing" in kept.history[-1].words or any("missing" in note.words for note in kept.history)


@pytest.mark.parametrize("how", ["dismissed", "retracted", "watched"])
def test_an_event_that_is_no_longer_built_loses_its_schedule_and_keeps_its_data(world, how):
    world.follow(EVENT + HOUR)
    change = {"forced": "watch"} if how == "watched" else {"state": how}
    with ledger.locked():
        ledger.save(ledger.read(NAME).model_copy(update=change))
    found = world.follow(EVENT + 2 * HOUR)
    assert world.server.own == [] and found.begun == ()
    assert load_area(NAME) and ledger.read(NAME).history[-1].words.endswith("kept")
    assert ledger.read(NAME).state == (how if how != "watched" else "waiting")


def test_a_paused_event_rests_and_goes_on_when_resumed(world):
    world.follow(EVENT + HOUR)
    for paused in (True, False):
        with ledger.locked():
            ledger.save(ledger.read(NAME).model_copy(update={"paused": paused}))
        world.follow(EVENT + 2 * HOUR)
        assert world.server.own[0].active is not paused
    assert "track 46" in ledger.read(NAME).waiting_for


def test_a_schedule_that_a_person_turned_off_is_said_and_nothing_is_looked_at(world):
    world.follow(EVENT + HOUR)
    world.server.own[0].active = False
    found = world.follow(FIRST_AFTER + SOONEST_RTC)
    assert found.begun == () and found.remarks and not found.problems
    lines = len(ledger.read(NAME).history)
    world.follow(FIRST_AFTER + SOONEST_RTC + HOUR)
    assert len(ledger.read(NAME).history) == lines


def test_a_widened_event_gets_another_area_whose_schedule_takes_the_place_of_the_first(world):
    world.follow(EVENT + HOUR)
    with ledger.locked():
        ledger.save(ledger.read(NAME).model_copy(update={"margin_km": 20.0}))
    found = world.follow(EVENT + 2 * HOUR)
    assert [own.parameters["aoi"] for own in world.server.own] == [f"{NAME}-b"]
    assert found.begun == (f"{NAME}-b",) and load_area(NAME)


def test_one_area_that_a_person_broke_is_named_and_stops_nothing_else(world, tmp_path):
    world.follow(EVENT + HOUR)
    path = settings().data_dir / "areas" / f"{NAME}.yaml"
    path.write_text(path.read_text().replace("epsg: 32654", "epsg: 1"))
    found = world.follow(EVENT + 2 * HOUR)
    assert found.problems and NAME in found.problems[0]
    assert ledger.read(NAME).state == "waiting"


def test_an_archive_that_is_away_leaves_the_event_for_the_next_hour(world, monkeypatch):
    def refuse(collection, query):
        raise ArchiveError("The archive answered 503.", transient=True)

    monkeypatch.setattr(world.archive, "search", refuse)
    with pytest.raises(ArchiveError):
        world.follow(EVENT + HOUR)
    assert ledger.read(NAME).areas == () and world.server.own == []
    monkeypatch.undo()


@pytest.mark.parametrize("moment", ["open", "write", "rename"])
@pytest.mark.parametrize("where", ["areas", "events", "cubes"])
def test_a_full_disk_is_named_and_the_next_look_makes_everything_once(world, moment, where):
    folder = settings().data_dir / where
    folder.mkdir(parents=True, exist_ok=True)
    with failing_disk(folder, moment, errno.ENOSPC) as failed:
        try:
            problems = world.follow(EVENT + HOUR).problems
        except DiskError as error:
            problems = (str(error),)
    assert failed and any("full" in words or "space" in words for words in problems), problems
    assert not [path for path in folder.rglob("*") if "part" in path.name]
    world.follow(EVENT + 2 * HOUR)
    kept = ledger.read(NAME)
    assert [area.name for area in kept.areas] == [NAME] and kept.state == "waiting"
    assert len(world.server.own) == 1 and NAME in world.runs


def test_a_dismissal_while_it_is_followed_is_not_overwritten(world, monkeypatch):
    def dismissed_meanwhile(found, now):
        with ledger.locked():
            ledger.save(ledger.read(NAME).model_copy(update={"state": "dismissed"}))
        return area_making.areas_of(found, now)

    monkeypatch.setattr(open_event, "areas_of", dismissed_meanwhile)
    world.follow(EVENT + HOUR)
    assert ledger.read(NAME).state == "dismissed" and world.server.own == [] and world.runs == []


def test_priority_comes_first_and_what_cannot_be_read_last():
    entries = {
        "old": entry(revisions=[detected(start=EVENT - DAY, end=EVENT - DAY)]),
        "new": entry(),
        "first": entry(decision={"tier": "priority"}),
    }

    def read(name: str) -> ledger.Entry:
        if name not in entries:
            raise LedgerError("It is damaged.")
        return entries[name]

    assert open_event.in_order(["damaged", "old", "new", "first"], read) == ["first", "new", "old", "damaged"]
