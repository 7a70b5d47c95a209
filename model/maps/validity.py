"""Flags of a map's pixels: why a pixel has no value, and where layover or shadow makes its value unreliable."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from model.inputs.inputs import Inputs
from model.inputs.selection import PassUsed, Selection, View
from model.inputs.tracks import deciding_polarisations
from model.inputs.windows import Box

NO_PASS_BEFORE, NO_PASS_AFTER, NO_TERRAIN, LAYOVER_SHADOW, OTHER_INPUT_MISSING = 1, 2, 4, 8, 16
TOO_FLAT, WATER, FEW_BEFORE = 32, 64, 128
"""flags of the validity raster; a pixel can have several"""
MEANINGS = {
    NO_PASS_BEFORE: "no valid pass before the event",
    NO_PASS_AFTER: "no valid pass after the event",
    NO_TERRAIN: "no terrain",
    LAYOVER_SHADOW: "layover or shadow in every view: the value is unreliable",
    OTHER_INPUT_MISSING: "another input is missing",
    TOO_FLAT: "flat terrain, not searched",
    WATER: "water, not searched",
    FEW_BEFORE: "one valid pass before the event: the spread is not known",
}
COLUMNS_PX = 512

Mask = NDArray[np.bool_]
Flags = NDArray[np.uint8]


def flags_of(cube: xr.Dataset, inputs: Inputs, selection: Selection, box: Box, invalid: Mask) -> Flags:
    """(y, x) flags of `box`. Values are read again only in blocks of 512 columns that have an invalid pixel.

    Args:
        invalid: (y, x) of `box`, pixels without a score.
    """
    flags = np.zeros((box.height, box.width), dtype=np.uint8)
    for first in range(0, box.width, COLUMNS_PX):
        columns = slice(first, min(first + COLUMNS_PX, box.width))
        missing = invalid[:, columns]
        if not missing.any():
            continue
        part = Box(top=box.top, left=box.left + first, height=box.height, width=missing.shape[1])
        found = np.zeros(missing.shape, dtype=np.uint8)
        of_views = [_unseen_passes(cube, inputs, view, part) for view in selection.every_view]
        if inputs.views == "any":  # what all views lack; where each lacks something else, that
            common = np.bitwise_and.reduce(of_views)
            found |= np.where(common > 0, common, _lacked_by_any(of_views))
        else:
            found |= np.bitwise_or.reduce(of_views)
        for channel, _ in inputs.requested:
            if channel.group == "terrain" and channel.no_value == "invalid":
                for name in channel.variables:
                    found[~np.isfinite(_layer(cube[name], part))] |= NO_TERRAIN
        found[found == 0] |= OTHER_INPUT_MISSING
        flags[:, columns] = np.where(missing, found, 0)
    flags[_unseen(cube, selection, box)] |= LAYOVER_SHADOW
    return flags


def _lacked_by_any(of_views: list[Flags]) -> Flags:
    """(y, x) what any view lacks, where every view lacks something."""
    lacked = np.all([flags > 0 for flags in of_views], axis=0)
    found: Flags = np.where(lacked, np.bitwise_or.reduce(of_views), 0).astype(np.uint8)
    return found


def _unseen_passes(cube: xr.Dataset, inputs: Inputs, view: View, part: Box) -> Flags:
    """(y, x) flags of the passes that a view lacks."""
    found = np.zeros((part.height, part.width), dtype=np.uint8)
    for name in deciding_polarisations(cube, inputs):
        found[~_seen(cube, name, view.before, part)] |= NO_PASS_BEFORE
        found[~_seen(cube, name, view.after, part)] |= NO_PASS_AFTER
    return found


def _seen(cube: xr.Dataset, name: str, passes: tuple[PassUsed, ...], box: Box) -> Mask:
    """(y, x) whether any pass has a positive finite value."""
    seen = np.zeros((box.height, box.width), dtype=bool)
    for used in passes:
        values = _layer(cube[name].isel(timestep=used.index), box)
        seen |= np.isfinite(values) & (values > 0)
    return seen


def _unseen(cube: xr.Dataset, selection: Selection, box: Box) -> Mask:
    """(y, x) whether every view has layover or shadow; False where the cube lacks that layer of a view."""
    name = "layover_shadow"
    none = np.zeros((box.height, box.width), dtype=bool)
    if name not in cube or cube[name].dims != ("track", "y", "x") or "track" not in cube.coords:
        return none
    known = [int(v) for v in cube["track"].values]
    orbits = [view.relative_orbit for view in selection.every_view]
    if any(orbit not in known for orbit in orbits):
        return none
    unseen = ~none
    for orbit in orbits:
        unseen &= _layer(cube[name].isel(track=known.index(int(orbit or 0))), box) > 0
    return unseen


def _layer(values: xr.DataArray, box: Box) -> NDArray[np.float32]:
    rows, columns = box.slices
    return np.asarray(values.isel(y=rows, x=columns).values, dtype=np.float32)
