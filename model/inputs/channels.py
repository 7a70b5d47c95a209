"""The channels of a network, read by windows from a cube; their statistics; a scratch copy for training."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from multiprocessing import reduction
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Annotated, Any, Literal, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field, model_validator

from model.inputs.change import Moments, change_of, mean_of, moments_of
from model.inputs.coherence_pairs import of_place
from model.inputs.cubes import shape_of
from model.inputs.inputs import (
    DIRECTIONS_OF_BOTH,
    GEOMETRY_VARIABLES,
    PAIR_SIDES,
    TERRAIN_VARIABLES,
    Geometry,
    Inputs,
)
from model.inputs.look_azimuth import azimuth_to_sensor_deg
from model.inputs.selection import PassUsed, Selection, View, check_view
from model.inputs.tracks import judged_on
from model.inputs.windows import Box, tiles, whole
from pipeline.errors import ModelError
from pipeline.records import Frozen

CLIP_SD = 6.0
"""standardised values are cut at this many standard deviations: single bright scatterers reach 881 in linear gamma0"""
AS_THEY_ARE = (
    "aspect_sin",
    "aspect_cos",
    "aspect_to_sensor_sin",
    "aspect_to_sensor_cos",
    "layover_shadow",
)
"""channels that are not standardised: a direction, which is (0, 0) where a flat pixel has none, and a flag"""

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]


class ChannelSource(Protocol):
    """Anything that gives channels by box."""

    @property
    def shape(self) -> tuple[int, int]:
        """(y, x)"""

    def read(self, box: Box) -> Array:
        """(channel, y, x) float32; NaN in every channel of a pixel that lacks one which is no optional one.

        So the first channel, which is never optional, tells which pixels are valid.
        """


def optional(names: Sequence[str]) -> Mask:
    """(channel,) which channels may lack a pixel that stays valid.

    Coherence covers parts of a scene, and the standard deviation of a single pass is unknown. Neither says that nothing
    is known of a pixel: where it lacks, the mean of the training pixels stands for it (0 once standardised). A network
    of such channels alone has nothing else to go by, and then they are not optional.
    """
    found = np.array([name.startswith("coherence_") or "_before_sd" in name for name in names], dtype=bool)
    return found if not found.all() else np.zeros_like(found)


def left_as_is(name: str) -> bool:
    """Whether a channel is not standardised: a direction (its length is 1, or 0 on flat ground), or a flag."""
    return name.split("@")[0] in AS_THEY_ARE


class CubeChannels:
    """Channels computed from a cube, one box at a time; nothing larger than a few layers of a box is held."""

    def __init__(self, cube: xr.Dataset, inputs: Inputs, selection: Selection) -> None:
        """
        Raises:
            ModelError: the selection lacks a view, a pair or a look's geometry that the inputs need.
        """
        self._cube, self._inputs = cube, inputs
        self.shape = shape_of(cube)
        self._optional = optional(inputs.channels)
        self._judged = judged_on(cube, inputs)
        self._views = _in_order(inputs, selection)
        for view in self._views:
            check_view(cube, inputs, view)

    def read(self, box: Box) -> Array:
        """(channel, y, x) float32; NaN in every channel of a pixel that lacks one which is no optional one.

        Backscatter is the mean over passes of the natural logarithm of gamma0; a value that is not positive and
        finite is no observation. A pixel has no aspect where it is flat: 0 in each of its channels, which is valid.
        For inputs without backscatter a pixel is valid where the cube's backscatter is, and the rest is as usual.
        """
        channels: list[Array] = []
        seen = np.ones((box.height, box.width), dtype=bool)
        for view in self._views:
            sides = {name: self._sides(name, view, box) for name in self._judged}
            for before, after in sides.values():
                seen &= (before.count > 0) & (after.count > 0)
            for name in self._inputs.backscatter:
                channels += [moments.mean.astype(np.float32) for moments in sides[name]]
            for name, change in product(self._inputs.backscatter, self._inputs.change):
                channels.append(change_of(change, *sides[name]))
        for terrain in self._inputs.terrain:
            values = self._static(TERRAIN_VARIABLES[terrain], box)
            channels += self._aspect(values) if terrain == "aspect" else [values]
        for view, geometry in product(self._views, self._inputs.geometry):
            channels.append(self._geometry(geometry, view, box))
        for view in self._views:
            channels += self._coherence(view, box)
        stack = np.stack(channels).astype(np.float32, copy=False)
        stack[:, ~(seen & np.isfinite(stack[~self._optional]).all(axis=0))] = np.nan
        return stack

    def _sides(self, name: str, view: View, box: Box) -> tuple[Moments, Moments]:
        return self._moments(name, view.before, box), self._moments(name, view.after, box)

    def _moments(self, name: str, passes: tuple[PassUsed, ...], box: Box) -> Moments:
        rows, columns = box.slices
        layers = (
            np.asarray(self._cube[name].isel(timestep=used.index, y=rows, x=columns).values)
            for used in passes
        )
        return moments_of(layers, spread=bool({"before_sd", "z_score"} & set(self._inputs.change)))

    def _aspect(self, degrees: Array) -> list[Array]:
        if self._inputs.aspect == "degrees":
            return [np.nan_to_num(degrees)]
        origins = (
            [0.0]
            if self._inputs.aspect == "direction"
            else [azimuth_to_sensor_deg(view.direction) for view in self._views]
        )
        found: list[Array] = []
        for origin in origins:
            radians = np.deg2rad(degrees - np.float32(origin))
            found += [np.nan_to_num(np.sin(radians)), np.nan_to_num(np.cos(radians))]
        return found

    def _geometry(self, name: Geometry, view: View, box: Box) -> Array:
        """(y, x) the local incidence in degrees, or 1 where layover or shadow and 0 elsewhere; NaN where unknown."""
        rows, columns = box.slices
        track = int(np.flatnonzero(self._cube["track"].values == view.relative_orbit)[0])
        layer = self._cube[GEOMETRY_VARIABLES[name]].isel(track=track, y=rows, x=columns)
        values = np.asarray(layer.values, dtype=np.float32)
        if name == "layover_shadow":
            return np.where(np.isfinite(values), (values > 0).astype(np.float32), np.float32(np.nan))
        return values

    def _coherence(self, view: View, box: Box) -> list[Array]:
        """(y, x) each: means over the pairs of a place, and differences of them."""
        rows, columns = box.slices
        means: dict[str, Array] = {}
        for place in dict.fromkeys(place for side in self._inputs.coherence for place in PAIR_SIDES[side]):
            total = np.zeros((box.height, box.width))
            count = np.zeros((box.height, box.width), dtype=np.int32)
            for pair in of_place(view.pairs, place):
                values = self._cube["coherence"].isel(timepair=pair.index, y=rows, x=columns).values
                known = np.isfinite(values)
                total[known] += values[known]
                count += known
            means[place] = mean_of(total, count).astype(np.float32)
        return [
            means[PAIR_SIDES[side][0]] - means[PAIR_SIDES[side][1]]
            if len(PAIR_SIDES[side]) == 2
            else means[PAIR_SIDES[side][0]]
            for side in self._inputs.coherence
        ]

    def _static(self, name: str, box: Box) -> Array:
        rows, columns = box.slices
        return np.asarray(self._cube[name].isel(y=rows, x=columns).values, dtype=np.float32)


def _in_order(inputs: Inputs, selection: Selection) -> tuple[View, ...]:
    """The views in the order of the channels, which does not depend on which is the better one."""
    views = selection.every_view
    if inputs.track != "both":
        return views[:1]
    known = {view.direction: view for view in views}
    absent = [name for name in DIRECTIONS_OF_BOTH if name not in known]
    if absent:
        raise ModelError(f"The selection has no {' and no '.join(absent)} view, which these inputs need.")
    return tuple(known[name] for name in DIRECTIONS_OF_BOTH)


class ScratchChannels:
    """A copy of all channels in one scratch file, for training, which reads the same pixels many times.

    The file holds (channel, y, x) float32 and has no name, so that even a kill leaves nothing in `folder`; the system
    keeps in memory what fits.
    """

    def __init__(self, source: ChannelSource, channels: int, folder: Path, tile_px: int = 512) -> None:
        self.shape = source.shape
        with TemporaryFile(dir=folder) as file:
            self._hold(file, "w+", (channels, *self.shape))
        for box in tiles(whole(self.shape), tile_px):
            self._values[:, box.slices[0], box.slices[1]] = source.read(box)

    def read(self, box: Box) -> Array:
        """(channel, y, x) float32, as `CubeChannels.read`."""
        return np.array(self._values[:, box.slices[0], box.slices[1]])

    def usable(self) -> Mask:
        """(y, x) whether a pixel has every channel that is no optional one."""
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
        """Map the file, and keep it open to be handed on."""
        self._values = np.memmap(file, dtype=np.float32, mode=mode, shape=shape)
        self._number = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._number)


Finite = Annotated[float, Field(allow_inf_nan=False)]


class Statistics(Frozen):
    """Mean and standard deviation of each channel over the valid training pixels, where it is known."""

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
    def of(
        cls,
        source: ChannelSource,
        names: tuple[str, ...],
        boxes: tuple[Box, ...],
        counted: Mask | None = None,
    ) -> Statistics:
        """Statistics over `boxes`, which must not overlap, and over nothing else.

        Args:
            counted: (y, x) of the whole scene, pixels that may enter; None: all.

        Raises:
            ModelError: no pixel in them is valid.
        """
        width = len(names)
        may_lack, sums = optional(names), _Sums(np.zeros(width), np.zeros(width), np.zeros(width), None)
        for box in (tile for area in boxes for tile in _partition(area, 512)):
            values = source.read(box)
            chosen = np.isfinite(values[~may_lack]).all(axis=0)
            if counted is not None:
                chosen &= counted[box.slices]
            sums.add(values[:, chosen].astype(np.float64))
        pixels = int(sums.count.max())
        if sums.shift is None or pixels == 0:
            raise ModelError(
                "No training pixel is valid in every channel.",
                "Look at the coverage of the passes with `slidecube plan`, or train with fewer variables.",
            )
        mean, sd = sums.mean_and_sd()
        for index, name in enumerate(names):
            if left_as_is(name):
                mean[index], sd[index] = 0.0, 1.0
        return cls(channels=names, mean=tuple(map(float, mean)), sd=tuple(map(float, sd)), pixels=pixels)

    def valid(self, values: Array) -> Mask:
        """(y, x) whether a pixel has every channel of (channel, y, x) that is no optional one."""
        mask: Mask = np.asarray(np.isfinite(values[~optional(self.channels)]).all(axis=0))
        return mask

    def standardise(self, values: Array) -> tuple[Array, Mask]:
        """(channel, y, x) standardised and cut at `clip_sd`, 0 where unknown; (y, x) whether valid."""
        valid = self.valid(values)
        mean = np.asarray(self.mean, dtype=np.float32)[:, None, None]
        sd = np.asarray(self.sd, dtype=np.float32)[:, None, None]
        scaled = np.clip((values - mean) / sd, -self.clip_sd, self.clip_sd)
        scaled[:, ~valid] = 0.0
        for index in np.flatnonzero(optional(self.channels)):  # the mean of the training pixels
            scaled[index, ~np.isfinite(scaled[index])] = 0.0
        return scaled.astype(np.float32, copy=False), valid


@dataclass
class _Sums:
    """Sums over pixels, by channel, about a shift near the mean, which keeps the squares well conditioned."""

    count: NDArray[np.float64]
    total: NDArray[np.float64]
    squares: NDArray[np.float64]
    shift: NDArray[np.float64] | None

    def add(self, values: NDArray[np.float64]) -> None:
        """(channel, pixel) more values; NaN counts nothing."""
        if values.shape[1] == 0:
            return
        known = np.isfinite(values)
        if self.shift is None:
            self.shift = mean_of(np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1))
            # an optional channel that begins in another box: any shift is right, 0 serves
            self.shift = np.nan_to_num(self.shift)
        moved = np.where(known, values - self.shift[:, None], 0.0)
        self.count = self.count + known.sum(axis=1)
        self.total = self.total + moved.sum(axis=1)
        self.squares = self.squares + (moved**2).sum(axis=1)

    def mean_and_sd(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(channel,) each; 0 and 1 for a channel of which nothing is known, sd 1 for a constant one."""
        assert self.shift is not None
        count = np.maximum(self.count, 1)
        moved = self.total / count
        sd = np.sqrt(np.maximum(self.squares / count - moved**2, 0))
        sd[sd < 1e-6] = 1.0  # a constant channel carries nothing; leave it at 0
        return np.where(self.count > 0, self.shift + moved, 0.0), sd


def _partition(area: Box, size: int) -> list[Box]:
    """Boxes of at most `size` that cover `area` once."""
    return [
        Box(top=top, left=left, height=min(size, area.bottom - top), width=min(size, area.right - left))
        for top in range(area.top, area.bottom, size)
        for left in range(area.left, area.right, size)
    ]
