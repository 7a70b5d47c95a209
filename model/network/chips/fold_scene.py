"""One fold of one cube, read once: its channels in a scratch file, labels, statistics of the training part."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import NDArray

from model.inputs import cubes
from model.inputs.best_inputs import best_inputs
from model.inputs.channel import Mask
from model.inputs.channel_source import ScratchChannels
from model.inputs.channel_statistics import Statistics
from model.inputs.cube_channels import CubeChannels
from model.inputs.inputs import EventSpan, Inputs
from model.inputs.selection import select
from model.inputs.windows import whole
from model.split.folds import Fold, FoldPlan, one_fold
from model.split.leakage import MaskedChannels, assert_no_leak
from model.split.scored_pixels import labels_and_scored
from pipeline.cube.encoding.georeference import recorded_crs, transform_of


@dataclass(frozen=True)
class FoldScene:
    """One fold of one cube. Its scratch file has no name; its room is free again with the last object that reads it."""

    inputs: Inputs
    channels: ScratchChannels
    labels: NDArray[np.uint8]
    """(y, x) 1, 0, or 255 not mapped"""
    usable: Mask
    """(y, x) whether a pixel counts: it has a label and every input"""
    fold: Fold
    statistics: Statistics
    """of the training part"""
    crs: str
    """coordinate reference system as text ("EPSG:32654", else WKT); empty where the cube records none"""
    transform: tuple[float, float, float, float, float, float]
    """(a, b, c, d, e, f) of the affine from (column, row) of a pixel's corner to coordinates"""
    seconds: tuple[float, float]
    """instants of the first and the last pass that the inputs use, seconds since 1970 UTC"""

    @property
    def shape(self) -> tuple[int, int]:
        """(y, x)"""
        return self.channels.shape

    @property
    def affine(self) -> Affine:
        """From (column, row) of a pixel's corner to coordinates."""
        return Affine(*self.transform)


def open_fold(
    cube: str | Path | xr.Dataset,
    inputs: Inputs | Mapping[str, Any] | None,
    number: int,
    plan: FoldPlan,
    event: EventSpan | None,
) -> FoldScene:
    """Read the channels of a cube once, and cut its folds as the protocol `strict` does.

    Raises:
        CubeError: there is no such cube.
        ModelError: it has no labels, no passes or too few pixels, lacks what the inputs need, or has no such fold.
    """
    dataset = cubes.prepared(cube) if isinstance(cube, xr.Dataset) else cubes.load(str(cube))[0]
    chosen = best_inputs(dataset, event)[0] if inputs is None else Inputs.model_validate(inputs)
    selection = select(dataset, chosen, event)
    labels, scored = labels_and_scored(dataset, event)
    fold, shape = one_fold(labels, scored, plan, number), labels.shape
    channels = ScratchChannels(
        CubeChannels(dataset, chosen, selection), len(chosen.channels), Path(tempfile.gettempdir())
    )
    seen = MaskedChannels(channels, fold.train_mask(shape))
    statistics = Statistics.of(seen, chosen.channels, (whole(shape),))
    assert_no_leak(fold, shape, fold.buffer_px, statistics_mask=seen.given)
    passes = [one.instant.timestamp() for view in selection.every_view for one in (*view.before, *view.after)]
    crs = recorded_crs(dataset)
    a, b, c, d, e, f = tuple(transform_of(dataset))[:6]
    return FoldScene(
        inputs=chosen,
        channels=channels,
        labels=labels,
        usable=channels.usable() & scored,
        fold=fold,
        statistics=statistics,
        crs="" if crs is None else crs.to_string(),
        transform=(a, b, c, d, e, f),
        seconds=(min(passes), max(passes)),
    )
