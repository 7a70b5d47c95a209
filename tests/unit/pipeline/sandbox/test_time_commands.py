"""The commands around the sandbox's clock, as a user runs them, and the clock of a sandbox in another process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.sandbox.cli import sandbox as commands
from pipeline.sandbox.earth.parameters import SandboxError
from pipeline.sandbox.posing.server import Sandbox
from pipeline.sandbox.posing.server_options import ServerOptions
from pipeline.sandbox.publication.timetable import read_timetable
from pipeline.sandbox.seismicity.scripted_events import read_events
from tests.unit.pipeline.sandbox.posing.feeds.told_world import START, Feeds


def run(*words: object) -> Result:
    return CliRunner().invoke(commands, [str(word) for word in words])


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Feeds:
    return Feeds(tmp_path_factory.mktemp("commands") / "w")


@pytest.fixture(scope="module")
def served(told: Feeds) -> Iterator[Sandbox]:
    with Sandbox(told.world, options=ServerOptions(clock_start=START, clock_rate=0)) as running:
        yield running


def test_a_year_is_written_for_the_replay(tmp_path: Path) -> None:
    out = tmp_path / "year.geojson"
    ended = run("catalogue", "--year", 2024, "--seed", 3, "--events", 40, "--out", out)
    assert ended.exit_code == 0, ended.output
    document = json.loads(out.read_text())
    assert document["type"] == "FeatureCollection"
    assert len(document["features"]) == 40
    assert run("catalogue", "--year", 20245, "--out", out).exit_code == 2


def test_events_and_timetable_are_written_into_the_world(told: Feeds) -> None:
    ended = run("events", told.world.root, "--no-others")
    assert ended.exit_code == 0, ended.output
    assert [one.id for one in read_events(told.world.root).events] == ["us6000sand", "us6000sanf"]
    ended = run("timetable", told.world.root)
    assert ended.exit_code == 0, ended.output
    assert read_timetable(told.world.root).products == ()
    (told.world.root / "timetable.json").unlink()


@pytest.mark.parametrize(
    "plan",
    [
        "{",
        '{"rtc_hours": [20, 3]}',
        '{"late_days": {"7": -1}}',
        '{"missing": [7], "duplicated": [7]}',
        '{"soon": 1}',
    ],
)
def test_an_unsound_plan_is_refused(tmp_path: Path, plan: str) -> None:
    told = Feeds(tmp_path / "w")
    (tmp_path / "plan.json").write_text(plan)
    ended = run("timetable", told.world.root, "--plan", tmp_path / "plan.json")
    assert ended.exit_code == 2
    assert not (told.world.root / "timetable.json").exists()


def test_the_clock_is_shown_and_set_by_a_shell_that_was_led_there(
    served: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in served.environment.items():
        monkeypatch.setenv(name, value)
    served.set_clock(START, rate=0)
    assert run("clock").output.split()[0] == f"{START:%Y-%m-%dT%H:%M:%SZ}"
    assert run("clock", "--advance", 6).output.split()[0] == "2018-09-06T00:07:59Z"
    assert run("clock", "--at", "2018-09-10").output.split()[0] == "2018-09-10T00:00:00Z"
    assert served.now == datetime(2018, 9, 10, tzinfo=UTC)
    assert run("clock", "--at", "2018-09-10", "--advance", 1).exit_code == 2


def test_without_a_sandbox_the_clock_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert isinstance(run("clock").exception, SandboxError)


def test_another_process_moves_the_clock(served: Sandbox) -> None:
    assert served.set_clock(START, rate=0) == START == served.now
    assert served.advance(timedelta(days=3)) == START + timedelta(days=3)
    moving = served.set_clock(START, rate=1e6)
    assert START <= moving < served.now
    served.set_clock(START, rate=0)
