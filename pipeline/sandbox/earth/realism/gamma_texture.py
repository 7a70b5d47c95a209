"""K-distributed backscatter: gamma speckle of one pass times a permanent gamma texture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from pipeline.sandbox.earth.realism.switches import Texture

Raster = NDArray[np.float32]
_REACH, _STEPS = 5.5, 250
"""The table of ranks ends at so many standard deviations, with so many steps for each."""
_SPREAD_PX = 0.53
"""sd of the point spread of the underlying Gaussian field: neighbouring intensities correlate by 0.3"""


def gamma_from_normal(normal: Raster, shape: float) -> Raster:
    """Gamma variates of mean 1 and that shape, with the ranks of a standard normal field of any dimensions."""
    ranks = np.linspace(-_REACH, _REACH, int(2 * _REACH * _STEPS) + 1)
    table = (special.gammaincinv(shape, special.ndtr(ranks)) * (1 / shape)).astype(np.float32)
    at = np.clip((normal + np.float32(_REACH)) * np.float32(_STEPS), 0, len(ranks) - 1.001)
    low = at.astype(np.int32)
    at -= low
    near = table[low]
    return np.asarray(near + at * (table[low + 1] - near), dtype=np.float32)


def correlated_speckle(shape: tuple[int, int], looks: float, rng: np.random.Generator) -> Raster:
    """(y, x) gamma speckle, mean 1, of that equivalent number of looks; neighbours correlate by about 0.3.

    One Gaussian field is filtered and its ranks are mapped to the gamma distribution, which takes a fifth of the time
    of a sum of squares (`radar.speckle`) with the same moments and the same correlation.
    """
    taps = np.exp(-0.5 * (np.arange(-2, 3) / _SPREAD_PX) ** 2)
    taps = (taps / np.sqrt((taps**2).sum())).astype(np.float32)
    field = rng.standard_normal(shape, dtype=np.float32)
    for axis in (0, 1):
        field = ndimage.correlate1d(field, taps, axis=axis, mode="wrap")
    return gamma_from_normal(field, looks)


def texture_db(texture: Texture, normal: Raster, strength: Raster, polarisation: str) -> Raster:
    """(y, x) permanent texture in dB: gamma of mean 1, its decibels multiplied by `strength` (y, x) of mean 1.

    Where the strength is 1 the backscatter is exactly K-distributed: the second moment of its intensity is
    (1 + 1 / looks)(1 + 1 / order) times the squared mean.
    """
    order = texture.order[0 if polarisation == "vv" else 1]
    db = 10 * np.log10(np.maximum(gamma_from_normal(normal, order), np.float32(1e-3)))
    return np.asarray(db * strength, dtype=np.float32)
