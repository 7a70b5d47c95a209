"""What `slidecube plan` says of pairs."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.catalogue.pairs import choose_pairs
from pipeline.insar.costs import pair_rows, print_pairs
from pipeline.settings import settings
from tests.unit.pipeline.catalogue.test_pairs import TRACK, overflight, wants
from tests.unit.pipeline.catalogue.test_passes import area


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("SLIDECUBE_INSAR_BACKEND", "isce2")
    settings.cache_clear()
    yield
    settings.cache_clear()


def told(rows: dict[str, object]) -> str:
    out = io.StringIO()
    print_pairs(Console(file=out, width=140), rows)
    return out.getvalue()


def test_pairs_with_days_baseline_bursts_bytes_disk_time_login_and_what_has_none() -> None:
    alone = overflight(-9, track=68)
    chosen = choose_pairs(wants(), [*TRACK[:3], alone])
    rows = pair_rows(wants(), chosen.pairs, chosen.unpaired)
    assert json.loads(json.dumps(rows)) == rows
    assert [row["days"] for row in rows["pairs"]] == [12.0, 12.0]
    assert [len(row["bursts"]) for row in rows["pairs"]] == [3, 3]
    assert rows["interferometry"]["fetch_bytes"] == 9 * 140_000_000
    assert rows["interferometry"]["granule_bytes"] == 3 * 4_000_000_000
    text = told(rows)
    assert "T046_20180802_20180814" in text and "before-before" in text
    assert "1.3 GB" in text and "12.0 GB" in text
    assert "Earthdata" in text
    (why,) = chosen.unpaired
    assert alone.id in why and why in text


def test_whole_granules_are_counted_where_they_are_asked_for() -> None:
    where = wants(fetch="granules")
    rows = pair_rows(where, choose_pairs(where, TRACK[:2]).pairs, ())
    assert rows["pairs"][0]["fetch_bytes"] == rows["pairs"][0]["granule_bytes"] == 8_000_000_000


def test_pairs_that_are_held_cost_nothing_more() -> None:
    pairs = choose_pairs(wants(), TRACK[:3]).pairs
    rows = pair_rows(wants(), pairs, (), frozenset(pair.id for pair in pairs))
    assert rows["interferometry"]["fetch_bytes"] == 0 and rows["interferometry"]["hours"] == 0
    assert "1.3 GB" not in told(rows)


def test_nothing_is_said_where_no_pair_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = choose_pairs(wants(), TRACK[:2]).pairs
    assert pair_rows(area(), pairs, ())["pairs"] == []
    monkeypatch.setenv("SLIDECUBE_INSAR_BACKEND", "none")
    settings.cache_clear()
    rows = pair_rows(wants(), pairs, ())
    assert rows == {"pairs": [], "unpaired": [], "interferometry": None} and told(rows) == ""
