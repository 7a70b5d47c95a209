"""The events of a prior: each is determined by its number, and none is among those that are left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.sandbox.event_series import (
    AFTER,
    BEFORE,
    COARSE,
    COARSE_EVERY,
    LEFT_OUT,
    coarsened,
    left_out_events,
    training_event,
)
from tests.small_cube import small_cube


def test_an_event_is_determined_by_its_number() -> None:
    assert training_event(7) == training_event(7)
    assert training_event(7).parameters != training_event(12).parameters
    assert training_event(7).land == training_event(12).land == "forest"


def test_lands_passes_and_pixels_of_a_series() -> None:
    events = [training_event(number) for number in range(60)]
    lands = [one.land for one in events]
    assert {land: lands.count(land) for land in lands} == {
        "forest": 24, "arid": 12, "tropical": 12, "snow": 12,
    }  # fmt: skip
    for one in events:
        for track in one.parameters.tracks:
            assert BEFORE[0] <= track.before <= BEFORE[1] and AFTER[0] <= track.after <= AFTER[1]
    coarse = [one for one in events if one.coarse == COARSE]
    assert len(coarse) == 60 // COARSE_EVERY
    assert {one.land for one in coarse} == set(lands)


def test_no_training_event_is_left_out() -> None:
    left_out = left_out_events()
    assert [(one.land, one.seed) for one in left_out] == list(LEFT_OUT)
    assert not {one.seed for one in left_out} & {training_event(number).seed for number in range(500)}


def test_a_coarse_cube_has_means_of_linear_power_and_labels_of_the_middle_pixel() -> None:
    cube = small_cube(64)
    made = coarsened(cube, 3)
    assert made.sizes["y"] == made.sizes["x"] == 21
    assert float(made.x[1] - made.x[0]) == 30.0
    block = cube.vv.values[2, 30:33, 30:33]
    assert made.vv.values[2, 10, 10] == pytest.approx(block.mean(), rel=1e-6)
    labels = cube.landslides.values[1::3, 1::3][:21, :21]
    assert np.array_equal(made.landslides.values, labels, equal_nan=True)
    assert made.attrs["event"] == cube.attrs["event"]


def test_the_cube_of_an_event_is_named_after_it() -> None:
    cube = replace(training_event(1), side_px=48).cube()
    assert cube.attrs["area"] == "arid-1002" and cube.attrs["simulated"] == 1
    assert set(np.unique(cube["sat:orbit_state"].values)) == {"ascending", "descending"}
