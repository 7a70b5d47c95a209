"""Statistics of patches: of gamma images they find the looks' variation, no texture, and what is bright."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.sandbox.patch_statistics import (
    HOKKAIDO_PATCHES,
    describe_patches,
    patches_as_markdown,
    texture_db,
)


def test_texture_is_what_lies_beyond_speckle() -> None:
    assert texture_db(np.sqrt(1 / 4.4)) == pytest.approx(0.0, abs=1e-6)
    assert texture_db(0.1) == 0.0
    sigma = 2.0  # dB, of a log-normal texture
    squared = np.expm1((sigma * np.log(10) / 10) ** 2)
    variation = float(np.sqrt((1 + 1 / 4.4) * (1 + squared) - 1))
    assert texture_db(variation) == pytest.approx(sigma, rel=1e-6)
    # the real figures belong together
    assert texture_db(HOKKAIDO_PATCHES.vv_variation.median) == pytest.approx(2.1, abs=0.1)
    assert texture_db(HOKKAIDO_PATCHES.vh_variation.median) == pytest.approx(2.0, abs=0.1)


def test_patches_of_known_images() -> None:
    rng = np.random.default_rng(0)
    vv = (0.2 * rng.gamma(4.4, 1 / 4.4, (384, 512))).astype(np.float32)
    vh = 0.25 * vv
    vh[10, 10] = 3.0
    vv[:128, 256:] = 0.0  # sea
    height = np.tile(np.arange(512, dtype=np.float32), (384, 1))
    found = describe_patches(vv, vh, height)
    assert found is not None and found.patches == 10
    assert found.vv_mean.median == pytest.approx(0.2, rel=0.01)
    assert found.vv_variation.median == pytest.approx(np.sqrt(1 / 4.4), rel=0.03)
    assert found.vh_largest.high is not None and found.vh_largest.high > 1.0 > found.vh_largest.median
    assert found.elevation_sd_m is not None
    assert found.elevation_sd_m.median == pytest.approx(np.arange(128).std(), rel=1e-3)
    text = patches_as_markdown({"made": found, "none": None, "real": HOKKAIDO_PATCHES})
    assert text.count("|") == 15 * 4 and "151" in text
    assert describe_patches(vv[:100], vh[:100]) is None
