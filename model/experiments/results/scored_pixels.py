"""A cube as every trial on it meets it: labels, and which pixels are scored."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from model.inputs import cubes
from model.inputs.cube_channels import CubeChannels
from model.inputs.cubes import UNMAPPED, CubeFacts
from model.inputs.inputs import EventSpan, Inputs, served
from model.inputs.selection import select
from model.inputs.windows import Box
from model.split.partition import Mask


@dataclass(frozen=True)
class Ground:
    """One cube as every trial on it meets it."""

    dataset: xr.Dataset
    facts: CubeFacts
    labels: NDArray[np.uint8]
    """(y, x) 1, 0, or 255 not mapped"""
    scored: Mask
    """(y, x) pixels that are scored, whatever a trial's inputs"""
    pixel_m: tuple[float, float]


def ground(cube: str, event: EventSpan | None = None) -> Ground:
    """Open a cube and settle which of its pixels are scored.

    They are the labelled ones whose backscatter (in all polarisations of the cube, on its best track) is known before
    and after the event and whose terrain is known: the same for every trial, so that trials can be compared. A process
    reads every pass for it once, and not once a trial.

    Raises:
        ModelError: the cube has no labels, or no pass before or after the event.
    """
    dataset, facts = cubes.load(cube)
    labels, scored = _surveyed(facts.uri, facts.digest, event)
    return Ground(
        dataset=dataset,
        facts=facts,
        labels=labels,
        scored=scored,
        pixel_m=cubes.pixel_m(dataset),
    )


@lru_cache(maxsize=2)
def _surveyed(uri: str, digest: str, event: EventSpan | None) -> tuple[NDArray[np.uint8], Mask]:
    """(y, x) labels, and which pixels are scored.

    Args:
        digest: of the cube, so that another one at the same place is read anew.
    """
    dataset, _ = cubes.load(uri)
    labels = cubes.labels(dataset)
    reference = Inputs.model_validate(
        {
            "backscatter": served(dataset, "backscatter"),
            "terrain": served(dataset, "terrain"),
        }
    )
    return labels, _usable(dataset, reference, event) & (labels != UNMAPPED)


def _usable(dataset: xr.Dataset, inputs: Inputs, event: EventSpan | None) -> Mask:
    source = CubeChannels(dataset, inputs, select(dataset, inputs, event))
    mask = np.zeros(source.shape, dtype=bool)
    height, width = source.shape
    for top in range(0, height, 512):
        box = Box(top=top, left=0, height=min(512, height - top), width=width)
        mask[box.slices] = np.isfinite(source.read(box)[0])
    return mask
