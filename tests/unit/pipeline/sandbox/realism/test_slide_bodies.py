"""Landslides: which show, what their zones change, and where they run."""

from __future__ import annotations

import numpy as np
import pytest
from shapely import LineString, Point

from pipeline.sandbox.earth.events.lands import realistic
from pipeline.sandbox.earth.realism.drainage import Descent, catchment_km2
from pipeline.sandbox.earth.realism.runout import (
    DEPOSIT,
    SOURCE,
    TRANSPORT,
    draw_visibility,
    flowing_body,
    zone_change_db,
)
from pipeline.sandbox.earth.realism.switches import SlideBodies
from pipeline.sandbox.earth.scene import Scene
from tests.bench.acceptance import scene_of
from tests.unit.pipeline.sandbox.realism.made_relief import STEP_M, grid_of


@pytest.fixture(scope="module")
def scene() -> Scene:
    return scene_of(realistic().model_copy(update={"seed": 3, "prevalence": 0.08}), 300)


def test_shares_that_do_not_show_and_show_half() -> None:
    shown = draw_visibility(20_000, SlideBodies(hidden_share=0.3, half_share=0.4), np.random.default_rng(0))
    assert {float(value) for value in np.unique(shown)} == {0.0, 0.5, 1.0}
    shares = [float(np.mean(shown == value)) for value in (0.0, 0.5, 1.0)]
    assert shares == pytest.approx([0.3, 0.4, 0.3], abs=0.012)
    assert draw_visibility(50, SlideBodies(hidden_share=0, half_share=0), np.random.default_rng(0)).min() == 1


def test_hidden_landslides_change_nothing_and_others_by_their_part(scene: Scene) -> None:
    shown = scene.slides.shown
    assert shown is not None
    change = scene.change_db(scene.swaths[0].track, "vv")
    rms = {}
    for part in (0.0, 0.5, 1.0):
        numbers = np.flatnonzero(shown == part)
        inside = np.isin(scene.slides.id_map, numbers[numbers > 0])
        rms[part] = float(np.sqrt(np.mean(change[inside] ** 2)))
    # neighbours lend a little at their edges
    assert rms[0.0] < 0.25 * rms[0.5]
    assert rms[0.5] == pytest.approx(0.5 * rms[1.0], rel=0.35)


def test_zones_have_signs_of_their_own(scene: Scene) -> None:
    zones = scene.slides.zone_map
    assert zones is not None and set(np.unique(zones)) == {0, SOURCE, TRANSPORT, DEPOSIT}
    assert not zones[scene.slides.id_map == 0].any()
    bodies = scene.parameters.realism.slide_bodies
    assert bodies is not None
    for pol in ("vv", "vh"):
        added = zone_change_db(bodies, pol)
        assert added[0] == 0 and added[SOURCE] < 0 < added[DEPOSIT]
        change = scene.change_db(scene.swaths[0].track, pol)
        assert change[zones == DEPOSIT].mean() - change[zones == SOURCE].mean() > 0.5


def test_sources_lie_above_deposits(scene: Scene) -> None:
    """Of each landslide with both zones: in nine of ten the source is higher on the true terrain."""
    height, zones, numbers = scene.relief.elevation_m, scene.slides.zone_map, scene.slides.id_map
    assert zones is not None
    higher = []
    for number in range(1, len(scene.slides.new) + 1):
        own = numbers == number
        top, bottom = own & (zones == SOURCE), own & (zones == DEPOSIT)
        if top.any() and bottom.any():
            higher.append(height[top].mean() > height[bottom].mean())
    assert len(higher) > 50 and np.mean(higher) > 0.9


def test_a_body_follows_the_valley_and_has_its_area() -> None:
    """On a trough that descends to the south and bends to the east the body keeps to its bottom."""
    row, column = np.mgrid[:200, :200].astype(np.float64)
    middle = 60 + 0.004 * np.maximum(row - 60, 0) ** 2
    height = (0.8 * (column - middle) ** 2 * 0.1 - 4.0 * row).astype(np.float32)
    grid = grid_of((200, 200))
    x, y = grid.left + 60 * STEP_M, grid.top - 70 * STEP_M
    body = flowing_body(Descent.on(grid, height), x, y, 30_000.0, 1.0, np.random.default_rng(1))
    assert body is not None and body.zones is not None
    assert body.outline.area == pytest.approx(30_000, rel=0.1)
    assert sum(zone.area for zone in body.zones) == pytest.approx(body.outline.area, rel=0.1)
    trough = LineString(
        [(grid.left + (m + 0.5) * STEP_M, grid.top - (r + 0.5) * STEP_M) for r, m in enumerate(middle[:, 0])]
    )
    assert max(trough.distance(Point(point)) for point in body.path) < 45
    heights = [body.path[0][1], body.path[-1][1]]
    assert heights[0] > heights[1]


def test_longer_runout_makes_longer_and_narrower_bodies() -> None:
    height = np.tile(-4.0 * np.arange(300.0)[:, None], (1, 100)).astype(np.float32)
    grid = grid_of((300, 100))
    descent = Descent.on(grid, height)
    found = []
    for runout in (1.0, 2.0):
        body = flowing_body(
            descent, grid.left + 500, grid.top - 1000, 20_000.0, runout, np.random.default_rng(4)
        )
        assert body is not None
        found.append(LineString(body.path).length)
    assert found[1] / found[0] == pytest.approx(np.sqrt(2), rel=0.1)


def test_water_gathers_in_the_trough() -> None:
    column = np.abs(np.arange(240) - 120.0)
    height = (8.0 * column[None, :] + 1.0 * np.arange(200)[::-1, None]).astype(np.float32)
    area = catchment_km2(height, STEP_M)
    # of 4.8 km², all but the two corners (0.72 km² each) whose water reaches the lower edge before the trough
    assert area[-3:, 110:130].max() == pytest.approx(4.8 - 2 * 0.72, rel=0.1)
    assert area[-3:, :60].max() < 0.5
