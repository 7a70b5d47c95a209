"""Scores of a map: average precision, and the prevalence that it must be compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.errors import ModelError
from pipeline.records import Frozen

Finite = Annotated[float, Field(allow_inf_nan=False)]


Method = Literal["network", "log-ratio", "boosting", "logistic", "random", "predictor"]
"""predictor: a method of somebody else, given to `run_strict`"""


CURVE_POINTS = 200

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class CurvePoint(Frozen):
    """One point of the precision-recall curve."""

    threshold: Annotated[float, Field(allow_inf_nan=False)]
    precision: Share
    recall: Share


class Scores(Frozen):
    """Pixel scores over one area."""

    auprc: Share = Field(
        description="average precision: sum of precision times gained recall, no interpolation"
    )
    prevalence: Share = Field(description="share of landslide pixels: the AUPRC of a random map")
    pixels: int = Field(ge=1)
    positives: int = Field(ge=1)
    threshold: Annotated[float, Field(allow_inf_nan=False)] = Field(description="of f1, precision and recall")
    f1: Share
    precision: Share
    recall: Share
    curve: Annotated[tuple[CurvePoint, ...], Field(max_length=CURVE_POINTS + 2)] = ()

    @property
    def lift(self) -> float:
        """AUPRC over prevalence."""
        return self.auprc / self.prevalence


class Ranking:
    """Counts of pixels and landslides at each distinct score, from which all figures follow."""

    def __init__(
        self, threshold: NDArray[np.float64], totals: NDArray[np.int64], hits: NDArray[np.int64]
    ) -> None:
        """
        Args:
            threshold: (n,) distinct scores, descending.
            totals: (n,) pixels with that score.
            hits: (n,) landslide pixels among them.

        Raises:
            ModelError: there is no landslide pixel.
        """
        if totals.size == 0 or not hits.any():
            raise ModelError(
                "Nothing can be scored: no landslide pixel among those with a prediction and a label."
            )
        above, found = totals.cumsum(), hits.cumsum()
        self.threshold = threshold
        self.precision = found / above
        self.recall = found / int(found[-1])
        self.pixels, self.positives = int(above[-1]), int(found[-1])

    @classmethod
    def of(cls, score: NDArray[np.floating], truth: NDArray[np.bool_]) -> Ranking:
        """Exact, from every pixel.

        Args:
            score: (n,) finite; higher means landslide.
            truth: (n,)

        Raises:
            ModelError: there is no landslide pixel, or a score is not finite.
        """
        if not np.isfinite(score).all():
            raise ModelError("A score is not a finite number.")
        order = np.argsort(-score, kind="stable")
        ordered = score[order].astype(np.float64)
        first = (
            np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
            if score.size
            else np.zeros(0, int)
        )
        totals = np.diff(np.append(first, score.size)).astype(np.int64)
        hits = np.add.reduceat(truth[order].astype(np.int64), first) if score.size else np.zeros(0, np.int64)
        return cls(ordered[first], totals, hits)

    @property
    def auprc(self) -> float:
        """Average precision: sum over distinct thresholds of (R_n - R_{n-1}) P_n."""
        return float(np.clip(np.sum(np.diff(self.recall, prepend=0.0) * self.precision), 0.0, 1.0))

    @property
    def best_threshold(self) -> float:
        """The threshold (score >= threshold is landslide) with the largest F1."""
        return float(self.threshold[int(np.argmax(self._f1()))])

    def _f1(self) -> NDArray[np.float64]:
        total = self.precision + self.recall
        f1: NDArray[np.float64] = np.where(
            total > 0, 2 * self.precision * self.recall / np.maximum(total, 1e-12), 0.0
        )
        return f1

    def scores(self, threshold: float | None = None) -> Scores:
        """All figures at `threshold`, or at the best one."""
        chosen = self.best_threshold if threshold is None else threshold
        at = int(np.searchsorted(-self.threshold, -chosen, side="right")) - 1
        precision, recall, f1 = (
            (float(self.precision[at]), float(self.recall[at]), float(self._f1()[at]))
            if at >= 0
            else (0.0, 0.0, 0.0)
        )
        return Scores(
            auprc=self.auprc,
            prevalence=self.positives / self.pixels,
            pixels=self.pixels,
            positives=self.positives,
            threshold=chosen,
            f1=f1,
            precision=precision,
            recall=recall,
            curve=self._curve(),
        )

    def _curve(self) -> tuple[CurvePoint, ...]:
        wanted = np.linspace(0, 1, CURVE_POINTS)
        index = np.unique(np.searchsorted(self.recall, wanted).clip(max=self.recall.size - 1))
        return tuple(
            CurvePoint(
                threshold=float(self.threshold[i]),
                precision=float(self.precision[i]),
                recall=float(self.recall[i]),
            )
            for i in index
        )


@dataclass
class MappedPixels:
    """Counts of what a map says and what the labels say, whatever its rule."""

    pixels: int = 0
    landslides: int = 0
    mapped: int = 0
    hits: int = 0

    def add(self, mapped: NDArray[np.bool_], truth: NDArray[np.bool_]) -> None:
        """(n,) whether a pixel is mapped, and whether it is a landslide."""
        self.pixels += mapped.size
        self.landslides += int(truth.sum())
        self.mapped += int(mapped.sum())
        self.hits += int((mapped & truth).sum())

    def in_place_of(self, scores: Scores) -> Scores:
        """The scores with F1, precision and recall of the map in place of those of a threshold."""
        both = self.mapped + self.landslides
        return scores.model_copy(
            update={
                "precision": self.hits / self.mapped if self.mapped else 0.0,
                "recall": self.hits / self.landslides if self.landslides else 0.0,
                "f1": 2 * self.hits / both if both else 0.0,
            }
        )


class Tally:
    """Counts of scores in narrow classes, for maps too large to sort: the AUPRC is exact to about 1e-4."""

    CLASSES = 1 << 16

    def __init__(self, highest: float) -> None:
        """
        Args:
            highest: scores lie between 0 and this value; larger ones count as this value.
        """
        self._step = highest / (self.CLASSES - 1)
        self._totals = np.zeros(self.CLASSES, dtype=np.int64)
        self._hits = np.zeros(self.CLASSES, dtype=np.int64)

    def add(self, score: NDArray[np.float32], truth: NDArray[np.bool_]) -> None:
        """Count (n,) finite scores with their (n,) truth."""
        index = (score.astype(np.float64) / self._step).round().clip(0, self.CLASSES - 1).astype(np.int64)
        self._totals += np.bincount(index, minlength=self.CLASSES)
        self._hits += np.bincount(index[truth], minlength=self.CLASSES)

    def ranking(self) -> Ranking:
        """The ranking of the counted scores.

        Raises:
            ModelError: there is no landslide pixel.
        """
        used = np.flatnonzero(self._totals)[::-1]
        return Ranking((used * self._step).astype(np.float64), self._totals[used], self._hits[used])

    @property
    def has_landslides(self) -> bool:
        """Whether a landslide pixel was counted."""
        return bool(self._hits.any())
