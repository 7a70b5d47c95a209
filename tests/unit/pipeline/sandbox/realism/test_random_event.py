"""Randomised events: in their ranges, the same for a seed, of every kind of land."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.sandbox.earth.events.random_event import RANGES, random_event
from pipeline.sandbox.earth.parameters import WorldParameters
from pipeline.sandbox.earth.realism.switches import LANDS, Land, Realism
from pipeline.sandbox.earth.scenarios import scenario

EVENTS = [random_event(seed) for seed in range(60)]


def test_the_same_seed_gives_the_same_event_and_others_differ() -> None:
    assert scenario("random", 7) == random_event(7)
    assert len({event.model_dump_json() for event in EVENTS}) == len(EVENTS)
    for event in EVENTS:
        assert WorldParameters.model_validate_json(event.model_dump_json()) == event
    assert {event.land for event in EVENTS} == set(LANDS)


@pytest.mark.parametrize("land", LANDS)
def test_a_land_can_be_named(land: Land) -> None:
    event = random_event(3, land)
    assert event.land == land and event.seed == 3
    assert (event.realism.snow is not None) == (land == "snow")


def test_what_is_drawn_lies_in_its_range_and_fills_it() -> None:
    drawn = {
        "prevalence": [event.prevalence for event in EVENTS],
        "looks": [event.looks for event in EVENTS],
        "incidence_deg": [track.incidence_deg for event in EVENTS for track in event.tracks],
        "weather_sd_db": [event.landscape.weather_sd_db for event in EVENTS],
        "slope_width_deg": [event.landscape.slope_width_deg for event in EVENTS],
        "hidden_share": [e.realism.slide_bodies.hidden_share for e in EVENTS if e.realism.slide_bodies],
        "disturbed_share": [e.realism.disturbances.share for e in EVENTS if e.realism.disturbances],
        "registration_px": [e.realism.viewing.registration_px for e in EVENTS if e.realism.viewing],
        "labels_missing": [e.realism.mapping.missing for e in EVENTS if e.realism.mapping],
    }
    for name, values in drawn.items():
        low, high = RANGES[name]
        assert len(values) >= len(EVENTS) and low <= min(values) and max(values) <= high, name
        ends = np.log([low, high]) if name == "prevalence" else np.array([low, high])
        spread = np.ptp(np.log(values) if name == "prevalence" else values)
        assert spread > 0.7 * np.ptp(ends), name
    assert 0.3 < np.mean([event.second_satellite for event in EVENTS]) < 0.7
    facing = [event.landscape.vv.slide_facing_db for event in EVENTS]
    assert np.ptp(facing) > 1.5


def test_a_world_without_effects_is_written_as_before() -> None:
    written = WorldParameters().model_dump(mode="json")
    assert not {"realism", "land", "second_satellite"} & set(written)
    assert WorldParameters.model_validate(written).realism == Realism()
