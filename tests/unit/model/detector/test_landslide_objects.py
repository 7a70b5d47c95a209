"""From a score to objects."""

from __future__ import annotations

import numpy as np

from model.detector.landslide_objects import objects_of
from model.scores.mapped_objects import labelled


def test_an_object_needs_its_smallest_unit_above_the_threshold_and_grows_to_the_edge():
    score = np.zeros((12, 20), dtype=np.float32)
    score[2:5, 2:5] = 3.0  # 9 pixels above the edge,
    score[3, 2:5] = 5.0  # 3 of them above the threshold
    score[8, 2:12] = 3.0  # never above the threshold
    score[2:4, 15] = 5.0  # 2 pixels
    found = objects_of(score, threshold=4.0, edge=2.5, smallest_px=3)
    expected = np.zeros_like(found)
    expected[2:5, 2:5] = True
    np.testing.assert_array_equal(found, expected)
    assert objects_of(score, 4.0, 2.5, 4).sum() == 0
    assert objects_of(score, 4.0, 2.5, 2).sum() == 11


def test_small_holes_are_filled_but_neither_no_data_nor_what_is_not_searched():
    score = np.full((9, 9), 5.0, dtype=np.float32)
    score[2, 2], score[4, 4], score[6, 6] = 0.5, np.nan, 0.0
    found = objects_of(score, 4.0, 2.5, 4)
    assert found[2, 2] and not found[4, 4] and not found[6, 6]


def test_corners_do_not_join():
    numbers, count = labelled(np.eye(3, dtype=bool))
    assert count == 3 and numbers.diagonal().tolist() == [1, 2, 3]


def test_nothing_gives_nothing():
    assert not objects_of(np.full((5, 5), np.nan, np.float32), 4.0, 2.5, 1).any()
