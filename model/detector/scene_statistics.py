"""What is learnt from the scene itself: steps of each pass, the spread before the event, scores of quiet passes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

from model.detector import searched_ground
from model.detector.change_score import (
    Array,
    change_score,
    fused,
    halo_px,
    history,
    left_out_scores,
    own_variance,
    smoothed_db,
)
from model.detector.detector_plan import DetectorPlan
from model.detector.terrain_classes import ByClass, Classes, TerrainClasses, spreads_of, steps_of
from model.inputs.cubes import pixel_m, shape_of
from model.inputs.selection import Selection, View
from model.inputs.windows import Box, starts
from pipeline.errors import ModelError

TILE_PX = 256
TILES_PER_AXIS = 6
MOST_PIXELS = 400_000
"""the sample: at most 6 x 6 tiles of 256 pixels, spread over the scene, and at most so many pixels of them"""
LEAST_PIXELS = 200


@dataclass(frozen=True)
class Terrain:
    """Slope (radians), aspect (degrees) and elevation (m) of a box; None where the cube lacks them."""

    slope: Array | None
    aspect: Array | None
    dem: Array | None

    @classmethod
    def of(cls, cube: xr.Dataset, box: Box) -> Terrain:
        """Read a box."""
        names = ("dem_slope_radians", "dem_aspect", "dem")
        slope, aspect, dem = (searched_ground.layer(cube, name, box) for name in names)
        return cls(slope, aspect, dem)


def passes_db(cube: xr.Dataset, view: View, name: str, box: Box, sigma_px: tuple[float, float]) -> Array:
    """(pass, y, x) smoothed decibels of a box, passes before the event first, as if the whole scene were smoothed."""
    height, width = shape_of(cube)
    halo_y, halo_x = (halo_px(sigma) for sigma in sigma_px)
    top, left = max(box.top - halo_y, 0), max(box.left - halo_x, 0)
    rows = slice(top, min(box.bottom + halo_y, height))
    columns = slice(left, min(box.right + halo_x, width))
    kept = (
        slice(box.top - top, box.top - top + box.height),
        slice(box.left - left, box.left - left + box.width),
    )
    hidden = searched_ground.unseen(cube, view, box)
    result = np.empty((len(view.before) + len(view.after), box.height, box.width), dtype=np.float32)
    for number, used in enumerate((*view.before, *view.after)):
        power = np.asarray(cube[name].isel(timestep=used.index, y=rows, x=columns).values, dtype=np.float32)
        result[number] = smoothed_db(power, sigma_px)[kept]
    if hidden is not None:
        result[:, hidden] = np.nan
    return result


def sigma_px_of(cube: xr.Dataset, plan: DetectorPlan) -> tuple[float, float]:
    """Standard deviation of the spatial mean along (y, x), pixels."""
    size_x, size_y = pixel_m(cube)
    return plan.smoothing_m / size_y, plan.smoothing_m / size_x


@dataclass(frozen=True)
class MeasurementStatistics:
    """Of one polarisation of one track."""

    steps: tuple[ByClass, ...]
    """dB, of each pass, those before the event first"""
    spreads: tuple[ByClass, ...]
    """by how much each pass is noisier than the spread before, likewise"""
    variance: float
    """dB², the scene's median spread before the event"""

    def without_steps(self, passes: Array, classes: tuple[Classes, Classes]) -> Array:
        """(pass, pixels) dB with the steps removed, in place."""
        for number, step in enumerate(self.steps):
            passes[number] -= step.total(*classes)
        return passes

    def scale(self, numbers: range, classes: tuple[Classes, Classes]) -> Array:
        """(pass, pixels) by how much these passes are noisier."""
        return np.stack([self.spreads[number].largest(*classes) for number in numbers])


@dataclass(frozen=True)
class Thresholds:
    """Scores that quiet passes of this scene exceed on a stated share of their pixels."""

    landslide: float
    """of all tracks together"""
    edge: float
    """down to which an object grows"""
    one_pass: float
    """of one pass alone: the share is divided among the passes after the event"""
    again: float
    """of one pass that looks at an object"""

    def at(self, score: float) -> Thresholds:
        """With another score that makes an object; the others in proportion, and a pass sees its own objects."""
        part = score / self.landslide
        return Thresholds(
            landslide=score,
            edge=part * self.edge,
            one_pass=part * self.one_pass,
            again=min(self.again, part * self.one_pass),
        )


@dataclass(frozen=True)
class SceneStatistics:
    """All that a pixel's score depends on beside its own values."""

    terrain: TerrainClasses
    measurements: dict[tuple[int, str], MeasurementStatistics]
    """by number of the view and polarisation"""
    thresholds: Thresholds
    quiet_passes: int
    """passes before the event that were scored against the others"""
    sampled: int
    """pixels of the sample that are searched"""


def statistics_of(
    cube: xr.Dataset, selection: Selection, polarisations: tuple[str, ...], plan: DetectorPlan
) -> SceneStatistics:
    """Measure the scene on a sample of its pixels.

    Raises:
        ModelError: too few pixels have data and are searched.
    """
    boxes, stride = _sample(shape_of(cube))
    terrain = _terrain_of(cube, boxes, stride)
    classes = TerrainClasses.of(terrain.dem)
    count = sum(math.ceil(box.height / stride) * math.ceil(box.width / stride) for box in boxes)
    of_pixel = (
        classes.ground(terrain.slope, terrain.aspect, (count,)),
        classes.elevation(terrain.dem, (count,)),
    )
    measurements: dict[tuple[int, str], MeasurementStatistics] = {}
    quiet: dict[tuple[int, str], Array] = {}
    means: dict[str, Array] = {}
    sigma = sigma_px_of(cube, plan)
    for number, view in enumerate(selection.every_view):
        for name in polarisations:
            passes = np.concatenate(
                [
                    passes_db(cube, view, name, box, sigma)[:, ::stride, ::stride].reshape(
                        len(view.before) + len(view.after), -1
                    )
                    for box in boxes
                ],
                axis=1,
            )
            level = own_variance(passes[: len(view.before)])[1]
            means[name] = np.where(np.isnan(means.get(name, level)), level, means.get(name, level))
            found, scores = _measured(passes, len(view.before), of_pixel, plan)
            measurements[number, name], quiet[number, name] = found, scores
    unsearched = searched_ground.water(means, terrain.slope)
    if (too_flat := searched_ground.flat(terrain.slope, plan.smallest_slope_deg)) is not None:
        unsearched |= too_flat
    weight = searched_ground.slope_weight(terrain.slope, plan)
    for scores in quiet.values():
        scores[:, unsearched] = np.nan
        if weight is not None:
            scores *= weight
    thresholds, pixels = _thresholds(quiet, selection, polarisations, plan)
    return SceneStatistics(
        terrain=classes,
        measurements=measurements,
        thresholds=thresholds,
        quiet_passes=max(len(view.before) for view in selection.every_view),
        sampled=pixels,
    )


def _sample(shape: tuple[int, int]) -> tuple[list[Box], int]:
    """Tiles spread over the scene, and every how many pixels of them are taken along each axis."""

    def offsets(length: int) -> list[int]:
        found = starts(length, TILE_PX, TILE_PX)
        return [
            found[i] for i in np.unique(np.linspace(0, len(found) - 1, TILES_PER_AXIS).round().astype(int))
        ]

    rows, columns = offsets(shape[0]), offsets(shape[1])
    if len(rows) * TILE_PX >= shape[0] and len(columns) * TILE_PX >= shape[1]:
        boxes = _without_overlap(shape)
    else:
        boxes = [
            Box(top=top, left=left, height=min(TILE_PX, shape[0]), width=min(TILE_PX, shape[1]))
            for top in rows
            for left in columns
        ]
    return boxes, max(1, math.ceil(math.sqrt(sum(box.pixels for box in boxes) / MOST_PIXELS)))


def _without_overlap(shape: tuple[int, int]) -> list[Box]:
    """A small scene whole."""
    return [
        Box(
            top=top,
            left=left,
            height=min(TILE_PX, shape[0] - top),
            width=min(TILE_PX, shape[1] - left),
        )
        for top in range(0, shape[0], TILE_PX)
        for left in range(0, shape[1], TILE_PX)
    ]


def _terrain_of(cube: xr.Dataset, boxes: list[Box], stride: int) -> Terrain:
    """The terrain of the sampled pixels, flat arrays."""
    parts = [Terrain.of(cube, box) for box in boxes]

    def joined(values: list[Array | None]) -> Array | None:
        known = [part[::stride, ::stride].ravel() for part in values if part is not None]
        return np.concatenate(known) if known else None

    return Terrain(
        joined([part.slope for part in parts]),
        joined([part.aspect for part in parts]),
        joined([part.dem for part in parts]),
    )


def _measured(
    passes: Array, before: int, of_pixel: tuple[Classes, Classes], plan: DetectorPlan
) -> tuple[MeasurementStatistics, Array]:
    """The statistics of one polarisation of one track, and the scores of its quiet passes, (pass, pixel)."""
    reference = own_variance(passes[:before])[1]
    steps = tuple(steps_of(one - reference, *of_pixel, by_class=plan.classes) for one in passes)
    for number, step in enumerate(steps):
        passes[number] -= step.total(*of_pixel)
    count, _, squares = own_variance(passes[:before])
    own = squares / np.maximum(count - 1, 1)
    known = own[np.isfinite(own)]
    variance = float(np.median(known)) if known.size else 0.0
    quiet = left_out_scores(passes[:before], variance, plan.prior_passes)
    past = history(passes[:before], variance, plan.prior_passes)
    later = [
        change_score(passes[number : number + 1], past, np.ones_like(passes[:1]))
        for number in range(before, len(passes))
    ]
    spreads = tuple(spreads_of(score, *of_pixel, by_class=plan.classes) for score in (*quiet, *later))
    for number in range(before):
        quiet[number] /= spreads[number].largest(*of_pixel)
    return MeasurementStatistics(steps, spreads, variance), quiet


def _thresholds(
    quiet: dict[tuple[int, str], Array],
    selection: Selection,
    polarisations: tuple[str, ...],
    plan: DetectorPlan,
) -> tuple[Thresholds, int]:
    """The scores of quiet passes at the shares of the plan, and the number of pixels that they come from."""
    together = np.concatenate([fused(scores) for scores in _together(quiet, selection, polarisations)])
    alone = np.concatenate(
        [
            fused([quiet[number, name][index] for name in polarisations])
            for number, view in enumerate(selection.every_view)
            for index in range(len(view.before))
        ]
    )
    together, alone = together[np.isfinite(together)], alone[np.isfinite(alone)]
    pixels = together.size // max(len(view.before) for view in selection.every_view)
    if pixels < LEAST_PIXELS:
        raise ModelError(
            f"Only {pixels} of the sampled pixels have data before the event and are searched, too few to know "
            "what quiet passes look like.",
            "Choose a larger area, or one with more slopes.",
        )

    passes = sum(len(view.after) for view in selection.every_view)

    def above(scores: Array, per_1000: float) -> float:
        return float(np.quantile(scores, 1 - per_1000 / 1000))

    return Thresholds(
        landslide=above(together, plan.false_km2_per_1000),
        edge=above(together, plan.edge_km2_per_1000),
        one_pass=above(alone, plan.false_km2_per_1000 / passes),
        again=above(alone, plan.again_km2_per_1000),
    ), pixels


def _together(
    quiet: dict[tuple[int, str], Array], selection: Selection, polarisations: tuple[str, ...]
) -> Iterator[list[Array]]:
    """The scores of one quiet pass of each track, as a map of the first passes has them, the newest first.

    A track with fewer passes before begins again with its newest.
    """
    views = selection.every_view
    for back in range(max(len(view.before) for view in views)):
        yield [
            quiet[number, name][len(view.before) - 1 - back % len(view.before)]
            for number, view in enumerate(views)
            for name in polarisations
        ]
