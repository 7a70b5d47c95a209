"""Felling and windthrow on forested slopes, in the shapes of landslides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import rasterio.features
from numpy.typing import NDArray
from shapely import Polygon

from pipeline.grid import Grid
from pipeline.sandbox.earth.realism.switches import Disturbances

NEVER = np.iinfo(np.int16).max
_HECTARES = (0.3, 4.0)


@dataclass(frozen=True)
class Disturbed:
    """When the ground was disturbed, and how.

    `since` (y, x) is the first pass, by its index, that sees the disturbance (`NEVER`: none); `thrown` (y, x) marks
    windthrow, the rest is felled.
    """

    since: NDArray[np.int16]
    thrown: NDArray[np.bool_]

    def change_db(self, index: int, polarisation: str, switches: Disturbances) -> NDArray[np.float32]:
        """(y, x) change in dB that the pass of that index sees."""
        which = 0 if polarisation == "vv" else 1
        kind = np.where(
            self.thrown, np.float32(switches.windthrow_db[which]), np.float32(switches.felled_db[which])
        )
        return np.where(self.since <= index, kind, np.float32(0))


def disturb(
    grid: Grid,
    weight: NDArray[np.float64],
    passes: tuple[int, int],
    switches: Disturbances,
    outline: Callable[[int, int, float, np.random.Generator], Polygon],
    rng: np.random.Generator,
) -> Disturbed:
    """Patches of 0.3 to 4 hectares until they cover the wanted share.

    Args:
        weight: (y, x) relative frequency of a patch's centre.
        passes: the index of the first pass after the event, and the number of passes.
        outline: makes a patch around (row, column) with an area in m².
    """
    shape, step = grid.shape, grid.resolution_m
    since = np.full(shape, NEVER, dtype=np.int16)
    thrown = np.zeros(shape, dtype=bool)
    cumulative = np.cumsum(weight.ravel())
    wanted = switches.share * since.size * step**2
    patches: dict[bool, list[tuple[Polygon, int]]] = {True: [], False: []}
    while wanted > 0 and cumulative[-1] > 0:
        cell = int(np.searchsorted(cumulative, rng.uniform(0, cumulative[-1])))
        area = 1e4 * float(np.exp(rng.uniform(*np.log(_HECTARES))))
        patch = outline(*divmod(min(cell, since.size - 1), shape[1]), area, rng)
        at_event = rng.uniform() < switches.at_event
        first = passes[0] if at_event else int(rng.integers(0, max(1, passes[1])))
        patches[bool(rng.uniform() < switches.windthrow)].append((patch, first))
        wanted -= patch.area
    for kind, found in patches.items():
        if found:
            burnt = rasterio.features.rasterize(
                found, out_shape=shape, transform=grid.affine, fill=NEVER, dtype="int16"
            )
            thrown[burnt < NEVER] = kind
            np.minimum(since, burnt, out=since)
    bare = weight <= 0
    since[bare] = NEVER
    return Disturbed(since, thrown)
