"""The prevalence of a scene, estimated from calibrated probabilities without a label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

Floats = NDArray[np.float64]
ROUNDS = 1000
SMALLEST = 1e-9
"""an estimate below it is 0"""


def shifted_prevalence(log_odds: Floats, weights: Floats, prior: float) -> float:
    """The prevalence at which the calibrated probabilities of a scene agree with themselves.

    Probabilities that were calibrated at one prevalence hold for another one once their log-odds are moved by the
    difference of the two priors' log-odds. Expectation maximisation (Saerens, Latinne and Decaestecker 2002, Neural
    Computation 14, 21-41, equation 2.8) looks for the prevalence that is the mean of the probabilities which it moves
    to. It assumes that landslides, and the ground without, look as in the calibration, and differ only in their share.

    Args:
        log_odds: (n,) calibrated log-odds, or centres of their classes.
        weights: (n,) number of pixels of each.
        prior: prevalence of the pixels that the calibration was fitted to.

    Returns:
        0 to 1; 0 where there is no pixel, or no share of landslides explains the scene better than none.
    """
    total = weights.sum()
    if total <= 0 or not 0 < prior < 1:
        return 0.0
    found, known = prior, float(logit(prior))
    for _ in range(ROUNDS):
        moved = expit(log_odds + (logit(found) - known))
        before, found = found, float((weights * moved).sum() / total)
        if found < SMALLEST:
            return 0.0
        if abs(found - before) < 1e-6 * before or found >= 1:
            break
    return min(found, 1.0)
