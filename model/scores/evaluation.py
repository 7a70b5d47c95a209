"""The evaluation of a map against labels: all figures on one set of pixels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from model.scores.scores import Finite, Ranking, Scores, Share
from model.split.partition import Mask
from pipeline.errors import ModelError
from pipeline.records import Frozen

Score = NDArray[np.floating]

CHIP_PX = 128
CELL_M = 200.0
CALIBRATION_CLASSES = 15
SIZES_M2: tuple[float, ...] = (0.0, 1_000.0, 3_000.0, 10_000.0)
"""lower ends of the classes of a landslide's area"""


@dataclass(frozen=True)
class ScoredPixels:
    """The pixels of a scene that a map is scored on, and their labels."""

    labels: NDArray[np.uint8]
    """(y, x) 1 landslide, 0 none, of the whole scene"""
    scored: Mask
    """(y, x) which pixels are scored; all of them have a label"""
    pixel_m: tuple[float, float]
    """(x, y)"""

    @property
    def truth(self) -> Mask:
        """(y, x) whether there is a landslide."""
        landslide: Mask = self.labels == 1
        return landslide

    @property
    def landslides(self) -> int:
        """Number of scored landslide pixels."""
        return int((self.truth & self.scored).sum())

    def digest(self, prefix: bytes = b"") -> str:
        """sha256 over which pixels are scored, and their labels."""
        digest = hashlib.sha256(prefix)
        digest.update(np.packbits(self.scored).tobytes())
        digest.update(self.labels[self.scored].tobytes())
        return digest.hexdigest()


def evaluate(
    score: Score, pixels: ScoredPixels, threshold: float, chip_px: int = CHIP_PX, *, probability: bool = True
) -> Evaluation:
    """Score a map against labels. Arrays have the scene's size, so that the lattice of chips and cells is fixed.

    A landslide is counted if most of its pixels are scored, so that no landslide is counted in two folds. Chips and
    cells end at the edge of the scored pixels.

    Args:
        score: (y, x) higher means landslide; finite where scored.
        threshold: at or above it a pixel is classified as landslide; chosen on other pixels.
        chip_px: side of the chips, on a lattice from the scene's first pixel.
        probability: False: the score is no probability, and no calibration error is computed.

    Raises:
        ModelError: no landslide pixel is scored, or a score is not finite.
    """
    truth, scored = pixels.truth, pixels.scored
    values = score.astype(np.float64)  # a comparison in float16 would round the threshold
    ranking = Ranking.of(values[scored], truth[scored])
    detected = (values >= threshold) & scored
    with_slide, empty = _chips(truth & scored, scored, chip_px)
    in_chips = scored & with_slide
    false = scored & empty
    return Evaluation(
        scene=ranking.scores(threshold),
        chips=Ranking.of(values[in_chips], truth[in_chips]).scores(threshold),
        best_f1=ranking.scores().f1,
        roc_auc_cells=_roc_auc(values, truth, scored, pixels.pixel_m),
        recall_by_size=_recall_by_size(detected, truth, scored, pixels.pixel_m[0] * pixels.pixel_m[1]),
        empty_chips=_number_of_chips(false, chip_px),
        false_alarm_share=float(detected[false].mean()) if false.any() else None,
        calibration_error=(calibration_error(values[scored], truth[scored]) if probability else None),
    )


def calibration_error(probability: NDArray[np.float64], truth: Mask) -> float:
    """Expected calibration error: mean over pixels of |mean probability - share of landslides| of their class.

    Classes are 15 of equal width (Guo et al. 2017, equation 3, for the probability of one class).

    Args:
        probability: (n,) in 0..1.
        truth: (n,)

    Raises:
        ModelError: a value lies outside 0..1.
    """
    if probability.min() < 0 or probability.max() > 1:
        raise ModelError("A probability lies outside 0 to 1.")
    index = np.minimum((probability * CALIBRATION_CLASSES).astype(np.int64), CALIBRATION_CLASSES - 1)
    predicted = np.bincount(index, weights=probability, minlength=CALIBRATION_CLASSES)
    observed = np.bincount(index, weights=truth, minlength=CALIBRATION_CLASSES)
    return float(np.clip(np.abs(predicted - observed).sum() / probability.size, 0.0, 1.0))


def _chips(slid: Mask, scored: Mask, chip_px: int) -> tuple[Mask, Mask]:
    """(y, x) twice: pixels of chips that hold a scored landslide pixel, of chips that hold scored ones but none."""
    with_slide, empty = np.zeros_like(slid), np.zeros_like(slid)
    for chip in _lattice(slid.shape, chip_px):
        if slid[chip].any():
            with_slide[chip] = True
        elif scored[chip].any():
            empty[chip] = True
    return with_slide, empty


def _number_of_chips(mask: Mask, chip_px: int) -> int:
    return sum(bool(mask[chip].any()) for chip in _lattice(mask.shape, chip_px))


def _lattice(shape: tuple[int, ...], size: int) -> list[tuple[slice, slice]]:
    return [
        (slice(top, top + size), slice(left, left + size))
        for top in range(0, shape[0], size)
        for left in range(0, shape[1], size)
    ]


def _roc_auc(
    score: NDArray[np.float64], truth: Mask, scored: Mask, pixel_m: tuple[float, float]
) -> float | None:
    """ROC-AUC of cells of 200 m: the largest score of each against whether it holds a landslide pixel.

    It takes the largest score and not the mean, because a landslide of three pixels would not change the mean of four
    hundred. None: all cells are of one kind.
    """
    from sklearn.metrics import roc_auc_score

    side = (max(1, round(CELL_M / pixel_m[1])), max(1, round(CELL_M / pixel_m[0])))
    rows, columns = np.nonzero(scored)
    across = -(-scored.shape[1] // side[1])
    index = (rows // side[0]) * across + columns // side[1]
    size = int(index.max()) + 1
    largest, slid = np.full(size, -np.inf), np.zeros(size, dtype=bool)
    np.maximum.at(largest, index, score[scored])
    slid[index[truth[scored]]] = True
    seen = np.isfinite(largest)
    if slid[seen].all() or not slid[seen].any():
        return None
    return float(roc_auc_score(slid[seen], largest[seen]))


def _recall_by_size(detected: Mask, truth: Mask, scored: Mask, pixel_m2: float) -> tuple[SizeClass, ...]:
    """Connected landslides (8 neighbours) by area; found where half of their scored pixels are detected."""
    number, count = ndimage.label(truth, structure=np.ones((3, 3)))
    if count == 0:
        return ()
    whole_px = np.bincount(number.ravel(), minlength=count + 1)[1:]
    inside_px = np.bincount(number[scored], minlength=count + 1)[1:]
    detected_px = np.bincount(number[detected], minlength=count + 1)[1:]
    counted = 2 * inside_px > whole_px
    found = counted & (2 * detected_px >= inside_px)
    area_m2 = whole_px * pixel_m2
    classes = []
    for lower, upper in zip(SIZES_M2, (*SIZES_M2[1:], None), strict=True):
        within = counted & (area_m2 >= lower) & ((area_m2 < upper) if upper is not None else True)
        classes.append(
            SizeClass(
                smallest_m2=lower,
                largest_m2=upper,
                landslides=int(within.sum()),
                found=int((within & found).sum()),
            )
        )
    return tuple(classes)


class SizeClass(Frozen):
    """Landslides of a range of areas, and how many of them were found."""

    smallest_m2: Finite
    largest_m2: Finite | None = Field(description="None: no upper end")
    landslides: int = Field(ge=0)
    found: int = Field(ge=0, description="at least half of the scored pixels at or above the threshold")


class Evaluation(Frozen):
    """All figures of one prediction on one set of pixels; thresholds come from the validation rectangle.

    `scene` is over all scored pixels, `chips` over those in chips of 128 x 128 that hold a landslide, as the paper
    reports.
    """

    scene: Scores = Field(description="all scored pixels")
    chips: Scores | None = Field(
        None, description="pixels of chips that hold a landslide; None: there is none"
    )
    best_f1: Share = Field(description="at the best threshold of these very pixels: an upper bound")
    roc_auc_cells: Share | None = Field(
        None, description="ROC-AUC of the largest score in cells of 200 m; None: all cells are of one kind"
    )
    recall_by_size: tuple[SizeClass, ...] = ()
    empty_chips: int = Field(0, ge=0, description="chips without a landslide")
    false_alarm_share: Share | None = Field(
        None, description="share of the pixels of empty chips at or above the threshold"
    )
    calibration_error: Share | None = Field(
        None,
        description="mean distance of predicted and observed share, 15 classes of equal width, by pixels",
    )
