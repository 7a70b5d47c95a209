"""Towns, rivers and disturbances of a realistic scene, and that nothing before the event tells of it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from pipeline.sandbox.earth.events.lands import realistic
from pipeline.sandbox.earth.ground.ground import registration
from pipeline.sandbox.earth.radar import observe
from pipeline.sandbox.earth.realism.disturbances import NEVER
from pipeline.sandbox.earth.realism.switches import LANDS, Land, Viewing
from pipeline.sandbox.earth.scene import Scene
from tests.bench.acceptance import scene_of

SIDE_PX = 256


def made(land: Land = "forest", **changes: object) -> Scene:
    return scene_of(realistic(land).model_copy(update={"seed": 2, **changes}), SIDE_PX)


@pytest.fixture(scope="module")
def forest() -> Scene:
    return made()


def test_buildings_are_bright_and_steady_and_turn_with_the_look(forest: Scene) -> None:
    assert forest.ground is not None and forest.ground.built is not None
    built = forest.ground.built
    assert built.town.mean() == pytest.approx(0.02, abs=0.005)
    one, other = (built.added(heading, -8.0, 0.0) for heading in (190.5, 235.5))
    assert one.max() > 1.0 and (one >= 0).all()
    strong = one > np.quantile(one, 0.998)
    assert np.mean(other[strong] < 0.6 * one[strong]) > 0.5
    assert built.added(190.5, -8.0, 7.0).max() == pytest.approx(one.max() * 10**-0.7, rel=1e-3)
    passes = [observe(forest, flight, "vv") for flight in forest.flights[:4]]
    spread = np.std(10 * np.log10(np.maximum(passes, 1e-4)), axis=0)
    land = ~forest.relief.water & ~forest.ground.built.town
    assert np.median(spread[one > 1.5]) < 0.8 * np.median(spread[land])


def test_disturbances_cover_their_share_of_forested_slopes(forest: Scene) -> None:
    assert forest.ground is not None and forest.ground.disturbed is not None
    since, first = forest.ground.disturbed.since, 4
    assert (since < NEVER).mean() == pytest.approx(0.02, abs=0.005)
    assert np.mean(since[since < NEVER] == first) == pytest.approx(0.7, abs=0.2)
    assert not (since < NEVER)[forest.relief.water | (forest.parcels > 0)].any()
    slope = np.degrees(forest.relief.slope_rad)
    assert slope[since < NEVER].mean() > slope.mean()
    switches = forest.parameters.realism.disturbances
    assert switches is not None
    before, after = (forest.ground.disturbed.change_db(index, "vh", switches) for index in (3, 4))
    at_event = since == first
    assert not before[at_event].any()
    assert set(np.unique(after[at_event])) <= {np.float32(-2.5), np.float32(0.4)}


def test_river_beds_change_more_than_their_surroundings(forest: Scene) -> None:
    assert forest.ground is not None and forest.ground.bed is not None
    bed = forest.ground.bed
    assert 0.005 < bed.mean() < 0.1
    inner = ndimage.binary_erosion(bed)
    deviation = [forest.ground.pass_db(flight, "vv") for flight in forest.flights]
    change = deviation[4] - deviation[3]
    away = change - ndimage.uniform_filter(change, 61)
    assert away[inner].std() > 1.5
    assert not forest.relief.water[bed].any()


def test_registration_has_its_spread_and_is_shared_by_polarisations(forest: Scene) -> None:
    flight = forest.flights[0]
    shifts = [registration(seed, flight, Viewing(registration_px=0.3)) for seed in range(400)]
    assert np.std(shifts) == pytest.approx(0.3, rel=0.1) and abs(np.mean(shifts)) < 0.04
    assert registration(1, flight, Viewing()) == registration(1, flight, Viewing())


def test_a_second_satellite_has_an_offset_of_its_own_in_range() -> None:
    scene = made(second_satellite=True)
    assert [flight.platform for flight in scene.flights] == ["S1A", "S1B"] * 4
    assert len({flight.absolute_orbit for flight in scene.flights}) == 8
    viewing = Viewing(registration_px=0.0, second_satellite_px=0.6)
    assert [registration(1, flight, viewing)[1] for flight in scene.flights] == [0.0, 0.6] * 4


@pytest.mark.parametrize("land", LANDS)
def test_images_before_the_event_hold_no_trace_of_its_landslides(land: Land) -> None:
    """Without older scars, the same world without landslides is the same to the last bit before the event."""
    plain = realistic(land)
    bodies = plain.realism.slide_bodies
    assert bodies is not None
    without = bodies.model_copy(update={"scars_per_slide": 0.0})
    realism = plain.realism.model_copy(update={"slide_bodies": without})
    moved, still = made(land, realism=realism), made(land, realism=realism, prevalence=0.0)
    assert moved.slides.id_map.any() and not still.slides.id_map.any()
    for one, other in zip(moved.flights, still.flights, strict=True):
        same = np.array_equal(observe(moved, one, "vv"), observe(still, other, "vv"))
        assert same is not one.slid


def test_low_hills_with_valley_floors(forest: Scene) -> None:
    """The elevation of Hokkaido's patches: a mean of 151 m and a spread of 30 m in 1.28 km."""
    height = forest.relief.elevation_m
    flat = np.degrees(forest.relief.slope_rad) < 3
    assert flat.mean() == pytest.approx(0.25, abs=0.1)
    assert 110 < height.mean() < 190
    patches = [
        height[r : r + 128, c : c + 128].std()
        for r in range(0, height.shape[0] - 127, 128)
        for c in range(0, height.shape[1] - 127, 128)
    ]
    assert 20 < np.median(patches) < 40
