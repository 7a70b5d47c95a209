"""Rounds of training: each from the one before, and none again."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from model.network.training import train as real_train
from model.network.training_plan import TrainingPlan
from model.training.prior.prior_training import PLAN, best_of, network_of, train_rounds
from pipeline.errors import ModelError
from tests.unit.model.training.prior.made_events import made_records

SHORT = TrainingPlan.model_validate(
    {**PLAN.model_dump(), "steps": 2, "validate_every": 2, "batch": 2, "chip_px": 32, "stride_px": 32}
)


def test_a_training_goes_on_after_its_last_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = made_records(tmp_path / "events", 2)
    starts = []

    def train(*arguments, **named):  # type: ignore[no-untyped-def]
        starts.append(arguments[5])
        return real_train(*arguments, **named)

    monkeypatch.setattr("model.network.training.train", train)
    far = time.time() + 3600
    (first,) = train_rounds(records, tmp_path, far, plan=SHORT, most=1)
    assert first.number == 1 and first.steps == 2 and starts == [None]
    both = train_rounds(records, tmp_path, far, plan=SHORT, most=2)
    assert both[0] == first and both[1].steps == 4 and len(starts) == 2
    begun = network_of(tmp_path, first).state_dict()
    assert all((starts[1][name] == value).all() for name, value in begun.items())
    assert train_rounds(records, tmp_path, far, plan=SHORT, most=2) == both and len(starts) == 2
    assert best_of(both).validation_auprc == max(one.validation_auprc for one in both)


def test_no_round_begins_after_the_time(tmp_path: Path) -> None:
    records = made_records(tmp_path / "events", 1)
    assert train_rounds(records, tmp_path, time.time() - 1, plan=SHORT) == []


def test_other_events_are_another_training_and_spoilt_weights_are_refused(tmp_path: Path) -> None:
    records = made_records(tmp_path / "events", 2)
    far = time.time() + 3600
    (one,) = train_rounds(records[:1], tmp_path, far, plan=SHORT, most=1)
    file = tmp_path / "rounds" / "round-001" / "weights.safetensors"
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)
    with pytest.raises(ModelError):
        network_of(tmp_path, one)
    (other,) = train_rounds(records, tmp_path, far, plan=SHORT, most=1)
    assert other.identity != one.identity
