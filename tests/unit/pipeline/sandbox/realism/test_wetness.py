"""Rain by cover and extent, and the snow line."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from pipeline.sandbox.earth.realism.switches import Rain, Snow
from pipeline.sandbox.earth.realism.wetness import rain_db, snow_db, snow_line_m

SHAPE = (600, 600)
ALWAYS = Rain(wet_passes=1.0)


def rain(switches: Rain, seed: int, pol: str = "vv", cover: float = 1.0) -> np.ndarray:
    ground = np.full(SHAPE, cover, dtype=np.float32)
    return rain_db(switches, ground, 10.0, pol, np.random.default_rng([seed, 1]))


def test_strength_lies_in_its_range_and_depends_on_cover_and_polarisation() -> None:
    rms = [float(np.sqrt(np.mean(rain(ALWAYS, seed) ** 2))) for seed in range(12)]
    assert min(rms) > 0.45 and max(rms) < 1.6 and max(rms) - min(rms) > 0.4
    for seed in range(3):
        field = rain(ALWAYS, seed)
        assert np.allclose(rain(ALWAYS, seed, cover=0.0), ALWAYS.forest * field, atol=1e-5)
        assert np.allclose(rain(ALWAYS, seed, "vh"), ALWAYS.vh * field, atol=1e-5)
        assert field.mean() > 0  # wet ground is brighter


def test_fields_have_the_stated_extent() -> None:
    """The distance at which the correlation falls to a half grows with the extent."""
    lags = {}
    for extent in (0.3, 2.0):
        field = rain(Rain(wet_passes=1.0, extent_km=(extent, extent)), 3)
        away = field - ndimage.uniform_filter(field, 599)
        spectrum = np.abs(np.fft.fft2(away)) ** 2
        correlation = np.fft.ifft2(spectrum).real[0, :250]
        lags[extent] = 10.0 * float(np.argmax(correlation < correlation[0] / 2))
    assert 60 < lags[0.3] < 300
    assert 500 < lags[2.0] < 2000


def test_the_share_of_wet_passes() -> None:
    wet = [bool(rain(Rain(wet_passes=0.4), seed).any()) for seed in range(60)]
    assert np.mean(wet) == pytest.approx(0.4, abs=0.2)
    assert not rain(Rain(wet_passes=0.0), 1).any()


def test_wet_snow_lies_above_its_line() -> None:
    height = np.tile(np.linspace(0, 1000, 600, dtype=np.float32)[:, None], (1, 600))
    switches = Snow(line=0.6, wander_m=0.0, passes=1.0)
    line = snow_line_m(switches, height, np.zeros(SHAPE, bool))
    assert line == pytest.approx(600, abs=2)
    for cover, depth in ((1.0, switches.open_db), (0.0, switches.forest_db)):
        db = snow_db(switches, height, line, np.full(SHAPE, cover, np.float32), np.random.default_rng(0))
        assert db[height > 750] == pytest.approx(depth, abs=0.02)
        assert np.abs(db[height < 450]).max() < 0.02
    none = Snow(passes=0.0)
    assert not snow_db(none, height, line, np.ones(SHAPE, np.float32), np.random.default_rng(0)).any()
