"""The archive held to ASF's list: expected, found, missing; and what of it a map's page says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.areas.area import AreaOfInterest, load_area
from pipeline.errors import ArchiveError
from pipeline.events.following import area_look, area_making
from pipeline.events.following.area_look import asf_passes, looked
from pipeline.events.following.area_making import areas_of
from pipeline.events.following.pass_account import save_account, saved_account
from pipeline.events.following.pass_history import SeenPass
from pipeline.settings import settings
from tests.unit.pipeline.events.following.made_archive import EVENT, FIRST_AFTER, Archive, entry, turns

NAME = "usgs-us2000h8ty"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def area(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AreaOfInterest]:
    """An area whose archive lacks one pass before the event, and lists none after it."""
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path))
    settings.cache_clear()
    archive = Archive(turns([*range(-12, -3), -2, -1]))
    monkeypatch.setattr(area_making, "serving", lambda collection: archive)
    areas_of(entry(), EVENT + HOUR)
    yield load_area(NAME)
    settings.cache_clear()


def flown(*numbers: int) -> tuple[SeenPass, ...]:
    return tuple(
        SeenPass(
            relative_orbit=46,
            direction="descending",
            platform="sentinel-1a",
            instant=FIRST_AFTER + number * 12 * DAY + timedelta(seconds=9),
        )
        for number in numbers
    )


def test_what_asf_lists_and_the_archive_lacks_is_missing(area, monkeypatch):
    monkeypatch.setattr(area_look, "asf_passes", lambda *given: flown(*range(-8, 1)))
    account = looked(area, FIRST_AFTER + 5 * HOUR, ask_asf=True).account
    assert [one.flown for one in account.missing] == [True, True]
    assert [one.instant.date() for one in account.missing] == [
        (FIRST_AFTER - 36 * DAY).date(),
        FIRST_AFTER.date(),
    ]
    assert account.expected == account.found + 2
    assert f"expected {account.expected} passes, found {account.found}, missing" in account.words


def test_a_pass_that_nobody_lists_was_perhaps_not_flown_and_without_asf_it_is_not_known(area, monkeypatch):
    monkeypatch.setattr(area_look, "asf_passes", lambda *given: flown(*range(-8, 0)))
    at = FIRST_AFTER + 40 * HOUR
    assert [one.flown for one in looked(area, at, ask_asf=True).account.missing] == [True, False]
    monkeypatch.setattr(area_look, "asf_passes", lambda *given: None)
    assert [one.flown for one in looked(area, at, ask_asf=True).account.missing] == [None]


def test_asf_away_stops_nothing(area, monkeypatch):
    class Away:
        def search(self, collection, query):
            raise ArchiveError("ASF answered 503.", transient=True)

    monkeypatch.setattr(area_look, "serving", lambda collection: Away())
    assert asf_passes(area, EVENT + DAY) is None
    assert asf_passes(area, area.start) == ()


def test_an_account_is_kept_and_its_lines_leave_out_what_a_map_has(area, monkeypatch):
    monkeypatch.setattr(area_look, "asf_passes", lambda *given: flown(0))
    account = looked(area, FIRST_AFTER + 5 * HOUR, ask_asf=True).account
    save_account(account)
    assert saved_account(NAME) == account and saved_account("nowhere") is None
    without = account.lines_beside([])
    assert len(without) == 2 and "2018-09-05 20:32" in without[0]
    assert "Due" in without[1] and "5 September" in without[1]
    (beside,) = account.lines_beside([FIRST_AFTER])
    assert "5 September" not in beside and "17 September" in beside, (
        "a map does not wait for a pass that it has"
    )
    assert account.lines_beside([FIRST_AFTER, account.next.instant]) == ()
    closed = account.model_copy(update={"followed": False})
    assert "No further pass" in closed.lines_beside([FIRST_AFTER])[-1]
