"""What was counted on one event that a network was tested on: pixels and polygons by score.

From these counts follow, for any threshold, the share of the mapped polygons that are false, the share of the mapped
area that is, and the share of the landslide area that is missed. Scores are the network's log-odds before calibration,
so that a calibration can be fitted to the counts as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy.special import logit

from model.inputs.cubes import UNMAPPED
from model.scores.mapped_objects import labelled, smallest_pixels
from model.scores.probability_calibration import SMALLEST
from model.scores.scores import Share
from pipeline.records import Frozen

CLASSES = 64
"""classes of log-odds, half a unit wide"""
LOWEST, HIGHEST = -16.0, 16.0
"""log-odds at the ends: those of `SMALLEST`; what lies beyond is in the first or the last class"""
STEP = (HIGHEST - LOWEST) / CLASSES

Floats = NDArray[np.float64]
Counts = Annotated[
    tuple[Annotated[int, Field(ge=0, le=1 << 50)], ...], Field(min_length=CLASSES, max_length=CLASSES)
]
Part = Literal["left-out event", "test area"]
Rectangle = tuple[NDArray[np.float32], NDArray[np.uint8]]
"""(y, x) probability as a network predicts it, NaN no data; (y, x) labels: 1, 0, or 255 not mapped"""


class CountedEvent(Frozen):
    """The event that was tested on."""

    area: str = Field(max_length=200)
    cube: str = Field(max_length=64, description="digest of the cube")
    simulated: bool
    part: Part = Field(
        description="left-out event: no network that is counted was trained on any of it; test area: the network was "
        "trained on another part of the same scene"
    )


class EventEvidence(Frozen):
    """Counts on one event, by class of log-odds before calibration (`CLASSES` from `LOWEST` to `HIGHEST`)."""

    event: CountedEvent
    pixel_m2: float = Field(gt=0, allow_inf_nan=False)
    pixels: Counts = Field(description="labelled pixels with a prediction, in each class")
    landslides: Counts = Field(description="landslide pixels among them")
    mapped: Counts = Field(
        description="pixels of polygons, if the lower end of the class were the threshold; as the next three"
    )
    hits: Counts = Field(description="landslide pixels inside polygons")
    polygons: Counts = Field(description="polygons of at least the smallest mapped unit")
    false_polygons: Counts = Field(description="polygons without a landslide pixel inside")

    @model_validator(mode="after")
    def _consistent(self) -> EventEvidence:
        for few, many in (
            (self.landslides, self.pixels),
            (self.hits, self.mapped),
            (self.false_polygons, self.polygons),
        ):
            if any(one > all_ for one, all_ in zip(few, many, strict=True)):
                raise ValueError("a part is larger than the whole")
        if not any(self.pixels):
            raise ValueError("no pixel was counted")
        if max(self.mapped) > sum(self.pixels) or max(self.hits) > sum(self.landslides):
            raise ValueError("more is mapped than there is")
        return self

    @classmethod
    def of(
        cls, event: CountedEvent, rectangles: Iterable[Rectangle], pixel_m2: float, smallest_m2: float
    ) -> EventEvidence:
        """Count the rectangles of an event that were predicted; polygons end at the rectangles' edges.

        Only pixels with a label and a prediction count. A whole event is one rectangle.

        Args:
            pixel_m2: area of a pixel.
            smallest_m2: smallest mapped unit, m².

        Raises:
            ValueError: no pixel has both.
        """
        counts = np.zeros((6, CLASSES), dtype=np.int64)
        smallest = smallest_pixels(smallest_m2, pixel_m2)
        for probability, labels in rectangles:
            known = np.isfinite(probability) & (labels != UNMAPPED)
            truth = known & (labels == 1)
            index = np.where(known, class_of(probability), -1)
            counts[0] += np.bincount(index[known], minlength=CLASSES)
            counts[1] += np.bincount(index[truth], minlength=CLASSES)
            for number in range(int(index.max()) + 1):
                counts[2:, number] += _polygons(index >= number, truth, smallest)
        pixels, landslides, mapped, hits, polygons, false = (tuple(map(int, row)) for row in counts)
        return cls(
            event=event,
            pixel_m2=pixel_m2,
            pixels=pixels,
            landslides=landslides,
            mapped=mapped,
            hits=hits,
            polygons=polygons,
            false_polygons=false,
        )

    @property
    def prevalence(self) -> float:
        """Share of landslide pixels."""
        return sum(self.landslides) / sum(self.pixels)

    def at(self, log_odds: float) -> SharesAt:
        """The shares of a map with this threshold; between two classes the counts are interpolated.

        Args:
            log_odds: threshold before calibration.
        """
        mapped, hits, polygons, false = (
            _at(counts, log_odds) for counts in (self.mapped, self.hits, self.polygons, self.false_polygons)
        )
        landslides = sum(self.landslides)
        return SharesAt(
            false_polygons=false / polygons if polygons > 0 else None,
            false_area=(mapped - hits) / mapped if mapped > 0 else None,
            missed_area=(landslides - hits) / landslides if landslides else None,
            area_ratio=landslides / mapped if mapped > 0 else None,
        )


class SharesAt(Frozen):
    """What is false and missed on one event at one threshold; None: nothing is mapped, or there is no landslide."""

    false_polygons: Share | None
    false_area: Share | None
    missed_area: Share | None
    area_ratio: float | None = Field(description="landslide area over mapped area")

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, by area."""
        if self.false_area is None or self.missed_area is None:
            return 0.0
        precision, recall = 1 - self.false_area, 1 - self.missed_area
        return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def class_of(probability: NDArray[np.float32]) -> NDArray[np.int64]:
    """The class of each probability's log-odds, of any shape; NaN gets any class."""
    log_odds = logit(np.clip(np.nan_to_num(probability).astype(np.float64), SMALLEST, 1 - SMALLEST))
    index: NDArray[np.int64] = np.floor((log_odds - LOWEST) / STEP).astype(np.int64).clip(0, CLASSES - 1)
    return index


def centres() -> Floats:
    """(class,) log-odds in the middle of each class."""
    found: Floats = np.array([LOWEST + STEP * (number + 0.5) for number in range(CLASSES)], dtype=np.float64)
    return found


def _at(counts: Counts, log_odds: float) -> float:
    """A count of a map with this threshold."""
    edges = LOWEST + STEP * np.arange(CLASSES + 1)
    return float(np.interp(log_odds, edges, (*counts, 0)))


def _polygons(mask: NDArray[np.bool_], truth: NDArray[np.bool_], smallest: int) -> tuple[int, int, int, int]:
    """Pixels of polygons, landslide pixels among them, polygons, and those without a landslide pixel."""
    numbers, count = labelled(mask)
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
    hits = np.bincount(numbers[truth], minlength=count + 1)[1:]
    kept = sizes >= smallest
    return int(sizes[kept].sum()), int(hits[kept].sum()), int(kept.sum()), int((kept & (hits == 0)).sum())
