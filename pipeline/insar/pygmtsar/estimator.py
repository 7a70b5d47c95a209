"""Interferogram, coherence and amplitude of two co-registered SLCs on one lattice.

The coherence follows topsApp, so that cubes of both processors are comparable. topsApp's `topophase.cor` (ISCE2
2.6: `TopsProc/runBurstIfg.py`, `TopsProc/runMergeBursts.py`, `mroipac/correlation/src/cchz_wave.cpp`) is made in two
steps: at full resolution

    c = |sum w s1 s2*| / sqrt(sum w |s1|^2 . sum w |s2|^2)

over 5 x 5 samples with triangle weights w = (1, 2, 3, 2, 1)/3 in each direction; then, for the looks, the plain mean of
c over 1 line and 5 samples. Here the samples are those of the map lattice, which is as fine as the radar's own. Two
things differ: topsApp estimates before flattening, this module after it, so that fringes of topography do not
reduce the coherence; and the lattice is aligned with east and north, 8 to 15 degrees from range and azimuth in middle
latitudes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

WINDOW = 5
"""Samples of the coherence's window in each direction, as in topsApp (`Correlation.windowSize`)."""
WEIGHTS = 1 - np.abs(2 * (np.arange(WINDOW) - WINDOW // 2) / (WINDOW + 1))

DESCRIPTION = (
    "|sum w s1 s2*| / sqrt(sum w |s1|^2 . sum w |s2|^2) over 5 x 5 samples of the lattice, triangle weights "
    "(1 2 3 2 1)/3 each way, then the mean over the looks: as topsApp's topophase.cor, but after flattening"
)

Complex = NDArray[np.complex64]
Float = NDArray[np.float32]


@dataclass(frozen=True)
class Estimates:
    """Estimates from two SLCs, one value for `looks` samples; NaN if a needed sample is missing."""

    coherence: Float
    interferogram: Complex
    """mean of s1 s2*"""
    amplitude: Float
    """mean of sqrt(|s1| |s2|), as band 1 of topophase.cor"""


def estimate(first: Complex, second: Complex, looks: tuple[int, int]) -> Estimates:
    """Estimates from two SLCs (y, x), NaN where invalid; their shape is a multiple of `looks` (down, across)."""
    missing = ~(np.isfinite(first) & np.isfinite(second))
    first, second = np.where(missing, 0, first), np.where(missing, 0, second)
    product = first * np.conj(second)
    power = np.abs(first) ** 2, np.abs(second) ** 2
    denominator = np.sqrt(_weighted(power[0]) * _weighted(power[1]))
    numerator = np.hypot(_weighted(product.real), _weighted(product.imag))
    # a window of zeros has no coherence
    empty = denominator <= 0
    ratio = np.where(empty, 0, numerator / np.where(empty, 1, denominator))
    reach = ndimage.binary_dilation(missing, np.ones((WINDOW, WINDOW))) | empty
    # samples outside the array are unknown too
    edge = WINDOW // 2
    reach[:edge], reach[-edge:], reach[:, :edge], reach[:, -edge:] = True, True, True, True
    invalid = _looked(reach, looks, np.any)
    return Estimates(
        coherence=_masked(np.minimum(_looked(ratio, looks, np.mean), 1), invalid, np.float32),
        interferogram=_masked(_looked(product, looks, np.mean), invalid, np.complex64),
        amplitude=_masked(_looked((power[0] * power[1]) ** 0.25, looks, np.mean), invalid, np.float32),
    )


def _weighted(values: NDArray[Any]) -> NDArray[Any]:
    down = ndimage.correlate1d(values, WEIGHTS, axis=0, mode="constant")
    return np.asarray(ndimage.correlate1d(down, WEIGHTS, axis=1, mode="constant"))


def _looked(values: NDArray[Any], looks: tuple[int, int], reduce: Any) -> NDArray[Any]:
    down, across = looks
    height, width = values.shape[0] // down, values.shape[1] // across
    return np.asarray(reduce(values.reshape(height, down, width, across), axis=(1, 3)))


def _masked(values: NDArray[Any], invalid: NDArray[np.bool_], dtype: Any) -> Any:
    out = values.astype(dtype)
    out[invalid] = np.nan if dtype == np.float32 else complex(np.nan, np.nan)
    return out
