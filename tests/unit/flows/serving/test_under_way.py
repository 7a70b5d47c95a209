"""Whether a build is under way: a run that a kill left as running counts only while somebody holds its cube."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient

from flows.serving import event_schedules, prefect_file

OLD, YOUNG = timedelta(hours=1), timedelta(seconds=5)
"""ages of a run"""


def asked(monkeypatch: pytest.MonkeyPatch, *runs: tuple[str, timedelta | None], alive: bool) -> bool:
    monkeypatch.setattr(prefect_file, "deployed", lambda *given: SimpleNamespace(id=uuid4()))
    now = datetime.now(UTC)
    found = [
        SimpleNamespace(parameters={"aoi": area}, start_time=None if age is None else now - age)
        for area, age in runs
    ]
    client = cast(SyncPrefectClient, SimpleNamespace(read_flow_runs=lambda **given: cast(Any, found)))
    return event_schedules.is_under_way(client, "build-datacube", "aoi", "here", lambda: alive)


@pytest.mark.parametrize(
    ("runs", "alive", "wanted"),
    [
        ((), True, False),
        ((("elsewhere", YOUNG),), True, False),
        ((("here", None),), False, True),
        ((("here", YOUNG),), False, True),
        ((("here", OLD),), True, True),
        ((("here", OLD),), False, False),
        ((("here", OLD), ("here", None)), False, True),
    ],
)
def test_a_run_that_nothing_works_on_does_not_count(
    monkeypatch: pytest.MonkeyPatch, runs: tuple[tuple[str, timedelta | None], ...], alive: bool, wanted: bool
) -> None:
    assert asked(monkeypatch, *runs, alive=alive) is wanted
