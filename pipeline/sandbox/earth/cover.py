"""Land cover, its coherence over time, and the displacement of the ground.

Coherence after twelve days by land cover: forest 0.10 to 0.25, grass 0.40 to 0.50, fields 0.60 to 0.80, old scars 0.50
to 0.70, water 0. At the event a landslide or a clear-cut loses all coherence; the bare ground after it has 0.50 to
0.70. A part of each coherence is permanent, the rest decays from pass to pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import ndtr

from pipeline.sandbox.earth.mirror import place
from pipeline.sandbox.earth.realism.random_fields import Mask, Raster, smooth_field
from pipeline.sandbox.earth.scene import Scene

LASTING = 0.4
"""Permanent share of the coherence after twelve days."""
_RANGES = {"field": (0.60, 0.80), "scar": (0.50, 0.70)}
_BOWL_SIGMA = 0.28
"""Width of the bowl relative to the shorter side of the simulated ground."""


@dataclass(frozen=True)
class Bowl:
    """Displacement of the ground by the event: a Gaussian around its centre.

    `row`, `column` and `width_px` are in pixels of the scene's grid; `peak_m` is towards the sensor along the line of
    sight.
    """

    row: float
    column: float
    width_px: float
    peak_m: float

    def displacement_m(self, row: NDArray[Any], column: NDArray[Any]) -> Raster:
        """Displacement (m) towards the sensor along the line of sight, at fractional rows and columns."""
        away = (row - self.row) ** 2 + (column - self.column) ** 2
        return np.asarray(self.peak_m * np.exp(-away / (2 * self.width_px**2)), dtype=np.float32)


@dataclass(frozen=True)
class Cover:
    """Rasters on the scene's grid, and the event's displacement.

    `before` and `after` (y, x) are the coherence of the ground over twelve days. `changed` (y, x) marks ground that
    loses all coherence at the event.
    """

    before: Raster
    after: Raster
    changed: Mask
    bowl: Bowl

    @property
    def displacement_m(self) -> Raster:
        """(y, x) displacement (m) towards the sensor along the line of sight."""
        height, width = self.before.shape
        return self.bowl.displacement_m(np.arange(height)[:, None], np.arange(width)[None, :])

    def coherence(self, days: float, slid: tuple[bool, bool]) -> Raster:
        """(y, x) coherence of two passes, `days` apart; `slid` states for each whether it is after the event."""
        kept = fading(self.after if slid[0] else self.before, days)
        if slid[0] != slid[1]:
            kept = np.where(self.changed, np.float32(0), kept)
        return kept


def fading(twelve_days: Raster, days: float) -> Raster:
    """Coherence after `days` of ground with the coherence `twelve_days` after twelve days."""
    lasting = LASTING * twelve_days
    return np.asarray(lasting + (1 - lasting) * remembered(twelve_days, days), dtype=np.float32)


def remembered(twelve_days: Raster, days: float) -> Raster:
    """Correlation of the decaying part over some days."""
    lasting = LASTING * twelve_days
    return np.asarray(((twelve_days - lasting) / (1 - lasting)) ** np.float32(days / 12), dtype=np.float32)


def make_cover(scene: Scene, centre_deg: tuple[float, float], width_m: float, peak_m: float) -> Cover:
    """The cover of a scene, from its seed; the bowl's centre is `centre_deg` (longitude, latitude)."""
    rng = np.random.default_rng([scene.parameters.seed, 20])
    shape, step = scene.grid.shape, scene.grid.resolution_m
    # uniform between the bounds
    inner = ndtr(smooth_field(shape, max(1.0, 80.0 / step), rng)).astype(np.float32)
    broad = smooth_field(shape, max(1.0, 250.0 / step), rng) - 2.0 * ndimage.gaussian_filter(
        scene.relief.slope_rad, 5.0
    )
    water = scene.relief.water
    landscape = scene.parameters.landscape
    before = _between(landscape.coherence, inner)
    grass = broad > np.quantile(broad, 1 - landscape.grass_share)
    for between, where in (
        (landscape.grass_coherence, grass),
        (_RANGES["field"], scene.parcels > 0),
        (_RANGES["scar"], scene.slides.old_map),
    ):
        before[where] = _between(between, inner)[where]
    changed = ((scene.slides.id_map > 0) | scene.felled_at_event) & ~water
    after = np.where(changed, _between(_RANGES["scar"], inner), before)
    before[water], after[water] = 0, 0
    row, column = place(scene.grid, *centre_deg)
    bowl = Bowl(float(row), float(column), _BOWL_SIGMA * width_m / step, peak_m)
    return Cover(before, after.astype(np.float32), changed, bowl)


def _between(between: tuple[float, float], inner: Raster) -> Raster:
    low, high = between
    return np.asarray(low + (high - low) * inner, dtype=np.float32)
