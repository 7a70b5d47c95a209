"""All figures of one map on one set of pixels."""

from __future__ import annotations

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


def evaluate(
    score: Score,
    labels: NDArray[np.uint8],
    counted: Mask,
    threshold: float,
    pixel_m: tuple[float, float],
    chip_px: int = CHIP_PX,
    *,
    probability: bool = True,
) -> Evaluation:
    """Score a map against labels. Arrays have the scene's size, so that chips and cells lie where they always lie.

    A landslide counts where most of its pixels are counted, so that no landslide is judged in two folds; chips and
    cells are cut at the edge of what is counted.

    Args:
        score: (y, x) higher means landslide; finite where counted.
        labels: (y, x) 1 landslide, 0 none.
        counted: (y, x) the pixels that are judged; all of them have a label.
        threshold: at or above it a pixel is called landslide; chosen elsewhere.
        pixel_m: size of a pixel (x, y), metres.
        chip_px: side of the chips, on a lattice from the scene's first pixel.
        probability: False: the score is no probability, and there is no calibration error.

    Raises:
        ModelError: no landslide pixel is counted, or a counted score is not finite.
    """
    truth = labels == 1
    values = score.astype(np.float64)  # a comparison in float16 would round the threshold
    ranking = Ranking.of(values[counted], truth[counted])
    called = (values >= threshold) & counted
    with_slide, empty = _chips(truth & counted, counted, chip_px)
    in_chips = counted & with_slide
    false = counted & empty
    return Evaluation(
        scene=ranking.scores(threshold),
        chips=Ranking.of(values[in_chips], truth[in_chips]).scores(threshold),
        best_f1=ranking.scores().f1,
        roc_auc_cells=_roc_auc(values, truth, counted, pixel_m),
        recall_by_size=_recall_by_size(called, truth, counted, pixel_m[0] * pixel_m[1]),
        empty_chips=_number_of_chips(false, chip_px),
        false_alarm_share=float(called[false].mean()) if false.any() else None,
        calibration_error=(calibration_error(values[counted], truth[counted]) if probability else None),
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


def _chips(slid: Mask, counted: Mask, chip_px: int) -> tuple[Mask, Mask]:
    """(y, x) twice: pixels of chips that hold a counted landslide pixel, of chips that hold counted ones but none."""
    with_slide, empty = np.zeros_like(slid), np.zeros_like(slid)
    for chip in _lattice(slid.shape, chip_px):
        if slid[chip].any():
            with_slide[chip] = True
        elif counted[chip].any():
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
    score: NDArray[np.float64], truth: Mask, counted: Mask, pixel_m: tuple[float, float]
) -> float | None:
    """ROC-AUC of cells of 200 m: of each the largest score against whether any of its pixels slid.

    The largest and not the mean score, because the question of a cell is whether there is a landslide in it: one of
    three pixels would vanish in the mean of four hundred. None: all cells are of one kind.
    """
    from sklearn.metrics import roc_auc_score

    side = (max(1, round(CELL_M / pixel_m[1])), max(1, round(CELL_M / pixel_m[0])))
    rows, columns = np.nonzero(counted)
    across = -(-counted.shape[1] // side[1])
    index = (rows // side[0]) * across + columns // side[1]
    size = int(index.max()) + 1
    largest, slid = np.full(size, -np.inf), np.zeros(size, dtype=bool)
    np.maximum.at(largest, index, score[counted])
    slid[index[truth[counted]]] = True
    seen = np.isfinite(largest)
    if slid[seen].all() or not slid[seen].any():
        return None
    return float(roc_auc_score(slid[seen], largest[seen]))


def _recall_by_size(called: Mask, truth: Mask, counted: Mask, pixel_m2: float) -> tuple[SizeClass, ...]:
    """Connected landslides (8 neighbours) by area; found where half of their counted pixels are called."""
    number, count = ndimage.label(truth, structure=np.ones((3, 3)))
    if count == 0:
        return ()
    whole_px = np.bincount(number.ravel(), minlength=count + 1)[1:]
    inside_px = np.bincount(number[counted], minlength=count + 1)[1:]
    called_px = np.bincount(number[called], minlength=count + 1)[1:]
    judged = 2 * inside_px > whole_px
    found = judged & (2 * called_px >= inside_px)
    area_m2 = whole_px * pixel_m2
    classes = []
    for lower, upper in zip(SIZES_M2, (*SIZES_M2[1:], None), strict=True):
        within = judged & (area_m2 >= lower) & ((area_m2 < upper) if upper is not None else True)
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
    """Every figure of one set of predictions on one set of pixels; thresholds come from the validation part.

    `scene` is over all scored pixels, `chips` over those in chips of 128 x 128 that hold a landslide, which is what
    the paper reports.
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
