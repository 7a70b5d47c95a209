"""The inventory: share that is missing, neighbours, the common shift, older landslides."""

from __future__ import annotations

import numpy as np
import pytest
from shapely import box

from pipeline.sandbox.earth.realism.mapping_errors import mapped_outlines, merged
from pipeline.sandbox.earth.realism.switches import MappingErrors

EXACT = MappingErrors(missing=0.0, merged_within_m=0.0, shift_m=0.0, older_share=0.0)


def squares(count: int, apart_m: float = 500.0, side_m: float = 80.0) -> list:
    return [box(k * apart_m, 0, k * apart_m + side_m, side_m) for k in range(count)]


def test_without_errors_the_outlines_are_the_true_ones() -> None:
    new, old = mapped_outlines(squares(20), squares(5), EXACT, np.random.default_rng(0))
    assert [a.equals(b) for a, b in zip(new, squares(20), strict=True)] == [True] * 20 and len(old) == 5


def test_the_share_that_is_missing() -> None:
    errors = EXACT.model_copy(update={"missing": 0.15})
    new, _ = mapped_outlines(squares(4000), [], errors, np.random.default_rng(0))
    assert 1 - len(new) / 4000 == pytest.approx(0.15, abs=0.02)


def test_all_are_shifted_alike() -> None:
    errors = EXACT.model_copy(update={"shift_m": 8.0})
    shifts = []
    for seed in range(300):
        new, old = mapped_outlines(squares(3), squares(1), errors, np.random.default_rng(seed))
        own = [
            (a.bounds[0] - b.bounds[0], a.bounds[1] - b.bounds[1])
            for a, b in zip([*new, *old], [*squares(3), *squares(1)], strict=True)
        ]
        assert np.ptp(own, axis=0) == pytest.approx([0, 0], abs=1e-6)
        shifts.append(own[0])
    assert np.std(shifts) == pytest.approx(8.0, rel=0.1)


def test_older_landslides_are_taken_for_new_ones() -> None:
    errors = EXACT.model_copy(update={"older_share": 0.3})
    new, old = mapped_outlines(squares(10), squares(1000), errors, np.random.default_rng(0))
    assert len(new) - 10 == pytest.approx(300, abs=50) and len(new) + len(old) == 1010


def test_neighbours_are_one_polygon_with_the_gap_between_them() -> None:
    near = [box(0, 0, 80, 80), box(90, 0, 170, 80), box(400, 0, 480, 80)]
    joined = merged(near, 15.0)
    assert len(joined) == 2
    large = max(joined, key=lambda shape: shape.area)
    assert large.contains(box(81, 20, 89, 60)) and large.area > 170 * 80 * 0.98
    assert len(merged(near, 5.0)) == 3
