"""The channels of a network, computed from a cube one box at a time."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import xarray as xr

from model.inputs.change import Moments, mean_of, moments_of
from model.inputs.channel import DIRECTIONS, Array, Place, When
from model.inputs.channel_registry import may_lack
from model.inputs.coherence_pairs import of_place
from model.inputs.cubes import shape_of
from model.inputs.inputs import Inputs
from model.inputs.look_azimuth import azimuth_to_sensor_deg
from model.inputs.selection import Selection, View, check_view
from model.inputs.tracks import deciding_polarisations
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
        self._views = _in_order(inputs, selection)
        for view in self._views:
            check_view(cube, inputs, view)

    def read(self, box: Box) -> Array:
        """(channel, y, x) float32; NaN in every channel of a pixel that has no value in a channel that needs one.

        Backscatter is the mean over passes of the natural logarithm of gamma0; values that are not positive and finite
        are skipped. A flat pixel has no aspect: its aspect channels are 0, which is valid. A pixel is valid if the
        passes of every polarisation of the inputs (of the cube, for inputs without backscatter) have a value before and
        after the event in every view.
        """
        windows = [CubeWindow(self._cube, view, box, self._spread) for view in self._views]
        layers = []
        for channel, view in self._channels:
            values = channel.compute(windows[view])
            layers.append(np.nan_to_num(values) if channel.no_value == "zero" else values)
        stack = np.stack(layers).astype(np.float32, copy=False)
        if self._alone:
            return stack
        seen = np.ones((box.height, box.width), dtype=bool)
        for window in windows:
            for name in self._judged:
                for when in ("before", "after"):
                    seen &= window.moments(name, when).count > 0
        stack[:, ~(seen & np.isfinite(stack[~self._may_lack]).all(axis=0))] = np.nan
        return stack


class CubeWindow:
    """One view of a cube in one box. Satisfies `model.inputs.channel.Window`."""

    def __init__(self, cube: xr.Dataset, view: View, box: Box, spread: bool) -> None:
        """
        Args:
            spread: whether the moments have their squared deviations, which take time.
        """
        self._cube, self._view, self._spread = cube, view, spread
        self._rows, self._columns = box.slices
        self._moments: dict[tuple[str, When], Moments] = {}
        self._pairs: dict[tuple[str, Place], Array] = {}

    def moments(self, variable: str, when: When) -> Moments:
        """Moments of the natural logarithm of linear backscatter over the passes before or after the event."""
        if (variable, when) not in self._moments:
            passes = self._view.before if when == "before" else self._view.after
            layers = (self._read(variable, timestep=used.index) for used in passes)
            self._moments[variable, when] = moments_of(layers, spread=self._spread)
        return self._moments[variable, when]

    def layer(self, variable: str) -> Array:
        """A variable that does not depend on time."""
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


def _in_order(inputs: Inputs, selection: Selection) -> tuple[View, ...]:
    """The views in the order of the channels, which does not depend on which is the better one."""
    views = selection.every_view
    if inputs.track != "both":
        return views[:1]
    known = {view.direction: view for view in views}
    absent = [name for name in DIRECTIONS if name not in known]
    if absent:
        raise ModelError(f"The selection has no {' and no '.join(absent)} view, which these inputs need.")
    return tuple(known[name] for name in DIRECTIONS)
