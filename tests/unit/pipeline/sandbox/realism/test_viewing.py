"""Layover, shadow and flattening against the geometry of slopes that are known; registration of passes."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.sandbox.earth.realism.viewing import view_of
from tests.unit.pipeline.sandbox.realism.made_relief import STEP_M, ridges

INCIDENCE, EAST, WEST = 36.0, 100.5, 259.5
INNER = np.s_[30:-30, 60:-60]


def test_flat_ground_is_seen_as_it_is() -> None:
    rng = np.random.default_rng(0)
    flat = np.full((90, 140), 37.0, dtype=np.float32)
    ground = np.tile(np.repeat(rng.uniform(0.1, 0.3, 28), 5), (90, 1)).astype(np.float32)
    for azimuth in (EAST, WEST):
        view = view_of(flat, flat, STEP_M, INCIDENCE, azimuth)
        assert not view.layover.any() and not view.shadow.any()
        seen = view.seen(ground)
        # bins and reading smooth over a pixel on either side
        assert seen[:, 2:-2].mean() == pytest.approx(ground[:, 2:-2].mean(), rel=0.01)
        assert np.abs(seen[:, 2::5] / ground[:, 2::5] - 1)[:, 1:-1].max() < 0.02


def test_a_perfect_elevation_flattens_every_slope_and_a_flat_one_leaves_the_slopes() -> None:
    hills = ridges((120, 300), 20.0, 50)
    ground = np.full(hills.shape, 0.2, dtype=np.float32)
    perfect = view_of(hills, hills, STEP_M, INCIDENCE, EAST).seen(ground)[INNER]
    assert np.abs(10 * np.log10(perfect / 0.2)).mean() < 0.1
    none = view_of(hills, np.zeros_like(hills), STEP_M, INCIDENCE, EAST).seen(ground)[INNER]
    assert np.std(10 * np.log10(none)) > 2.0


def test_slopes_that_face_the_radar_are_foreshortened() -> None:
    """Unflattened, a slope towards the radar is narrower in range and brighter by its area; the other is not."""
    hills = ridges((120, 300), 20.0, 60)
    ground = np.full(hills.shape, 0.2, dtype=np.float32)
    image = view_of(hills, np.zeros_like(hills), STEP_M, INCIDENCE, EAST).seen(ground)[INNER]
    rise = np.tan(np.radians(20.0))
    theta = np.tan(np.radians(INCIDENCE))
    for sign in (1, -1):
        wanted = 0.2 * (1 + sign * rise * theta) / (1 - sign * rise / theta)
        share = (1 - sign * rise / theta) / 2
        found = np.mean(np.abs(image / wanted - 1) < 0.04)
        assert found == pytest.approx(share, abs=0.07), sign


@pytest.mark.parametrize(
    ("slope_deg", "incidence_deg", "layover", "shadow"),
    [
        (25.0, 36.0, False, False),
        (45.0, 36.0, True, False),
        (55.0, 46.0, True, True),
        (60.0, 25.0, True, False),
    ],
)
def test_layover_and_shadow_begin_at_their_angles(
    slope_deg: float, incidence_deg: float, layover: bool, shadow: bool
) -> None:
    """Layover where a slope is steeper than the incidence, shadow where it is steeper than 90 degrees less of it."""
    hills = ridges((100, 400), slope_deg, 40)
    view = view_of(hills, hills, STEP_M, incidence_deg, WEST)
    assert view.layover[INNER].any() == layover
    assert view.shadow[INNER].any() == shadow
    if layover:
        # on a roof of two sides the facing one and what lies under it: half, and its overlap with the sides next to it
        assert view.layover[INNER].mean() > 0.5


def test_shadow_covers_what_its_angle_says() -> None:
    """Behind a wall of 100 m at an incidence of 45 degrees the ground is dark for 100 m, ten pixels."""
    wall = np.zeros((60, 200), dtype=np.float32)
    wall[:, 98:100] = 100.0
    view = view_of(wall, wall, STEP_M, 45.0, EAST)
    dark = view.shadow[20:-20].sum(axis=1)
    # range runs oblique to the rows, by 10.5 degrees
    assert dark.mean() == pytest.approx(10.0, abs=1.5)
    # the sensor is in the east, so that the dark ground lies west of the wall
    assert view.shadow[30, :98].any() and not view.shadow[30, 100:].any()


def test_a_pass_is_shifted_by_its_error_of_registration() -> None:
    flat = np.zeros((100, 160), dtype=np.float32)
    y, x = np.mgrid[:100, :160]
    ground = (0.1 + np.exp(-((y - 50) ** 2 + (x - 80) ** 2) / 72)).astype(np.float32)
    view = view_of(flat, flat, STEP_M, INCIDENCE, WEST)

    def centre(image: np.ndarray) -> tuple[float, float]:
        weight = np.maximum(image - 0.11, 0)
        return float((weight * y).sum() / weight.sum()), float((weight * x).sum() / weight.sum())

    still, moved = centre(view.seen(ground)), centre(view.seen(ground, (0.4, -1.3)))
    # range runs to the east and a little to the north: 0.185 rows up for each column
    assert moved[0] - still[0] == pytest.approx(0.4 + 0.185 * 1.3, abs=0.07)
    assert moved[1] - still[1] == pytest.approx(-1.3, abs=0.05)
    one = view.seen(ground, (0.3, 0.3))
    assert np.isfinite(one).all() and (one >= 0).all()
