"""The evidence of one case: what maps of these views and passes were worth on the events that were tested.

A case of a bundle has the counts of each event (`EventEvidence`). From them follow, for any threshold, the shares that
are false and missed, with their range over the events; the threshold that reaches a precision or a recall; and a
calibration that each event has the same part in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from pydantic import Field, model_validator
from scipy.special import expit, logit, stdtrit

from model.inputs.pass_subsets import ViewPasses
from model.scores.event_evidence import CLASSES, LOWEST, STEP, EventEvidence, Part, SharesAt, centres
from model.scores.intervals import LEVEL, over_events
from model.scores.prevalence_shift import shifted_prevalence
from model.scores.probability_calibration import SMALLEST, Calibration, fitted_to_counts
from model.scores.scores import Share
from pipeline.errors import ModelError
from pipeline.records import Frozen

STEPS_OF_CLASS = 4
"""thresholds that are tried in each class"""
PRECISION, RECALL = "precision", "recall"


class OverEvents(Frozen):
    """A share on several events: mean, the events that it was lowest and highest on, interval of the mean."""

    mean: float
    lowest: float
    highest: float
    lower: float | None = Field(
        description="95 % interval of the mean over events, Student's t, cut at 0 and 1; None: of one event"
    )
    upper: float | None
    events: int = Field(ge=1)

    @classmethod
    def of(cls, values: Sequence[float | None]) -> OverEvents | None:
        """Over the events that have a value; None: none has."""
        found = [value for value in values if value is not None]
        if not found:
            return None
        whole = over_events(found) if len(found) > 1 else None
        return cls(
            mean=float(np.mean(found)),
            lowest=min(found),
            highest=max(found),
            lower=max(whole.lower, 0.0) if whole else None,
            upper=min(whole.upper, 1.0) if whole else None,
            events=len(found),
        )


class MapAccuracy(Frozen):
    """What a map of a case and a threshold is worth, by the events that were tested."""

    before: int = Field(ge=1, description="passes of the first view in the tests, as after and views")
    after: int = Field(ge=1)
    views: tuple[ViewPasses, ...] = Field((), exclude_if=lambda views: not views)
    threshold: Share | None = Field(
        description="lowest calibrated probability of a mapped pixel; None: of a method without one"
    )
    part: Part
    events: int = Field(ge=1)
    simulated: int = Field(ge=0, description="events that are simulations")
    smallest_m2: float = Field(gt=0, description="smallest polygon that was counted")
    false_polygons: OverEvents | None = Field(
        description="share of the polygons without a landslide pixel; None: nothing is mapped on any event"
    )
    false_area: OverEvents | None = Field(description="share of the area of polygons that is no landslide")
    missed_area: OverEvents | None = Field(
        description="share of the landslide area outside the polygons; None: no event had a landslide"
    )
    unmapped_events: int = Field(ge=0, description="events on which nothing is mapped at this threshold")
    area_ratios: tuple[float, ...] = Field(
        (), description="landslide area over mapped area, of each event that has both"
    )


class AreaEstimate(Frozen):
    """Landslide area of a map, km², and the interval that the next event's lies in 95 times in 100."""

    km2: float
    lower: float | None = Field(description="None: fewer than three events")
    upper: float | None
    events: int = Field(ge=1)


class CaseEvidence(Frozen):
    """The counts of one case, by event."""

    before: int = Field(ge=1, description="passes of the first view; of the first event")
    after: int = Field(ge=1)
    views: tuple[ViewPasses, ...] = Field(
        (), exclude_if=lambda views: not views, description="of a network that takes any view; else empty"
    )
    smallest_m2: float = Field(gt=0, allow_inf_nan=False, description="smallest mapped unit of the polygons")
    events: tuple[EventEvidence, ...] = Field(min_length=1, max_length=128)

    @model_validator(mode="after")
    def _of_one_kind(self) -> CaseEvidence:
        if len({one.event.part for one in self.events}) > 1:
            raise ValueError("left-out events and test areas are mixed")
        cubes = [one.event.cube for one in self.events]
        if len(set(cubes)) < len(cubes):
            raise ValueError("an event is counted twice")
        return self

    @property
    def part(self) -> Part:
        """What of the events was tested."""
        return self.events[0].event.part

    @property
    def prior(self) -> float:
        """The mean prevalence of the events, each of which counts as much."""
        return float(np.mean([one.prevalence for one in self.events]))

    def calibration(self) -> Calibration:
        """The calibration over all events, each of which counts as much whatever its size.

        The networks that were tested on a left-out event are not the one that is mapped with, as in any calibration by
        cross validation (Platt 1999, section 2.2: log-odds of held-out parts).

        Raises:
            ModelError: no event has a landslide, or nothing else.
        """
        pixels = [sum(one.pixels) for one in self.events]
        scale = sum(pixels) / len(pixels) / np.array(pixels, dtype=np.float64)
        total, hits = (
            scale @ np.array([getattr(one, name) for one in self.events], dtype=np.float64)
            for name in ("pixels", "landslides")
        )
        return fitted_to_counts(centres(), total, hits, sum(pixels))

    def accuracy(self, threshold: float, calibration: Calibration) -> MapAccuracy:
        """What a map with this threshold is worth.

        Args:
            threshold: calibrated probability.
            calibration: of the case.
        """
        shares = self._shares(_before(threshold, calibration))
        ratios = [share.area_ratio for share in shares]
        return MapAccuracy(
            before=self.before,
            after=self.after,
            views=self.views,
            threshold=threshold,
            part=self.part,
            events=len(self.events),
            simulated=sum(one.event.simulated for one in self.events),
            smallest_m2=self.smallest_m2,
            false_polygons=OverEvents.of([share.false_polygons for share in shares]),
            false_area=OverEvents.of([share.false_area for share in shares]),
            missed_area=OverEvents.of([share.missed_area for share in shares]),
            unmapped_events=sum(share.false_area is None for share in shares),
            area_ratios=tuple(ratio for ratio in ratios if ratio),
        )

    def threshold_for(
        self, calibration: Calibration, *, precision: float | None = None, recall: float | None = None
    ) -> float:
        """The calibrated threshold whose maps reach a precision or a recall by area, in the mean over the events.

        The lowest one that reaches the precision, or the highest one that reaches the recall. An event on which
        nothing is mapped has no precision and does not count in it; its recall is 0.

        Raises:
            ModelError: none reaches it.
        """
        tried = LOWEST + STEP / STEPS_OF_CLASS * np.arange(CLASSES * STEPS_OF_CLASS)
        if precision is not None:
            wanted, name = precision, PRECISION
            found = np.array([self._mean(value, lambda share: share.false_area) for value in tried])
            (good,) = np.nonzero(found >= precision)
            chosen = good[:1]
        else:
            wanted, name = recall or 0.0, RECALL
            found = np.array([self._mean(value, lambda share: share.missed_area) for value in tried])
            (good,) = np.nonzero(found >= wanted)
            chosen = good[-1:]
        if not chosen.size:
            best = float(np.nanmax(found, initial=0.0))
            raise ModelError(
                f"No threshold reaches a mean {name} of {wanted:g} over the {len(self.events)} events that the model "
                f"was tested on; the best one reaches {best:.2f}.",
                f"Ask for a lower --{name}, or give --threshold.",
            )
        return _after(float(tried[chosen[0]]), calibration)

    def best_threshold(self, calibration: Calibration) -> float:
        """The calibrated threshold with the highest mean F1 over the events, by area."""
        tried = LOWEST + STEP / STEPS_OF_CLASS * np.arange(CLASSES * STEPS_OF_CLASS)
        means = [float(np.mean([share.f1 for share in self._shares(value)])) for value in tried]
        return _after(float(tried[int(np.argmax(means))]), calibration)

    def prevalences(self, calibration: Calibration, prior: float) -> tuple[float, ...]:
        """For each event the prevalence that is estimated without its labels (`shifted_prevalence`).

        Args:
            prior: prevalence of the pixels that the calibration was fitted to.
        """
        moved = calibration.slope * centres() + calibration.intercept
        return tuple(shifted_prevalence(moved, np.array(one.pixels, float), prior) for one in self.events)

    def _shares(self, log_odds: float) -> list[SharesAt]:
        return [one.at(log_odds) for one in self.events]

    def _mean(self, log_odds: float, lost: Callable[[SharesAt], float | None]) -> float:
        """1 minus the mean of a share over the events that have it; NaN where none has."""
        values = [value for share in self._shares(log_odds) if (value := lost(share)) is not None]
        return 1 - float(np.mean(values)) if values else float("nan")


def landslide_area(mapped_km2: float, ratios: Sequence[float]) -> AreaEstimate | None:
    """The landslide area behind a mapped area, by the error matrices of the events.

    The area-adjusted estimate of Olofsson et al. (2014, Remote Sensing of Environment 148, 42-57, equations 9 and 10)
    takes false area from what is mapped and adds what is missed. Theirs adds a share of the unmapped area, which holds
    for the map that was sampled. Here the matrix is of other events, whose share of landslides differs, so that what
    is missed is added in proportion to what is mapped: landslide area = mapped area x (1 - false) / (1 - missed), on
    each event. The estimate is at the geometric mean of these ratios; its interval is the prediction interval of the
    next event's, Student's t on their logarithms.

    Args:
        ratios: landslide area over mapped area, of each event that has both.

    Returns:
        None where no event has both.
    """
    if not ratios:
        return None
    values = np.log(ratios)
    mean, count = float(values.mean()), len(ratios)
    lower = upper = None
    if count >= 3:
        spread = float(values.std(ddof=1)) * np.sqrt(1 + 1 / count)
        reach = float(stdtrit(count - 1, (1 + LEVEL) / 2)) * spread
        lower, upper = (float(mapped_km2 * np.exp(mean + sign * reach)) for sign in (-1, 1))
    return AreaEstimate(km2=float(mapped_km2 * np.exp(mean)), lower=lower, upper=upper, events=count)


def _before(threshold: float, calibration: Calibration) -> float:
    """The log-odds before calibration of a calibrated threshold."""
    odds = float(logit(np.clip(threshold, SMALLEST, 1 - SMALLEST)))
    return (odds - calibration.intercept) / calibration.slope


def _after(log_odds: float, calibration: Calibration) -> float:
    """The calibrated probability of log-odds before calibration."""
    return float(expit(calibration.slope * log_odds + calibration.intercept))
