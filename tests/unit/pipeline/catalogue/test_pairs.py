"""Which overflights make pairs, why others do not, their perpendicular baselines, and the costs of the pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from pipeline.areas.area import AreaOfInterest
from pipeline.catalogue.pairs import PairList, choose_pairs, perpendicular_baseline_m
from pipeline.catalogue.slc import Burst, Granule, SlcPass, StateVector
from pipeline.catalogue.slc_passes import group_granules
from pipeline.insar.estimates import BURST_BYTES, bytes_of_all, estimate
from tests.unit.made_slc import repeats
from tests.unit.pipeline.catalogue.test_passes import area

EVENT = datetime(2018, 9, 5, tzinfo=UTC)
RULES = ("consecutive", "within", "reference", "event")
PLACES = ("046_096000_IW1", "046_096000_IW2", "046_096001_IW2")


def wants(pairs: str = "consecutive", **fields: Any) -> AreaOfInterest:
    return area(interferometry={"pairs": pairs, **fields})


def overflight(
    day: float, track: int = 46, places: Sequence[str] = PLACES, unit: str = "a", orbit: int | None = None
) -> SlcPass:
    """A pass so many days after the event."""
    start = EVENT + timedelta(days=day)
    number = orbit if orbit is not None else 30_000 + round(day * 14)
    name = f"S1{unit.upper()}_IW_SLC__1SDV_{start:%Y%m%dT%H%M%S}"
    granule = Granule(
        name=name,
        platform=f"sentinel-1{unit}",
        absolute_orbit=number,
        relative_orbit=track,
        direction="descending",
        start=start,
        end=start + timedelta(seconds=27),
        polarisations=("vv",),
        geometry={"type": "Polygon", "coordinates": []},
        url=f"https://example/{name}.zip",
        size_bytes=4_000_000_000,
    )
    bursts = tuple(
        Burst(
            id=f"{place}_{start:%Y%m%dT%H%M%S}",
            full_id=place,
            granule=name,
            swath="IW2",
            polarisation="vv",
            index=0,
            start=start,
            geometry={"type": "Polygon", "coordinates": []},
            tiff_url="https://example/0.tiff",
            xml_url="https://example/0.xml",
            size_bytes=140_000_000,
        )
        for place in places
    )
    return SlcPass(
        platform=granule.platform,
        absolute_orbit=number,
        relative_orbit=track,
        direction="descending",
        instant=start,
        granules=(granule,),
        bursts=bursts,
    )


def days_of(found: PairList) -> list[tuple[int, int]]:
    return [
        (round((p.reference.instant - EVENT).days), round((p.secondary.instant - EVENT).days))
        for p in found.pairs
    ]


TRACK = [overflight(day) for day in (-34, -22, -10, 2, 14, 26)]


def test_consecutive_passes_as_in_the_paper() -> None:
    found = choose_pairs(wants(), TRACK)
    assert days_of(found) == [(-34, -22), (-22, -10), (-10, 2), (2, 14), (14, 26)]
    assert found.unpaired == ()
    assert found.pairs[2].id == "T046_20180826_20180907"
    assert found.pairs[0].days == pytest.approx(12)


def test_all_within_so_many_days() -> None:
    found = choose_pairs(wants("within", most_days=24), TRACK)
    every = [(-34, -22), (-22, -10), (-10, 2), (2, 14), (14, 26), (-34, -10), (-22, 2), (-10, 14), (2, 26)]
    assert sorted(days_of(found)) == sorted(every)


def test_some_seconds_are_no_day() -> None:
    passes = [overflight(-10), overflight(2 + 25 / 86400)]
    found = choose_pairs(wants("within", most_days=12), passes)
    assert days_of(found) == [(-10, 2)]


def test_reference_to_the_event_is_the_last_pass_before_it() -> None:
    found = choose_pairs(wants("reference"), TRACK)
    assert sorted(days_of(found)) == [(-34, -10), (-22, -10), (-10, 2), (-10, 14), (-10, 26)]


def test_before_across_and_after_the_event() -> None:
    found = choose_pairs(wants("event"), TRACK)
    assert days_of(found) == [(-22, -10), (-10, 2), (2, 14)]
    assert len(found.unpaired) == 2
    assert all("does not ask for it" in line for line in found.unpaired)


def test_a_pair_never_joins_two_tracks() -> None:
    found = choose_pairs(wants(), [*TRACK, overflight(-9, track=68)])
    assert {p.relative_orbit for p in found.pairs} == {46}
    (line,) = found.unpaired
    assert line == ("sentinel-1a_029874 (track 68, 2018-08-27): its track has no other pass")


def test_a_pair_holds_the_bursts_that_both_have() -> None:
    (pair,) = choose_pairs(
        wants(), [overflight(-10, places=PLACES[:2]), overflight(2, places=PLACES[1:])]
    ).pairs
    assert pair.burst_ids == (PLACES[1],)


@pytest.mark.parametrize(
    ("passes", "words"),
    [
        ([overflight(-10, places=PLACES[:1]), overflight(2, places=PLACES[1:])], "no burst over the area in common"),
        ([overflight(-10), overflight(2, places=())], "lists no vv burst"),
        ([overflight(-20), overflight(40)], "60 days (most_days is 48) away from"),
    ],
)  # fmt: skip
def test_why_there_is_no_pair(passes: list[SlcPass], words: str) -> None:
    found = choose_pairs(wants(), passes)
    assert found.pairs == ()
    assert len(found.unpaired) == 2 and any(words in line for line in found.unpaired)


def test_a_pass_that_was_not_taken_in_the_polarisation_says_so() -> None:
    found = choose_pairs(wants(polarisation="vh"), [overflight(-10, places=())])
    assert "was not taken in vh" in found.unpaired[0]


def test_of_two_passes_of_one_day_the_one_with_more_bursts_counts() -> None:
    poor = overflight(2, places=PLACES[:1], unit="c")
    rich = overflight(2.0005, unit="a")
    found = choose_pairs(wants(), [overflight(-10), poor, rich])
    assert days_of(found) == [(-10, 2)] and found.pairs[0].secondary == rich
    assert found.unpaired == (
        f"{poor.id} (track 46, 2018-09-07): {rich.id} of the same track and day counts instead",
    )


def test_an_area_that_wants_none_gets_none() -> None:
    assert choose_pairs(area(), TRACK) == PairList(pairs=())


@st.composite
def many_passes(draw: st.DrawFn) -> list[SlcPass]:
    days = draw(st.lists(st.integers(-35, 25), min_size=0, max_size=9, unique=True))
    return [
        overflight(
            day + draw(st.sampled_from((0.25, 0.75))),
            track=draw(st.sampled_from((46, 68))),
            places=draw(st.lists(st.sampled_from(PLACES), unique=True, max_size=3)),
            orbit=30_000 + number,
        )
        for number, day in enumerate(days)
    ]


@settings(max_examples=80, deadline=None)
@given(passes=many_passes(), rule=st.sampled_from(RULES), most=st.integers(1, 60), seed=st.randoms())
def test_whatever_the_passes_every_one_is_in_a_pair_or_has_a_reason(
    passes: list[SlcPass], rule: str, most: int, seed: Any
) -> None:
    where = wants(rule, most_days=most)
    found = choose_pairs(where, passes)
    for pair in found.pairs:
        assert pair.reference.instant < pair.secondary.instant
        assert pair.reference.relative_orbit == pair.secondary.relative_orbit
        assert pair.days > 0 and round(pair.days) <= most  # whole days count
        for side in (pair.reference, pair.secondary):
            assert set(pair.burst_ids) <= {burst.full_id for burst in side.bursts}
    assert len({pair.id for pair in found.pairs}) == len(found.pairs)
    paired = {one.id for pair in found.pairs for one in (pair.reference, pair.secondary)}
    named = [line.split(" ", 1)[0] for line in found.unpaired]
    assert sorted([*paired, *named]) == sorted(one.id for one in passes)
    assert all(line.split("): ", 1)[1] for line in found.unpaired)
    shuffled = list(passes)
    seed.shuffle(shuffled)
    assert choose_pairs(where, shuffled) == found


@settings(max_examples=60, deadline=None)
@given(days=st.lists(st.integers(-35, 25), min_size=2, max_size=8, unique=True), most=st.integers(1, 60))
def test_the_rules_against_their_definition(days: list[int], most: int) -> None:
    days = sorted(days)
    passes = [overflight(day + 0.5, orbit=30_000 + n) for n, day in enumerate(days)]

    def expected(rule: str) -> set[tuple[int, int]]:
        before = [day for day in days if day < 0]
        after = [day for day in days if day >= 0]
        pairs = {
            "consecutive": set(pairwise(days)),
            "within": set(combinations(days, 2)),
            "reference": {
                (min(before[-1], d), max(before[-1], d)) for d in days if before and d != before[-1]
            },
            "event": set(pairwise([*before[-2:], *after[:2]])),
        }[rule]
        return {(one, other) for one, other in pairs if other - one <= most}

    for rule in RULES:
        assert set(days_of(choose_pairs(wants(rule, most_days=most), passes))) == expected(rule)


def circling(offset_m: Sequence[float], shift_s: float, lon_deg: float, lat_deg: float) -> list[StateVector]:
    """Two vectors of a satellite that circles 700 km above a place, moved by `offset_m` (along, across, up)."""
    ground = np.array(Transformer.from_crs(4979, 4978, always_xy=True).transform(lon_deg, lat_deg, 0.0))
    up = ground / np.linalg.norm(ground)
    east = np.cross([0, 0, 1.0], up)
    east /= np.linalg.norm(east)
    north = np.cross(up, east)
    # 300 km to the east of the place and flying north
    middle = ground + 7.0e5 * up + 3.0e5 * east
    radius = np.linalg.norm(middle)
    out = middle / radius
    ahead = north - np.dot(north, out) * out
    ahead /= np.linalg.norm(ahead)
    across = np.cross(ahead, out)
    rate = 7600.0 / radius
    moved = offset_m[0] * ahead + offset_m[1] * across + offset_m[2] * out
    found = []
    for second in (-5.0, 5.0):
        angle = rate * (second + shift_s)
        position = radius * (math.cos(angle) * out + math.sin(angle) * ahead) + moved
        velocity = radius * rate * (-math.sin(angle) * out + math.cos(angle) * ahead)
        found.append(
            StateVector(
                time=EVENT + timedelta(seconds=second),
                position_m=tuple(position),
                velocity_m_s=tuple(velocity),
            )
        )
    return found


@settings(max_examples=40, deadline=None)
@given(
    across=st.floats(-300, 300), height=st.floats(-300, 300), along=st.floats(-500, 500),
    shift_s=st.floats(-20, 20), lon=st.floats(-179, 179), lat=st.floats(-60, 60),
)  # fmt: skip
def test_the_baseline_is_the_part_of_the_offset_across_the_line_of_sight(
    across: float, height: float, along: float, shift_s: float, lon: float, lat: float
) -> None:
    reference = circling((0, 0, 0), 0.0, lon, lat)
    secondary = circling((along, across, height), shift_s, lon, lat)
    middle = (np.array(reference[0].position_m) + np.array(reference[1].position_m)) / 2
    ground = np.array(Transformer.from_crs(4979, 4978, always_xy=True).transform(lon, lat, 0.0))
    out = middle / np.linalg.norm(middle)
    sight = (ground - middle) / np.linalg.norm(ground - middle)
    incidence = math.acos(-np.dot(out, sight))
    # velocity (north) x satellite minus ground (east and up) points east by its height and down by its distance
    expected = across * math.cos(incidence) - height * math.sin(incidence)
    found = perpendicular_baseline_m(reference, secondary, lon, lat)
    assert found == pytest.approx(expected, abs=3.0)
    back = perpendicular_baseline_m(secondary, reference, lon, lat)
    assert back == pytest.approx(-expected, abs=3.0)


def test_there_is_no_baseline_without_state_vectors_or_far_from_them() -> None:
    near = circling((0, 0, 0), 0.0, 10.0, 40.0)
    assert perpendicular_baseline_m(near, near, 10.0, 40.0) == 0
    assert perpendicular_baseline_m(near, near[:1], 10.0, 40.0) is None
    assert perpendicular_baseline_m((), near, 10.0, 40.0) is None
    assert perpendicular_baseline_m(near, near, 10.0, 50.0) is None
    assert perpendicular_baseline_m(near, near, -170.0, -40.0) is None


def test_costs_follow_the_stated_sizes() -> None:
    (pair,) = choose_pairs(wants(), [overflight(-10), overflight(2)]).pairs
    cost = estimate(pair)
    assert cost.bytes_to_fetch == 6 * 140_000_000
    assert cost.bytes_whole_granules == 8_000_000_000
    assert estimate(pair, "granules").bytes_to_fetch == 8_000_000_000
    # 3 bursts of 35 million samples: 105 million x 81 bytes and the inputs; 12 min each
    assert cost.scratch_bytes == 105_000_000 * 81 + 6 * 140_000_000
    assert cost.hours == pytest.approx(105e6 * 2e-5 / 3600, abs=1e-3)
    assert 8e9 < cost.memory_bytes <= 16e9 and cost.jobs == 1
    assert estimate(pair, backend="pygmtsar").hours < cost.hours


def test_costs_of_a_large_pair_are_those_of_its_largest_job() -> None:
    places = [f"046_{96000 + n:06d}_IW2" for n in range(23)]
    (pair,) = choose_pairs(wants(), [overflight(-10, places=places), overflight(2, places=places)]).pairs
    cost = estimate(pair)
    assert cost.jobs == 3
    assert cost.memory_bytes <= 32e9
    assert cost.scratch_bytes == 8 * (35_000_000 * 81 + 2 * 140_000_000)


def test_what_two_pairs_share_is_fetched_once() -> None:
    pairs = choose_pairs(wants(), TRACK[:3]).pairs
    assert bytes_of_all(pairs) == 3 * 3 * 140_000_000
    assert bytes_of_all(pairs, "granules") == 3 * 4_000_000_000


def test_a_burst_of_unknown_size_counts_as_the_mean() -> None:
    one, other = overflight(-10, places=PLACES[:1]), overflight(2, places=PLACES[:1])
    bare = [
        p.model_copy(update={"bursts": tuple(b.model_copy(update={"size_bytes": None}) for b in p.bursts)})
        for p in (one, other)
    ]
    (pair,) = choose_pairs(wants(), bare).pairs
    assert estimate(pair).bytes_to_fetch == 2 * BURST_BYTES


def test_from_the_archives_items_to_pairs() -> None:
    found = group_granules(repeats(4, days=12), area())
    chosen = choose_pairs(wants(), found.passes)
    assert [round(pair.days) for pair in chosen.pairs] == [12, 12, 12]
    assert chosen.pairs[0].perpendicular_baseline_m is None
