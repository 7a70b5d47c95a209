"""Items to passes: grouping, duplicates, and items that are refused by name."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.areas.area import AreaOfInterest
from pipeline.catalogue.assets import Asset
from pipeline.catalogue.passes import group_passes, repeat_gaps, slices_of

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


def test_slices_that_differ_from_the_others_of_their_overflight_are_left_out() -> None:
    starts = [f"2018-09-05 20:31:{second}+00:00" for second in ("00", "25", "50")]
    odd = item(starts[2], name="odd", **{"sat:relative_orbit": 47})
    found = group_passes([item(starts[0]), item(starts[1]), odd], area())
    (only,) = found.passes
    assert (only.relative_orbit, len(only.slices)) == (46, 2)
    assert [line for line in found.left_out if "odd" in line and "47" in line]


def test_where_as_many_slices_differ_as_agree_the_pass_is_left_out() -> None:
    one, other = (
        item(name="one"),
        item("2018-09-05 20:31:25+00:00", name="other", **{"sat:relative_orbit": 47}),
    )
    good = item("2018-09-17 20:31:00+00:00", **{"sat:absolute_orbit": 23743})
    found = group_passes([one, other, good], area())
    assert [p.absolute_orbit for p in found.passes] == [23743]
    assert {name for name in ("one", "other") if any(name in line for line in found.left_out)} == {
        "one",
        "other",
    }


# satellites, products, polarisations: one identity each


@pytest.mark.parametrize(
    "stated", ["S1A", "Sentinel-1 A", " SENTINEL1A", "sentinel_1a", "SENTINEL\u20111A", "S-1A", "SENTINEL-1"]
)
def test_one_overflight_is_one_pass_however_its_satellite_is_spelt(stated: str) -> None:
    name = "S1A_IW_GRDH_1SDV_20180905T203125_20180905T203150_023568_067DF2_rtc"
    other = item("2018-09-05 20:31:25+00:00", name=name, platform=stated)
    (only,) = group_passes([item(), other], area()).passes
    assert (only.platform, len(only.slices)) == ("sentinel-1a", 2)


@pytest.mark.parametrize(
    "changed",
    [
        {"s1:datatake_id": 425458}, {"s1:datatake_id": 425458.0}, {"s1:datatake_id": "0425458"},
        {"s1:datatake_id": "067DF2"}, {"s1:datatake_id": "67df2"}, {"sat:orbit_state": "DESC"},
        {"sat:orbit_state": " d "}, {"sat:relative_orbit": "046"}, {"sat:absolute_orbit": "023568"},
    ],
)  # fmt: skip
def test_one_overflight_is_one_pass_however_its_numbers_and_direction_are_written(
    changed: dict[str, Any],
) -> None:
    (only,) = group_passes([item(), item("2018-09-05 20:31:25+00:00", **changed)], area()).passes
    assert (only.id, only.direction, len(only.slices)) == ("sentinel-1a_023568_425458", "descending", 2)


GRD = "S1A_IW_GRDH_1SDV_20180905T203100_20180905T203125_023568_067DF2"
GRD_HREF = f"https://sentinel1euwest.blob.core.windows.net/s1-grd/GRD/2018/9/5/IW/DV/{GRD}_ABCD/measurement/iw-vv.tiff"


def of_grd(name: str = GRD, collection: str | None = "sentinel-1-grd", **properties: Any) -> Item:
    one = item("2018-09-17 20:31:00+00:00", name=name, **{"sat:absolute_orbit": 23743, **properties})
    one["assets"] = {"VV": {"href": GRD_HREF}}
    return one if collection is None else {**one, "collection": collection}


@pytest.mark.parametrize(
    "other",
    [
        of_grd(),
        of_grd(collection=None),
        of_grd(collection="sentinel-1-rtc"),
        of_grd(name=f"{GRD}_rtc"),  # its collection says what it is
        of_grd(name="scene", collection=None, **{"sar:product_type": "GRD"}),
        of_grd(name="scene", collection=None, **{"sar:product_type": "grdh "}),
        of_grd(name=GRD.replace("GRDH", "SLC_"), collection=None),
        of_grd(name=GRD.lower(), collection=None),
    ],
)
def test_another_product_is_no_terrain_corrected_backscatter(other: Item) -> None:
    found = group_passes([item(), other], area())
    assert [p.absolute_orbit for p in found.passes] == [23568]
    (line,) = found.left_out
    assert other["id"] in line and ("GRD" in line or "SLC" in line or "sentinel-1-grd" in line)


@pytest.mark.parametrize(
    ("name", "collection", "product_type"),
    [
        (f"{GRD}_rtc", "sentinel-1-rtc", "GRD"),
        (f"{GRD}_RTC", "SENTINEL-1-RTC", "GRD"),
        ("OPERA_L2_RTC-S1_T046-097519-IW3_20180905T203100Z", None, "RTC-S1"),
        ("scene", "sentinel-1-rtc", None),
        ("scene", None, None),
    ],
)
def test_terrain_corrected_backscatter_is_known_by_what_it_states(
    name: str, collection: str | None, product_type: str | None
) -> None:
    one = {**item(name=name, **{"sar:product_type": product_type}), "collection": collection}
    one["assets"] = {"vv": {"href": "https://here.example/a/vv.tif"}}
    found = group_passes([one], area())
    assert len(found.passes) == 1 and found.left_out == ()


def test_an_id_of_another_satellite_than_the_item_states_is_left_out() -> None:
    found = group_passes([item(name=f"{GRD}_rtc", platform="S1B")], area())
    assert found.passes == () and "platform" in found.left_out[0]


def polarised(names: str, orbit: int, day: int) -> Item:
    one = item(f"2018-09-{day:02d} 20:31:00+00:00", **{"sat:absolute_orbit": orbit})
    one["assets"] = {name: {"href": f"https://here.example/{orbit}/{name}.rtc.tif"} for name in names.split()}
    return one


def test_a_pass_without_any_wanted_polarisation_is_left_out_and_named() -> None:
    passes = [
        polarised("vv vh", 1, 5), polarised("HH HV", 2, 6), polarised("vv", 3, 7), polarised("hh", 4, 8),
        polarised(" VV ", 5, 9), polarised("vh", 6, 10),
    ]  # fmt: skip
    found = group_passes(passes, area())
    assert [p.absolute_orbit for p in found.passes] == [1, 3, 5, 6]
    assert [set(p.slices[0].assets) for p in found.passes] == [{"vv", "vh"}, {"vv"}, {"vv"}, {"vh"}]
    assert len(found.left_out) == 2 and all(f"_{orbit:06d}_" in "".join(found.left_out) for orbit in (2, 4))
    only_vh = group_passes(passes, area(polarisations=("vh",)))
    assert [p.absolute_orbit for p in only_vh.passes] == [1, 6]


def test_two_files_of_one_polarisation_are_ambiguous() -> None:
    one = item()
    one["assets"]["VV"] = {"href": "https://here.example/other.rtc.tif"}
    found = group_passes([one], area())
    assert found.passes == () and "vv" in found.left_out[0]


# what cannot be used, and what the area excludes


def test_an_area_excludes_items_and_passes_by_their_ids() -> None:
    items = [item(name="A_rtc"), item("2018-09-05 20:31:25+00:00", name="b_rtc")]
    later = item("2018-09-17 20:31:00+00:00", name="c_rtc", **{"sat:absolute_orbit": 23743})
    found = group_passes([*items, later], area(exclude=(" a_RTC ", "sentinel-1a_023743_425458", "unknown")))
    assert [piece.id for p in found.passes for piece in p.slices] == ["b_rtc"]
    (note,) = found.notes
    assert "a_RTC" in note and "023743" in note and "unknown" not in note


def test_an_excluded_item_need_not_be_readable() -> None:
    found = group_passes([item(), {"id": "broken"}], area(exclude=("broken",)))
    assert len(found.passes) == 1 and found.left_out == ()


def test_many_items_with_one_fault_make_one_line() -> None:
    odd = [item(name=f"odd{number:02d}", **{"sat:relative_orbit": None}) for number in range(30)]
    (line,) = group_passes([item(), *odd], area()).left_out
    assert line.startswith("30 items") and "odd00" in line and line.endswith("20 more")


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
    "datatake a list": (lambda i: i["properties"].update({"s1:datatake_id": ["1"]}), "s1:datatake_id"),
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
def test_an_item_that_cannot_be_read_is_left_out_by_name(case: str) -> None:
    change, words = BROKEN[case]
    good = item("2018-09-05 20:31:25+00:00", name="good")
    found = group_passes([good, broken(change)], area())
    assert [piece.id for p in found.passes for piece in p.slices] == ["good"]
    (line,) = found.left_out
    assert words in line and ("S1A_20180905T203100" if case != "no id" else "without an id") in line


@pytest.mark.parametrize("junk", [None, 5, "item", [], {}])
def test_what_is_no_item_at_all_is_left_out(junk: Any) -> None:
    found = group_passes([junk, item()], area())
    assert len(found.passes) == 1 and len(found.left_out) == 1


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


@settings(deadline=None)
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


@settings(deadline=None)
@given(st.sampled_from(FIELDS), JSON)
def test_any_value_anywhere_is_read_or_left_out(path: tuple[str, ...], value: Any) -> None:
    one = item()
    inner = one
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    found = group_passes([one], area())
    json.dumps(found.model_dump(mode="json"))
    good = item("2018-09-29 20:31:00+00:00", name="good", **{"sat:absolute_orbit": 23918})
    assert [p.absolute_orbit for p in group_passes([one, good], area()).passes][-1] == 23918


def test_of_two_items_of_a_slice_the_held_one_stays_unless_one_is_newer() -> None:
    first, second = item(name="a_rtc"), item("2018-09-05 20:31:00.300000+00:00", name="z_rtc")
    for order in ([first, second], [second, first]):
        for held, expected in (((), "z_rtc"), (("a_rtc",), "a_rtc"), (("z_rtc",), "z_rtc")):
            found = group_passes(order, area(), held=held)
            (only,) = found.passes
            assert [one.id for one in only.slices] == [expected]
            assert [one.id for one in found.others] == [{"a_rtc": "z_rtc", "z_rtc": "a_rtc"}[expected]]
    newer = item("2018-09-05 20:31:00.300000+00:00", name="z_rtc", updated="2018-10-01T00:00:00Z")
    found = group_passes([first, newer], area(), held=("a_rtc",))
    assert [one.id for one in found.passes[0].slices] == ["z_rtc"]
    assert found.others == ()
