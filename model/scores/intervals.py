"""Confidence intervals of the average precision: over events, or over the blocks of pixels of one event.

A headline of several events has an interval over the events, since the question is what the next event will be like.
Student's t is used. Resampling three events knows three values: a percentile bootstrap holds the mean of three normal
values 74 times in 100 where it says 95, BCa (scipy.stats.bootstrap) 73 times; a test measures all of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import ndtri, stdtrit

from model.inputs.cubes import UNMAPPED
from model.scores.stored_scores import read_scores
from pipeline.errors import ModelError
from pipeline.records import Frozen

BLOCK_PX = 64
"""side of a block: pixels of one block are not independent of each other, those of two blocks nearly are"""
CLASSES = 2048
RESAMPLES = 1000
LEVEL = 0.95


class Interval(Frozen):
    """A mean and its confidence interval."""

    mean: float
    lower: float
    upper: float
    units: int = Field(ge=1, description="trained networks, or folds of a method")
    over: Literal["events", "blocks"] = Field(
        "blocks",
        description="events: Student's t over their means; blocks: resampled blocks of pixels of one event",
    )
    events: int = Field(1, ge=1, description="events that the mean is of")
    comparisons: int = Field(
        1, ge=1, description="intervals of one table that shall hold together (Bonferroni); 1: this one alone"
    )

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole range is above 0 or below it."""
        return self.lower > 0 or self.upper < 0


@dataclass(frozen=True)
class BlockCounts:
    """Counts of pixels by block and class of score, from which the AUPRC of resampled blocks follows."""

    totals: NDArray[np.int64]
    """(block, class) pixels; classes by descending score"""
    hits: NDArray[np.int64]
    """(block, class) landslide pixels"""

    @classmethod
    def of(
        cls, score: NDArray[np.floating], truth: NDArray[np.bool_], block: NDArray[np.int64]
    ) -> BlockCounts:
        """Count (n,) pixels.

        Classes are quantiles of the scores of landslide pixels and of the others, so that the AUPRC is exact to
        about 1e-3; pixels of one score are in one class.

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
    """The counts of a trial's stored scores.

    Raises:
        ModelError: the file is missing or damaged, or has no landslide pixel.
    """
    stored = read_scores(file)
    return counts_of(stored.score, stored.labels, stored.corner)


def counts_of(score: NDArray[np.floating], labels: NDArray[np.uint8], corner: tuple[int, int]) -> BlockCounts:
    """The counts of the scores of a rectangle; a pixel without a score has the lowest one.

    Args:
        score: (y, x)
        labels: (y, x) 1, 0, or 255 not scored.
        corner: (y, x) of its first pixel in the scene, by whose lattice blocks are cut.

    Raises:
        ModelError: there is no landslide pixel.
    """
    rows = (np.arange(score.shape[0]) + corner[0]) // BLOCK_PX
    columns = (np.arange(score.shape[1]) + corner[1]) // BLOCK_PX
    block = rows[:, None] * 1_000_000 + columns[None, :]
    scored = labels != UNMAPPED
    known = np.isfinite(score)
    values = np.where(known, score, score[known].min() if known.any() else 0)
    return BlockCounts.of(values[scored], labels[scored] == 1, block[scored])


def over_events(values: Sequence[float], *, comparisons: int = 1, units: int | None = None) -> Interval:
    """The mean of one value for each event, and Student's t interval of the mean.

    The level of each of so many `comparisons` is 1 - 0.05 / comparisons, so that with 95 % all of them hold
    (Bonferroni).

    Args:
        units: networks that the values are of; None: one for each event.

    Raises:
        ModelError: there is one event only.
    """
    found, count = np.asarray(values, dtype=float), len(values)
    if count < 2:
        raise ModelError("An interval over events needs two events or more.")
    mean, error = float(found.mean()), float(found.std(ddof=1) / np.sqrt(count))
    reach = float(stdtrit(count - 1, 1 - (1 - LEVEL) / 2 / comparisons)) * error
    return Interval(
        mean=mean,
        lower=mean - reach,
        upper=mean + reach,
        units=units or count,
        over="events",
        events=count,
        comparisons=comparisons,
    )


def interval(
    units: Sequence[BlockCounts],
    areas: Sequence[Hashable] | None = None,
    seed: int = 0,
    events: Sequence[Hashable] | None = None,
) -> Interval:
    """Mean AUPRC over units (one network on one fold each), and its range.

    With several `events` the range is Student's t over the events' means, cut at 0 and 1. Otherwise test areas are
    drawn with replacement, and in each of them blocks and units. That range covers the variation between folds and
    between seeds. Units of one area get the same blocks, so more seeds do not narrow the part of the range that comes
    from the area's size. With few areas the range is rough.

    Args:
        areas: the test area of each unit, as in (cube, fold); None: each has its own.
        events: the event of each unit; None: one.

    Raises:
        ModelError: there is no unit, or units of one area differ in their blocks.
    """
    pairs = [(unit, None) for unit in units]
    if events is None or len(set(events)) < 2:
        return _resampled(pairs, areas, seed)
    found = _of_events(pairs, events)
    return found.model_copy(update={"lower": max(found.lower, 0.0), "upper": min(found.upper, 1.0)})


def paired_difference(
    first: Sequence[BlockCounts],
    second: Sequence[BlockCounts],
    areas: Sequence[Hashable] | None = None,
    *,
    events: Sequence[Hashable] | None = None,
    comparisons: int = 1,
) -> Interval:
    """Mean of AUPRC(first) - AUPRC(second) over pairs of units with the same test area, and its range.

    With several `events` the range is Student's t over the events' mean differences. Otherwise both of a pair are
    resampled in the same way, so pixels that are hard for both do not widen the range.

    Args:
        areas: the test area of each pair, as in `interval`.
        events: the event of each pair, as in `interval`.
        comparisons: differences of one table, which shall hold together (Bonferroni). A range over blocks is widened
            by the ratio of the normal quantiles.

    Raises:
        ModelError: the two results of a pair are not on the same blocks; or as `interval`.
    """
    pairs = list(zip(first, second, strict=True))
    for one, other in pairs:
        if not np.array_equal(one.totals.sum(axis=1), other.totals.sum(axis=1)):
            raise ModelError("The two results are not of the same blocks of pixels.", "Score both anew.")
    if events is not None and len(set(events)) > 1:
        return _of_events(pairs, events, comparisons)
    found = _resampled(pairs, areas, 0)
    wider = float(ndtri(1 - (1 - LEVEL) / 2 / comparisons) / ndtri((1 + LEVEL) / 2))
    return found.model_copy(
        update={
            "lower": found.mean - wider * (found.mean - found.lower),
            "upper": found.mean + wider * (found.upper - found.mean),
            "comparisons": comparisons,
        }
    )


def _of_events(
    pairs: Sequence[tuple[BlockCounts, BlockCounts | None]], events: Sequence[Hashable], comparisons: int = 1
) -> Interval:
    """The interval over the events' means of the units' values."""
    by_event: dict[Hashable, list[float]] = {}
    for event, (one, other) in zip(events, pairs, strict=True):
        value = float(one.auprc()[0]) - (float(other.auprc()[0]) if other is not None else 0.0)
        by_event.setdefault(event, []).append(value)
    means = [float(np.mean(values)) for values in by_event.values()]
    return over_events(means, comparisons=comparisons, units=len(pairs))


def _resampled(
    pairs: Sequence[tuple[BlockCounts, BlockCounts | None]], areas: Sequence[Hashable] | None, seed: int
) -> Interval:
    if not pairs:
        raise ModelError("There is no result to resample.")
    rng = np.random.default_rng([seed, 1])
    by_area: dict[Hashable, list[tuple[BlockCounts, BlockCounts | None]]] = {}
    for area, pair in zip(areas if areas is not None else range(len(pairs)), pairs, strict=True):
        by_area.setdefault(area, []).append(pair)
    drawn = np.empty((RESAMPLES, len(by_area)))
    plain = np.empty(len(by_area))
    for index, members in enumerate(by_area.values()):
        drawn[:, index], plain[index] = _on_one_area(members, rng)
    chosen = rng.integers(len(by_area), size=drawn.shape)
    picked = np.take_along_axis(drawn, chosen, axis=1)
    known = np.isfinite(picked)
    # at least 1 - 1/e of the draws: a block with landslides is missed by at most 1/e
    some = known.any(axis=1)
    means = np.where(known, picked, 0.0).sum(axis=1)[some] / known.sum(axis=1)[some]
    lower, upper = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(mean=float(plain.mean()), lower=float(lower), upper=float(upper), units=len(pairs))


def _on_one_area(
    members: Sequence[tuple[BlockCounts, BlockCounts | None]], rng: np.random.Generator
) -> tuple[NDArray[np.float64], float]:
    """(resample,) mean of drawn units under drawn blocks, NaN where a draw holds no landslide; and the plain mean."""
    blocks = members[0][0].blocks
    if any(one.blocks != blocks for one, _ in members):
        raise ModelError("Results of one test area are not of the same blocks of pixels.", "Score them anew.")
    weights = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=RESAMPLES).astype(float)
    values, plain = np.empty((RESAMPLES, len(members))), []
    for index, (one, other) in enumerate(members):
        values[:, index] = one.auprc(weights)
        plain.append(float(one.auprc()[0]))
        if other is not None:
            values[:, index] -= other.auprc(weights)
            plain[-1] -= float(other.auprc()[0])
    units = rng.integers(len(members), size=values.shape)
    return np.take_along_axis(values, units, axis=1).mean(axis=1), float(np.mean(plain))
