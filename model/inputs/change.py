"""How backscatter changed between passes before and after an event, pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from scipy.special import polygamma

from pipeline.errors import ModelError

Change = Literal["log_ratio", "before_sd", "z_score"]

DB_PER_NEPER = 10.0 / np.log(10.0)
"""decibels for one unit of the natural logarithm of power"""
LOOKS = 4.4
"""equivalent number of looks of Sentinel-1 IW products of high resolution (ESA, Sentinel-1 Product Definition)"""
SPECKLE_SD = float(np.sqrt(polygamma(1, LOOKS)))
"""standard deviation of ln gamma0 by speckle alone, nepers: for a gamma distribution with L looks it is
sqrt(trigamma(L)), here 0.50, which is 2.19 dB"""
SCALES_PX = (3, 9, 21)
"""sides of the boxes over which a change is averaged: within a landslide, about its size, and its slope"""
QUEGAN_PX = 7
"""side of the box of the multi-temporal filter's local means"""
PRIOR_PASSES = 4.0
"""degrees of freedom of the prior of the variance: the prior weighs as much as the variance of five passes"""


@dataclass(frozen=True)
class Moments:
    """Moments of ln gamma0 over the valid passes: number, mean, sum of squared deviations; each (y, x)."""

    count: NDArray[np.int32]
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]


def moments_of(layers: Iterable[NDArray[Any]], spread: bool = True) -> Moments:
    """Moments of the natural logarithm of linear gamma0, (y, x) each; the mean is NaN where no pass is valid.

    Values that are not positive and finite are skipped.

    Args:
        spread: whether the squared deviations are wanted; else they are 0, which saves time.

    Raises:
        ModelError: there is no layer.
    """
    count = total = squares = shift = None
    for values in layers:
        valid = np.isfinite(values) & (values > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            logarithm = np.log(
                values, dtype=np.float64
            )  # a tenth of the time that picking the valid values takes
        if not valid.all():
            logarithm[~valid] = 0.0
        if count is None or total is None or squares is None or shift is None:
            count = np.zeros(values.shape, dtype=np.int32)
            total, squares = np.zeros(values.shape), np.zeros(values.shape)
            shift = logarithm  # near the mean: keeps the sum of squares well conditioned
        count += valid
        total += logarithm
        if spread:
            squares += np.where(valid, (logarithm - shift) ** 2, 0.0)
    if count is None or total is None or squares is None or shift is None:
        raise ModelError("There is no pass to take the mean of.")
    mean = mean_of(total, count)
    if not spread:
        return Moments(count, mean, squares)
    # sum (l - m)^2 = sum (l - s)^2 - n (m - s)^2
    squares = squares - np.where(count > 0, count * (np.nan_to_num(mean) - shift) ** 2, 0.0)
    return Moments(count, mean, np.maximum(squares, 0.0))


def mean_of(total: NDArray[np.float64], count: NDArray[Any]) -> NDArray[np.float64]:
    """`total` / `count`; NaN where nothing was counted."""
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def change_of(change: Change, before: Moments, after: Moments) -> NDArray[np.float32]:
    """(y, x) one channel of change, float32.

    `log_ratio`: mean after minus mean before, nepers; NaN where no pass before or none after is valid.

    `before_sd`: sample standard deviation over the passes before, nepers; NaN where fewer than two are valid.

    `z_score`: the log ratio over its standard error s sqrt(1/n_before + 1/n_after). The sample variance of few passes
    is unreliable: one that is near 0 by chance would give a huge score. Therefore s^2 = (d0 s0^2 + d s_b^2) / (d0 + d)
    with d = n_before - 1, s_b the sample standard deviation before, s0 that of speckle (`SPECKLE_SD`) and d0 =
    `PRIOR_PASSES`. This is the moderated t of Smyth (2004, Statistical Applications in Genetics and Molecular Biology
    3(1), article 3) with a fixed prior. It is finite for a single pass before, and never above the log ratio over s0
    sqrt(d0 / (d0 + d)) sqrt(1/n_before + 1/n_after), which is the floor of the standard error.
    """
    freedom = np.maximum(before.count - 1, 0)
    if change == "before_sd":
        variance = mean_of(before.squares, freedom)
        return np.sqrt(variance).astype(np.float32)
    difference = after.mean - before.mean
    if change == "log_ratio":
        return difference.astype(np.float32)
    variance = (PRIOR_PASSES * SPECKLE_SD**2 + before.squares) / (PRIOR_PASSES + freedom)
    error = np.sqrt(variance * (1 / np.maximum(before.count, 1) + 1 / np.maximum(after.count, 1)))
    return (difference / error).astype(np.float32)


def local_mean(values: NDArray[Any], size_px: int) -> NDArray[np.float64]:
    """(y, x) mean over the finite pixels of a box around each pixel, cut at the edge; NaN where there is none."""
    known = np.isfinite(values)
    total = uniform_filter(np.where(known, values, 0.0).astype(np.float64), size_px, mode="constant")
    share = uniform_filter(known.astype(np.float64), size_px, mode="constant")
    return np.where(share > 1e-9, total / np.maximum(share, 1e-9), np.nan)


def multitemporal(
    before: Iterable[NDArray[Any]], after: Iterable[NDArray[Any]], size_px: int = QUEGAN_PX
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(y, x) mean ln gamma0 before and after, of passes filtered after Quegan and Yu (2001, IEEE TGRS 39(11)).

    A filtered pass is J_k = m_k / M sum_i (I_i / m_i), with m_i the local mean of pass i over a box and M the number of
    passes. The sum is common to all passes, so that the change of filtered passes is that of their local means; the
    filter keeps, in both, the detail that all passes share.
    """
    ratio = count = None
    means = []
    for passes in (before, after):
        total = number = None
        for values in passes:
            valid = np.isfinite(values) & (values > 0)
            power = np.where(valid, values, np.nan)
            local = local_mean(power, size_px)
            share = np.where(valid, power / local, 0.0)
            logarithm = np.log(np.where(local > 0, local, np.nan))
            total = np.nan_to_num(logarithm) if total is None else total + np.nan_to_num(logarithm)
            known = np.isfinite(logarithm).astype(np.int32)
            number = known if number is None else number + known
            ratio = share if ratio is None else ratio + share
            count = valid.astype(np.int32) if count is None else count + valid
        if total is None or number is None:
            raise ModelError("There is no pass to take the mean of.")
        means.append(mean_of(total, number))
    if ratio is None or count is None:
        raise ModelError("There is no pass to take the mean of.")
    common = np.log(np.where(ratio > 0, mean_of(ratio, count), np.nan))
    first, second = (np.where(count > 0, mean + common, np.nan).astype(np.float32) for mean in means)
    return first, second
