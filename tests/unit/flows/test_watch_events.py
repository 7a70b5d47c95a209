"""The flow `watch-events`: what it announces, the state it ends in, and the schedule that a command turns on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner
from prefect.events import Resource
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import cli, watch_events
from flows.serving import event_artifacts, server_client
from flows.serving.notifications.notices import NOTICES
from flows.serving.schedules import of_watch
from pipeline.events.feeds.usgs_feed import event_of_feature
from pipeline.events.ledger import Decision, Entry
from pipeline.events.watching import Change, SourceReport, WatchReport
from pipeline.settings import settings
from tests.unit.pipeline.events.made_feeds import AT, usgs_feature


def change(what: str = "detected", place: str = "Japan") -> Change:
    event = event_of_feature(usgs_feature(place=place))
    assert event is not None
    return Change(
        name="usgs-us2000h8ty", what=what, state="detected", event=event, tier="build",
        decision=Decision(tier="build", reasons=("M 6.6",)), opened=True, words="detected, build",
    )  # fmt: skip


def report(*changes: Change, failures: tuple[str, ...] = ()) -> WatchReport:
    result = "failed" if failures else "new"
    usgs = SourceReport(source="usgs", title="USGS", result=result, stated=3, failures=failures)
    gdacs = SourceReport(source="gdacs", title="GDACS", result="unchanged", stated=0)
    return WatchReport(at=AT, dry_run=False, sources=(usgs, gdacs), changes=changes)


@pytest.fixture
def emitted(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(watch_events, "emit_event", lambda **event: found.append(event))
    return found


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("detected", "event.detected"),
        ("revised", "event.revised"),
        ("retracted", "event.retracted"),
        ("merged", None),
    ],
)
def test_what_became_of_an_event_is_announced(
    what: str, name: str | None, emitted: list[dict[str, Any]]
) -> None:
    watch_events.announce(change(what))
    assert [each["event"] for each in emitted] == ([] if name is None else [name])
    for each in emitted:
        assert each["resource"]["prefect.resource.id"] == "event.usgs-us2000h8ty"
        assert (each["resource"]["event.tier"], each["resource"]["event.opened"]) == ("build", "true")
        assert each["payload"]["stated"]["magnitude"] == 6.6
        assert "M 6.6" in each["resource"]["slidecube.says"]


@pytest.mark.parametrize(
    ("what", "before", "tier", "least", "told"),
    [
        ("detected", "none", "watch", "build", False),
        ("detected", "none", "watch", "watch", True),
        ("detected", "none", "build", "build", True),
        ("revised", "watch", "build", "build", True),
        ("revised", "build", "build", "build", False),
        ("revised", "build", "priority", "build", True),
        ("revised", "watch", "build", "priority", False),
        ("retracted", "build", "build", "build", True),
        ("retracted", "watch", "watch", "build", False),
    ],
)
def test_people_are_told_of_the_tier_that_they_chose(
    what: str, before: str, tier: str, least: str, told: bool, emitted: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("SLIDECUBE_NOTIFY_TIER", least)
    settings.cache_clear()
    made = change(what).model_copy(update={"before": before, "tier": tier, "opened": False})
    watch_events.announce(made)
    settings.cache_clear()
    (event,) = emitted
    assert event["resource"]["slidecube.told"] == str(told).lower()
    triggers = [each.trigger for each in NOTICES if event["event"] in each.trigger.expect]
    resource = Resource.model_validate(event["resource"])
    assert [each.match.matches(resource) for each in triggers] == [told]


@pytest.mark.parametrize(
    ("made", "name", "failed"),
    [
        (report(), "Unchanged", False),
        (report(change()), "Completed", False),
        (report(change(), failures=("The USGS is away.",)), "Incomplete", True),
    ],
)
def test_the_state_says_what_was_new_and_what_failed(made: WatchReport, name: str, failed: bool) -> None:
    state = watch_events.verdict(made)
    assert (state.name, state.is_failed()) == (name, failed)
    assert all(line in (state.message or "") for line in made.failures)
    assert all(each.name in (state.message or "") for each in made.changes)


def test_text_of_a_source_is_no_link_in_the_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr(event_artifacts, "create_table_artifact", lambda **artifact: shown.append(artifact))
    event_artifacts.show_watch(report(change(place="[x](javascript:alert(1)) <b>")))
    (artifact,) = shown
    assert [row["what"] for row in artifact["table"]] == ["USGS", "GDACS", "usgs-us2000h8ty"]
    assert not set("[]<>") & set(artifact["table"][2]["place"])
    assert len({tuple(row) for row in artifact["table"]}) == 1


def test_text_of_a_source_is_no_link_in_the_table_of_events(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr(event_artifacts, "create_table_artifact", lambda **artifact: shown.append(artifact))
    hostile = "[x](javascript:alert(1)) <b>"
    event = change(place=hostile).event
    entry = Entry(revisions=(event,), missing=(hostile,), waiting_for=hostile)
    event_artifacts.show_events(event.start, [entry], {"gone": hostile}, {entry.name: hostile})
    (artifact,) = shown
    assert [row["event"] for row in artifact["table"]] == [entry.name, "gone"]
    assert "javascript" in artifact["table"][0]["what"]
    assert not set("[]<>`") & {
        letter for row in artifact["table"] for text in row.values() for letter in text or ""
    }


class Server:
    """A server with the deployment and its schedule."""

    def __init__(self, deployed: bool = True) -> None:
        made = [
            SimpleNamespace(id=uuid4(), slug=slug, active=False, parameters={"x": slug})
            for _, slug in of_watch()
        ]
        self.schedules = {each.id: each for each in made}
        self.deployed = deployed

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def read_deployment_by_name(self, name: str) -> SimpleNamespace:
        if not self.deployed:
            raise ObjectNotFound(LookupError(name))
        return SimpleNamespace(id=uuid4())

    def read_deployment_schedules(self, deployment: Any) -> list[SimpleNamespace]:
        return list(self.schedules.values())

    def update_deployment_schedule(
        self, deployment: Any, schedule: Any, active: bool, parameters: Any
    ) -> None:
        assert parameters == self.schedules[schedule].parameters
        self.schedules[schedule].active = active


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    made = Server()
    monkeypatch.setattr(server_client, "get_client", lambda **options: made)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        yield made


def test_one_command_turns_the_watch_on_and_off(server: Server) -> None:
    for words, active in (
        ("on --dry-run", False),
        ("on", True),
        ("on", True),
        ("off --dry-run", True),
        ("off", False),
    ):
        ended = CliRunner().invoke(cli.watch, words.split())
        assert ended.exit_code == 0, ended.output
        assert {each.active for each in server.schedules.values()} == {active}


def test_what_the_commands_turned_is_listed_for_programs(server: Server) -> None:
    for words, changed in (("on --dry-run --json", True), ("on --json", True), ("on --json", False)):
        ended = CliRunner().invoke(cli.watch, words.split())
        rows = json.loads(ended.stdout)
        assert {row["deployment"] for row in rows} == {name for name, _ in of_watch()}
        assert {(row["active"], row["changed"]) for row in rows} == {(True, changed)}
    assert {each.active for each in server.schedules.values()} == {True}


def test_each_reason_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    usgs, gdacs = (f"{name} is away." for name in ("USGS", "GDACS"))
    made = report(failures=(usgs,))
    away = made.sources[1].model_copy(update={"result": "failed", "failures": (gdacs,)})
    made = made.model_copy(update={"sources": (made.sources[0], away)})
    monkeypatch.setattr("pipeline.events.watching.watch", lambda at, dry_run: made)
    ended = CliRunner().invoke(cli.watch, ["once"])
    assert ended.exit_code == 6
    assert all(ended.output.count(words) == 1 for words in (usgs, gdacs))


def test_a_server_without_the_deployment_is_named(server: Server) -> None:
    server.deployed = False
    ended = CliRunner().invoke(cli.watch, ["on"])
    assert ended.exit_code == 2 and "flows.setup" in ended.output
