"""A slot that cannot be had: the limit does not exist, or the server is away, which are different errors."""

from __future__ import annotations

import httpx
import pytest
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError

from flows.serving import limits
from flows.serving.server_errors import is_of_server
from pipeline.errors import SettingsError


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (httpx.ConnectError("All connection attempts failed"), httpx.ConnectError),
        (httpx.ReadTimeout(""), httpx.ReadTimeout),
        (None, SettingsError),
    ],
    ids=["away", "slow", "no such limit"],
)
def test_a_server_that_is_away_is_not_taken_for_a_limit_that_does_not_exist(monkeypatch, cause, expected):
    def refused(name, **options):
        raise ConcurrencySlotAcquisitionError(f"Unable to acquire concurrency slots on [{name!r}]") from cause

    monkeypatch.setattr(limits, "concurrency", refused)
    with pytest.raises(expected) as caught, limits.slot_of("asf"):
        pass
    assert is_of_server(caught.value) is (cause is not None)
