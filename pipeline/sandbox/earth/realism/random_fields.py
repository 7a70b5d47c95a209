"""Gaussian random fields, with which terrain, texture and weather are drawn."""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy import ndimage

Raster = NDArray[np.float32]
Mask = NDArray[np.bool_]


def fractal_field(
    shape: tuple[int, int], beta: float, rng: np.random.Generator, cutoff_px: float = 0.0
) -> Raster:
    """Gaussian field (y, x) with power spectrum k^-beta, mean 0, sd 1; structure finer than `cutoff_px` is removed."""
    fast = tuple(scipy.fft.next_fast_len(n, real=True) for n in shape)
    k = np.hypot(scipy.fft.fftfreq(fast[0])[:, None], scipy.fft.rfftfreq(fast[1])[None, :])
    k[0, 0] = 1.0
    amplitude = k ** (-beta / 2)
    if cutoff_px:
        amplitude *= np.exp(-((k * cutoff_px) ** 2))
    amplitude[0, 0] = 0.0
    noise = scipy.fft.rfft2(rng.standard_normal(fast, dtype=np.float32))
    field = scipy.fft.irfft2(noise * amplitude, s=fast)[: shape[0], : shape[1]]
    field -= field.mean()
    return np.asarray(field / field.std(), dtype=np.float32)


def smooth_field(shape: tuple[int, int], sigma_px: float, rng: np.random.Generator) -> Raster:
    """Gaussian field (y, x) with a correlation length of `sigma_px`, mean 0, sd 1.

    Long lengths are drawn on a coarser lattice and interpolated.
    """
    step = max(1, int(sigma_px // 3))
    coarse = tuple(-(-n // step) + 2 for n in shape)
    field = ndimage.gaussian_filter(
        rng.standard_normal(coarse, dtype=np.float32), sigma_px / step, mode="wrap", truncate=3.0
    )
    if step > 1:
        field = ndimage.zoom(field, step, order=1)
    field = field[: shape[0], : shape[1]]
    return np.asarray((field - field.mean()) / field.std(), dtype=np.float32)
