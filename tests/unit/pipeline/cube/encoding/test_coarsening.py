"""How the pixels of a block become one of an overview."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cube.encoding.coarsening import coarsened
from pipeline.cube.schema import VARIABLES

NAN = float("nan")


def one(name: str, values: Any, factor: int = 2) -> Any:
    variable = VARIABLES[name]
    return coarsened(np.array(values, dtype=variable.dtype), variable, (factor,))[factor]


@given(
    shape=st.tuples(st.integers(1, 21), st.integers(1, 21)), holes=st.floats(0, 1), seed=st.integers(0, 99)
)
@settings(max_examples=40, deadline=None)
def test_power_is_averaged_in_linear_power_at_every_level(
    shape: tuple[int, int], holes: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    power = rng.gamma(4.0, 0.05, shape).astype("float32")
    power[rng.random(shape) < holes] = np.nan
    for factor, found in coarsened(power, VARIABLES["vv"], (4, 16)).items():
        assert found.dtype == np.float32 and found.shape == tuple(-(-n // factor) for n in shape)
        for row, column in np.ndindex(found.shape):
            block = power[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
            valid = block[np.isfinite(block)].astype(float)
            wanted = valid.mean() if valid.size else np.nan
            np.testing.assert_allclose(found[row, column], wanted, rtol=1e-6)


def test_an_infinite_value_is_no_hole() -> None:
    assert one("vv", [[np.inf, 1.0]]) == np.inf


@pytest.mark.parametrize(
    ("name", "values", "wanted"),
    [
        ("landslides", [[0, 0, NAN, NAN], [0, 1, NAN, NAN]], [[1, NAN]]),
        ("landslides", [[0, NAN], [0, NAN]], [[0]]),
        ("landslide_id", [[0, 7], [3, 0]], [[7]]),
        ("landslide_fraction", [[0, 1], [0.5, NAN]], [[0.5]]),
        ("layover_shadow", [[1, 2, NAN, NAN], [0, NAN, 0, NAN]], [[3, 0]]),
    ],
    ids=["one landslide of four", "partly mapped", "numbers", "fraction", "flags"],
)
def test_labels_are_kept_by_maximum_fractions_by_mean_and_flags_by_union(
    name: str, values: Any, wanted: Any
) -> None:
    np.testing.assert_array_equal(one(name, values), np.array(wanted, dtype=VARIABLES[name].dtype))


def test_angles_are_averaged_around_the_circle() -> None:
    np.testing.assert_allclose(one("dem_aspect", [[350, 10], [NAN, NAN]]) % 360, [[0]], atol=1e-4)
    np.testing.assert_allclose(one("dem_aspect", [[200, 220]]), [[210]], rtol=1e-6)
    wrapped = one("interferogram", [[np.pi - 0.1, -np.pi + 0.1]])
    np.testing.assert_allclose(np.abs(wrapped), [[np.pi]], rtol=1e-6)
    assert np.isnan(one("interferogram", [[NAN]])).all()
