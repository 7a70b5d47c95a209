"""The channels of a network, read by windows from a cube; their statistics; a scratch copy for training."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field, model_validator

from model.cubes import shape_of
from model.inputs import TERRAIN_VARIABLES, Inputs
from model.selection import PassUsed, Selection
from model.windows import Box, tiles, whole
from pipeline.errors import ModelError
from pipeline.records import Frozen

CLIP_SD = 6.0
"""standardised values are cut at this many standard deviations: single bright scatterers reach 881 in linear gamma0"""
DIRECTIONS = ("aspect_sin", "aspect_cos")
"""channels that are left as they are: a direction, and (0, 0) where a flat pixel has none"""

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]


class ChannelSource(Protocol):
    """Anything that gives channels by box."""

    @property
    def shape(self) -> tuple[int, int]:
        """(y, x)"""

    def read(self, box: Box) -> Array:
        """(channel, y, x) float32; NaN in every channel of a pixel that lacks one."""


class CubeChannels:
    """Channels computed from a cube, one box at a time; nothing larger than a box is held."""

    def __init__(self, cube: xr.Dataset, inputs: Inputs, selection: Selection) -> None:
        self._cube, self._inputs, self._selection = cube, inputs, selection
        self.shape = shape_of(cube)

    def read(self, box: Box) -> Array:
        """(channel, y, x) float32; NaN in every channel of a pixel that lacks one.

        Backscatter is the mean over passes of the natural logarithm of gamma0; a value that is not positive and
        finite is no observation. A pixel has no aspect where it is flat: its direction is (0, 0), which is valid.
        """
        channels: list[Array] = []
        for name in self._inputs.backscatter:
            for passes in (self._selection.before, self._selection.after):
                channels.append(self._mean_log(name, passes, box))
        for terrain in self._inputs.terrain:
            values = self._static(TERRAIN_VARIABLES[terrain], box)
            if terrain == "aspect":
                radians = np.deg2rad(values)
                channels += [np.nan_to_num(np.sin(radians)), np.nan_to_num(np.cos(radians))]
            else:
                channels.append(values)
        stack = np.stack(channels).astype(np.float32, copy=False)
        stack[:, ~np.isfinite(stack).all(axis=0)] = np.nan
        return stack

    def _mean_log(self, name: str, passes: tuple[PassUsed, ...], box: Box) -> Array:
        total = np.zeros((box.height, box.width))
        count = np.zeros((box.height, box.width), dtype=np.int32)
        rows, columns = box.slices
        for used in passes:
            values = np.asarray(self._cube[name].isel(timestep=used.index, y=rows, x=columns).values)
            valid = np.isfinite(values) & (values > 0)
            total[valid] += np.log(values[valid].astype(np.float64))
            count += valid
        with np.errstate(invalid="ignore"):
            return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)

    def _static(self, name: str, box: Box) -> Array:
        rows, columns = box.slices
        return np.asarray(self._cube[name].isel(y=rows, x=columns).values, dtype=np.float32)


class ScratchChannels:
    """A copy of all channels in one scratch file, for training, which reads the same pixels many times.

    The file holds (channel, y, x) float32 and has no name, so that even a kill leaves nothing in `folder`; the system
    keeps in memory what fits.
    """

    def __init__(self, source: CubeChannels, channels: int, folder: Path, tile_px: int = 512) -> None:
        self.shape = source.shape
        with TemporaryFile(dir=folder) as file:
            self._values = np.memmap(file, dtype=np.float32, mode="w+", shape=(channels, *self.shape))
        for box in tiles(whole(self.shape), tile_px):
            self._values[:, box.slices[0], box.slices[1]] = source.read(box)

    def read(self, box: Box) -> Array:
        """(channel, y, x) float32, as `CubeChannels.read`."""
        return np.array(self._values[:, box.slices[0], box.slices[1]])

    def usable(self) -> Mask:
        """(y, x) whether a pixel has every channel."""
        mask: Mask = np.isfinite(self._values[0])
        return mask


Finite = Annotated[float, Field(allow_inf_nan=False)]


class Statistics(Frozen):
    """Mean and standard deviation of each channel over the valid training pixels."""

    channels: tuple[str, ...] = Field(min_length=1)
    mean: tuple[Finite, ...]
    sd: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...]
    pixels: int = Field(gt=0)
    clip_sd: float = Field(CLIP_SD, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _one_each(self) -> Statistics:
        if not len(self.channels) == len(self.mean) == len(self.sd):
            raise ValueError("channels, mean and sd differ in length")
        return self

    @classmethod
    def of(cls, source: ChannelSource, names: tuple[str, ...], boxes: tuple[Box, ...]) -> Statistics:
        """Statistics over `boxes`, which must not overlap, and over nothing else.

        Raises:
            ModelError: no pixel in them is valid.
        """
        count, shift = 0, None
        total = squares = np.zeros(len(names))
        for box in (tile for area in boxes for tile in _partition(area, 512)):
            values = source.read(box)
            valid = values[:, np.isfinite(values[0])].astype(np.float64)
            if valid.shape[1] == 0:
                continue
            if shift is None:
                shift = valid.mean(axis=1)  # keeps the sums of squares well conditioned
            moved = valid - shift[:, None]
            count += valid.shape[1]
            total = total + moved.sum(axis=1)
            squares = squares + (moved**2).sum(axis=1)
        if shift is None or count == 0:
            raise ModelError(
                "No training pixel is valid in every channel.",
                "Look at the coverage of the passes with `slidecube plan`, or train with fewer variables.",
            )
        mean, variance = shift + total / count, squares / count - (total / count) ** 2
        sd = np.sqrt(np.maximum(variance, 0))
        sd[sd < 1e-6] = 1.0  # a constant channel carries nothing; leave it at 0
        for index, name in enumerate(names):
            if name in DIRECTIONS:
                mean[index], sd[index] = 0.0, 1.0
        return cls(channels=names, mean=tuple(map(float, mean)), sd=tuple(map(float, sd)), pixels=count)

    def standardise(self, values: Array) -> tuple[Array, Mask]:
        """(channel, y, x) standardised and cut at `clip_sd`, 0 where invalid; (y, x) whether valid."""
        valid: Mask = np.asarray(np.isfinite(values).all(axis=0))
        mean = np.asarray(self.mean, dtype=np.float32)[:, None, None]
        sd = np.asarray(self.sd, dtype=np.float32)[:, None, None]
        scaled = np.clip((values - mean) / sd, -self.clip_sd, self.clip_sd)
        scaled[:, ~valid] = 0.0
        return scaled.astype(np.float32, copy=False), valid


def _partition(area: Box, size: int) -> list[Box]:
    """Boxes of at most `size` that cover `area` once."""
    return [
        Box(top=top, left=left, height=min(size, area.bottom - top), width=min(size, area.right - left))
        for top in range(area.top, area.bottom, size)
        for left in range(area.left, area.right, size)
    ]
