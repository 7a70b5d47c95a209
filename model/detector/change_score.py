"""The arithmetic of the change score: decibels, their spatial mean, the spread before the event, scores of change.

Arrays have the passes of one track and one polarisation on the first axis, and pixels on the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.special import chdtri

Array = NDArray[np.float32]
TRUNCATE = 3.0
"""standard deviations at which the Gaussian ends"""
SAME_RARITY = 0.999
"""quantile at which scores of different numbers of measurements are made equal"""
LEAST_PASSES = 2
"""valid passes before the event without which a pixel has no spread"""


def halo_px(sigma_px: float) -> int:
    """Pixels around a box that its spatial mean needs."""
    return int(TRUNCATE * sigma_px + 0.5)


def smoothed_db(power: NDArray[np.floating], sigma_px: tuple[float, float]) -> Array:
    """(y, x) Gaussian mean of the decibels of linear power over valid pixels; NaN where the pixel itself is not valid.

    The mean is of decibels, not of power, so that a bright target does not spread over its surroundings.
    """
    valid = np.isfinite(power) & (power > 0)
    values = np.zeros(power.shape, dtype=np.float32)
    np.log10(power, out=values, where=valid, dtype=np.float32, casting="unsafe")
    values *= np.float32(10.0)
    if max(sigma_px) > 0:
        weight = _gaussian(valid.astype(np.float32), sigma_px)
        values = _gaussian(values, sigma_px)
        np.divide(values, weight, out=values, where=valid)
    values[~valid] = np.nan
    return values


def _gaussian(values: Array, sigma_px: tuple[float, float]) -> Array:
    for axis, sigma in enumerate(sigma_px):
        values = gaussian_filter1d(
            values, sigma, axis=axis, mode="constant", truncate=TRUNCATE, radius=halo_px(sigma)
        )
    return values


@dataclass(frozen=True)
class History:
    """What the passes before the event say of each pixel."""

    count: NDArray[np.int64]
    """valid passes"""
    mean: Array
    """dB; NaN where `count` is below `LEAST_PASSES`"""
    variance: Array
    """dB²; the pixel's own and the scene's, weighted by their passes"""


def own_variance(before: Array) -> tuple[NDArray[np.int64], Array, Array]:
    """Number of valid passes, their mean, and their sum of squared deviations; NaN below `LEAST_PASSES`."""
    valid = np.isfinite(before)
    count = valid.sum(axis=0)
    known = count >= LEAST_PASSES
    mean = np.full(before.shape[1:], np.nan, dtype=np.float32)
    np.divide(np.where(valid, before, 0).sum(axis=0), count, out=mean, where=known)
    squares = np.where(valid, (before - mean) ** 2, 0).sum(axis=0).astype(np.float32)
    squares[~known] = np.nan
    return count, mean, squares


def history(before: Array, scene_variance: float, prior_passes: float) -> History:
    """The mean and the variance of the passes before the event.

    The variance of so few passes is itself uncertain, so that a pixel which was quiet by chance would score high. It is
    shrunk towards the scene's: (sum of squares + prior_passes x scene's variance) / (passes - 1 + prior_passes), the
    posterior of a scaled inverse chi-squared prior (Smyth 2004, doi:10.2202/1544-6115.1027).
    """
    count, mean, squares = own_variance(before)
    freedom = np.maximum(count - 1 + prior_passes, 1e-9)
    variance = ((squares + prior_passes * scene_variance) / freedom).astype(np.float32)
    return History(count, mean, np.maximum(variance, np.float32(1e-6)))


def change_score(after: Array, past: History, scale: Array) -> Array:
    """(pixels) signed change, mean over the valid passes after the event, in standard deviations of a quiet scene.

    Args:
        after: (pass, pixels) dB, steps removed.
        scale: (pass, pixels) by how much each pass is noisier than those before the event.
    """
    valid = np.isfinite(after)
    count = valid.sum(axis=0)
    change = np.full(after.shape[1:], np.nan, dtype=np.float32)
    total = np.where(valid, (after - past.mean) / scale, 0).sum(axis=0)
    np.divide(total, count, out=change, where=(count > 0) & np.isfinite(past.mean))
    noise = past.variance * (1 / np.maximum(past.count, 1) + 1 / np.maximum(count, 1))
    score: Array = (change / np.sqrt(noise)).astype(np.float32)
    return score


def left_out_scores(before: Array, scene_variance: float, prior_passes: float) -> Array:
    """(pass, pixels) the score that each pass before the event has against the others."""
    scores = np.full(before.shape, np.nan, dtype=np.float32)
    for index in range(len(before)):
        past = history(np.delete(before, index, axis=0), scene_variance, prior_passes)
        one = before[index : index + 1]
        scores[index] = change_score(one, past, np.ones_like(one))
    return scores


def fused(scores: Sequence[Array]) -> Array:
    """(pixels) the root of the sum of squares of the measurements that a pixel has; NaN where it has none.

    A measurement is a polarisation of a track. A sum over more of them is larger by chance: it is divided by the
    quantile of a chi distribution of as many degrees of freedom, so that a score means the same where one track sees
    the pixel and where two do. With one measurement the score is its absolute value.
    """
    total = np.zeros(scores[0].shape, dtype=np.float32)
    count = np.zeros(scores[0].shape, dtype=np.intp)
    for score in scores:
        valid = np.isfinite(score)
        total += np.where(valid, score, 0) ** 2
        count += valid
    degrees = np.arange(1, len(scores) + 1)
    quantiles = chdtri(degrees, 1 - SAME_RARITY)
    factors = np.sqrt(quantiles[0] / quantiles).astype(np.float32)
    result: Array = np.sqrt(total) * np.concatenate([[np.float32(np.nan)], factors])[count]
    return result
