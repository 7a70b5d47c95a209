"""How sure an average precision is: resampled blocks of ground, and units of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from model.cubes import UNMAPPED
from pipeline.errors import ModelError
from pipeline.records import Frozen

BLOCK_PX = 64
"""side of a block: landslides and speckle of one block are not independent of each other, those of two nearly are"""
CLASSES = 2048
RESAMPLES = 1000
LEVEL = 0.95


class Interval(Frozen):
    """A mean and the range that 95 % of the resampled means lie in."""

    mean: float
    lower: float
    upper: float
    units: int = Field(ge=1, description="trained networks, or folds of a method")

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole range lies on one side of 0."""
        return self.lower > 0 or self.upper < 0


@dataclass(frozen=True)
class BlockCounts:
    """Counts of pixels by block and class of score: all that an average precision under resampled blocks needs."""

    totals: NDArray[np.int64]
    """(block, class) pixels; classes by descending score"""
    hits: NDArray[np.int64]
    """(block, class) landslide pixels"""

    @classmethod
    def of(
        cls, score: NDArray[np.floating], truth: NDArray[np.bool_], block: NDArray[np.int64]
    ) -> BlockCounts:
        """Count (n,) pixels.

        Classes are quantiles of the scores of landslide pixels and of the others, so that the AUPRC is good to about
        1e-3; a score that many pixels share is never divided.

        Args:
            score: (n,) finite, higher means landslide.
            truth: (n,)
            block: (n,) number of the pixel's block.

        Raises:
            ModelError: there is no landslide pixel.
        """
        if not truth.any():
            raise ModelError("Nothing can be resampled: no landslide pixel was scored.")
        shares = np.linspace(0, 1, CLASSES // 2 + 1)[1:-1]
        edges = np.unique(
            np.concatenate([np.quantile(part, shares) for part in (score[truth], score) if part.size])
        )
        column = edges.size - np.searchsorted(edges, score, side="right")
        _, row = np.unique(block, return_inverse=True)
        size = (int(row.max()) + 1, edges.size + 1)
        index = row * size[1] + column
        totals = np.bincount(index, minlength=size[0] * size[1]).reshape(size)
        hits = np.bincount(index[truth], minlength=size[0] * size[1]).reshape(size)
        return cls(totals=totals, hits=hits)

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return len(self.totals)

    def auprc(self, weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """(resample,) average precision; NaN where no landslide pixel was drawn.

        Args:
            weights: (resample, block) how often each block was drawn; None: once each.
        """
        drawn = np.ones((1, self.blocks)) if weights is None else weights
        above, found = (drawn @ self.totals).cumsum(axis=1), (drawn @ self.hits).cumsum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(above > 0, found / above, 0.0)
            recall = found / found[:, -1:]
        gained = np.diff(recall, axis=1, prepend=0.0)
        result: NDArray[np.float64] = (gained * precision).sum(axis=1)
        return result


def counts_of_file(file: Path) -> BlockCounts:
    """The counts of a trial's stored scores: (y, x) `score`, (y, x) `labels`, `corner` of the rectangle in the scene.

    Raises:
        ModelError: the file is missing or damaged.
    """
    try:
        with np.load(file, allow_pickle=False) as held:
            score, labels, corner = held["score"], held["labels"], held["corner"]
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise ModelError(
            f"The scores of a trial cannot be read: {file} ({type(error).__name__}).",
            "Delete the trial's two files and run it again.",
        ) from error
    rows = (np.arange(score.shape[0]) + int(corner[0])) // BLOCK_PX
    columns = (np.arange(score.shape[1]) + int(corner[1])) // BLOCK_PX
    block = rows[:, None] * 1_000_000 + columns[None, :]
    scored = labels != UNMAPPED
    values = np.where(np.isfinite(score), score, np.nanmin(score))
    return BlockCounts.of(values[scored], labels[scored] == 1, block[scored])


def interval(units: Sequence[BlockCounts], seed: int = 0) -> Interval:
    """Mean AUPRC over units (one network on one fold each), and its range.

    Units are drawn with replacement, and in each of them blocks: the range holds what another seed or fold and what
    other ground would have changed. With few units it is rough.
    """
    return _resampled([(unit, None) for unit in units], seed)


def paired_difference(first: Sequence[BlockCounts], second: Sequence[BlockCounts], seed: int = 0) -> Interval:
    """Mean of AUPRC(first) - AUPRC(second) over pairs of units on the same ground, and its range.

    Both of a pair are resampled in the same way, so that what is hard for both does not widen the range.

    Raises:
        ModelError: the pairs are not on the same blocks.
    """
    pairs = list(zip(first, second, strict=True))
    for one, other in pairs:
        if not np.array_equal(one.totals.sum(axis=1), other.totals.sum(axis=1)):
            raise ModelError("The two results are not of the same blocks of pixels.", "Score both anew.")
    return _resampled(pairs, seed)


def _resampled(pairs: Sequence[tuple[BlockCounts, BlockCounts | None]], seed: int) -> Interval:
    if not pairs:
        raise ModelError("There is no result to resample.")
    rng = np.random.default_rng([seed, 1])
    drawn = np.empty((len(pairs), RESAMPLES))
    plain = np.empty(len(pairs))
    for index, (one, other) in enumerate(pairs):
        weights = rng.multinomial(one.blocks, np.full(one.blocks, 1 / one.blocks), size=RESAMPLES).astype(
            float
        )
        drawn[index], plain[index] = one.auprc(weights), one.auprc()[0]
        if other is not None:
            drawn[index] -= other.auprc(weights)
            plain[index] -= other.auprc()[0]
    chosen = rng.integers(len(pairs), size=(RESAMPLES, len(pairs)))
    means = np.nanmean(drawn[chosen, np.arange(RESAMPLES)[:, None]], axis=1)
    lower, upper = np.nanquantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(mean=float(plain.mean()), lower=float(lower), upper=float(upper), units=len(pairs))
