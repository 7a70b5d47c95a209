"""What is announced, and that text from outside cannot do anything where it is shown."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.states import Crashed, Failed

from flows.build_datacube import build_datacube
from flows.serving.notifications import announcements, notices
from model.bundle.summaries import ReleaseRecord
from pipeline.errors import SettingsError
from pipeline.events.detected_event import DetectedEvent
from pipeline.events.ledger import Entry
from pipeline.settings import Settings, settings


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """The events, in a data folder of its own."""
    events: list[dict[str, Any]] = []
    monkeypatch.setattr(announcements, "emit_event", lambda **fields: events.append(fields))
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path))
    settings.cache_clear()
    yield events
    settings.cache_clear()


def release(folder: Path, **fields: Any) -> ReleaseRecord:
    given = {
        "path": folder, "kind": "detector", "area": "hokkaido", "cube": "c", "cube_version": 4, "model": None,
        "track": "46", "passes_before": 5, "passes_after": 2, "days_since_event": 6.0, "polygons": 15,
        "mapped_km2": 1.25, "statuses": {"confirmed": 12, "first": 3, "gone": 0}, "no_data_share": 0.0,
        "auprc": None, "prevalence": None, "scored_on": "nothing", "picture": folder / "p.png",
        "report": folder / "report.json", "page": folder / "index.html", "simulated": False, "seconds": 1.0,
    }  # fmt: skip
    return ReleaseRecord.model_validate(given | fields)


def test_a_release_says_where_its_page_is_and_what_it_holds(announced, tmp_path, monkeypatch):
    folder = tmp_path / "maps" / "hokkaido" / "v4-detector"
    announcements.release_ready(release(folder), "confirmed")
    monkeypatch.setenv("SLIDECUBE_PAGES_URL", "https://maps.example.org/slides/")
    settings.cache_clear()
    announcements.release_ready(
        release(folder, polygons=None, mapped_km2=None, simulated=True), "provisional"
    )
    first, second = (event["resource"] for event in announced)
    assert {key: first[f"release.{key}"] for key in ("area", "version", "status", "km2", "map", "page")} == {
        "area": "hokkaido", "version": "4", "status": "confirmed", "km2": "1.25",
        "map": str(folder), "page": str(folder / "index.html"),
    }  # fmt: skip
    assert (
        "12 confirmed, 3 first" in first["slidecube.says"]
        and "15 polygons" in first["slidecube.says"]
        and "2 passes" in first["slidecube.says"]
    )
    page = "https://maps.example.org/slides/hokkaido/v4-detector/index.html"
    assert (second["release.page"], second["release.status"]) == (page, "provisional")
    assert second["slidecube.says"].startswith("SIMULATED.") and page in second["slidecube.says"]


@pytest.mark.parametrize(
    "state", [Failed(name="Incomplete", message="It lacks vh."), Crashed(message="Killed.")]
)
def test_a_build_that_fails_in_any_way_is_announced_with_the_page_of_its_run(announced, state):
    run = SimpleNamespace(id=uuid4(), name="kodagu", parameters={"aoi": "kodagu"})
    hooks = [*build_datacube.on_failure_hooks, *build_datacube.on_crashed_hooks]
    assert hooks == [announcements.build_failed] * 2
    announcements.build_failed(build_datacube, run, state)
    (event,) = announced
    assert event["event"] == "build.failed" and event["resource"]["datacube.state"] == state.name
    assert event["related"][0]["prefect.resource.id"] == f"prefect.flow-run.{run.id}"
    assert state.message in event["resource"]["slidecube.says"]


def test_a_reason_shows_no_token_of_an_address():
    said = announcements.plain("https://user:pass@blob.example/x.tif?sig=SECRET: status 403")
    assert "SECRET" not in said and "pass" not in said and "403" in said


def test_an_event_is_announced_in_words_that_a_place_cannot_break():
    quake = DetectedEvent(
        source="usgs", id="us7000", updated=datetime(2026, 1, 2, tzinfo=UTC), kind="earthquake",
        start=datetime(2026, 1, 1, 3, 4, tzinfo=UTC), end=datetime(2026, 1, 1, 3, 4, tzinfo=UTC),
        longitude=142.0, latitude=42.7, magnitude=6.6, place="<b>@here</b> of Tomakomai", simulated=True,
    )  # fmt: skip
    entry = Entry(revisions=(quake,), waiting_for="track 46", missing=("the pass of 5 September",))
    said = announcements.says_of_event(quake, "build", "<b>@here</b> magnitude 6.2 became 6.6")
    waiting = announcements.says_of_waiting(entry)
    assert "M 6.6" in said and "Tomakomai" in said and "became 6.6" in said and not re.search("[<@]", said)
    assert entry.name in waiting and "track 46" in waiting and "5 September" in waiting
    assert said.startswith("SIMULATED.") and waiting.startswith("SIMULATED.")


@given(st.text())
def test_text_from_outside_is_one_short_line_without_tags_mentions_and_links(text):
    said = announcements.plain(text, 80)
    assert len(said) <= 80 and said.isprintable() and not re.search(r"[<>@\[\]`|*~\\]|://", said)


@pytest.mark.parametrize(
    "address",
    ["ftp://a/b", "https://", "http://a b", "nonsense", "https://user:pass@host/x", "file:///etc/passwd"],
)
def test_a_webhook_must_be_an_http_address_and_is_not_shown_when_it_is_not(monkeypatch, address):
    monkeypatch.setenv("SLIDECUBE_WEBHOOK_URL", address)
    settings.cache_clear()
    with pytest.raises(SettingsError) as error:
        settings()
    settings.cache_clear()
    assert "SLIDECUBE_WEBHOOK_URL" in str(error.value) and address not in str(error.value)


def test_an_empty_variable_is_no_address_and_a_set_one_is_hidden(monkeypatch):
    monkeypatch.setenv("SLIDECUBE_WEBHOOK_URL", "")
    monkeypatch.setenv("SLIDECUBE_NOTIFY_URL", "json://host/t0ken")
    given = Settings()
    assert given.webhook_url is None and given.notify_url is not None
    assert "t0ken" not in repr(given) + given.model_dump_json()


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # by Apprise itself
def test_an_address_that_apprise_does_not_know_is_refused_without_being_shown(monkeypatch):
    monkeypatch.setenv("SLIDECUBE_NOTIFY_URL", "carrier-pigeon://t0ken")
    settings.cache_clear()
    (channel,) = (each for each in notices.CHANNELS if each.variable == "SLIDECUBE_NOTIFY_URL")
    address = channel.address()
    settings.cache_clear()
    assert address is not None
    with pytest.raises(SettingsError) as error:
        channel.block(address)
    assert "t0ken" not in str(error.value)


def test_every_message_of_the_automations_has_a_name_and_a_kind_of_its_own():
    assert len({each.name for each in notices.NOTICES}) == len({each.kind for each in notices.NOTICES})
    assert {each.kind for each in notices.NOTICES} >= {
        "release.ready", "event.detected", "event.waiting", "build.failed", "run.failed", "run.late", "watch.stalled",
    }  # fmt: skip
