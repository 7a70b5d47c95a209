"""The change of backscatter on slopes as a landslide score, without training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from model.inputs.change import DB_PER_NEPER, local_mean
from model.inputs.cubes import shape_of
from model.inputs.selection import PassUsed, Selection
from model.inputs.windows import Box
from model.maps.map_description import MapRows
from pipeline.records import Frozen

Array = NDArray[np.float32]
ROWS_PX, COLUMNS_PX = 256, 512
HIGHEST_DB = 30.0


class LogRatioPlan(Frozen):
    """How the change of backscatter becomes a score."""

    polarisation: Literal["vv", "vh"] = "vv"
    smoothing_px: int = Field(5, ge=1, le=31, description="side of the box mean; odd")
    smallest_slope_deg: float = Field(5.0, ge=0, lt=90, description="flatter terrain has the score 0")


def log_ratio_rows(cube: xr.Dataset, selection: Selection, plan: LogRatioPlan) -> Iterator[MapRows]:
    """The change in decibels (after minus before, medians over the passes) and its absolute value as a score.

    The score is the absolute value of the change's box mean over valid pixels. It is 0 where the slope is below the
    plan's limit, and NaN where no pass before or none after the event is valid. Without a slope in the cube no pixel
    is set to 0.
    """
    height, width = shape_of(cube)
    halo = plan.smoothing_px // 2
    for top in range(0, height, ROWS_PX):
        bottom = min(top + ROWS_PX, height)
        first, last = max(top - halo, 0), min(bottom + halo, height)
        band = Box(top=first, left=0, height=last - first, width=width)
        before = _median_db(cube, plan.polarisation, selection.before, band)
        after = _median_db(cube, plan.polarisation, selection.after, band)
        change = after - before
        kept = slice(top - first, top - first + bottom - top)
        box = Box(top=top, left=0, height=bottom - top, width=width)
        score = np.abs(local_mean(change, plan.smoothing_px))[kept].astype(np.float32)
        if "dem_slope_radians" in cube:
            score[_static(cube, "dem_slope_radians", box) < np.deg2rad(plan.smallest_slope_deg)] = 0.0
        score[~np.isfinite(change[kept])] = np.nan
        yield MapRows(
            box=box,
            score=score,
            before_db=before[kept],
            after_db=after[kept],
            dem=_static(cube, "dem", box) if "dem" in cube else None,
            change_db=change[kept],
        )


def _static(cube: xr.Dataset, name: str, box: Box) -> Array:
    rows, columns = box.slices
    return np.asarray(cube[name].isel(y=rows, x=columns).values, dtype=np.float32)


def _median_db(cube: xr.Dataset, name: str, passes: tuple[PassUsed, ...], band: Box) -> Array:
    """(y, x) median over passes in decibels; NaN where no pass is valid. In memory: all passes of 512 columns."""
    result = np.empty((band.height, band.width), dtype=np.float32)
    rows, _ = band.slices
    for left in range(0, band.width, COLUMNS_PX):
        columns = slice(left, min(left + COLUMNS_PX, band.width))
        stack = np.stack(
            [np.asarray(cube[name].isel(timestep=p.index, y=rows, x=columns).values) for p in passes]
        ).astype(np.float32)
        valid = np.isfinite(stack) & (stack > 0)
        decibels = np.full(stack.shape, np.nan, dtype=np.float32)
        decibels[valid] = DB_PER_NEPER * np.log(stack[valid])
        result[:, columns] = nan_median(decibels)
    return result


def nan_median(values: Array) -> Array:
    """(y, x) median over the first axis, ignoring NaN; NaN where all are NaN, without numpy's warning."""
    ordered = np.sort(values, axis=0)  # NaN last
    count = np.isfinite(ordered).sum(axis=0)
    lower, upper = np.maximum((count - 1) // 2, 0)[None], np.minimum(count // 2, len(values) - 1)[None]
    pair = np.take_along_axis(ordered, lower, 0)[0], np.take_along_axis(ordered, upper, 0)[0]
    median: Array = np.where(count > 0, (pair[0] + pair[1]) / 2, np.nan).astype(np.float32)
    return median
