"""The status over passes, pass by pass."""

from __future__ import annotations

import numpy as np
import pytest

from model.detector.pass_status import (
    CONFIRMED,
    CONFIRMED_GONE,
    FIRST,
    GONE,
    NO_DATA,
    NONE,
    PROVISIONAL,
    WORDS,
    StatusCount,
    at_least_first,
    meanings,
)


def after(looks: str, tracks: str = "") -> int:
    """Status after passes that saw it (x), did not (.), or had no data (-); each by a track, 0 by default."""
    count = StatusCount((1,), 2, confirmed_after=3, gone_after=2)
    for look, track in zip(looks, tracks or "0" * len(looks), strict=True):
        count.add(int(track), np.array([look != "-"]), np.array([look == "x"]))
    return int(count.status()[0])


@pytest.mark.parametrize(
    ("looks", "tracks", "expected"),
    [
        (".", "", NONE),
        ("-", "", NO_DATA),
        ("x", "", FIRST),
        ("x.", "", FIRST),
        ("x-", "", FIRST),
        ("xx", "", PROVISIONAL),
        ("x.x", "", PROVISIONAL),
        ("xxx", "", CONFIRMED),
        ("xx.x", "", CONFIRMED),
        ("xxx.", "", CONFIRMED),
        ("x..", "", GONE),
        ("x.-.", "", GONE),
        ("xx..", "", GONE),
        ("x..x", "", PROVISIONAL),
        ("xxx..", "", CONFIRMED_GONE),
        ("xxx..x", "", CONFIRMED),
        # a track that never saw it does not make it gone; each track that saw it must lose it
        ("x..", "011", FIRST),
        ("xx...", "01011", PROVISIONAL),
        ("xx....", "010101", GONE),
    ],
)
def test_a_status_follows_from_the_passes_in_their_order(looks, tracks, expected):
    assert after(looks, tracks) == expected


def test_passes_are_counted_and_named():
    count = StatusCount((2,), 1, 3, 2)
    for seen in ([False, True], [True, True], [False, False]):
        count.add(0, np.array([True, True]), np.array(seen))
    assert count.seen.tolist() == [1, 2] and count.looked.tolist() == [3, 3]
    assert count.first.tolist() == [1, 0] and count.last.tolist() == [1, 1]


def test_an_object_that_no_pass_alone_shows_counts_as_seen_once():
    assert at_least_first(np.array([NONE, GONE, NO_DATA], np.uint8)).tolist() == [FIRST, GONE, NO_DATA]


def test_every_value_has_a_meaning():
    assert set(meanings(3, 2)) == {*WORDS, NO_DATA}
    assert "5 or more" in meanings(5, 2)[CONFIRMED]
