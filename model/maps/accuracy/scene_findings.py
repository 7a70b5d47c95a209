"""What a model's map says of its own scene: landslide area, share of landslides, inputs unlike the training set's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from model.scores.case_evidence import MapAccuracy, landslide_area
from model.scores.map_findings import SceneFindings
from model.scores.prevalence_shift import shifted_prevalence

CLASSES = 2048
HIGHEST_LOG_ODDS = 20.0
EMPTY_SHARE = 0.1
"""An estimated share of landslides below a tenth of the lowest one of the tested events with landslides: perhaps
nothing happened."""


@dataclass(frozen=True)
class TestedModel:
    """What a bundle says beforehand of a map of these passes and this threshold."""

    threshold: float
    """lowest calibrated probability that is mapped"""
    accuracy: MapAccuracy | None
    """None: the model was not tested with these views and passes"""
    prior: float
    """prevalence of the pixels that the calibration was fitted to"""
    prevalences: tuple[tuple[float, float], ...] = ()
    """of each tested event with landslides: their share as it is estimated without labels, and as it is"""
    outside: Callable[[], dict[str, float]] | None = None
    """share of each channel outside the range of the training set, once the scene has been read"""
    chosen_by: str = ""
    """how the threshold was chosen, where it is not the model's own"""


@dataclass
class ProbabilityTally:
    """Counts the calibrated probabilities of a scene by their log-odds."""

    _counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(CLASSES, dtype=np.int64))
    _total: float = 0.0

    def add(self, probability: NDArray[np.float32]) -> None:
        """(n,) finite probabilities."""
        values = probability.astype(np.float64)
        self._total += float(values.sum())
        with np.errstate(divide="ignore"):
            odds = logit(values).clip(-HIGHEST_LOG_ODDS, HIGHEST_LOG_ODDS)
        index = ((odds / HIGHEST_LOG_ODDS + 1) / 2 * (CLASSES - 1)).round().astype(np.int64)
        self._counts += np.bincount(index, minlength=CLASSES)

    def findings(
        self, tested: TestedModel, mapped_km2: float, inside_km2: float, pixel_m2: float
    ) -> SceneFindings:
        """What was found.

        Args:
            mapped_km2: area of the polygons.
            inside_km2: sum of the probabilities inside them.
        """
        log_odds = np.linspace(-HIGHEST_LOG_ODDS, HIGHEST_LOG_ODDS, CLASSES)
        share = shifted_prevalence(log_odds, self._counts.astype(np.float64), tested.prior)
        lowest = min((estimated for estimated, _ in tested.prevalences), default=None)
        ratios = tested.accuracy.area_ratios if tested.accuracy else ()
        return SceneFindings(
            landslide_km2=landslide_area(mapped_km2, ratios),
            probable_km2=self._total * pixel_m2 / 1e6,
            probable_inside_km2=inside_km2,
            estimated_share=share,
            lowest_known=lowest,
            perhaps_nothing=lowest is not None and share < EMPTY_SHARE * lowest,
            outside_ranges=tested.outside() if tested.outside else {},
        )
