"""Calibrated probabilities: the log-odds of a network, scaled and shifted on the validation area."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.optimize import minimize
from scipy.special import expit, logit

from model.inputs.pass_subsets import ViewPasses
from model.scores.scores import Scores, Share
from pipeline.errors import ModelError
from pipeline.records import Frozen

SMALLEST = 1e-7
"""probabilities are kept this far from 0 and 1, so that their log-odds are finite"""
CLASSES = 4096
"""classes of log-odds in which the fit counts pixels, so that its time does not grow with their number"""
SLOPES = (0.05, 20.0)
"""a slope below 0 would reverse the ranking; one near 0 would round scores to the same value"""
RELIABILITY_CLASSES = 15

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Reliability(Frozen):
    """Pixels of one class of probability."""

    predicted: Share = Field(description="mean probability")
    observed: Share = Field(description="share of landslide pixels")
    pixels: int = Field(ge=1)


class Calibration(Frozen):
    """Calibrated log-odds = `slope` times the network's log-odds + `intercept` (Platt 1999, on log-odds).

    A network that is trained with a Dice loss, and on chips most of which hold a landslide, predicts landslides too
    often: its prior is that of the chips. The intercept restores the prevalence of the validation area. The slope
    corrects over-confidence (temperature scaling, Guo et al. 2017, has the intercept 0). The order of pixels, and so
    the AUPRC, does not change. A scene with another prevalence needs another intercept, which is not known beforehand.
    """

    slope: Annotated[float, Field(ge=SLOPES[0], le=SLOPES[1], allow_inf_nan=False)] = 1.0
    intercept: Finite = 0.0
    pixels: int = Field(ge=1, description="pixels of the validation area in the fit")
    error_before: Share = Field(description="expected calibration error on the validation area as predicted")
    error_after: Share = Field(description="the same once calibrated, on the pixels of the fit")
    before: tuple[Reliability, ...] = Field((), max_length=RELIABILITY_CLASSES)
    after: tuple[Reliability, ...] = Field((), max_length=RELIABILITY_CLASSES)

    def apply(self, probability: NDArray[np.float32]) -> NDArray[np.float32]:
        """Calibrated probabilities, of any shape; NaN stays NaN."""
        return _calibrated(probability.astype(np.float64), self.slope, self.intercept).astype(np.float32)

    def applied_to(self, scores: Scores) -> Scores:
        """The scores with calibrated thresholds; the order of pixels, and so all other figures, do not change."""
        thresholds = np.array(
            [scores.threshold, *(point.threshold for point in scores.curve)], dtype=np.float32
        )
        threshold, *along = map(float, self.apply(thresholds))
        curve = tuple(
            point.model_copy(update={"threshold": value})
            for point, value in zip(scores.curve, along, strict=True)
        )
        return scores.model_copy(update={"threshold": threshold, "curve": curve})


class CaseCalibration(Frozen):
    """The calibration and threshold of maps with fewer passes after the event than the model's scene has, or fewer
    views.

    With fewer passes there is more speckle, and a network is less certain.
    """

    after: int = Field(ge=1, description="passes after the event, of the first view")
    views: tuple[ViewPasses, ...] = Field(
        (), exclude_if=lambda views: not views, description="of a network that takes any view; else empty"
    )
    calibration: Calibration
    threshold: Share = Field(description="calibrated; the best F1 on the validation area")


def fitted(probability: NDArray[np.float32], truth: NDArray[np.bool_]) -> Calibration:
    """Fit the slope and the intercept with the smallest cross entropy.

    Args:
        probability: (n,) as predicted, finite.
        truth: (n,)

    Raises:
        ModelError: the pixels are all of one kind.
    """
    if truth.all() or not truth.any():
        raise ModelError(
            "Nothing can be calibrated: the validation pixels are all of one kind.", "Take a larger area."
        )
    log_odds = logit(np.clip(probability.astype(np.float64), SMALLEST, 1 - SMALLEST))
    edge = float(logit(1 - SMALLEST))
    index = np.rint((log_odds + edge) / (2 * edge) * (CLASSES - 1)).astype(np.int64)
    total = np.bincount(index, minlength=CLASSES).astype(np.float64)
    used = total > 0
    hits = np.bincount(index, weights=truth, minlength=CLASSES)[used].astype(np.float64)
    centre = (np.bincount(index, weights=log_odds, minlength=CLASSES)[used]) / total[used]
    slope, intercept = _slope_and_intercept(centre, total[used], hits)
    before, after = probability.astype(np.float64), expit(slope * log_odds + intercept)
    classes_before, classes_after = reliability(before, truth), reliability(after, truth)
    return Calibration(
        slope=slope,
        intercept=intercept,
        pixels=int(truth.size),
        error_before=error_of(classes_before),
        error_after=error_of(classes_after),
        before=classes_before,
        after=classes_after,
    )


def fitted_to_counts(
    log_odds: NDArray[np.float64], total: NDArray[np.float64], hits: NDArray[np.float64], pixels: int
) -> Calibration:
    """The same from counts of pixels by class, which may be weighted.

    Args:
        log_odds: (n,) centres of the classes, as predicted.
        total: (n,) weight of the pixels of each.
        hits: (n,) weight of the landslide pixels among them.
        pixels: how many pixels were counted.

    Raises:
        ModelError: the pixels are all of one kind.
    """
    used = total > 0
    centre, total, hits = log_odds[used], total[used], hits[used]
    if not 0 < hits.sum() < total.sum():
        raise ModelError(
            "Nothing can be calibrated: the pixels of the tested events are all of one kind.",
            "Test on an event with landslides.",
        )
    slope, intercept = _slope_and_intercept(centre, total, hits)
    before, after = (
        _reliability(expit(values), total, hits) for values in (centre, slope * centre + intercept)
    )
    return Calibration(
        slope=slope,
        intercept=intercept,
        pixels=pixels,
        error_before=error_of(before),
        error_after=error_of(after),
        before=before,
        after=after,
    )


def _slope_and_intercept(
    centre: NDArray[np.float64], total: NDArray[np.float64], hits: NDArray[np.float64]
) -> tuple[float, float]:
    """The smallest cross entropy over (class,) log-odds, weights of pixels, and of landslide pixels among them."""
    weight, share = total / total.sum(), hits / total

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value = parameters[0] * centre + parameters[1]
        entropy = np.logaddexp(0.0, value) - share * value
        residual = weight * (expit(value) - share)
        return float((weight * entropy).sum()), np.array([(residual * centre).sum(), residual.sum()])

    found = minimize(
        loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[SLOPES, (-30.0, 30.0)],
        options={"ftol": 1e-14, "gtol": 1e-9, "maxiter": 500},
    )  # fmt: skip
    return float(found.x[0]), float(found.x[1])


def reliability(probability: NDArray[np.float64], truth: NDArray[np.bool_]) -> tuple[Reliability, ...]:
    """(n,) probabilities in classes of equal width; empty classes are left out."""
    return _reliability(probability, np.ones(probability.size), truth.astype(np.float64))


def _reliability(
    probability: NDArray[np.float64], total: NDArray[np.float64], hits: NDArray[np.float64]
) -> tuple[Reliability, ...]:
    """Probabilities with weights, of pixels and of landslides among them, in classes of equal width."""
    index = np.minimum((probability * RELIABILITY_CLASSES).astype(np.int64), RELIABILITY_CLASSES - 1)
    pixels = np.bincount(index, weights=total, minlength=RELIABILITY_CLASSES)
    predicted = np.bincount(index, weights=probability * total, minlength=RELIABILITY_CLASSES)
    observed = np.bincount(index, weights=hits, minlength=RELIABILITY_CLASSES)
    return tuple(
        Reliability(
            predicted=min(float(predicted[i] / pixels[i]), 1.0),
            observed=min(float(observed[i] / pixels[i]), 1.0),
            pixels=max(1, round(pixels[i])),
        )
        for i in np.flatnonzero(pixels)
    )


def error_of(classes: tuple[Reliability, ...]) -> float:
    """Expected calibration error: mean over pixels of |predicted - observed| of their class (Guo et al. 2017)."""
    total = sum(part.pixels for part in classes)
    return sum(part.pixels * abs(part.predicted - part.observed) for part in classes) / total


def _calibrated(probability: NDArray[np.float64], slope: float, intercept: float) -> NDArray[np.float64]:
    values: NDArray[np.float64] = expit(
        slope * logit(np.clip(probability, SMALLEST, 1 - SMALLEST)) + intercept
    )
    return values
