"""Small simulated events for the tests of a prior."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import xarray as xr

from model.training.prior.stored_events import SimulatedEvent, StoredEvent, stored
from tests.quiet_cube import quiet_cube

SIZE_PX = 224


@cache
def made_cube(seed: int) -> xr.Dataset:
    """Two tracks with 4 passes before and 2 after; squares of which VV is 4 dB brighter after the event."""
    cube = quiet_cube(SIZE_PX, before=4, after=2, tracks=(46, 68), seed=seed)
    labels = np.zeros((SIZE_PX, SIZE_PX), np.float32)
    for top in range(8, SIZE_PX - 8, 32):
        for left in range(8, SIZE_PX - 8, 32):
            labels[top : top + 8, left : left + 8] = 1
    event = np.datetime64("2018-09-05T18:07:59", "us")
    later = cube.timestep.values > event
    vv = cube.vv.values.copy()
    vv[later] *= np.where(labels > 0, 10**0.4, 1).astype(np.float32)
    return cube.assign(vv=(cube.vv.dims, vv), landslides=(("y", "x"), labels)).assign_attrs(
        area=f"made-{seed}", simulated_event=f"{{seed: {seed}}}", simulated=1
    )


def made_event(seed: int) -> SimulatedEvent:
    """The event of a seed."""
    return SimulatedEvent(f"made-{seed}", "forest", seed, lambda: made_cube(seed))


def made_records(folder: Path, count: int) -> list[StoredEvent]:
    """Stored events of the seeds from 1."""
    return [stored(made_event(seed), folder) for seed in range(1, count + 1)]
