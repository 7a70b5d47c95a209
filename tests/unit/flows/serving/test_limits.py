"""A wait for a slot of a Prefect limit says for what, and ends by name; slots that nobody holds are freed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.concurrency.asyncio import (
    AcquireConcurrencySlotTimeoutError,
    ConcurrencySlotAcquisitionError,
)
from prefect.exceptions import ObjectNotFound

from flows.serving import limits
from flows.serving.limits import LEASE_STORAGE, LIMITS, free_slots, lease_warning, slot_of
from pipeline.errors import BusyError, SettingsError

REQUEST = httpx.Request("POST", "http://127.0.0.1/api")


def answer(status: int) -> Exception:
    return httpx.HTTPStatusError("refused", request=REQUEST, response=httpx.Response(status, request=REQUEST))


class Server:
    """A server's limits of one slot; each request for a slot meets the next obstacle."""

    def __init__(self) -> None:
        self.obstacles: list[Exception | str | None] = []
        self.asked: list[str] = []
        self.held: list[str] = []

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None: ...

    def read_global_concurrency_limit_by_name(self, name: str) -> Any:
        self.asked.append(name)
        obstacle = self.obstacles.pop(0) if self.obstacles else None
        if isinstance(obstacle, Exception) and not isinstance(
            obstacle, TimeoutError | ConcurrencySlotAcquisitionError
        ):
            raise obstacle
        self.granting = obstacle
        return SimpleNamespace(active=True, limit=6, active_slots=6 if obstacle == "in use" else 5)

    @contextmanager
    def concurrency(self, name: str, **options: Any) -> Iterator[None]:
        assert options["strict"] and options["timeout_seconds"]
        if isinstance(self.granting, Exception):
            raise self.granting
        self.held.append(name)
        try:
            yield
        finally:
            self.held.remove(name)


def refused(cause: Exception) -> ConcurrencySlotAcquisitionError:
    error = ConcurrencySlotAcquisitionError("refused")
    error.__cause__ = cause
    return error


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    monkeypatch.setattr(limits, "get_client", lambda sync_client: made)
    monkeypatch.setattr(limits, "concurrency", made.concurrency)
    monkeypatch.setattr(limits, "PAUSE_S", (0.0, 0.0))
    return made


def test_a_slot_that_is_taken_or_a_server_that_is_away_is_waited_for(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    server.obstacles = [
        "in use", "in use", httpx.ConnectError("away"), answer(503), AcquireConcurrencySlotTimeoutError(),
        refused(httpx.ReadError("away")), None, "in use", None,
    ]  # fmt: skip
    with slot_of("asf", "planetary-computer"):
        assert server.held == ["asf", "planetary-computer"]
    assert server.held == [] and server.asked == ["asf"] * 7 + ["planetary-computer"] * 2
    # one line for each limit: what is waited for, and why
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("flows")]
    assert len(lines) == 2 and all("6 of 6" in line for line in lines) and "asf" in lines[0]


@pytest.mark.parametrize(
    ("obstacle", "word"), [("in use", "6 of 6"), (httpx.ConnectError("away"), "ConnectError")]
)
def test_a_wait_that_is_too_long_ends_by_name(
    server: Server, monkeypatch: pytest.MonkeyPatch, obstacle: Exception | str, word: str
) -> None:
    monkeypatch.setattr(limits, "longest_wait_s", lambda limit: 0.05)
    server.obstacles = [None, *[obstacle] * 1_000_000]
    with pytest.raises(BusyError) as caught, slot_of("asf", "planetary-computer"):
        pass
    assert "planetary-computer" in caught.value.message and word in caught.value.message
    assert server.held == []


def test_a_limit_that_does_not_exist_is_refused_by_name(server: Server) -> None:
    server.obstacles = [ObjectNotFound(answer(404))]
    with pytest.raises(SettingsError, match="asf"), slot_of("asf"):
        pass


@pytest.mark.parametrize("obstacle", [answer(422), refused(answer(422)), refused(ValueError("not foreseen"))])
def test_other_refusals_are_not_waited_for(server: Server, obstacle: Exception) -> None:
    server.obstacles = [obstacle]
    with pytest.raises(type(obstacle)), slot_of("asf"):
        pass
    assert server.asked == ["asf"]


class Client:
    """What `free_slots` and `lease_warning` use of a Prefect client."""

    def __init__(self, active: dict[str, int], running: int = 0, storage: str = LEASE_STORAGE) -> None:
        self.active = dict.fromkeys(LIMITS, 0) | active
        self.running, self.storage = running, storage

    def read_flow_runs(self, **_options: Any) -> list[int]:
        return [0] * self.running

    def read_global_concurrency_limit_by_name(self, name: str) -> Any:
        return SimpleNamespace(name=name, limit=6, active_slots=self.active[name])

    def update_global_concurrency_limit(self, name: str, update: GlobalConcurrencyLimitUpdate) -> None:
        assert update.active_slots is not None
        self.active[name] = update.active_slots

    def request(self, method: str, path: str) -> httpx.Response:
        assert (method, path) == ("GET", "/admin/settings")
        if self.storage == "refused":
            raise answer(404)
        return httpx.Response(200, json={"server": {"concurrency": {"lease_storage": self.storage}}})


def test_slots_that_nobody_holds_are_freed_while_no_run_is_running() -> None:
    client: Any = Client({"planetary-computer": 6, "asf": 1})
    lines = free_slots(client)
    assert set(client.active.values()) == {0}
    assert len(lines) == 2 and all(
        any(name in line for line in lines) for name in ("planetary-computer", "asf")
    )
    assert free_slots(client) == []
    busy: Any = Client({"asf": 2}, running=1)
    (line,) = free_slots(busy)
    assert busy.active["asf"] == 2 and "2 of 6" in line


@pytest.mark.parametrize(
    ("storage", "warned"),
    [("prefect.server.concurrency.lease_storage.memory", True), (LEASE_STORAGE, False), ("refused", False)],
)
def test_a_server_that_forgets_who_holds_a_slot_is_named(storage: str, warned: bool) -> None:
    client: Any = Client({}, storage=storage)
    warning = lease_warning(client)
    assert (warning is not None) is warned and (not warned or LEASE_STORAGE in str(warning))
