"""The command `prior`: it goes on where it ended, and says what it could not finish."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from model.cli.priors import prior
from model.training.prior import prior_training
from pipeline.errors import IncompleteError
from pipeline.sandbox import event_series
from tests.unit.model.training.prior.made_events import made_event
from tests.unit.model.training.prior.test_prior_training import SHORT


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small events, and rounds of two steps."""
    monkeypatch.setattr(event_series, "training_event", lambda number: made_event(1 + number))
    monkeypatch.setattr(event_series, "left_out_events", lambda: (made_event(8),))
    monkeypatch.setattr(prior_training, "train_rounds", partial(prior_training.train_rounds, plan=SHORT))


def test_the_same_command_goes_on_where_it_ended(small: None, tmp_path: Path) -> None:
    def run(*words: str) -> dict[str, object]:
        answer = CliRunner().invoke(prior, [str(tmp_path), "--events", "2", "--json", *words])
        assert answer.exit_code == 0, answer.output
        found: dict[str, object] = json.loads(answer.stdout)
        return found

    first = run("--rounds", "1")
    made = {file: file.stat().st_mtime_ns for file in (tmp_path / "events").rglob("*.npy")}
    second = run("--rounds", "2", "--out", str(tmp_path / "other"))
    assert len(list((tmp_path / "rounds").iterdir())) == 2
    assert made == {file: file.stat().st_mtime_ns for file in (tmp_path / "events").rglob("*.npy")}
    assert first["path"] == str(tmp_path / "simulated-prior") and second["path"] == str(tmp_path / "other")
    assert first["simulated"] and [one["area"] for one in first["events"]] == ["made-8"]  # type: ignore[attr-defined]


def test_without_time_nothing_is_claimed(small: None, tmp_path: Path) -> None:
    answer = CliRunner().invoke(prior, [str(tmp_path), "--events", "2", "--minutes", "0.00001"])
    assert answer.exit_code == IncompleteError.exit_code
    assert not (tmp_path / "simulated-prior").exists()
