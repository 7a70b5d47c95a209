"""The land of a scene, over which its statistics are taken: open water is darker than any ground."""

from __future__ import annotations

import numpy as np
import xarray as xr

from model.detector.searched_ground import Mask, layer, water
from model.inputs.change import DB_PER_NEPER
from model.inputs.channel import Array
from model.inputs.channel_source import ChannelSource
from model.inputs.windows import Box

BEFORE = {"vv_before": "vv", "vh_before": "vh"}
"""channels of the mean level before the event, by which water is found"""


class OverLand:
    """The channels of a scene over land, NaN over water. Satisfies `model.inputs.channel_source.ChannelSource`.

    Water is found as the detector finds it (`model.detector.searched_ground.water`): dark before the event in every
    polarisation that is among the inputs, in every view that sees it, and not steep where the cube has a slope. Inputs
    without backscatter know no water: all of them is land.
    """

    def __init__(self, source: ChannelSource, names: tuple[str, ...], cube: xr.Dataset) -> None:
        """
        Args:
            names: of the source's channels.
        """
        self._source, self._cube = source, cube
        self._levels = [
            (BEFORE[name.partition("@")[0]], number)
            for number, name in enumerate(names)
            if name.partition("@")[0] in BEFORE
        ]
        self.shape = source.shape

    def read(self, box: Box) -> Array:
        """(channel, y, x) as the source gives it, NaN over water."""
        values = np.array(self._source.read(box))
        if self._levels:
            values[:, self._water(values, box)] = np.nan
        return values

    def _water(self, values: Array, box: Box) -> Mask:
        brightest: dict[str, Array] = {}
        for name, number in self._levels:
            level = (DB_PER_NEPER * values[number]).astype(np.float32)
            brightest[name] = np.fmax(brightest[name], level) if name in brightest else level
        return water(brightest, layer(self._cube, "dem_slope_radians", box))
