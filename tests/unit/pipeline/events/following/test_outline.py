"""The boxes of an event's areas: what they rest on, their size, 180 degrees, land."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pyproj import Geod

from pipeline.events.detected_event import DetectedEvent, GroundFailure
from pipeline.events.following.outline import (
    SIZES,
    divided,
    on_land,
    outline_of,
    radius_km,
)
from pipeline.events.triggering_rule import AreaSizes

WHEN = datetime(2018, 9, 5, 18, 7, 59, tzinfo=UTC)


def event(**fields: Any) -> DetectedEvent:
    given = {
        "source": "usgs", "id": "us2000h8ty", "updated": WHEN, "kind": "earthquake", "start": WHEN, "end": WHEN,
        "longitude": 142.0, "latitude": 42.7, "magnitude": 6.6, "depth_km": 35.0,
    }  # fmt: skip
    return DetectedEvent.model_validate(given | fields)


def sides_km(bounds: tuple[float, ...]) -> tuple[float, float]:
    west, south, east, north = bounds
    geod, middle = Geod(ellps="WGS84"), (south + north) / 2
    return geod.inv(west, middle, east, middle)[2] / 1e3, geod.inv(west, south, west, north)[2] / 1e3


def test_the_hazard_comes_before_the_shaking_and_that_before_the_radius():
    failure = GroundFailure(bounds=(141.7, 42.4, 142.3, 42.9))
    shaking = (141.0, 42.0, 143.0, 43.0)
    for fields, basis in (
        ({"ground_failure": failure, "shaking": shaking}, "hazard"),
        ({"ground_failure": GroundFailure(), "shaking": shaking}, "shaking"),
        ({}, "radius"),
    ):
        assert outline_of(event(**fields)).basis == basis
    (found,) = outline_of(event(ground_failure=failure)).boxes
    assert found == pytest.approx(failure.bounds)


def test_a_radius_grows_with_the_magnitude_and_shrinks_with_the_depth():
    assert radius_km(6.6, 10) == pytest.approx(36, abs=1)
    assert radius_km(7.8, None) > radius_km(6.6, None) > radius_km(6.0, None)
    assert (
        radius_km(6.6, 10)
        == radius_km(6.6, 20)
        > radius_km(6.6, 35)
        > radius_km(6.6, 60)
        == SIZES.least_radius_km
    )
    without = outline_of(event(magnitude=None, kind="rainfall"))
    assert without.boxes and any("assumed" in line for line in without.reasons)


def test_a_large_extent_is_limited_around_its_middle_and_widened_by_a_person():
    wide = event(shaking=(140.0, 41.0, 144.0, 44.0))
    (found,) = outline_of(wide).boxes
    assert sides_km(found) == pytest.approx((SIZES.largest_side_km, SIZES.largest_side_km), rel=0.01)
    assert (found[0] + found[2], found[1] + found[3]) == pytest.approx((284.0, 85.0))
    assert any("limited" in line for line in outline_of(wide).reasons)
    (wider,) = outline_of(wide, 20.0).boxes
    assert sides_km(wider) == pytest.approx(
        (SIZES.largest_side_km + 40, SIZES.largest_side_km + 40), rel=0.01
    )


def test_the_rule_says_how_small_and_how_large_an_area_may_be():
    sizes = AreaSizes(least_side_km=5, least_radius_km=6, largest_side_km=30)
    for fields, expected in (
        ({"shaking": (140.0, 41.0, 144.0, 44.0)}, 30),
        ({"shaking": (142.0, 42.7, 142.001, 42.701)}, 5),
        ({"magnitude": 5.5, "depth_km": 100.0}, 12),
    ):
        (found,) = outline_of(event(**fields), 0.0, sizes).boxes
        assert sides_km(found) == pytest.approx((expected, expected), rel=0.01)
    with pytest.raises(ValidationError):
        AreaSizes(least_radius_km=60)


def test_an_extent_that_a_person_named_is_not_limited():
    (found,) = outline_of(event(source="manual", kind="rainfall", shaking=(140.0, 42.0, 142.0, 43.5))).boxes
    assert found == pytest.approx((140.0, 42.0, 142.0, 43.5))


@given(st.floats(-180, 180), st.floats(-78, 82), st.floats(5, 9.5), st.floats(0, 700), st.floats(0, 200))
def test_every_event_has_boxes_within_the_world(lon, lat, magnitude, depth, margin):
    outline = outline_of(event(longitude=lon, latitude=lat, magnitude=magnitude, depth_km=depth), margin)
    assert 1 <= len(outline.boxes) <= 2
    for west, south, east, north in outline.boxes:
        assert -180 <= west < east <= 180 and -80 < south < north < 84


def test_a_box_across_180_degrees_is_two():
    fiji = outline_of(event(longitude=179.9, latitude=-17.0, magnitude=7.0, depth_km=10.0))
    (west, east) = fiji.boxes
    assert (west[2], east[0]) == (180.0, -180.0)
    crossing = outline_of(event(shaking=(179.8, -17.2, -179.9, -16.9)))
    assert len(crossing.boxes) == 2


def test_what_is_too_large_is_divided_into_equal_parts_without_a_gap():
    whole = outline_of(event(shaking=(140.0, 41.0, 144.0, 44.0)), 100.0)
    parts = divided(whole, 20_000.0)
    assert len(parts.boxes) >= 5
    assert parts.footprint.symmetric_difference(whole.footprint).area < 1e-9
    assert max(max(sides_km(each)) / min(sides_km(each)) for each in parts.boxes) < 2
    assert divided(whole, 1e6) == whole


def test_sea_is_cut_off():
    """South-west of Cape Erimo lies the Pacific; the coast of Hidaka is near 42.3 N, 141.8 E and beyond."""
    coast = outline_of(event(shaking=(141.6, 41.7, 142.4, 42.6)))
    (found,) = on_land(coast).boxes
    assert 42.1 < found[1] < 42.5 and 141.6 < found[0] < 142.0
    assert found[2:] == pytest.approx(coast.boxes[0][2:])
    assert any("cut to land" in line for line in on_land(coast).reasons)
    sea = on_land(outline_of(event(longitude=-140.0, latitude=-40.0)))
    assert sea.boxes == () and any("without land" in line for line in sea.reasons)
    inland = outline_of(event(longitude=142.8, latitude=43.5))
    assert on_land(inland) == inland
