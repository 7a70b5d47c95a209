"""Scripted events: their document, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.sandbox.earth.parameters import SandboxError
from pipeline.sandbox.seismicity.scripted_events import EVENTS, read_events, write_events
from pipeline.sandbox.seismicity.world_events import events_of_world
from tests.unit.pipeline.sandbox.posing.feeds.told_world import Feeds


def test_the_document_holds_everything(tmp_path: Path) -> None:
    feeds = Feeds(tmp_path / "w")
    assert read_events(feeds.world.root) == feeds.events
    assert len(feeds.events.events) == 4
    alone = events_of_world(feeds.world, second=False, others=False)
    write_events(feeds.world.root, alone)
    assert [one.id for one in read_events(feeds.world.root).events] == ["us6000sand"]
    assert events_of_world(feeds.world, seed=2) != feeds.events == events_of_world(feeds.world, seed=1)


def test_a_world_without_the_document_states_nothing(tmp_path: Path) -> None:
    assert read_events(tmp_path) is None


REVISION = {
    "at": "2018-09-05T18:20:00Z",
    "time": "2018-09-05T18:07:59Z",
    "magnitude": 6,
    "longitude": 142,
    "latitude": 42,
    "depth_km": 10,
}


@pytest.mark.parametrize(
    "events",
    [
        [{"code": "a", "revisions": []}],
        [{"code": "A b", "revisions": [REVISION]}],
        [{"code": "a", "revisions": [REVISION, REVISION]}],
        [{"code": "a", "revisions": [REVISION | {"at": "2018-09-05T18:00:00Z"}]}],
        [{"code": "a", "revisions": [REVISION | {"latitude": 91}]}],
        [{"code": "a", "revisions": [REVISION | {"magnitude": float("nan")}]}],
        [{"code": "a", "revisions": [REVISION]}, {"code": "a", "revisions": [REVISION]}],
        [{"code": c, "revisions": [REVISION], "gdacs": {"number": 7}} for c in "ab"],
    ],
)
def test_an_unsound_document_is_refused(tmp_path: Path, events: list[dict[str, Any]]) -> None:
    (tmp_path / EVENTS).write_text(json.dumps({"format": "slidecube-events-1", "events": events}))
    with pytest.raises(SandboxError):
        read_events(tmp_path)


def test_a_document_of_another_form_is_refused(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"format": "slidecube-events-2"}'):
        (tmp_path / EVENTS).write_text(text)
        with pytest.raises(SandboxError):
            read_events(tmp_path)
