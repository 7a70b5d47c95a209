"""Classes of terrain and the steps of a pass by class."""

from __future__ import annotations

import numpy as np
import pytest

from model.detector.terrain_classes import (
    GROUND_CLASSES,
    LEAST_STEP_DB,
    TerrainClasses,
    spreads_of,
    steps_of,
)

RNG = np.random.default_rng(0)


def test_ground_is_classed_by_slope_and_by_sector_of_aspect():
    slope = np.deg2rad(np.array([2.0, 10.0, 10.0, 10.0, 10.0, 30.0], np.float32))
    aspect = np.array([180.0, 0.0, 359.0, 90.0, 270.0, 180.0], np.float32)
    found = TerrainClasses(()).ground(slope, aspect, (6,))
    assert found.tolist() == [0, 1, 1, 2, 4, 11]
    assert found.max() < GROUND_CLASSES
    assert TerrainClasses(()).ground(None, None, (2,)).tolist() == [0, 0]


def test_elevation_classes_hold_equal_numbers_of_pixels():
    dem = RNG.uniform(0, 1000, 40_000).astype(np.float32)
    classes = TerrainClasses.of(dem)
    counts = np.bincount(classes.elevation(dem, dem.shape))
    assert len(counts) == 20 and counts.min() > 1900
    assert TerrainClasses.of(dem[:900]).elevations_m == ()
    assert TerrainClasses.of(None).elevation(None, (3,)).tolist() == [0, 0, 0]


def test_a_snow_line_and_a_wet_slope_are_found_and_removed():
    dem = RNG.uniform(0, 1000, 60_000).astype(np.float32)
    ground = RNG.integers(0, GROUND_CLASSES, dem.size).astype(np.uint8)
    height = TerrainClasses.of(dem).elevation(dem, dem.shape)
    change = (
        0.3 + np.where(dem > 700, -5.0, 0.0) + np.where(ground == 6, 3.0, 0.0) + RNG.normal(0, 0.3, dem.size)
    )
    steps = steps_of(change.astype(np.float32), ground, height)
    rest = change - steps.total(ground, height)
    for mine in (dem > 700, dem < 700, ground == 6, ground == 1):
        # what a class keeps is at most the least step of each of its two kinds
        assert abs(np.median(rest[mine])) <= 2 * LEAST_STEP_DB
    plain = steps_of(change.astype(np.float32), ground, height, by_class=False).total(ground, height)
    assert plain == pytest.approx(np.median(change), abs=1e-5)


def test_small_steps_and_small_classes_are_left_alone():
    ground = np.zeros(10_000, dtype=np.uint8)
    ground[:3000], ground[3000:3400] = 1, 2
    change = np.zeros(10_000, dtype=np.float32)
    change[:3000], change[3000:3400] = 0.4, 8.0
    height = np.zeros_like(ground)
    assert np.abs(steps_of(change, ground, height).total(ground, height)).max() == 0


def test_a_noisy_pass_and_a_noisy_class_count_less():
    ground = np.zeros(20_000, dtype=np.uint8)
    ground[:5000] = 3
    height = np.zeros_like(ground)
    score = RNG.normal(0, 1, ground.size).astype(np.float32)
    assert spreads_of(0.5 * score, ground, height).largest(ground, height).max() == 1.0
    score[:5000] *= 4
    found = spreads_of(score, ground, height).largest(ground, height)
    assert found[0] == pytest.approx(4.0, rel=0.1)
    assert found[-1] == pytest.approx(1.3, rel=0.15)
