"""Items to passes: grouping, duplicates, and items that are refused by name."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.area import AreaOfInterest
from pipeline.catalogue.assets import Asset
from pipeline.catalogue.passes import group_passes, repeat_gaps, slices_of
from pipeline.errors import ArchiveError

Item = dict[str, Any]


def area(**fields: Any) -> AreaOfInterest:
    """A box of 0.2 by 0.2 degrees in UTM zone 54."""
    return AreaOfInterest.model_validate(
        {
            "name": "here",
            "bbox": (141.9, 42.6, 142.1, 42.8),
            "event": {
                "kind": "other",
                "start": "2018-09-05T00:00:00Z",
                "end": "2018-09-05T00:00:00Z",
                "source": "t",
            },
            "start": "2018-08-01T00:00:00Z",
            "end": "2018-10-01T00:00:00Z",
            **fields,
        }
    )


def item(
    start: str = "2018-09-05 20:31:00.000000+00:00",
    *,
    south: float = 42.0,
    north: float = 43.5,
    west: float = 141.0,
    east: float = 143.0,
    name: str | None = None,
    **properties: Any,
) -> Item:
    """One item with the quirks of the real ones."""
    begin = datetime.fromisoformat(start)
    item_id = name or f"S1A_{begin:%Y%m%dT%H%M%S}"
    host = "https://sentinel1euwestrtc.blob.core.windows.net/sentinel1-grd-rtc"
    return {
        "type": "Feature",
        "id": item_id,
        "bbox": [west, south, east, north],
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[west, south], [east, south], [east, north], [west, north], [west, south]]],
        },
        "properties": {
            "datetime": begin.isoformat(),
            "start_datetime": start,
            "end_datetime": str(begin + timedelta(seconds=25)),
            "platform": "SENTINEL-1A",
            "proj:epsg": 32654,
            "s1:datatake_id": "425458",
            "s1:slice_number": "3",
            "sat:orbit_state": "descending",
            "sat:absolute_orbit": 23568,
            "sat:relative_orbit": 46,
            **properties,
        },
        "assets": {
            "vv": {"href": f"{host}/{item_id}/iw-vv.rtc.tiff", "file:size": 1000},
            "vh": {"href": f"{host}/{item_id}/iw-vh.rtc.tiff", "file:size": 900},
            "tilejson": {"href": "https://planetarycomputer.microsoft.com/tile.json"},
        },
    }


def test_quirks_of_real_items_are_understood() -> None:
    (one,), notes = slices_of([item()])
    assert one.start == datetime(2018, 9, 5, 20, 31, tzinfo=UTC)
    assert one.number == 3
    assert set(one.assets) == {"vv", "vh"}
    assert one.assets["vv"].size_bytes == 1000
    assert notes == []
    coded = item(**{"proj:code": "EPSG:32655"})
    del coded["properties"]["proj:epsg"]
    assert slices_of([coded])[0][0].epsg == 32655
    with_t = item()
    with_t["properties"]["start_datetime"] = "2018-09-05T20:31:00Z"
    assert slices_of([with_t])[0][0].start == one.start


def test_slices_of_a_datatake_are_one_pass_whose_instant_is_of_the_first_that_meets_the_area() -> None:
    found = group_passes(
        [
            item("2018-09-05 20:31:50+00:00", south=40.0, north=41.5, **{"s1:slice_number": "5"}),
            item("2018-09-05 20:31:25+00:00", south=41.0, north=42.7, **{"s1:slice_number": "4"}),
            item("2018-09-05 20:31:00+00:00", south=42.7, north=44.0, **{"s1:slice_number": "3"}),
            item("2018-09-05 20:30:35+00:00", south=44.0, north=45.5, **{"s1:slice_number": "2"}),
        ],
        area(),
    )
    (only,) = found.passes
    assert [s.number for s in only.slices] == [3, 4]
    assert only.instant == datetime(2018, 9, 5, 20, 31, 0, tzinfo=UTC)
    assert only.platform == "sentinel-1a"
    assert only.id == "sentinel-1a_023568_425458"
    assert only.direction == "descending"
    assert only.coverage == pytest.approx(1.0)
    assert only.size_bytes == 3800


def test_coverage_is_the_share_of_the_area() -> None:
    (half,) = group_passes([item(south=42.7)], area()).passes
    assert half.coverage == pytest.approx(0.5, abs=2e-3)
    (both,) = group_passes([item(east=142.0), item("2018-09-05 20:31:25+00:00", west=142.0)], area()).passes
    assert both.coverage == pytest.approx(1.0, abs=1e-6)


def test_a_pass_in_two_zones_is_one_pass() -> None:
    (only,) = group_passes([item(name="a"), item(name="b", **{"proj:epsg": 32655})], area()).passes
    assert [s.epsg for s in only.slices] == [32654, 32655]


def test_an_item_that_comes_twice_counts_once() -> None:
    found = group_passes([item(), item(), item()], area())
    assert len(found.passes) == 1 and len(found.passes[0].slices) == 1
    assert any("count once: 2" in note for note in found.notes)


def test_the_newest_processing_of_a_slice_stands_whatever_the_order() -> None:
    old = item(name="old_rtc", updated="2019-01-01T00:00:00Z")
    new = item("2018-09-05 20:31:00.400000+00:00", name="new_rtc", updated="2024-01-01T00:00:00Z")
    silent = item(name="zzz_rtc")
    for order in ([old, new, silent], [silent, new, old], [new, old, silent]):
        found = group_passes(order, area())
        assert [s.id for s in found.passes[0].slices] == ["new_rtc"]
        assert any("new_rtc replaces old_rtc, zzz_rtc" in note for note in found.notes)


def test_passes_are_told_apart_and_ordered_by_instant() -> None:
    later = item("2018-09-17 20:31:00+00:00", **{"sat:absolute_orbit": 23743, "s1:datatake_id": "9"})
    ascending = item(
        "2018-09-09 08:31:00+00:00",
        **{"sat:absolute_orbit": 23615, "sat:relative_orbit": 68, "sat:orbit_state": "ascending"},
    )
    twin = item("2018-09-05 20:31:00+00:00", name="S1B", platform="sentinel-1b")
    found = group_passes([later, ascending, twin, item()], area()).passes
    assert [(p.platform, p.relative_orbit) for p in found] == [
        ("sentinel-1a", 46),
        ("sentinel-1b", 46),
        ("sentinel-1a", 68),
        ("sentinel-1a", 46),
    ]
    assert [p.instant for p in found] == sorted(p.instant for p in found)


def test_unwanted_tracks_and_times_are_named_when_left_out() -> None:
    other = item("2018-09-09 08:31:00+00:00", **{"sat:absolute_orbit": 23615, "sat:relative_orbit": 68})
    found = group_passes([item(), other], area(tracks=(46,)))
    assert [p.relative_orbit for p in found.passes] == [46]
    assert any("(68)" in note for note in found.notes)
    early = group_passes([item("2018-07-01 20:31:00+00:00")], area())
    assert early.passes == ()
    assert any("1 pass outside" in note for note in early.notes)


def test_the_relative_orbit_is_read_and_not_computed() -> None:
    odd = item(**{"sat:relative_orbit": 99})
    assert group_passes([odd], area()).passes[0].relative_orbit == 99


def test_a_missing_polarisation_is_named() -> None:
    single = item()
    del single["assets"]["vh"]
    found = group_passes([single], area())
    assert set(found.passes[0].slices[0].assets) == {"vv"}
    assert any("no vh" in note for note in found.notes)


def test_probes_replace_what_the_items_say() -> None:
    href = item()["assets"]["vv"]["href"]
    probes = {href: Asset(href=href, size_bytes=7, etag='"e"')}
    (only,) = group_passes([item()], area(), probes).passes
    assert only.slices[0].assets["vv"].fingerprint == '"e"'
    assert only.slices[0].assets["vh"].fingerprint == "size:900"


def test_slices_of_one_overflight_must_agree() -> None:
    with pytest.raises(ArchiveError, match="sat:relative_orbit 46 and 47"):
        group_passes([item(), item("2018-09-05 20:31:25+00:00", **{"sat:relative_orbit": 47})], area())


def broken(change: Callable[[Item], object]) -> Item:
    one = copy.deepcopy(item())
    change(one)
    return one


BROKEN: dict[str, tuple[Callable[[Item], object], str]] = {
    "no id": (lambda i: i.pop("id"), "id"),
    "no properties": (lambda i: i.pop("properties"), "properties"),
    "properties a list": (lambda i: i.update(properties=[]), "properties"),
    "no platform": (lambda i: i["properties"].pop("platform"), "platform is missing"),
    "platform a number": (lambda i: i["properties"].update(platform=1), "platform"),
    "platform a path": (lambda i: i["properties"].update(platform="../../etc"), "platform"),
    "no orbit": (lambda i: i["properties"].pop("sat:absolute_orbit"), "sat:absolute_orbit is missing"),
    "orbit words": (lambda i: i["properties"].update({"sat:absolute_orbit": "many"}), "sat:absolute_orbit"),
    "orbit truth": (lambda i: i["properties"].update({"sat:absolute_orbit": True}), "sat:absolute_orbit"),
    "track beyond": (lambda i: i["properties"].update({"sat:relative_orbit": 176}), "sat:relative_orbit"),
    "track a fraction": (
        lambda i: i["properties"].update({"sat:relative_orbit": 46.5}),
        "sat:relative_orbit",
    ),
    "direction": (lambda i: i["properties"].update({"sat:orbit_state": "sideways"}), "sat:orbit_state"),
    "datatake path": (lambda i: i["properties"].update({"s1:datatake_id": "../x"}), "s1:datatake_id"),
    "slice words": (lambda i: i["properties"].update({"s1:slice_number": "three"}), "s1:slice_number"),
    "no zone": (lambda i: i["properties"].pop("proj:epsg"), "(proj:epsg or proj:code) is missing"),
    "zone words": (lambda i: i["properties"].update({"proj:epsg": "UTM54"}), "proj:epsg"),
    "time words": (lambda i: i["properties"].update(start_datetime="yesterday"), "start_datetime"),
    "time a number": (lambda i: i["properties"].update(start_datetime=1536179460), "start_datetime"),
    "time a date": (lambda i: i["properties"].update(start_datetime="2018-09-05"), "start_datetime"),
    "time backwards": (
        lambda i: i["properties"].update(end_datetime="2018-09-05 20:30:00+00:00"),
        "end_datetime is before",
    ),
    "no geometry": (lambda i: i.update(geometry=None), "geometry"),
    "geometry a point": (
        lambda i: i.update(geometry={"type": "Point", "coordinates": [142, 42.7]}),
        "geometry",
    ),
    "geometry words": (
        lambda i: i.update(geometry={"type": "Polygon", "coordinates": "all"}),
        "geometry cannot be read",
    ),
    "geometry not finite": (
        lambda i: i["geometry"]["coordinates"][0].__setitem__(1, [float("nan"), 42.0]),
        "geometry",
    ),
    "geometry in metres": (
        lambda i: i["geometry"]["coordinates"][0].__setitem__(1, [500000.0, 4700000.0]),
        "geometry leaves",
    ),
    "no assets": (lambda i: i.pop("assets"), "assets"),
    "no radar assets": (lambda i: i.update(assets={"tilejson": {"href": "x"}}), "assets hold none"),
    "href a number": (lambda i: i["assets"]["vv"].update(href=5), "assets.vv.href"),
    "href missing": (lambda i: i["assets"].update(vv={}), "assets.vv.href"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_item_that_cannot_be_understood_is_refused_by_name(case: str) -> None:
    change, words = BROKEN[case]
    with pytest.raises(ArchiveError) as caught:
        group_passes([item(name="good"), broken(change)], area())
    assert words in caught.value.message
    assert ("S1A_20180905T203100" if case != "no id" else "without an id") in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize("junk", [None, 5, "item", [], {}])
def test_what_is_no_item_at_all_is_refused(junk: Any) -> None:
    with pytest.raises(ArchiveError):
        group_passes([junk], area())


@pytest.mark.parametrize("case", [case for case in BROKEN if "geometry" not in case])
def test_a_broken_item_that_is_certainly_elsewhere_does_not_matter(case: str) -> None:
    far = item(west=10.0, east=12.0, name="far")
    BROKEN[case][0](far)
    assert len(group_passes([item(), far], area()).passes) == 1


def test_an_untrustworthy_bbox_is_not_used_to_drop_an_item() -> None:
    for bbox in ([179.0, 42.0, -179.0, 43.0], ["a", 1, 2, 3], [float("nan"), 0, 0, 0], None):
        one = item()
        one["bbox"] = bbox
        assert len(group_passes([one], area()).passes) == 1


def test_a_footprint_across_the_antimeridian_covers_only_what_it_covers() -> None:
    ring = [[179.0, 42.0], [-179.0, 42.0], [-179.0, 43.5], [179.0, 43.5], [179.0, 42.0]]
    across = item()
    across["bbox"] = [-179.0, 42.0, 179.0, 43.5]
    across["geometry"] = {"type": "Polygon", "coordinates": [ring]}
    assert group_passes([across], area()).passes == ()
    there = area(bbox=(179.5, 42.6, 179.7, 42.8))
    assert group_passes([across], there).passes[0].coverage == pytest.approx(1.0)


def test_a_crossed_footprint_is_repaired() -> None:
    bow = item()
    bow["geometry"]["coordinates"] = [[[141, 42], [143, 43.5], [143, 42], [141, 43.5], [141, 42]]]
    (only,) = group_passes([bow], area()).passes
    assert 0 < only.coverage < 1


def test_gaps_in_the_repeat_are_named() -> None:
    starts = [0, 12, 24, 48, 60]
    items = [
        item(
            str(datetime(2018, 8, 2, 20, 31, tzinfo=UTC) + timedelta(days=days)),
            **{"sat:absolute_orbit": 23000 + days, "s1:datatake_id": str(days)},
        )
        for days in starts
    ]
    found = group_passes(items, area(end="2018-12-01T00:00:00Z"))
    (note,) = repeat_gaps(found.passes)
    assert "track 46: 1 pass fewer than every 12 days between 2018-08-26 and 2018-09-19" in note
    assert note in found.notes
    assert repeat_gaps(found.passes[:3]) == []


@given(st.permutations(range(8)), st.lists(st.integers(0, 7), max_size=8))
def test_neither_order_nor_repetition_changes_the_passes(order: list[int], again: list[int]) -> None:
    items = [
        item(
            str(
                datetime(2018, 8, 2, 20, 31, tzinfo=UTC) + timedelta(days=12 * (n // 2), seconds=25 * (n % 2))
            ),
            south=42.0 + 0.7 * (1 - n % 2),
            north=42.7 + 0.8 * (1 - n % 2),
            **{"sat:absolute_orbit": 23000 + n // 2},
        )
        for n in range(8)
    ]
    expected = group_passes(items, area(end="2018-12-01T00:00:00Z")).passes
    shuffled = [items[n] for n in [*order, *again]]
    assert group_passes(shuffled, area(end="2018-12-01T00:00:00Z")).passes == expected
    assert len(expected) == 4


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [
    ("properties", key)
    for key in (
        "platform",
        "start_datetime",
        "end_datetime",
        "proj:epsg",
        "sat:absolute_orbit",
        "s1:datatake_id",
    )
] + [("geometry",), ("assets",), ("bbox",), ("id",), ("assets", "vv"), ("assets", "vv", "href")]


@given(st.sampled_from(FIELDS), JSON)
def test_any_value_anywhere_is_understood_or_refused(path: tuple[str, ...], value: Any) -> None:
    one = item()
    inner = one
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    try:
        found = group_passes([one], area())
    except ArchiveError as error:
        assert error.message
    else:
        json.dumps(found.model_dump(mode="json"))
