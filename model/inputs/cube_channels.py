"""The channels of a network, computed from a cube one box at a time."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from model.inputs.change import Moments, mean_of, moments_of, multitemporal
from model.inputs.channel import DIRECTIONS, Array, Place, When
from model.inputs.channel_registry import may_lack
from model.inputs.coherence_pairs import of_place
from model.inputs.cubes import shape_of
from model.inputs.inputs import Inputs
from model.inputs.selection import Selection, View, check_view
from model.inputs.tracks import azimuth_to_sensor_deg, deciding_polarisations
from model.inputs.windows import Box
from pipeline.errors import ModelError


class CubeChannels:
    """Channels computed from a cube, one box at a time; only a few layers of one box are in memory."""

    def __init__(
        self, cube: xr.Dataset, inputs: Inputs, selection: Selection, *, alone: bool = False
    ) -> None:
        """
        Args:
            alone: each channel is NaN only where it has no value itself, whatever the others have.

        Raises:
            ModelError: the selection lacks a view, a pair or a look geometry that the inputs need.
        """
        self._cube = cube
        self._alone = alone
        self._channels = inputs.requested
        self.shape = shape_of(cube)
        self._may_lack = may_lack(inputs.channels)
        self._judged = deciding_polarisations(cube, inputs)
        self._spread = any(channel.spread for channel, _ in self._channels)
        self._any_view = inputs.views == "any"
        self._context_px = max(channel.context_px for channel, _ in self._channels)
        self._views = _in_order(inputs, selection)
        for view in self._views.values():
            check_view(cube, inputs, view)

    def read(self, box: Box) -> Array:
        """(channel, y, x) float32; NaN in every channel of an invalid pixel.

        Backscatter is the mean over passes of the natural logarithm of gamma0; values that are not positive and finite
        are skipped. A flat pixel has no aspect: its aspect channels are 0, which is valid. A view sees a pixel if the
        passes of every polarisation of the inputs (of the cube, for inputs without backscatter) have a value before and
        after the event, and if every channel of the view that needs a value has one. A pixel is valid if every view
        sees it, or any of them with `views="any"`, and if every other channel that needs a value has one. Where a view
        does not see a valid pixel, its channels are NaN, and those of presence 0.
        """
        around, inner = _with_context(box, self._context_px, self.shape)
        windows = {
            number: CubeWindow(self._cube, view, around, self._judged, self._spread)
            for number, view in self._views.items()
        }
        first = next(iter(windows.values()))
        stack = np.full((len(self._channels), box.height, box.width), np.nan, dtype=np.float32)
        for index, (channel, number) in enumerate(self._channels):
            window = windows.get(number) if channel.of_view else first
            if window is not None:
                values = channel.compute(window)[inner]
                stack[index] = np.nan_to_num(values) if channel.no_value == "zero" else values
        if self._alone:
            return stack
        seen = {number: self._seen(stack, number, window, inner) for number, window in windows.items()}
        every = list(seen.values())
        valid = np.any(every, axis=0) if self._any_view else np.all(every, axis=0)
        for index, (channel, number) in enumerate(self._channels):
            if self._any_view and channel.of_view:
                unseen = ~seen[number] if number in seen else np.ones_like(valid)
                stack[index, unseen] = 0 if channel.group == "presence" else np.nan
        stack[:, ~(valid & np.isfinite(stack[~self._may_lack]).all(axis=0))] = np.nan
        return stack

    def _seen(
        self, stack: Array, number: int, window: CubeWindow, inner: tuple[slice, slice]
    ) -> NDArray[np.bool_]:
        """(y, x) whether a view sees a pixel, with every channel that it needs."""
        needed = [
            index
            for index, (channel, view) in enumerate(self._channels)
            if channel.of_view and view == number and channel.no_value == "invalid"
        ]
        counts = [window.passes(when)[inner] > 0 for when in ("before", "after")]
        found: NDArray[np.bool_] = np.all([*counts, np.isfinite(stack[needed]).all(axis=0)], axis=0)
        return found


class CubeWindow:
    """One view of a cube in one box. Satisfies `model.inputs.channel.Window`."""

    def __init__(self, cube: xr.Dataset, view: View, box: Box, judged: tuple[str, ...], spread: bool) -> None:
        """
        Args:
            judged: polarisations that decide where a pass has data.
            spread: whether the moments have their squared deviations, which take time.
        """
        self._cube, self._view, self._judged, self._spread = cube, view, judged, spread
        self._rows, self._columns = box.slices
        self._moments: dict[tuple[str, When], Moments] = {}
        self._pairs: dict[tuple[str, Place], Array] = {}
        self._filtered: dict[str, tuple[Array, Array]] = {}

    def moments(self, variable: str, when: When) -> Moments:
        """Moments of the natural logarithm of linear backscatter over the passes before or after the event."""
        if (variable, when) not in self._moments:
            passes = self._view.before if when == "before" else self._view.after
            layers = (self._read(variable, timestep=used.index) for used in passes)
            self._moments[variable, when] = moments_of(layers, spread=self._spread)
        return self._moments[variable, when]

    def filtered(self, variable: str, when: When) -> Array:
        """Mean of the natural logarithm of backscatter over the passes before or after, filtered over all passes."""
        if variable not in self._filtered:
            before, after = (
                [self._read(variable, timestep=used.index) for used in side]
                for side in (self._view.before, self._view.after)
            )
            self._filtered[variable] = multitemporal(before, after)
        return self._filtered[variable][0 if when == "before" else 1]

    def passes(self, when: When) -> Array:
        """Number of passes before or after the event that see a pixel in every deciding polarisation."""
        counts = np.stack([self.moments(name, when).count for name in self._judged])
        fewest: Array = counts.min(axis=0).astype(np.float32)
        return fewest

    def layer(self, variable: str) -> Array:
        """A variable that does not depend on time; NaN everywhere where the cube lacks it."""
        if variable not in self._cube:
            shape = (self._rows.stop - self._rows.start, self._columns.stop - self._columns.start)
            return np.full(shape, np.nan, dtype=np.float32)
        return self._read(variable).astype(np.float32, copy=False)

    def layer_of_track(self, variable: str) -> Array:
        """A variable of the look geometry, of the view's track."""
        return self._read(variable, track=self._track).astype(np.float32, copy=False)

    def mean_over_pairs(self, variable: str, place: Place) -> Array:
        """The mean of a variable of the pairs that lie before, across or after the event."""
        if (variable, place) not in self._pairs:
            shape = (self._rows.stop - self._rows.start, self._columns.stop - self._columns.start)
            total, count = np.zeros(shape), np.zeros(shape, dtype=np.int32)
            for pair in of_place(self._view.pairs, place):
                values = self._read(variable, timepair=pair.index)
                known = np.isfinite(values)
                total[known] += values[known]
                count += known
            self._pairs[variable, place] = mean_of(total, count).astype(np.float32)
        return self._pairs[variable, place]

    @property
    def azimuth_to_sensor_deg(self) -> float:
        """Azimuth from the ground to the sensor, degrees clockwise from north."""
        return azimuth_to_sensor_deg(self._view.direction)

    @cached_property
    def _track(self) -> int:
        """Position of the view's track on the cube's axis of tracks."""
        return int(np.flatnonzero(self._cube["track"].values == self._view.relative_orbit)[0])

    def _read(self, variable: str, **at: int) -> Array:
        where: dict[str, int | slice] = {"y": self._rows, "x": self._columns, **at}
        return np.asarray(self._cube[variable].isel(where).values)


def _with_context(box: Box, context_px: int, shape: tuple[int, int]) -> tuple[Box, tuple[slice, slice]]:
    """The box with the pixels around it, cut at the scene's edge; and where in it the box lies."""
    top, left = max(box.top - context_px, 0), max(box.left - context_px, 0)
    bottom, right = min(box.bottom + context_px, shape[0]), min(box.right + context_px, shape[1])
    inner = (
        slice(box.top - top, box.top - top + box.height),
        slice(box.left - left, box.left - left + box.width),
    )
    return Box(top=top, left=left, height=bottom - top, width=right - left), inner


def _in_order(inputs: Inputs, selection: Selection) -> dict[int, View]:
    """The views by their number in the channels, which does not depend on which is the better one."""
    views = selection.every_view
    if inputs.track != "both":
        return {0: views[0]}
    known = {view.direction: view for view in views}
    absent = [name for name in DIRECTIONS if name not in known]
    if absent and (inputs.views == "every" or len(absent) == len(DIRECTIONS)):
        raise ModelError(f"The selection has no {' and no '.join(absent)} view, which these inputs need.")
    return {number: known[name] for number, name in enumerate(DIRECTIONS) if name in known}
