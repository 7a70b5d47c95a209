"""A cube as every trial on it uses it: its event, its labels, and which pixels are scored."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from model.inputs import cubes
from model.inputs.channel_source import ScratchChannels, ScratchCopies
from model.inputs.cube_channels import CubeChannels
from model.inputs.cubes import CubeFacts
from model.inputs.inputs import EventSpan, Inputs
from model.inputs.selection import Selection, select
from model.inputs.windows import Box, mask_of
from model.scores.evaluation import ScoredPixels
from model.split.partition import Mask
from model.split.scored_pixels import SeenBy, labels_and_scored

KEPT_SCENES = 16
"""cubes whose labels and scored pixels a process keeps: the events of a ladder are each opened by many trials"""
KEPT_BYTES = 2**30
"""room for scratch copies of channels, which the trials of a ladder share"""
KEPT_SELECTIONS = 128
_COPIES = ScratchCopies(KEPT_BYTES)
_SELECTIONS: dict[Hashable, Selection] = {}
"""by the cube's address and digest, inputs and event"""


@dataclass(frozen=True)
class ScoredScene:
    """One cube, the same for every trial on it whatever the trial's inputs."""

    dataset: xr.Dataset
    facts: CubeFacts
    event: EventSpan | None
    """None: the event that the cube records"""
    labels: NDArray[np.uint8]
    """(y, x) 1, 0, or 255 not mapped"""
    scored: Mask
    """(y, x) pixels that are scored"""
    pixel_m: tuple[float, float]
    """(x, y)"""

    @property
    def shape(self) -> tuple[int, int]:
        """(y, x)"""
        height, width = self.labels.shape
        return height, width

    def select(self, inputs: Inputs) -> Selection:
        """The passes that these inputs select from this cube.

        Raises:
            ModelError: the cube lacks what the inputs need.
        """
        key = (self.facts.uri, self.facts.digest, inputs, self.event)
        found = _SELECTIONS.get(key) or select(self.dataset, inputs, self.event)
        if key not in _SELECTIONS and len(_SELECTIONS) == KEPT_SELECTIONS:
            _SELECTIONS.pop(next(iter(_SELECTIONS)))
        _SELECTIONS[key] = found
        return found

    def copied(self, inputs: Inputs, selection: Selection, scratch: Path) -> ScratchChannels:
        """The channels of these passes in a scratch copy, which trials one after the other share.

        Args:
            scratch: folder of a new copy, which leaves no file.

        Raises:
            ModelError: the selection lacks what the inputs need.
        """
        count = len(inputs.channels)

        def made() -> ScratchChannels:
            return ScratchChannels(CubeChannels(self.dataset, inputs, selection), count, scratch)

        key = (self.facts.uri, self.facts.digest, inputs, selection.model_dump_json())
        return _COPIES.get(key, count, made)

    def within(self, boxes: Iterable[Box]) -> ScoredPixels:
        """The scored pixels inside some rectangles."""
        return ScoredPixels(self.labels, mask_of(boxes, self.shape) & self.scored, self.pixel_m)


def open_scene(cube: str, event: EventSpan | None = None, seen_by: SeenBy = "any direction") -> ScoredScene:
    """Open a cube and find which of its pixels are scored.

    The rule is that of `model.split.scored_pixels`, which does not depend on a trial's inputs, so that trials can be
    compared. Each process reads the passes for this once, not once for each trial.

    Args:
        event: None: the event that the cube records.
        seen_by: the passes of which backscatter must be known: those of the best track of any direction, where the cube
            records directions, or of the best track of all, as the protocol paper has it.

    Raises:
        CubeError: there is no such cube.
        ModelError: the cube has no labels, no event, or no pass before or after the event.
    """
    dataset, facts = cubes.load(cube)
    labels, scored = _labels_and_scored(facts.uri, facts.digest, event, seen_by)
    return ScoredScene(dataset, facts, event, labels, scored, cubes.pixel_m(dataset))


@lru_cache(maxsize=KEPT_SCENES)
def _labels_and_scored(
    uri: str, digest: str, event: EventSpan | None, seen_by: SeenBy
) -> tuple[NDArray[np.uint8], Mask]:
    """(y, x) labels, and which pixels are scored.

    Args:
        digest: of the cube, so that another cube at the same path is read anew.
    """
    dataset, _ = cubes.load(uri)
    return labels_and_scored(dataset, event, seen_by)
