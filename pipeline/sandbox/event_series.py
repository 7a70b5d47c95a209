"""A series of randomised events: those that a prior is trained on, by their number, and those that it never sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from pipeline.sandbox.earth.events.random_event import random_event
from pipeline.sandbox.earth.parameters import WorldParameters
from pipeline.sandbox.earth.realism.switches import Land
from pipeline.sandbox.simulated_cube import simulated_cube

LANDS_IN_TURN: tuple[Land, ...] = ("forest", "arid", "forest", "tropical", "snow")
"""two of five events lie in forest"""
FIRST_SEED = 1001
"""of the training events; `LEFT_OUT` has smaller ones"""
LEFT_OUT: tuple[tuple[Land, int], ...] = (
    ("forest", 1),
    ("forest", 2),
    ("forest", 3),
    ("arid", 4),
    ("arid", 5),
    ("tropical", 6),
    ("snow", 7),
    ("forest", 8),
)
"""land and seed of the events that no prior is trained on"""
SIDE_PX, LEFT_OUT_SIDE_PX = 384, 512
LEFT_OUT_BEFORE, LEFT_OUT_AFTER = 6, 4
"""passes of each track"""
BEFORE, AFTER = (4, 10), (2, 5)
"""fewest and most passes of each track of a training event; drawn from its seed"""
COARSE_EVERY, COARSE = 6, 3
"""each sixth training event has pixels of 30 m, which are means of 3 x 3 pixels in linear power"""


@dataclass(frozen=True)
class SeriesEvent:
    """One event of the series, before it is simulated."""

    land: Land
    seed: int
    parameters: WorldParameters
    side_px: int
    """of the simulated square, in pixels of 10 m"""
    coarse: int = 1
    """pixels along a side that are averaged to one"""

    @property
    def name(self) -> str:
        """As in `forest-1001`."""
        return f"{self.land}-{self.seed}"

    def cube(self) -> xr.Dataset:
        """The simulated cube, in memory; see `simulated_cube`."""
        made = simulated_cube(self.side_px, self.parameters).assign_attrs(area=self.name)
        return made if self.coarse == 1 else coarsened(made, self.coarse)


def training_event(number: int) -> SeriesEvent:
    """The event of a number from 0: its land is the number's turn, all else is drawn from its seed."""
    seed = FIRST_SEED + number
    land = LANDS_IN_TURN[number % len(LANDS_IN_TURN)]
    rng = np.random.default_rng([seed, 78])
    before, after = (int(rng.integers(low, high + 1)) for low, high in (BEFORE, AFTER))
    coarse = COARSE if number % COARSE_EVERY == COARSE_EVERY - 1 else 1
    side = SIDE_PX if coarse == 1 else 2 * SIDE_PX
    return SeriesEvent(land, seed, _with_passes(random_event(seed, land), before, after), side, coarse)


def left_out_events() -> tuple[SeriesEvent, ...]:
    """The events that no prior is trained on."""
    return tuple(
        SeriesEvent(
            land,
            seed,
            _with_passes(random_event(seed, land), LEFT_OUT_BEFORE, LEFT_OUT_AFTER),
            LEFT_OUT_SIDE_PX,
        )
        for land, seed in LEFT_OUT
    )


def _with_passes(parameters: WorldParameters, before: int, after: int) -> WorldParameters:
    tracks = tuple(track.model_copy(update={"before": before, "after": after}) for track in parameters.tracks)
    return parameters.model_copy(update={"tracks": tracks, "missing_pass": False, "partial_pass": False})


def coarsened(cube: xr.Dataset, factor: int) -> xr.Dataset:
    """A cube of pixels that are `factor` times as wide.

    Backscatter is the mean in linear power of what is known, elevation and slope their means; a label is that of the
    middle pixel, as the rule of the pixel's centre has it. Other layers are left out. `factor` is odd.
    """
    averaged = (
        cube[["vv", "vh", "dem", "dem_slope_radians"]].coarsen(y=factor, x=factor, boundary="trim").mean()
    )
    middle = slice(factor // 2, None, factor)
    labels = cube["landslides"].isel(y=middle, x=middle)
    labels = labels.isel(y=slice(averaged.sizes["y"]), x=slice(averaged.sizes["x"]))
    return averaged.assign(landslides=(("y", "x"), labels.values)).assign_attrs(cube.attrs)
