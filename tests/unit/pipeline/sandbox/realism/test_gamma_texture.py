"""Speckle, K-distributed texture and their moments."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.sandbox.earth.realism.gamma_texture import correlated_speckle, gamma_from_normal, texture_db
from pipeline.sandbox.earth.realism.switches import Texture

SHAPE = (700, 700)


@pytest.mark.parametrize("looks", [3.6, 4.4, 5.4])
def test_speckle_has_its_looks_and_the_correlation_of_the_product(looks: float) -> None:
    noise = correlated_speckle(SHAPE, looks, np.random.default_rng(0))
    assert noise.mean() == pytest.approx(1.0, abs=0.01)
    assert noise.mean() ** 2 / noise.var() == pytest.approx(looks, rel=0.03)
    assert 0.2 < np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1] < 0.4
    third = np.mean((noise / noise.mean() - 1) ** 3)
    assert third == pytest.approx(2 / looks**2, rel=0.1)  # of a gamma distribution


@pytest.mark.parametrize("order", [4.5, 6.0])
def test_intensity_is_k_distributed(order: float) -> None:
    """Normalised moments of a K distribution: E[I^n] / E[I]^n is the product of those of its two gammas."""
    rng, looks = np.random.default_rng(1), 4.4
    texture = Texture(order=(order, order), spread=0.0)
    normal = rng.standard_normal(SHAPE, dtype=np.float32)
    permanent = texture_db(texture, normal, np.ones(SHAPE, np.float32), "vv")
    power = 10 ** (permanent / 10) * correlated_speckle(SHAPE, looks, rng)
    second = np.mean(power**2) / np.mean(power) ** 2
    assert second == pytest.approx((1 + 1 / looks) * (1 + 1 / order), rel=0.01)
    third = np.mean(power**3) / np.mean(power) ** 3
    of_gamma = [(1 + 1 / a) * (1 + 2 / a) for a in (looks, order)]
    assert third == pytest.approx(of_gamma[0] * of_gamma[1], rel=0.04)


def test_ranks_of_the_field_are_kept() -> None:
    normal = np.linspace(-4, 4, 200, dtype=np.float32)
    assert np.all(np.diff(gamma_from_normal(normal, 3.0)) > 0)


def test_stronger_stands_have_more_texture() -> None:
    rng = np.random.default_rng(2)
    normal = rng.standard_normal(SHAPE, dtype=np.float32)
    strength = np.ones(SHAPE, np.float32)
    strength[:, 350:] = 1.5
    db = texture_db(Texture(), normal, strength, "vh")
    assert db[:, 350:].std() / db[:, :350].std() == pytest.approx(1.5, rel=0.02)
