"""What an event waits for, and when the archives are looked at next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.events.following.pass_history import SeenPass
from pipeline.events.following.waiting import (
    DENSE,
    MEDIUM,
    MOST_DAYS,
    PASSES_A_TRACK,
    SOONEST_RTC,
    THIN,
    earliest_look,
    standing,
)

EVENT = datetime(2018, 9, 5, 18, 8, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FIRST = datetime(2018, 9, 5, 20, 32, tzinfo=UTC)
"""the first pass after the event, two and a half hours later"""


def history(*turns: int, track: int = 46, first: datetime = FIRST) -> list[SeenPass]:
    """Passes every 12 days; turn 0 is the first after the event."""
    return [
        SeenPass(
            relative_orbit=track,
            direction="descending",
            platform="sentinel-1a",
            instant=first + turn * 12 * DAY,
        )
        for turn in turns
    ]


BEFORE = history(*range(-8, 0))
BOTH = (EVENT, EVENT)


def test_before_the_pass_the_words_say_which_when_and_how_long_its_product_takes():
    at = standing(BEFORE, BOTH, EVENT + HOUR)
    assert at.next is not None and at.next.instant == FIRST and not at.due
    for part in ("track 46", "5 September", "20:32 UTC", "3 to 20 hours"):
        assert part in at.words
    assert at.next_look == FIRST + SOONEST_RTC


@pytest.mark.parametrize(
    ("hours", "pause"),
    [(1, 2 * HOUR), (4, DENSE), (20, DENSE), (40, MEDIUM), (9 * 24, MEDIUM), (11 * 24, DAY)],
)
def test_looks_are_dense_after_an_expected_pass_and_thin_later(hours: int, pause: timedelta):
    now = FIRST + hours * HOUR
    at = standing(BEFORE, BOTH, now)
    assert [one.instant for one in at.due] == [FIRST]
    assert at.next_look == now + pause
    assert at.words.startswith(("due", "late") if hours < 240 else "waiting")


def test_between_passes_looks_are_thin():
    now = FIRST + 2 * DAY
    at = standing([*BEFORE, *history(0)], BOTH, now)
    assert (len(at.came), at.due, at.next_look) == (1, (), now + THIN)


def test_a_pass_that_another_satellite_flew_in_its_turn_came():
    other = SeenPass(
        relative_orbit=46,
        direction="descending",
        platform="sentinel-1c",
        instant=FIRST + timedelta(minutes=2),
    )
    at = standing([*BEFORE, other], BOTH, FIRST + DAY)
    assert (len(at.came), at.due) == (1, ())


def test_an_event_is_complete_once_every_flown_track_has_its_passes():
    other = [FIRST + 5 * DAY, 116]
    second = history(*range(-8, PASSES_A_TRACK), track=other[1], first=other[0])
    last = other[0] + (PASSES_A_TRACK - 1) * 12 * DAY
    whole = standing([*BEFORE, *history(*range(PASSES_A_TRACK)), *second], BOTH, last + HOUR)
    assert whole.complete and whole.finished and whole.next_look is None
    part = standing([*BEFORE, *history(*range(PASSES_A_TRACK)), *second[:-1]], BOTH, last + HOUR)
    assert not part.complete and len(part.due) == 1


def test_it_is_over_after_its_days_whatever_came():
    late = EVENT + (MOST_DAYS + 1) * DAY
    at = standing(BEFORE, BOTH, late)
    assert at.over and at.next_look is None and at.due


def test_without_a_history_nothing_is_expected_and_looks_are_thin():
    at = standing([], BOTH, EVENT + HOUR)
    assert (at.next, at.due, at.complete) == (None, (), False)
    assert at.next_look == EVENT + HOUR + THIN


def test_the_earliest_look_of_several_areas_counts():
    one, other = standing(BEFORE, BOTH, EVENT + HOUR), standing([], BOTH, EVENT + HOUR)
    assert earliest_look([one, other]) == one.next_look
    assert earliest_look([]) is None
