"""Granules and bursts to overflights: grouping, duplicates, and notes on those that are missing."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.catalogue.granules import read_burst, read_granule
from pipeline.catalogue.slc_passes import group_granules
from pipeline.errors import ArchiveError
from tests.unit.made_slc import burst_item, granule_item, holdings, repeats
from tests.unit.pipeline.catalogue.test_passes import area

INSIDE = (141.8, 42.5, 142.2, 42.7)
BESIDE = (141.8, 42.65, 142.2, 42.85)


def test_granules_of_one_orbit_are_one_overflight_with_its_bursts() -> None:
    north = granule_item("2018-09-05T20:20:57Z", box=(140.5, 42.7, 143.5, 44.5), product="AAAA")
    south = granule_item("2018-09-05T20:21:22Z", box=(140.5, 41.5, 143.5, 42.75), product="BBBB")
    bursts = [
        burst_item("046_096001_IW2", granule=south, box=INSIDE),
        burst_item("046_096000_IW2", granule=north, box=BESIDE),
        burst_item("046_096009_IW3", granule=south, box=(144.0, 42.0, 145.0, 43.0)),
        burst_item("046_096000_IW2", granule=north, box=BESIDE, polarisation="VH"),
    ]
    found = group_granules(holdings([south, north], bursts), area())
    (one,) = found.passes
    assert found.notes == ()
    assert one.id == "sentinel-1a_023560" and one.relative_orbit == 46
    assert [granule.name[-4:] for granule in one.granules] == ["AAAA", "BBBB"]
    assert one.instant == one.granules[0].start
    assert [burst.full_id for burst in one.bursts] == ["046_096000_IW2", "046_096001_IW2"]
    assert {burst.polarisation for burst in one.bursts} == {"vv"}


def test_the_newest_processing_wins_and_brings_its_bursts() -> None:
    old = granule_item(product="0AAA", processed="2018-09-06T02:00:00Z")
    new = granule_item("2018-09-05T20:21:24Z", product="0BBB", processed="2021-01-01T00:00:00Z")
    only_old = burst_item("046_096001_IW2", granule=old, box=INSIDE)
    bursts = [burst_item(granule=old, box=INSIDE), burst_item(granule=new, box=INSIDE), only_old]
    for granules in ([old, new], [new, old]):
        found = group_granules(holdings(granules, bursts), area())
        (one,) = found.passes
        assert [granule.name[-4:] for granule in one.granules] == ["0BBB"]
        assert [burst.granule[-4:] for burst in one.bursts] == ["0BBB"]
        assert any("0BBB replaces" in note and "processed again" in note for note in found.notes)


def test_an_item_that_comes_twice_counts_once_in_its_latest_revision() -> None:
    older = granule_item(revised="2018-09-07T00:00:00Z", MD5SUM="0" * 32)
    newer = granule_item(revised="2019-09-07T00:00:00Z", MD5SUM="1" * 32)
    for granules in ([older, newer], [newer, older]):
        (one,) = group_granules(holdings(granules, [burst_item()] * 2), area()).passes
        assert [granule.md5 for granule in one.granules] == ["1" * 32]
        assert len(one.bursts) == 1


def test_a_place_that_two_granules_hold_is_taken_from_the_newer() -> None:
    first = granule_item("2018-09-05T20:20:57Z", product="AAAA", processed="2018-09-06T02:00:00Z")
    second = granule_item("2018-09-05T20:21:22Z", product="BBBB", processed="2018-09-06T03:00:00Z")
    bursts = [burst_item(granule=second, box=INSIDE), burst_item(granule=first, box=INSIDE)]
    (one,) = group_granules(holdings([first, second], bursts), area()).passes
    assert len(one.granules) == 2
    assert [burst.granule[-4:] for burst in one.bursts] == ["BBBB"]


def test_what_lies_outside_area_time_and_tracks_is_left_out() -> None:
    away = granule_item("2018-09-05T20:25:00Z", orbit=23561, box=(10.0, 42.0, 12.0, 43.0))
    early = granule_item("2018-07-01T20:21:22Z", orbit=22000)
    ascending = granule_item("2018-09-06T08:21:22Z", orbit=23567, track=68, ASCENDING_DESCENDING="ASCENDING")
    found = group_granules(holdings([away, early, ascending, granule_item()], []), area(tracks=(46,)))
    assert [one.id for one in found.passes] == ["sentinel-1a_023560"]
    assert any("outside" in note and note.endswith("1") for note in found.notes)
    assert any("68" in note for note in found.notes)


def test_the_relative_orbit_is_read_and_never_computed() -> None:
    # (absolute - 73) mod 175 + 1 gives another track for Sentinel-1A
    (one,) = group_granules(holdings([granule_item(track=99)], []), area()).passes
    assert one.relative_orbit == 99 != (23560 - 73) % 175 + 1


def test_granules_that_disagree_about_their_track_are_left_out_by_name() -> None:
    other = granule_item("2018-09-05T20:20:57Z", track=47, product="AAAA")
    found = group_granules(holdings([other, granule_item()], []), area())
    assert found.passes == ()
    (line,) = found.left_out
    assert "AAAA" in line and "track 47" in line and "track 46" in line


def test_a_pass_without_the_polarisation_says_which_it_has() -> None:
    found = group_granules(holdings([granule_item(POLARIZATION="HH+HV")], [burst_item()]), area())
    (one,) = found.passes
    assert one.bursts == ()
    assert any("no vv, only neither" in note for note in found.notes)
    found = group_granules(holdings([granule_item(POLARIZATION="VV")], []), area(), "vh")
    assert any("no vh, only vv" in note for note in found.notes)


def test_an_incomplete_list_of_bursts_is_named() -> None:
    held = repeats(3, places=("046_096000_IW2", "046_096001_IW2"))
    gone = next(b for b in held.bursts if "096001" in b["umm"]["GranuleUR"])
    fewer = held.model_copy(update={"bursts": tuple(b for b in held.bursts if b is not gone)})
    found = group_granules(fewer, area())
    assert sorted(len(one.bursts) for one in found.passes) == [1, 2, 2]
    (note,) = found.notes
    assert "lacks the bursts 046_096001_IW2" in note and "may be incomplete" in note


def test_a_granule_that_does_not_reach_a_burst_is_told_from_an_incomplete_list() -> None:
    short = granule_item("2018-08-24T20:21:22Z", orbit=23385, box=(140.5, 42.65, 143.5, 44.0), product="AAAA")
    bursts = [
        burst_item("046_096000_IW2", granule=short, box=BESIDE),
        burst_item("046_096000_IW2", box=BESIDE),
        burst_item("046_096001_IW2", box=(141.8, 42.3, 142.2, 42.62)),
    ]
    (note,) = group_granules(holdings([short, granule_item()], bursts), area()).notes
    assert "sentinel-1a_023385 does not reach 046_096001_IW2" in note


def test_nothing_found_is_said() -> None:
    found = group_granules(holdings([], []), area())
    assert found.passes == () and found.notes == (
        "no pairs: ASF lists no SLC of the area within its time range and tracks",
    )


Break = tuple[str, Any]
BROKEN: list[Break] = [
    ("GranuleUR", None), ("GranuleUR", "../../etc/passwd-SLC"), ("GranuleUR", "x" * 1000), ("TemporalExtent", {}),
    ("OrbitCalculatedSpatialDomains", [{"OrbitNumber": -1}]), ("SpatialExtent", {}), ("SpatialExtent", [[]]),
    ("Platforms", [{"ShortName": "SENTINEL-1B"}]), ("Platforms", "no"), ("RelatedUrls", []),
    ("RelatedUrls", [{"Type": "GET DATA", "URL": "http://datapool.asf.alaska.edu/a.zip"}]),
    ("RelatedUrls", [{"Type": "GET DATA", "URL": "https://user:word@evil.example/a.zip"}]),
    ("RelatedUrls", [{"Type": "GET DATA", "URL": "https://a.example/a\nb.zip"}]),
    ("AdditionalAttributes", []), ("AdditionalAttributes", None),
    (
        "TemporalExtent",
        {"RangeDateTime": {"BeginningDateTime": "2018-09-05T20:21:22Z", "EndingDateTime": "9999-12-31T23:59:59-23:59"}},
    ),
]  # fmt: skip


def test_a_slice_that_claims_a_day_does_not_replace_the_others() -> None:
    long = granule_item(product="FFFF")
    long["umm"]["TemporalExtent"]["RangeDateTime"]["EndingDateTime"] = "2018-09-06T20:21:22Z"
    found = group_granules(holdings([granule_item(product="AAAA"), long], []), area())
    assert [granule.name[-4:] for one in found.passes for granule in one.granules] == ["AAAA"]
    assert "FFFF" in found.left_out[0]


@pytest.mark.parametrize(("field", "value"), BROKEN)
def test_an_item_that_cannot_be_read_is_left_out_by_name(field: str, value: Any) -> None:
    broken = copy.deepcopy(granule_item(product="AAAA"))
    broken["umm"][field] = value
    with pytest.raises(ArchiveError):
        read_granule(broken)
    later = granule_item("2018-09-17T20:21:22Z", orbit=23735)
    found = group_granules(holdings([broken, later], []), area())
    assert [one.absolute_orbit for one in found.passes] == [23735]
    assert len(found.left_out) == 1
    # an area may exclude it, and then nobody is told that it cannot be read
    name = granule_item(product="AAAA")["umm"]["GranuleUR"]
    if broken["umm"]["GranuleUR"] == name:
        assert group_granules(holdings([broken, later], []), area(exclude=(name,))).left_out == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("BURST_ID_FULL", "046_096000_IW3"), ("BURST_ID_FULL", "../../x"), ("SUBSWATH_NAME", "IW9"),
        ("POLARIZATION", "VH"), ("BURST_INDEX", "-1"), ("BURST_INDEX", None), ("AZIMUTH_TIME", "yesterday"),
    ],
)  # fmt: skip
def test_a_burst_that_cannot_be_understood_is_refused(field: str, value: Any) -> None:
    broken = burst_item(**{field: value})
    with pytest.raises(ArchiveError, match="Item S1_"):
        read_burst(broken)


def test_a_burst_whose_address_leads_to_another_granule_is_refused() -> None:
    broken = burst_item()
    for link in broken["umm"]["RelatedUrls"]:
        link["URL"] = link["URL"].replace("8F11", "8F12")
    with pytest.raises(ArchiveError, match="RelatedUrls"):
        read_burst(broken)


@pytest.mark.parametrize(
    "text",
    [
        "NA", "1,2,3", "1,2,3,2018-09-05T20:21:00", "nan,nan,nan,2018-09-05T20:21:00",
        "7.1e6,0,0,when", "inf,0,0,2018-09-05T20:21:00",
    ],
)  # fmt: skip
def test_state_vectors_that_are_none_are_left_out(text: str) -> None:
    attributes = {
        f"SV_{what}_{which}": text for what in ("POSITION", "VELOCITY") for which in ("PRE", "POST")
    }
    assert read_granule(granule_item(**attributes)).state_vectors == ()


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(field=st.sampled_from(sorted(granule_item()["umm"])), value=json_values)
def test_whatever_an_archive_answers_is_understood_or_refused(field: str, value: Any) -> None:
    for item, read in ((granule_item(), read_granule), (burst_item(), read_burst)):
        if field in item["umm"]:
            broken = {"meta": item["meta"], "umm": {**item["umm"], field: value}}
            try:
                read(broken)
            except ArchiveError as error:
                assert error.message.startswith("Item ")
