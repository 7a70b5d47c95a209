"""From an event to its area files: their content, their place in the store, and when others are made."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from pipeline.areas.area import area_files, load_area
from pipeline.errors import ArchiveError
from pipeline.events.detected_event import GroundFailure
from pipeline.events.following import area_making
from pipeline.events.following.area_document import MARK
from pipeline.events.following.area_making import areas_of
from pipeline.events.following.area_store import StoredArea
from pipeline.events.ledger import EventArea
from pipeline.settings import settings
from tests.unit.pipeline.events.following.made_archive import (
    EVENT,
    FIRST_AFTER,
    Archive,
    detected,
    entry,
    rtc_item,
    turns,
)

NOW = EVENT + timedelta(hours=1)
NAME = "usgs-us2000h8ty"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path / "data"))
    settings.cache_clear()
    yield tmp_path / "data" / "areas"
    settings.cache_clear()


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch) -> Archive:
    corner = rtc_item(EVENT - timedelta(days=5), track=119, bounds=(142.2, 42.8, 143.0, 43.5))
    items = [
        *turns(range(-30, 2)),
        *turns(range(-30, 2), track=116, first=FIRST_AFTER + timedelta(days=3)),
        *turns(range(-30, -20), track=9, first=FIRST_AFTER + timedelta(days=5)),
        corner,
    ]
    made = Archive(items)
    monkeypatch.setattr(area_making, "serving", lambda collection: made)
    return made


def test_an_event_becomes_an_area_file_that_is_found_by_its_name(store, archive):
    made = areas_of(entry(), NOW)
    assert made.areas == (EventArea(name=NAME),) and len(made.notes) == 1
    assert area_files()[NAME] == store.resolve() / f"{NAME}.yaml"
    area = load_area(NAME)
    assert (area.tracks, area.utm_epsg, area.inventory, area.interferometry) == ((46, 116), 32654, None, None)
    assert area.event.usgs_id == "us2000h8ty" and area.event.start == EVENT
    assert area.end == EVENT + timedelta(days=45)
    before = [p for p in StoredArea(NAME).history() if area.start <= p.instant < EVENT]
    assert min(sum(p.relative_orbit == track for p in before) for track in (46, 116)) == 8
    assert not area.simulated


def test_the_file_says_what_was_chosen_and_why(store, archive):
    areas_of(entry(), NOW)
    text = (store / f"{NAME}.yaml").read_text()
    for words in ("Keefer", "zone 54 N", "track 46", "track 119", "not taken", "no inventory"):
        assert words in text
    assert text.splitlines()[-1].startswith(MARK)


def test_a_second_time_nothing_is_searched_or_made(store, archive):
    first = areas_of(entry(), NOW)
    archive.asked.clear()
    before = (store / f"{NAME}.yaml").read_bytes()
    again = areas_of(entry(areas=first.areas), NOW)
    assert (again.areas, again.notes, archive.asked) == (first.areas, (), [])
    assert (store / f"{NAME}.yaml").read_bytes() == before


def test_a_kill_between_the_file_and_the_ledger_makes_no_second_area(store, archive):
    areas_of(entry(), NOW)
    assert areas_of(entry(), NOW + timedelta(hours=1)).areas == (EventArea(name=NAME),)
    assert [path.name for path in sorted(store.glob("*.yaml"))] == [f"{NAME}.yaml"]


def test_widening_makes_another_area_and_keeps_the_first(store, archive):
    first = areas_of(entry(), NOW)
    wider = areas_of(entry(areas=first.areas, margin_km=15), NOW)
    assert wider.areas == (EventArea(name=f"{NAME}-b"),)
    assert load_area(f"{NAME}-b").footprint.contains(load_area(NAME).footprint)
    assert areas_of(entry(areas=wider.areas, margin_km=15), NOW).areas == wider.areas


def test_a_better_extent_makes_another_area_only_where_it_lies_elsewhere(store, archive):
    first = areas_of(entry(), NOW)
    inside = detected(ground_failure=GroundFailure(bounds=(141.8, 42.6, 142.2, 42.8)))
    assert areas_of(entry(revisions=[detected(), inside], areas=first.areas), NOW).areas == first.areas
    elsewhere = detected(ground_failure=GroundFailure(bounds=(142.3, 42.1, 142.9, 42.5)))
    moved = areas_of(entry(revisions=[detected(), elsewhere], areas=first.areas), NOW)
    assert [each.name for each in moved.areas] == [f"{NAME}-b"]
    stronger = detected(magnitude=7.4)
    assert areas_of(entry(revisions=[detected(), stronger], areas=first.areas), NOW).areas == first.areas


def test_what_a_person_edited_is_kept(store, archive):
    first = areas_of(entry(), NOW)
    path = store / f"{NAME}.yaml"
    path.write_text(path.read_text().replace("[46, 116]", "[46]"))
    edited = path.read_bytes()
    assert StoredArea(NAME).made_from()[1]
    elsewhere = detected(ground_failure=GroundFailure(bounds=(142.3, 42.1, 142.9, 42.5)))
    assert areas_of(entry(revisions=[detected(), elsewhere], areas=first.areas), NOW).areas == first.areas
    assert path.read_bytes() == edited and load_area(NAME).tracks == (46,)


def test_an_event_across_180_degrees_gets_two_areas(store, monkeypatch):
    fiji = Archive(turns(range(-12, 0), bounds=(177.0, -20.0, 180.0, -14.0), epsg=32760))
    monkeypatch.setattr(area_making, "serving", lambda collection: fiji)
    made = areas_of(entry(revisions=[detected(longitude=179.9, latitude=-17.0, magnitude=7.0)]), NOW)
    assert [each.name for each in made.areas] == [f"{NAME}-1", f"{NAME}-2"]
    west, east = (load_area(each.name) for each in made.areas)
    assert west.utm_epsg == 32760 and east.utm_epsg == 32701
    assert east.tracks is None  # nothing is listed there: every pass that comes is taken


def test_an_event_at_sea_gets_none_and_says_so(store, archive):
    made = areas_of(entry(revisions=[detected(longitude=-140.0, latitude=-40.0)]), NOW)
    assert made.areas == () and "land" in made.notes[0]
    assert not store.exists() and archive.asked == []


def test_without_the_listing_nothing_is_made(store, monkeypatch, archive):
    def refuse(collection, query):
        raise ArchiveError("The archive answered 503.", transient=True)

    monkeypatch.setattr(archive, "search", refuse)
    with pytest.raises(ArchiveError):
        areas_of(entry(), NOW)
    assert not store.exists()


def test_text_from_outside_stays_text(store, archive):
    hostile = 'Atsuma"\nname: other\n# slidecube: {"x": 1}\ninterferometry: {pairs: within}'
    areas_of(entry(revisions=[detected(place=hostile)]), NOW)
    document = yaml.safe_load((store / f"{NAME}.yaml").read_text())
    assert "name" not in document and "interferometry" not in document
    assert "Atsuma" in document["title"] and "\n" not in document["title"]
    assert not StoredArea(NAME).made_from()[1]
