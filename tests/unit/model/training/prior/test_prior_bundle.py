"""The bundle of a prior: its events, its scores on events that were left out, what it says of itself."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from model.bundle.bundle import load, read_document
from model.training.prior.prior_bundle import write_prior
from model.training.prior.prior_scores import SCORED
from model.training.prior.prior_training import TrainedPrior, train_rounds
from pipeline.errors import ModelError
from tests.unit.model.training.prior.made_events import made_event, made_records
from tests.unit.model.training.prior.test_prior_training import SHORT


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedPrior:
    folder = tmp_path_factory.mktemp("prior")
    records = made_records(folder / "events", 2)
    rounds = train_rounds(records, folder, time.time() + 3600, plan=SHORT, most=1)
    return TrainedPrior(folder, (made_event(1), made_event(2)), tuple(records), tuple(rounds))


def test_the_bundle_is_of_left_out_events_and_says_that_it_is_simulated(
    trained: TrainedPrior, tmp_path: Path
) -> None:
    record = write_prior(trained, [made_event(8), made_event(9)], tmp_path / "prior")
    document = read_document(tmp_path / "prior")
    assert record.simulated and [one.area for one in record.events] == ["made-8", "made-9"]
    assert document.series is not None and document.series.left_out == ("made-8", "made-9")
    assert document.series.events == 2 and document.series.seeds == (1, 2)
    assert len(document.expected) == len(document.evidence) == len(document.by_passes) + 1 == len(SCORED)
    assert {row.events for row in document.expected} == {2}
    assert document.test.pixels == sum(one.pixels for one in document.events)
    assert {case.part for case in document.evidence} == {"left-out event"}
    assert document.chosen_threshold is not None and document.input_ranges is not None
    assert document.passes_before_in_training == (4,)
    first_night = [row for row in document.expected if len(row.views) == 1 and row.after == 1]
    assert {row.views[0].direction for row in first_night} == {"ascending", "descending"}
    bundle = load(tmp_path / "prior")
    assert "SIMULATED" in bundle.warning
    card = (tmp_path / "prior" / "MODEL_CARD.md").read_text()
    assert "SIMULATED" in card and "made-8" in card and "seeds 1 to 2" in card
    assert sum(file.stat().st_size for file in (tmp_path / "prior").iterdir()) < 5 * 2**20


def test_an_event_that_was_trained_on_is_not_left_out(trained: TrainedPrior, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        write_prior(trained, [made_event(2)], tmp_path / "prior")
    assert not (tmp_path / "prior").exists()
