"""A verdict holds for a polygon by half of the union; what overlaps otherwise is named."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from shapely.geometry import Polygon, box

from model.reviews.inheritance import counting, held_by, share_of_union
from model.reviews.verdict import Reviews, Verdict, to_degrees, transformed

CRS = "EPSG:32654"
X, Y = 500_000.0, 4_700_000.0
THERE = to_degrees(CRS)
NOON = datetime(2018, 9, 6, 12, tzinfo=UTC)


def square(left: float, right: float, top: float = 100.0) -> Polygon:
    return box(X + left, Y, X + right, Y + top)


def verdict(judgement, polygon, hours=0, replaces=(), number=1) -> Verdict:
    return Verdict(
        judgement=judgement, who="Ana", when=NOON + timedelta(hours=hours), map="v1-detector", polygon=number,
        outline=transformed(polygon, THERE), replaces=tuple(transformed(one, THERE) for one in replaces),
    )  # fmt: skip


def counted(*verdicts):
    return counting(Reviews(area="a", verdicts=verdicts), CRS)


def held(polygons, *verdicts):
    return held_by(polygons, counted(*verdicts))


@pytest.mark.parametrize(
    ("right", "state"),
    [(100, "held"), (190, "held"), (199, "held"), (201, "ambiguous"), (900, "ambiguous")],
)
def test_half_of_the_union_decides(right, state):
    found = held([square(0, right)], verdict("accepted", square(0, 100)))
    assert (0 in found.holds) == (state == "held") and (0 in found.ambiguous) == (state == "ambiguous")


def test_a_touch_means_nothing_and_the_verdict_is_unmatched():
    found = held([square(95, 195)], verdict("accepted", square(0, 100)))
    assert not found.holds and not found.ambiguous and len(found.unmatched) == 1


def test_a_later_verdict_takes_the_place_of_an_earlier_one():
    found = counted(verdict("accepted", square(0, 100)), verdict("rejected", square(10, 110), hours=1))
    assert [one.verdict.judgement for one in found] == ["rejected"]
    assert not counted(verdict("accepted", square(0, 100)), verdict("withdrawn", square(0, 100), hours=1))


def test_verdicts_that_were_given_together_all_count():
    whole = square(0, 100)
    found = counted(
        verdict("edited", square(0, 50), replaces=[whole]), verdict("edited", square(50, 100), number=None)
    )
    assert len(found) == 2


def test_verdicts_that_differ_make_a_polygon_ambiguous():
    left, right = verdict("accepted", square(0, 51)), verdict("rejected", square(49, 100))
    assert 0 in held([square(0, 100)], left, right).ambiguous
    assert held([square(0, 48), square(52, 100)], left, right).holds[1].verdict.judgement == "rejected"
    agreed = held([square(0, 100)], left, verdict("accepted", square(49, 100)))
    assert agreed.holds[0].verdict.judgement == "accepted"


def test_an_edited_outline_is_found_by_what_it_replaces():
    edit = verdict("edited", square(0, 20), replaces=[square(0, 100), square(200, 300)])
    found = held([square(0, 100), square(205, 300), square(400, 500)], edit)
    assert set(found.holds) == {0, 1} and not found.edited_alone
    alone = held([square(400, 500)], edit)
    assert len(alone.edited_alone) == 1 and not alone.unmatched


def test_half_of_a_split_polygon_stays_in_the_map():
    """Both halves share exactly half with the polygon that was split."""
    halves = (
        verdict("edited", square(0, 50), replaces=[square(0, 100)]),
        verdict("edited", square(50, 100), number=None),
    )
    found = held([square(0, 100)], *halves)
    shown = {id(one) for one in (*found.holds.values(), *found.edited_alone)}
    assert len(shown) == 2


def test_verdicts_of_another_continent_hold_for_nothing():
    far = Verdict(
        judgement="accepted",
        who="Ana",
        when=NOON,
        outline=box(-70.0, -30.0, -69.9, -29.9),
        map="m",
        polygon=1,
    )
    assert not held([square(0, 100)], far).holds


@given(st.floats(1, 400), st.floats(1, 400), st.floats(-300, 300))
def test_the_share_is_symmetric_and_between_nothing_and_all(one, other, shift):
    a, b = square(0, one), square(shift, shift + other)
    share = share_of_union(a, b)
    assert share == pytest.approx(share_of_union(b, a)) and 0 <= share <= 1 + 1e-9
    assert share_of_union(a, a) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "outline",
    [
        None, {}, {"type": "Polygon"}, {"type": "Polygon", "coordinates": []}, {"type": "Point", "coordinates": [0, 0]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [500, 0], [500, 1], [0, 0]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [float("nan"), 0], [1, 1], [0, 0]]]},
        {"type": "Polygon", "coordinates": "x"},
    ],
)  # fmt: skip
def test_an_outline_that_is_none_is_refused(outline):
    with pytest.raises(ValidationError):
        Verdict(judgement="accepted", who="Ana", when=NOON, outline=outline)


def test_texts_are_one_line_that_can_be_printed():
    said = verdict("accepted", square(0, 100)).model_copy()
    again = Verdict.model_validate(said.model_dump() | {"who": "An\u202ea\n\x07", "note": "a\r\nb"})
    assert again.who == "An a" and again.note == "a b"
    with pytest.raises(ValidationError):
        Verdict.model_validate(said.model_dump() | {"who": ""})
