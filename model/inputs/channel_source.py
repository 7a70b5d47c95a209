"""Sources of channels that are read box by box, and a copy of one in a scratch file for training."""

from __future__ import annotations

import os
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from multiprocessing import reduction
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Literal, Protocol

import numpy as np

from model.inputs.channel import Array, Mask
from model.inputs.windows import Box, tiles, whole


class ChannelSource(Protocol):
    """A source of channels that is read box by box."""

    @property
    def shape(self) -> tuple[int, int]:
        """(y, x)"""

    def read(self, box: Box) -> Array:
        """(channel, y, x) float32; NaN in every channel of a pixel that has no value in a channel that needs one.

        The first channel needs a value, so its NaN values mark the invalid pixels.
        """


class ScratchChannels:
    """A copy of all channels in one scratch file, for training, which reads the same pixels many times.

    The file holds (channel, y, x) float32 and has no name, so that even a killed process leaves nothing in `folder`.
    The operating system caches what fits in memory.
    """

    def __init__(self, source: ChannelSource, channels: int, folder: Path, tile_px: int = 512) -> None:
        """
        Raises:
            OSError: the disk has no room for it. The room is taken at once: a page of a mapped file that cannot be
                written would end the process by a signal.
        """
        self.shape = source.shape
        with TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, 4 * channels * self.shape[0] * self.shape[1])
            self._hold(file, "w+", (channels, *self.shape))
        for box in tiles(whole(self.shape), tile_px):
            self._values[:, box.slices[0], box.slices[1]] = source.read(box)

    def read(self, box: Box) -> Array:
        """(channel, y, x) float32, as `CubeChannels.read`."""
        return np.array(self._values[:, box.slices[0], box.slices[1]])

    def usable(self) -> Mask:
        """(y, x) whether a pixel has every channel that it may not lack."""
        mask: Mask = np.isfinite(self._values[0])
        return mask

    def __getstate__(self) -> tuple[tuple[int, ...], object]:
        """What another process needs to read the same file."""
        return self._values.shape, reduction.DupFd(self._number)

    def __setstate__(self, state: tuple[tuple[int, int, int], Any]) -> None:
        shape, handed = state
        self.shape = shape[1:]
        with os.fdopen(handed.detach(), "rb") as file:
            self._hold(file, "r", shape)

    def _hold(self, file: IO[bytes], mode: Literal["r", "w+"], shape: tuple[int, int, int]) -> None:
        """Map the file, and keep it open so that other processes can read it."""
        self._values = np.memmap(file, dtype=np.float32, mode=mode, shape=shape)
        self._number = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._number)


class ScratchCopies:
    """The newest scratch copies, for trials that read the same channels one after the other."""

    def __init__(self, most_bytes: int) -> None:
        """
        Args:
            most_bytes: those used longest ago are given back while the copies take more, but never the newest.
        """
        self._most = most_bytes
        self._copies: OrderedDict[Hashable, tuple[ScratchChannels, int]] = OrderedDict()

    def get(self, key: Hashable, channels: int, make: Callable[[], ScratchChannels]) -> ScratchChannels:
        """The copy of this key; made if there is none.

        Args:
            key: everything that decides the values.
            channels: their number.
        """
        found, size = self._copies.pop(key, (None, 0))
        if found is None:
            found = make()
            size = 4 * channels * found.shape[0] * found.shape[1]
        self._copies[key] = found, size
        while len(self._copies) > 1 and sum(size for _, size in self._copies.values()) > self._most:
            self._copies.popitem(last=False)
        return found
