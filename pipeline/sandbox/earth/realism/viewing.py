"""What the radar sees of terrain: layover, foreshortening, shadow, and their flattening by a degraded elevation.

The scene is cut into lines along the range direction. A cell of ground at the distance s from the sensor's side and the
height h lies at u = s - h cot(incidence), in ground range. The image of the true terrain collects each cell's gamma0
times its area that faces the sensor, at the true u; the product reads that image at the u of the degraded elevation and
divides it by the area that the degraded elevation collects there: Small (2011), IEEE TGRS 49, 3081. What the degraded
elevation has wrong stays in the product.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

Raster = NDArray[np.float32]
_SUB = 3
"""Samples of a cell along range, so that stretched slopes leave no gap."""
_EDGE = 8
"""Columns that repeat the ends of a line, so that a shifted image has no rim."""
_LEAST_AREA = 0.15
"""Of a flat cell; a smaller simulated area is not divided by, as in shadow."""


@dataclass(frozen=True)
class _Lines:
    """How the scene's cells map to lines along range: every cell once, the ends of lines repeat the edge."""

    row: NDArray[np.int32]
    """(line, column) row of the scene, clipped"""
    inside: NDArray[np.bool_]
    """(line, column) whether the row is one of the scene"""
    towards_east: bool

    @classmethod
    def across(cls, shape: tuple[int, int], to_sensor_deg: float) -> _Lines:
        away = math.radians(to_sensor_deg + 180.0)
        drift = np.round(math.cos(away) / math.sin(away) * np.arange(shape[1])).astype(np.int32)
        line = np.arange(drift.min(), shape[0] + drift.max(), dtype=np.int32)
        row = line[:, None] - drift[None, :]
        inside = (row >= 0) & (row < shape[0])
        return cls(np.clip(row, 0, shape[0] - 1), inside, math.sin(away) > 0)

    def cut(self, values: NDArray[np.float32]) -> Raster:
        """(line, column from the sensor's side) of a raster (y, x), longer than it by `_EDGE` on either side."""
        lines = values[self.row, np.arange(values.shape[1])[None, :]]
        return np.pad(lines if self.towards_east else lines[:, ::-1], ((0, 0), (_EDGE, _EDGE)), mode="edge")

    def joined(self, lines: Raster, shape: tuple[int, int]) -> Raster:
        """The raster (y, x) of those lines."""
        own = lines[:, _EDGE:-_EDGE]
        ordered = own if self.towards_east else own[:, ::-1]
        found = np.empty(shape, dtype=lines.dtype)
        columns = np.broadcast_to(np.arange(shape[1])[None, :], self.row.shape)
        found[self.row[self.inside], columns[self.inside]] = ordered[self.inside]
        return found


@dataclass(frozen=True)
class View:
    """The geometry of one track over one terrain."""

    shape: tuple[int, int]
    lines: _Lines
    collect: sparse.csc_matrix
    """(bins of all lines, cells of all lines): true area times what of a cell falls into a bin"""
    read_at: NDArray[np.float32]
    """(line, column) bin, fractional, where the product reads"""
    flat_area: Raster
    """(line, bin) area that the degraded elevation collects, of a flat cell 1"""
    layover: NDArray[np.bool_]
    """(y, x) of the true terrain"""
    shadow: NDArray[np.bool_]
    """(y, x) of the true terrain"""

    def seen(self, gamma0: Raster, shift_px: tuple[float, float] = (0.0, 0.0)) -> Raster:
        """(y, x) flattened product of ground of that gamma0 (y, x, linear).

        `shift_px` is the error of registration along the flight and in range; the image moves before it is flattened.
        """
        ground = self.lines.cut(gamma0)
        image = (self.collect @ ground.ravel()).reshape(self.flat_area.shape)
        for axis, shift in enumerate(shift_px):
            if shift:
                image = _shifted(image, shift, axis)
        np.maximum(image, 0.0, out=image)
        image /= self.flat_area
        low = self.read_at.astype(np.int32)
        part = self.read_at - low
        at = low + (np.arange(low.shape[0], dtype=np.int32) * self.flat_area.shape[1])[:, None]
        flat = image.ravel()
        return self.lines.joined(flat[at] * (1 - part) + flat[at + 1] * part, self.shape)


def view_of(
    truth_m: Raster, degraded_m: Raster, step_m: float, incidence_deg: float, to_sensor_deg: float
) -> View:
    """The view of a track with that incidence and azimuth towards the sensor on terrain (y, x) in metres."""
    shape = (truth_m.shape[0], truth_m.shape[1])
    lines = _Lines.across(shape, to_sensor_deg)
    true, wrong = lines.cut(truth_m), lines.cut(degraded_m)
    step = step_m / abs(math.sin(math.radians(to_sensor_deg)))
    cot = 1 / math.tan(math.radians(incidence_deg))
    least = min(float(true.min()), float(wrong.min()))
    most = max(float(true.max()), float(wrong.max()))
    pad = int((most - least) * cot / step) + 3
    count = true.shape[1]
    bins = count + pad + 3
    weights = _weights(true - least, step, cot, pad, bins)
    area = _weights(wrong - least, step, cot, pad, bins)
    collected = (area @ np.ones(true.size, dtype=np.float32)).reshape(-1, bins)
    read = np.arange(count) + pad - (wrong - least) * cot / step
    seen = np.arange(count) * step - true * cot
    layover = (np.maximum.accumulate(seen, axis=1) > seen + 1e-3) | (
        np.minimum.accumulate(seen[:, ::-1], axis=1)[:, ::-1] < seen - 1e-3
    )
    # a ray that grazes a cell nearer to the sensor passes above the shadowed one
    grazing = true + np.arange(count) * step * cot
    shadow = np.maximum.accumulate(grazing, axis=1) > grazing + 1e-3
    return View(
        shape,
        lines,
        weights,
        np.clip(read, 0, bins - 1.001).astype(np.float32),
        np.maximum(collected, np.float32(_LEAST_AREA)),
        lines.joined(layover.astype(np.float32), shape) > 0,
        lines.joined(shadow.astype(np.float32), shape) > 0,
    )


def _weights(height: Raster, step: float, cot: float, pad: int, bins: int) -> sparse.csc_matrix:
    """(bins, cells): the area of each cell that faces the sensor, of a flat one 1, shared between the two nearest bins.

    Cells in shadow have none. A slope that faces the sensor has more: cos(incidence) + sin(incidence) dh/ds.
    """
    count, columns = height.shape
    rise = np.gradient(height, np.float32(step), axis=1)
    area = np.maximum(1 + rise * np.float32(1 / cot), 0.0)
    grazing = height + np.arange(columns) * step * cot
    area[np.maximum.accumulate(grazing, axis=1) > grazing + 1e-3] = 0.0
    base = (np.arange(count, dtype=np.int32) * bins)[:, None]
    found = np.empty((count, columns, 2 * _SUB), dtype=np.float32)
    into = np.empty(found.shape, dtype=np.int32)
    place = np.arange(columns, dtype=np.float32) + np.float32(pad)
    for part in range(_SUB):
        off = np.float32((part + 0.5) / _SUB - 0.5)
        at = np.clip(place + off - (height + off * step * rise) * np.float32(cot / step), 0, bins - 1.001)
        low = at.astype(np.int32)
        near = at - low
        for side, share in ((0, 1 - near), (1, near)):
            into[..., 2 * part + side] = base + low + side
            found[..., 2 * part + side] = area * share / _SUB
    # every cell has as many entries, so that the matrix needs no sorting
    ends = np.arange(0, found.size + 1, 2 * _SUB, dtype=np.int32)
    return sparse.csc_matrix((found.ravel(), into.ravel(), ends), shape=(count * bins, count * columns))


def _shifted(image: Raster, shift_px: float, axis: int) -> Raster:
    """The image moved by less than three pixels, by cubic convolution (Keys 1981)."""
    whole = math.floor(shift_px)
    f = shift_px - whole
    taps = np.array(
        [
            -0.5 * f + f**2 - 0.5 * f**3,
            1 - 2.5 * f**2 + 1.5 * f**3,
            0.5 * f + 2 * f**2 - 1.5 * f**3,
            -0.5 * f**2 + 0.5 * f**3,
        ]
    )[::-1]
    kernel = np.zeros(2 * (abs(whole) + 3) + 1, dtype=np.float32)
    middle = abs(whole) + 3
    # correlate1d: out[i] = sum kernel[middle + k] image[i + k]; the value at i - shift is wanted
    kernel[middle - whole - 2 : middle - whole + 2] = taps
    return np.asarray(ndimage.correlate1d(image, kernel, axis=axis, mode="nearest"), dtype=np.float32)
