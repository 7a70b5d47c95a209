"""The tracks of a cube, where on a sample of its pixels their passes have data, and the azimuth to their sensor."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from model.inputs.cubes import shape_of
from model.inputs.inputs import Inputs
from model.inputs.windows import Box, starts
from pipeline.cube.schema import BACKSCATTER
from pipeline.errors import ModelError

SAMPLE_PX = 256
SAMPLES_PER_AXIS = 3
"""validity of a pass is estimated on up to 3 x 3 boxes of 256 pixels, spread over the scene"""
HEADING_DEG = {"descending": 190.5, "ascending": 349.5}
"""Flight direction over ground, clockwise from north, at middle latitudes: the orbit's inclination is 98.18 degrees
(ESA, Sentinel-1 mission description), sin(heading) = cos(inclination) / cos(latitude), which is -0.18 at 39
degrees. The true heading varies by about 5 degrees from the equator to 50 degrees; here it is constant."""


@dataclass(frozen=True)
class Track:
    """The passes of one relative orbit, or of one direction where the cube names no orbits."""

    name: str
    direction: str
    relative_orbit: int | None
    members: list[int]
    """positions on the cube's time axis"""


def deciding_polarisations(cube: xr.Dataset, inputs: Inputs) -> tuple[str, ...]:
    """The polarisations that decide which pixels and passes are valid: those of the inputs, else those of the cube.

    Raises:
        ModelError: the cube has no backscatter.
    """
    found = inputs.backscatter or tuple(name for name in BACKSCATTER if name in cube)
    if not found:
        raise ModelError(
            "The cube has no backscatter (vv, vh), which shows where its passes have data.",
            "Build a cube that has it; inputs with terrain only need it too.",
        )
    return found


def tracks_of(cube: xr.Dataset, wanted: int | str) -> list[Track]:
    """The tracks that are asked for, in the order of their first passes."""
    count = cube.sizes["timestep"]
    state = cube.coords.get("sat:orbit_state")
    directions = (
        [str(v) for v in state.values] if state is not None and state.ndim == 1 else ["unknown"] * count
    )
    orbits: list[int | None] = [None] * count
    if "relative_orbit" in cube.coords and cube.relative_orbit.dims == ("timestep",):
        orbits = [
            int(v) if np.isfinite(v) and v > 0 else None for v in cube.relative_orbit.values.astype(float)
        ]
    groups: dict[str, Track] = {}
    for index, (orbit, direction) in enumerate(zip(orbits, directions, strict=True)):
        if (isinstance(wanted, int) and orbit != wanted) or (
            wanted in ("ascending", "descending") and direction != wanted
        ):
            continue
        name = f"track {orbit} ({direction})" if orbit is not None else f"{direction} passes"
        groups.setdefault(name, Track(name, direction, orbit, [])).members.append(index)
    return list(groups.values())


def sample_boxes(cube: xr.Dataset) -> list[Box]:
    """Up to 3 x 3 boxes, spread over the scene, on which the validity of passes is estimated."""
    height, width = shape_of(cube)

    def offsets(length: int) -> list[int]:
        blocks = starts(length, SAMPLE_PX, SAMPLE_PX)
        picked = np.unique(np.linspace(0, len(blocks) - 1, SAMPLES_PER_AXIS).round().astype(int))
        return [blocks[i] for i in picked]

    return [
        Box(top=top, left=left, height=min(SAMPLE_PX, height), width=min(SAMPLE_PX, width))
        for top, left in product(offsets(height), offsets(width))
    ]


def sampled_validity(cube: xr.Dataset, polarisations: tuple[str, ...]) -> NDArray[np.bool_]:
    """(timestep, sampled pixel) whether every polarisation has a positive finite value."""
    boxes = sample_boxes(cube)
    rows = []
    for index in range(cube.sizes["timestep"]):
        parts = []
        for box in boxes:
            ys, xs = box.slices
            valid = np.ones((box.height, box.width), dtype=bool)
            for name in polarisations:
                values = np.asarray(cube[name].isel(timestep=index, y=ys, x=xs).values)
                valid &= np.isfinite(values) & (values > 0)
            parts.append(valid[::4, ::4].ravel())
        rows.append(np.concatenate(parts))
    return np.stack(rows)


def azimuth_to_sensor_deg(direction: str) -> float:
    """Azimuth from the ground to the sensor, degrees clockwise from north; Sentinel-1 looks to the right.

    100.5 for descending, 259.5 for ascending passes; the published cubes have 100.4 in Hokkaido and 252.2 in Kaikoura
    (mean of their band los.rdr_1).

    Raises:
        ModelError: the direction is unknown.
    """
    if direction not in HEADING_DEG:
        raise ModelError(
            f"The cube does not record whether its passes are ascending or descending ({direction!r}), so the "
            "direction to the sensor is unknown.",
            "Use the aspect from north (aspect 'direction'), or give the cube the coordinate 'sat:orbit_state'.",
        )
    return (HEADING_DEG[direction] - 90.0) % 360.0
