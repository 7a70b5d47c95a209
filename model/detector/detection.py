"""The detector on a whole scene: scores of all passes together and of each one, objects, status."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from model.detector import searched_ground
from model.detector.change_score import Array, change_score, fused, history
from model.detector.detector_plan import DetectorPlan
from model.detector.landslide_objects import objects_of
from model.detector.pass_status import GONE, NO_DATA, Status, StatusCount, at_least_first
from model.detector.scene_statistics import (
    SceneStatistics,
    Terrain,
    passes_db,
    sigma_px_of,
    statistics_of,
)
from model.detector.scene_views import in_order
from model.inputs.cubes import shape_of
from model.inputs.selection import Selection
from model.inputs.windows import Box
from model.scores.mapped_objects import Labels, Mask, labelled
from pipeline.progress import Progress, no_progress

K = TypeVar("K", bound=np.generic)
ROWS_PX, COLUMNS_PX = 512, 1024
"""tiles that are scored at once; their size bounds the memory"""
SEARCHED, TOO_FLAT, WATER, NO_BEFORE, FEW_BEFORE, NO_AFTER, UNSEEN = 0, 1, 2, 4, 8, 16, 32
"""why a pixel is not searched or has no score; a pixel can have several"""


@dataclass(frozen=True)
class Tile:
    """What is computed of one tile."""

    score: Array
    """(y, x) all passes together; 0 not searched, NaN no data"""
    by_pass: Array
    """(pass, y, x) each pass after the event alone, in the order of their instants"""
    reasons: NDArray[np.uint8]
    change_db: Array
    """(y, x) change in the first polarisation of the first track that sees the pixel, steps removed"""
    before_db: Array
    after_db: Array


@dataclass(frozen=True)
class Detector:
    """A cube, the passes of it that are used, and what was learnt from the scene."""

    cube: xr.Dataset
    selection: Selection
    polarisations: tuple[str, ...]
    plan: DetectorPlan
    statistics: SceneStatistics

    @classmethod
    def of(
        cls,
        cube: xr.Dataset,
        selection: Selection,
        polarisations: tuple[str, ...],
        plan: DetectorPlan | None = None,
    ) -> Detector:
        """Measure the scene.

        Raises:
            ModelError: too few pixels have data and are searched.
        """
        plan = plan or DetectorPlan()
        return cls(cube, selection, polarisations, plan, statistics_of(cube, selection, polarisations, plan))

    def with_threshold(self, score: float) -> Detector:
        """The same with another score that makes an object."""
        thresholds = self.statistics.thresholds.at(score)
        return replace(self, statistics=replace(self.statistics, thresholds=thresholds))

    @property
    def passes(self) -> tuple[tuple[int, int], ...]:
        """The passes after the event in order: number of the view, position in its `after`."""
        return in_order(self.selection)

    def tile(self, box: Box) -> Tile:
        """Score a box. The result does not depend on how a scene is divided into boxes."""
        terrain, views = Terrain.of(self.cube, box), self.selection.every_view
        shape = (box.height, box.width)
        classes = (
            self.statistics.terrain.ground(terrain.slope, terrain.aspect, shape),
            self.statistics.terrain.elevation(terrain.dem, shape),
        )
        sigma = sigma_px_of(self.cube, self.plan)
        together: list[Array] = []
        alone: dict[tuple[int, int], list[Array]] = {key: [] for key in self.passes}
        found = _Found(shape)
        for number, view in enumerate(views):
            hidden = searched_ground.unseen(self.cube, view, box)
            for name in self.polarisations:
                known = self.statistics.measurements[number, name]
                before = len(view.before)
                passes = known.without_steps(passes_db(self.cube, view, name, box, sigma), classes)
                past = history(passes[:before], known.variance, self.plan.prior_passes)
                scale = known.scale(range(before, len(passes)), classes)
                together.append(change_score(passes[before:], past, scale))
                for position in range(len(view.after)):
                    one = slice(before + position, before + position + 1)
                    part = change_score(passes[one], past, scale[position : position + 1])
                    alone[number, position].append(part)
                found.add(passes, before, hidden)
                found.keep(name, past.mean, passes[before:])
        score = fused(together)
        by_pass = np.stack([fused(alone[key]) for key in self.passes])
        if (weight := searched_ground.slope_weight(terrain.slope, self.plan)) is not None:
            score *= weight
            by_pass *= weight
        reasons = found.reasons(np.isfinite(score))
        reasons[searched_ground.water(found.means, terrain.slope)] |= WATER
        if (too_flat := searched_ground.flat(terrain.slope, self.plan.smallest_slope_deg)) is not None:
            reasons[too_flat] |= TOO_FLAT
        unsearched = (reasons & (WATER | TOO_FLAT)) > 0
        score[unsearched & np.isfinite(score)] = 0
        by_pass[:, unsearched] = np.where(np.isfinite(by_pass[:, unsearched]), 0, np.nan)
        name = self.polarisations[0]
        return Tile(
            score=score,
            by_pass=by_pass,
            reasons=reasons,
            change_db=found.after[name] - found.means[name],
            before_db=found.means[name],
            after_db=found.after[name],
        )


class _Found:
    """Gathers, over tracks and polarisations, why a pixel has no score, and the levels of the first that sees it."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.means: dict[str, Array] = {}
        self.after: dict[str, Array] = {}
        self._most_before = np.zeros(shape, dtype=np.uint8)
        self._after = np.zeros(shape, dtype=bool)
        self._hidden = np.ones(shape, dtype=bool)

    def add(self, passes: Array, before: int, hidden: Mask | None) -> None:
        """One polarisation of one track."""
        valid = np.isfinite(passes)
        self._most_before = np.maximum(self._most_before, valid[:before].sum(axis=0).astype(np.uint8))
        self._after |= valid[before:].any(axis=0)
        self._hidden &= False if hidden is None else hidden

    def keep(self, name: str, mean: Array, after: Array) -> None:
        """The mean levels before and after of one polarisation; a later track fills what no earlier one sees."""
        valid = np.isfinite(after)
        level = np.full(mean.shape, np.nan, dtype=np.float32)
        count = valid.sum(axis=0)
        np.divide(np.where(valid, after, 0).sum(axis=0), count, out=level, where=count > 0)
        if name in self.means:
            lacking = np.isnan(self.means[name] + self.after[name])
            mean = np.where(lacking, mean, self.means[name])
            level = np.where(lacking, level, self.after[name])
        self.means[name], self.after[name] = mean, level

    def reasons(self, scored: Mask) -> NDArray[np.uint8]:
        """(y, x) the reasons of the pixels without a score."""
        result = np.zeros(scored.shape, dtype=np.uint8)
        lacking = ~scored
        result[self._hidden] |= UNSEEN
        lacking &= ~self._hidden
        result[lacking & (self._most_before == 0)] |= NO_BEFORE
        result[lacking & (self._most_before == 1)] |= FEW_BEFORE
        result[lacking & ~self._after] |= NO_AFTER
        # data before on one track and after on another: no track has both
        result[lacking & (result == 0)] |= NO_AFTER
        return result


@dataclass
class Detection:
    """A scored scene, in unnamed scratch files, and its objects."""

    detector: Detector
    score: Array
    by_pass: NDArray[np.float16]
    reasons: NDArray[np.uint8]
    levels: NDArray[np.float16]
    """(3, y, x) change, before and after, dB"""
    objects: Labels = field(init=False)
    """(y, x) number of each pixel's object, 0 none"""
    count: int = field(init=False)

    def find_objects(self, smallest_px: int) -> None:
        """Find the objects of all passes together and of each pass alone."""
        limits = self.detector.statistics.thresholds
        mask = objects_of(self.score, limits.landslide, limits.edge, smallest_px)
        edge = limits.edge * limits.one_pass / limits.landslide
        for scores in self.by_pass:
            mask |= objects_of(scores.astype(np.float32), limits.one_pass, edge, smallest_px)
        self.objects, self.count = labelled(mask)

    def object_status(self) -> StatusCount:
        """The passes that saw each object: those in which its mean score is above the threshold for seeing again."""
        counts = self._counts((self.count,))
        for number, (track, _) in enumerate(self.detector.passes):
            values = self.by_pass[number].astype(np.float32)
            valid = np.isfinite(values)
            of = self.objects[valid]
            pixels = np.bincount(of, minlength=self.count + 1)[1:]
            total = np.bincount(of, weights=values[valid], minlength=self.count + 1)[1:]
            mean = total / np.maximum(pixels, 1)
            counts.add(track, pixels > 0, mean >= self.detector.statistics.thresholds.again)
        return counts

    def mapped(self) -> Mask:
        """(object + 1,) whether an object belongs to the class map, by its number: all but what was seen too rarely to
        be confirmed, and is gone."""
        return np.concatenate([[False], at_least_first(self.object_status().status()) != GONE])

    def pixel_status(self, rows: slice) -> Status:
        """(y, x) of some rows: the status of each pixel of an object, by its own scores."""
        shape = self.objects[rows].shape
        counts = self._counts(shape)
        for number, (track, _) in enumerate(self.detector.passes):
            values = self.by_pass[number, rows].astype(np.float32)
            looked = np.isfinite(values)
            again = np.nan_to_num(values) >= self.detector.statistics.thresholds.again
            counts.add(track, looked, again & (self.objects[rows] > 0))
        status = np.where(self.objects[rows] > 0, at_least_first(counts.status()), counts.status())
        status[~np.isfinite(self.score[rows])] = NO_DATA
        return status

    def _counts(self, shape: tuple[int, ...]) -> StatusCount:
        plan = self.detector.plan
        tracks = len(self.detector.selection.every_view)
        return StatusCount(shape, tracks, plan.confirmed_after, plan.gone_after)


def detect(
    detector: Detector, smallest_px: int, scratch: Path, progress: Progress = no_progress
) -> Detection:
    """Score a scene tile by tile and find its objects.

    Args:
        smallest_px: pixels above the threshold that an object must have.
        scratch: folder for unnamed files, which hold what does not fit in memory.

    Raises:
        OSError: the disk has no room for them.
    """
    height, width = shape_of(detector.cube)
    passes = len(detector.passes)
    result = Detection(
        detector,
        score=_scratch((height, width), np.float32, scratch),
        by_pass=_scratch((passes, height, width), np.float16, scratch),
        reasons=_scratch((height, width), np.uint8, scratch),
        levels=_scratch((3, height, width), np.float16, scratch),
    )
    for box in _tiles(height, width):
        tile, (rows, columns) = detector.tile(box), box.slices
        result.score[rows, columns] = tile.score
        result.by_pass[:, rows, columns] = tile.by_pass
        result.reasons[rows, columns] = tile.reasons
        result.levels[:, rows, columns] = np.stack([tile.change_db, tile.before_db, tile.after_db])
        progress("score", box.bottom, height)
    result.find_objects(smallest_px)
    return result


def _tiles(height: int, width: int) -> Iterator[Box]:
    for top in range(0, height, ROWS_PX):
        for left in range(0, width, COLUMNS_PX):
            yield Box(
                top=top, left=left, height=min(ROWS_PX, height - top), width=min(COLUMNS_PX, width - left)
            )


def _scratch(shape: tuple[int, ...], kind: type[K], folder: Path) -> NDArray[K]:
    """An array in a file without a name, so that even a killed process leaves nothing.

    Its room is taken at once: a page of a mapped file that cannot be written would end the process by a signal.
    """
    with TemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, int(np.prod(shape)) * np.dtype(kind).itemsize)
        return np.memmap(file, dtype=kind, mode="r+", shape=shape)
