"""Expected passes: rhythms of satellites, turns that were missed, satellites that change; and real histories."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.events.following.next_pass import MOST_MISSED, expected_passes
from pipeline.events.following.pass_history import SeenPass, satellite, seen

DAY = timedelta(days=1)
START = datetime(2018, 6, 1, 20, 33, 10, tzinfo=UTC)
GRANULE = re.compile(r"(S1[A-D])_IW_SLC__1S[SD][VH]_(\d{8}T\d{6})_\d{8}T\d{6}_\d{6}_[0-9A-F]{6}_[0-9A-F]{4}")
RECORDED = "asf_search_responses/tests/yml_tests/Resources"


def flown(days: Iterable[float], platform: str = "sentinel-1a", track: int = 46) -> list[SeenPass]:
    return [
        SeenPass(relative_orbit=track, direction="descending", platform=platform, instant=START + day * DAY)
        for day in days
    ]


def after(history: list[SeenPass], day: float, span: float = 30) -> list[tuple[float, str]]:
    """Day and satellite of what is expected within `span` days after `day`."""
    now = START + day * DAY
    found = expected_passes(history, now=now, since=now, until=now + span * DAY)
    return [(round((one.instant - START) / DAY, 2), one.platform[-1]) for one in found]


def test_a_track_of_one_satellite_comes_again_after_its_repeat():
    assert after(flown(range(0, 96, 12)), 85) == [(96, "a"), (108, "a")]


def test_two_satellites_take_turns():
    history = flown(range(0, 96, 12)) + flown(range(6, 96, 12), "sentinel-1b")
    assert after(history, 91, 20) == [(96, "a"), (102, "b"), (108, "a")]


def test_a_missing_pass_changes_no_repeat():
    assert after(flown([0, 12, 36, 48, 60, 84]), 85, 15) == [(96, "a")]


def test_a_satellite_that_stopped_is_not_expected_and_its_successor_is():
    history = flown(range(0, 60, 12)) + flown(range(54, 120, 12), "sentinel-1c")
    assert after(history, 115, 15) == [(126, "c")]
    assert after(flown(range(0, 60, 12)), 48 + 12 * MOST_MISSED + 1, 15) == [(96, "a")]
    assert after(flown(range(0, 60, 12)), 48 + 12 * (MOST_MISSED + 1) + 3, 15) == []


def test_a_new_satellite_is_expected_by_the_repeat_of_the_others():
    assert after([*flown(range(0, 60, 12)), *flown([55], "sentinel-1c")], 56, 10) == [(60, "a")]
    assert (67, "c") in after([*flown(range(0, 60, 12)), *flown([55], "sentinel-1c")], 56, 12)
    assert after(flown([0]), 1, 40) == []


def test_two_satellites_in_one_turn_are_one_pass_of_the_newer():
    history = flown(range(0, 60, 12)) + flown([48.0001, 60.0001], "sentinel-1c")
    assert [platform for _, platform in after(history, 61, 14)] == ["c"]


def test_what_was_missed_since_the_event_is_among_what_was_expected():
    history = flown([0, 12, 24, 36, 60])
    found = expected_passes(history, now=START + 61 * DAY, since=START + 37 * DAY, until=START + 61 * DAY)
    assert [round((one.instant - START) / DAY) for one in found] == [48, 60]
    assert found[0].by_what and found[0].rests_on == 5 and found[0].repeat_days == 12


def test_a_pass_is_seen_once_whatever_slice_an_archive_lists():
    twice = flown([0, 0.0002, 12])
    assert [one.instant for one in seen(twice)] == [START, START + 12 * DAY]
    assert (satellite("sentinel-1c"), satellite("other")) == ("S1C", "other")


@pytest.mark.parametrize(
    ("name", "least_hit"),
    [
        ("S1A_IW_SLC__1SSV_20160528T141908_20160528T141938_011460_011746_335C_stack.yml", 0.8),
        ("SLC_BURST_stack.yml", 0.8),
    ],
)
def test_real_histories_let_the_next_pass_be_told_to_the_minute(
    shared_data: Path, name: str, least_hit: float
):
    text = (shared_data / RECORDED / name).read_text(encoding="utf-8")
    history = seen(
        SeenPass(
            relative_orbit=1,
            direction="ascending",
            platform=f"sentinel-1{unit[-1].lower()}",
            instant=datetime.strptime(when, "%Y%m%dT%H%M%S").replace(tzinfo=UTC),
        )
        for unit, when in set(GRANULE.findall(text))
    )
    errors_s, kept = [], 0
    for number in range(len(history) - 40, len(history)):
        known, truth = history[:number], history[number]
        now = known[-1].instant + timedelta(hours=1)
        told = expected_passes(known, now=now, since=now, until=now + 40 * DAY)
        nearest = min(told, key=lambda one: abs(one.instant - truth.instant))
        error_s = abs((nearest.instant - truth.instant).total_seconds())
        if error_s < 3600:
            errors_s.append(error_s)
            kept += told[0] == nearest
            assert error_s <= nearest.window_s
    print(f"{name}: {len(errors_s)} of 40 told, {kept} as the very next; worst {max(errors_s):.0f} s")
    assert len(errors_s) >= 32 and kept >= 32
    assert max(errors_s) <= 60
