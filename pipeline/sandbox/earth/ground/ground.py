"""The realistic ground of a scene: its cover, permanent pattern and buildings, and what each pass sees of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from pipeline.sandbox.earth.overflights import FIRST_SATELLITE, Flight
from pipeline.sandbox.earth.realism.disturbances import Disturbed
from pipeline.sandbox.earth.realism.random_fields import Mask, Raster
from pipeline.sandbox.earth.realism.settlements import Built
from pipeline.sandbox.earth.realism.switches import Realism, Rivers, Viewing
from pipeline.sandbox.earth.realism.viewing import View
from pipeline.sandbox.earth.realism.wetness import rain_db, snow_db

_BAR_PX, _BILINEAR = 4, 1.5
"""Extent of a gravel bar, and what gives noise that is interpolated over it a spread of 1 again."""
_STEADY = 0.35
"""Part of the speckle that is left where one building outshines its pixel."""


@dataclass(frozen=True)
class Ground:
    """What does not change between passes, and the views of the tracks.

    `level_db` (y, x) by polarisation is added to the landscape's level; `open_ground` (y, x) is 1 where rain and snow
    act on open ground; `bed` (y, x) marks rivers.
    """

    realism: Realism
    seed: int
    step_m: float
    elevation_m: Raster
    level_db: dict[str, Raster]
    open_ground: Raster
    bed: Mask | None
    built: Built | None
    disturbed: Disturbed | None
    snow_line_m: float
    views: dict[int, View]

    def pass_db(self, flight: Flight, polarisation: str) -> Raster:
        """(y, x) deviation in dB of a pass: rain, snow, beds, disturbances; polarisations share rain and snow."""
        db = np.zeros(self.elevation_m.shape, dtype=np.float32)
        realism = self.realism
        if realism.rain:
            rng = np.random.default_rng([self.seed, 3000 + flight.absolute_orbit, 0])
            db += rain_db(realism.rain, self.open_ground, self.step_m, polarisation, rng)
        if realism.snow:
            rng = np.random.default_rng([self.seed, 3000 + flight.absolute_orbit, 1])
            db += snow_db(realism.snow, self.elevation_m, self.snow_line_m, self.open_ground, rng)
        if realism.rivers and self.bed is not None:
            db += self._bed_db(realism.rivers, self.bed, flight)
        if realism.disturbances and self.disturbed is not None:
            db += self.disturbed.change_db(flight.index, polarisation, realism.disturbances)
        return db

    def _bed_db(self, rivers: Rivers, bed: Mask, flight: Flight) -> Raster:
        """Water and gravel trade places: a field of the pass, and a lasting one since the event."""
        at = np.nonzero(bed)
        found = np.zeros(len(at[0]))
        # (stream, weight): of the pass, and of the state before or after the event
        for stream, weight in (([4000 + flight.absolute_orbit], 0.6), ([39, int(flight.slid)], 0.8)):
            rng = np.random.default_rng([self.seed, *stream])
            coarse = rng.standard_normal([n // _BAR_PX + 2 for n in bed.shape])
            found += weight * _BILINEAR * ndimage.map_coordinates(coarse, np.divide(at, _BAR_PX), order=1)
        db = np.zeros(bed.shape, dtype=np.float32)
        db[at] = rivers.change_db * found
        return db

    def seen(
        self, linear: Raster, noise: Raster, flight: Flight, polarisation: str, ground_db: float
    ) -> Raster:
        """(y, x) product of a pass: buildings added, geometry and registration applied, times the speckle `noise`.

        `ground_db` is the VV level that buildings are stated against.
        """
        if self.built is not None and self.realism.settlements is not None:
            below = 0.0 if polarisation == "vv" else self.realism.settlements.vh_below_db
            targets = self.built.added(flight.track.heading_deg, ground_db, below)
            linear = linear + targets
            bright = targets > 2 * (linear - targets)
            noise = np.where(bright, 1 + np.float32(_STEADY) * (noise - 1), noise)
        view, viewing = self.views.get(flight.track.relative_orbit), self.realism.viewing
        if view is not None and viewing is not None:
            linear = view.seen(linear, registration(self.seed, flight, viewing))
        return np.asarray(linear * noise, dtype=np.float32)


def registration(seed: int, flight: Flight, viewing: Viewing) -> tuple[float, float]:
    """A pass's error of registration in pixels, along the flight and in range; the same for its polarisations."""
    rng = np.random.default_rng([seed, 5000 + flight.absolute_orbit])
    along, across = rng.normal(0, viewing.registration_px, 2)
    across += viewing.second_satellite_px if flight.platform != FIRST_SATELLITE else 0.0
    return float(along), float(across)
