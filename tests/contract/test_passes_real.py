"""Four real slices of one datatake become one pass, with every quirk of the real items."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

import pytest
from shapely.geometry import shape

from pipeline.archives import planetary
from pipeline.areas.area import AreaOfInterest
from pipeline.catalogue.passes import group_passes, slices_of
from tests.contract.test_stac_search import ITEM_PAGES, recorded

Items = list[dict[str, Any]]


@pytest.fixture(scope="module")
def items(shared_data: Path) -> Items:
    path = shared_data / "stac_planetary_computer_items/tests/data/sentinel-1-rtc-pc.json"
    found: Items = json.loads(path.read_text())
    return found


def area(bbox: tuple[float, float, float, float], **fields: Any) -> AreaOfInterest:
    return AreaOfInterest.model_validate(
        {
            "name": "libya",
            "bbox": bbox,
            "event": {
                "kind": "other",
                "start": "2024-04-10T00:00:00Z",
                "end": "2024-04-10T00:00:00Z",
                "source": "t",
            },
            "start": "2024-04-01T00:00:00Z",
            "end": "2024-05-01T00:00:00Z",
            **fields,
        }
    )


def test_the_items_have_the_quirks_that_are_handled(items: Items) -> None:
    for item in items:
        properties = item["properties"]
        assert " " in properties["start_datetime"] and "T" not in properties["start_datetime"]
        assert isinstance(properties["s1:slice_number"], str)
        assert properties["platform"] == "SENTINEL-1A"
        assert properties["s1:shape"] == properties["proj:shape"][::-1]


def test_each_item_is_a_slice(items: Items) -> None:
    slices, notes = slices_of(items)
    assert notes == []
    assert [s.number for s in slices] == [30, 29, 28, 27]
    assert all(s.epsg == 32633 and set(s.assets) == {"vv", "vh"} for s in slices)
    assert slices[0].assets["vh"].size_bytes == 838_784_900
    assert all(planetary.needs_signing(a.href) for s in slices for a in s.assets.values())
    ordered = sorted(slices, key=lambda s: s.start)
    gaps = [(after.start - before.end).total_seconds() for before, after in pairwise(ordered)]
    assert all(0 < gap < 0.002 for gap in gaps)  # consecutive slices abut to 1.5 ms


def test_four_slices_are_one_pass(items: Items) -> None:
    (only,) = group_passes(items, area((14.9, 30.2, 15.4, 35.0))).passes
    assert [s.number for s in only.slices] == [27, 28, 29, 30]
    assert only.id == "sentinel-1a_053498_425458"
    assert (only.relative_orbit, only.direction) == (51, "descending")
    assert only.instant == datetime(2024, 4, 19, 4, 57, 49, 220673, tzinfo=UTC)
    assert 0.9 < only.coverage <= 1


def test_the_instant_is_of_the_first_slice_that_meets_the_area(items: Items) -> None:
    found = group_passes(items, area((14.9, 30.5, 15.2, 31.0)))
    (only,) = found.passes
    assert [s.number for s in only.slices] == [29, 30]
    assert only.instant == datetime(2024, 4, 19, 4, 58, 39, 221202, tzinfo=UTC)
    assert found.notes == ()


def test_neither_order_nor_repetition_matters(items: Items) -> None:
    where = area((14.9, 30.2, 15.4, 35.0))
    expected = group_passes(items, where).passes
    for order in permutations(items):
        assert group_passes([*order, order[0]], where).passes == expected


def test_elsewhere_and_at_other_times_there_is_no_pass(items: Items) -> None:
    assert group_passes(items, area((140.0, 30.0, 141.0, 31.0))).passes == ()
    event = {
        "kind": "other",
        "start": "2024-04-20T00:00:00Z",
        "end": "2024-04-20T00:00:00Z",
        "source": "t",
    }
    late = area((14.9, 30.2, 15.4, 35.0), start="2024-04-19T04:57:50Z", event=event)
    found = group_passes(items, late)
    assert found.passes == ()
    assert "outside" in found.notes[0]


def test_a_processing_of_the_same_slice_replaces_it(items: Items) -> None:
    again = copy.deepcopy(items[0])
    again["id"] = again["id"].replace("_rtc", "_again_rtc")
    again["properties"]["updated"] = "2025-01-01T00:00:00Z"
    again["properties"]["start_datetime"] = "2024-04-19 04:59:04.219000+00:00"
    found = group_passes([again, *items], area((14.9, 30.2, 15.4, 35.0)))
    assert len(found.passes[0].slices) == 4
    assert found.passes[0].slices[-1].id == again["id"]
    assert any("processed again" in note for note in found.notes)


def test_coverage_is_what_the_footprints_cover(items: Items) -> None:
    union = shape(items[0]["geometry"])
    for item in items[1:]:
        union = union.union(shape(item["geometry"]))
    small = (15.0, 30.5, 15.5, 34.0)
    (inside,) = group_passes(items, area(small)).passes
    expected = union.intersection(area(small).footprint).area / area(small).footprint.area
    assert inside.coverage == pytest.approx(expected, abs=2e-3)


def test_the_recorded_page_of_the_collection_is_understood(shared_data: Path) -> None:
    pages = recorded(shared_data / ITEM_PAGES / "test_smoke[sentinel-1-rtc].yaml")
    (item,) = [
        item for _, url, _, answer in pages if "items?limit" in url for item in json.loads(answer)["features"]
    ]
    (one,), _ = slices_of([item])
    assert one.start.year == 2025
    assert one.assets
