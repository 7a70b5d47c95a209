"""What a map by the detector says of tests: of its own case, and how it differs from what was tested."""

from __future__ import annotations

import pytest

from model.detector.scene_views import every_view
from model.inputs.inputs import Inputs
from model.maps.accuracy import tested_detector as accuracy
from tests.quiet_cube import quiet_cube


def said(
    before: int = accuracy.TESTED_BEFORE,
    after: int = 1,
    tracks: tuple[int, ...] = (46, 68),
    pixel_m: float = 10.0,
    *,
    slope: bool = True,
) -> tuple[str, ...]:
    cube = quiet_cube(32, before=before, after=after, tracks=tracks)
    selection = every_view(cube, Inputs(terrain=()), None)
    return accuracy.tested_detector(selection, pixel_m, 1200.0, default=True, slope=slope).statements


def test_a_map_of_the_tested_case_differs_in_nothing():
    assert len(said()) == 3


@pytest.mark.parametrize(
    ("words", "case"),
    [
        ("4 passes before", {"before": 4}),
        ("up to 2 passes", {"after": 2}),
        ("1 track", {"tracks": (46,)}),
        ("30 m", {"pixel_m": 30.0}),
        ("slopes are not known", {"slope": False}),
    ],
)
def test_how_a_map_differs_from_what_was_tested_is_said(words, case):
    *others, last = said(**case)
    assert tuple(others) == said()
    assert words in last


def test_nothing_is_known_of_other_settings():
    selection = every_view(quiet_cube(32), Inputs(terrain=()), None)
    found = accuracy.tested_detector(selection, 10.0, 1200.0, default=False, slope=True)
    assert found.accuracy is None and len(found.statements) == 1
