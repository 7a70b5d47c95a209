"""The clock of the sandbox: real time, set, moved, at any speed, standing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from pipeline.sandbox.publication.sandbox_clock import LATEST, ClockOrder, SandboxClock

START = datetime(2018, 9, 5, 18, 0, tzinfo=UTC)


class Real:
    """Real seconds that the test moves."""

    def __init__(self) -> None:
        self.s = 1_700_000_000.0

    def __call__(self) -> float:
        return self.s


def test_without_a_start_it_shows_real_time() -> None:
    real = Real()
    clock = SandboxClock(real_s=real)
    real.s += 60
    assert clock.now().timestamp() == real.s
    assert clock.state.real


@pytest.mark.parametrize("rate", [0.0, 1.0, 3600.0])
def test_it_runs_on_at_its_rate(rate: float) -> None:
    real = Real()
    clock = SandboxClock(START, rate, real)
    real.s += 10
    assert clock.now() == START + timedelta(seconds=10 * rate)
    assert not clock.state.real


def test_it_is_set_moved_and_stopped() -> None:
    real = Real()
    clock = SandboxClock(real_s=real)
    assert clock.change(ClockOrder(at=START, rate=0)).at == START
    real.s += 1000
    assert clock.change(ClockOrder(advance_s=3600)).at == START + timedelta(hours=1)
    assert clock.change(ClockOrder(advance_s=-7200)).at == START - timedelta(hours=1)
    clock.change(ClockOrder(rate=2))
    real.s += 5
    assert clock.now() == START - timedelta(hours=1) + timedelta(seconds=10)


def test_it_ends_with_the_last_instant() -> None:
    real = Real()
    clock = SandboxClock(START, 1e7, real)
    real.s += 1e6
    assert clock.now() == LATEST


@pytest.mark.parametrize(
    "order",
    [
        {"at": "2018-09-05T18:00:00Z", "advance_s": 1},
        {"at": "2018-09-05T18:00:00"},
        {"at": "1066-10-14T09:00:00Z"},
        {"rate": -1},
        {"advance_s": float("nan")},
        {"sideways": 1},
    ],
)
def test_an_unsound_order_is_refused(order: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ClockOrder.model_validate(order)
