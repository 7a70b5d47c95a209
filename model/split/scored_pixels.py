"""The pixels of a cube that count: those with a label whose backscatter and terrain are known."""

from __future__ import annotations

from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from model.inputs import cubes
from model.inputs.channel import DIRECTIONS, Mask
from model.inputs.cube_channels import CubeChannels
from model.inputs.cubes import UNMAPPED
from model.inputs.inputs import EventSpan, Inputs, served
from model.inputs.selection import select
from model.inputs.tracks import tracks_of
from model.inputs.windows import Box

ROWS_PX = 512
"""rows that are read at a time, so that memory does not grow with the height of the scene"""


SeenBy = Literal["best track", "any direction"]


def labels_and_scored(
    cube: xr.Dataset, event: EventSpan | None = None, seen_by: SeenBy = "any direction"
) -> tuple[NDArray[np.uint8], Mask]:
    """(y, x) labels (1, 0, 255 not mapped), and which pixels count.

    A pixel counts if it has a label, if its backscatter (all polarisations of the cube) is known before and after the
    event, and if its terrain is known. This does not depend on the inputs of a network, so that all networks are scored
    on the same pixels, and all folds are cut alike.

    Args:
        event: None: the event that the cube records.
        seen_by: the passes of which backscatter must be known: those of the best track of any direction, where the cube
            records directions, or of the best track of all, as the protocol paper has it.

    Raises:
        ModelError: the cube has no labels, no event, or no pass before or after the event.
    """
    labels = cubes.labels(cube)
    inputs = Inputs.model_validate(
        {"backscatter": served(cube, "backscatter"), "terrain": served(cube, "terrain")}
    )
    directed = {track.direction for track in tracks_of(cube, "both")} <= set(DIRECTIONS)
    if seen_by == "any direction" and directed:
        inputs = inputs.model_copy(update={"track": "both", "views": "any"})
    source = CubeChannels(cube, inputs, select(cube, inputs, event))
    known = np.zeros(source.shape, dtype=bool)
    height, width = source.shape
    for top in range(0, height, ROWS_PX):
        box = Box(top=top, left=0, height=min(ROWS_PX, height - top), width=width)
        known[box.slices] = np.isfinite(source.read(box)[0])
    return labels, known & (labels != UNMAPPED)
