"""Check, on every trial, that no test or validation pixel reached training."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.ndimage import distance_transform_cdt

from model.inputs.channel import Array
from model.inputs.channel_source import ChannelSource
from model.inputs.windows import Box
from model.split.partition import Mask, Partition
from pipeline.errors import ModelError

NAMED = 3
"""pixels that an error names"""


class MaskedChannels:
    """Channels of a scene inside a mask, NaN outside; it records which pixels were read.

    Statistics that are computed from it can use no other pixel. Satisfies
    `model.inputs.channel_source.ChannelSource`.
    """

    def __init__(self, source: ChannelSource, mask: Mask) -> None:
        self._source, self._mask = source, mask
        self.shape = source.shape
        self.given = np.zeros(self.shape, dtype=bool)
        """(y, x) pixels with a value that were read"""

    def read(self, box: Box) -> Array:
        """(channel, y, x) as the source gives it, NaN outside the mask."""
        values = self._source.read(box)
        values = np.where(self._mask[box.slices], values, np.float32(np.nan))
        self.given[box.slices] |= np.isfinite(values).any(axis=0)
        return values


def assert_no_leak(
    parts: Partition,
    shape: tuple[int, int],
    buffer_px: int,
    boxes_of_chips: Iterable[Box] = (),
    statistics_mask: Mask | None = None,
) -> None:
    """Check that training reads no validation or test pixel.

    Args:
        buffer_px: pixels that lie between a training pixel and a tested one, at least (chessboard distance).
        boxes_of_chips: what training reads.
        statistics_mask: (y, x) pixels that the statistics read.

    Raises:
        ModelError: a training pixel is tested or too near to a tested one, a chip holds a tested pixel, or
            the statistics read a pixel outside training. The pixels are named.
    """
    train = parts.train_mask(shape)
    held_out = np.zeros(shape, dtype=bool)
    for part in ("validation", "test"):
        for box in parts.boxes(part):
            held_out[box.slices] = True
    if held_out.any():
        # 1 for a neighbour: with n pixels between two, their distance is n + 1
        near = train & (distance_transform_cdt(~held_out, metric="chessboard") <= buffer_px)
        _refuse(near, f"lie within {buffer_px} pixels of validation or test and are training pixels")
    closed = parts.closed_mask(shape) | held_out
    read = np.zeros(shape, dtype=bool)
    for box in boxes_of_chips:
        read[box.slices] = True
    _refuse(read & closed, "are closed to training and lie in a training chip")
    if statistics_mask is not None:
        _refuse(statistics_mask & ~train, "are not training pixels and entered the statistics")


def _refuse(leaked: Mask, how: str) -> None:
    if not leaked.any():
        return
    rows, columns = np.nonzero(leaked)
    named = ", ".join(f"({y}, {x})" for y, x in zip(rows[:NAMED], columns[:NAMED], strict=True))
    more = "" if len(rows) <= NAMED else ", ..."
    raise ModelError(
        f"Training would leak. Pixels that {how}: {len(rows)}, at row, column {named}{more}.",
        "The division into parts is wrong; do not use its results.",
    )
