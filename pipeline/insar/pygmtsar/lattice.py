"""The map lattice of the co-registered SLCs, and the estimates of a burst on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from pyproj import Transformer
from scipy import ndimage

from pipeline.errors import InterferometryError
from pipeline.insar.job import JobManifest
from pipeline.insar.look.orbit_geometry import Orbit, ellipsoidal_incidence_deg
from pipeline.insar.pygmtsar.estimator import WINDOW, Complex, Float, estimate

STEP_Y_M = 14.0
STEP_X_M = 4.0
"""Spacing of the lattice's samples, like the radar's on the ground: a line every 13.9 m, and a sample every 3.2 m (far
range) to 4.7 m (near range)."""
CROP_MARGIN_DEG = 0.02
"""Margin around the requested box, since the crop uses only its corners, and since seams need an overlap."""
_ROWS = 512
_NODE = 25
_HIGH_M = 4000.0
_FILL = 32767

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Lattice:
    """Samples in one UTM zone, with edges on multiples of the step; a product's pixel covers `looks` samples."""

    epsg: int
    looks: tuple[int, int]
    """samples down and across in a pixel of the products"""
    step_y_m: float = STEP_Y_M
    step_x_m: float = STEP_X_M

    @classmethod
    def of(cls, manifest: JobManifest) -> Lattice:
        """The lattice of a job, in the UTM zone of the requested box's centre."""
        west, south, east, north = manifest.bbox
        zone = min(60, math.floor(((west + east) / 2 + 180) / 6) + 1)
        hemisphere = 32600 if south + north >= 0 else 32700
        return cls(hemisphere + zone, (manifest.azimuth_looks, manifest.range_looks))

    @property
    def pixel_y_m(self) -> float:
        """Height of a product's pixel, metres."""
        return self.step_y_m * self.looks[0]

    @property
    def pixel_x_m(self) -> float:
        """Width of a product's pixel, metres."""
        return self.step_x_m * self.looks[1]

    def crop(self, wanted: Box, outline: Box) -> Box:
        """The part of a burst's outline in the requested box and its margin, degrees.

        Raises:
            InterferometryError: `burst-elsewhere`, the burst lies outside the box.
        """
        margin = CROP_MARGIN_DEG
        wide = margin / math.cos(math.radians(max(abs(outline[1]), abs(outline[3]))))
        west, south = max(wanted[0], outline[0]) - wide, max(wanted[1], outline[1]) - margin
        east, north = min(wanted[2], outline[2]) + wide, min(wanted[3], outline[3]) + margin
        if west >= east or south >= north:
            raise InterferometryError(
                "burst-elsewhere",
                f"A burst at {outline} lies outside the requested box {wanted}.",
                "Remove it from the job.",
            )
        return west, south, east, north


@dataclass(frozen=True)
class BurstEstimates:
    """One burst on the products' grid."""

    row: int
    """index of the first row, counted southwards from northing 0"""
    column: int
    """index of the first column, counted from easting 0"""
    coherence: Float
    interferogram: Complex
    amplitude: Float
    incidence: Float
    distance_m: Float
    """metres to the burst's nearest edge; 0 outside"""


def estimates(folder: Path, names: Sequence[str], lattice: Lattice, orbit: Orbit) -> BurstEstimates:
    """Estimates from the two co-registered SLCs of a burst (Zarr groups `names` in `folder`).

    Raises:
        InterferometryError: `processor-output`, the processor's output has an unexpected form; `burst-elsewhere`.
    """
    geometry = zarr.open_group(folder / "transform", mode="r")
    x, y = (np.asarray(geometry[axis], dtype=np.float64) for axis in ("x", "y"))
    slcs = [_Slc(folder / name, (len(y), len(x))) for name in names]
    down, across = lattice.looks
    # rows are ordered northwards; find the first whole pixel from the west and from the north
    left = math.ceil(round((x[0] - lattice.step_x_m / 2) / lattice.step_x_m) / across)
    first_x = left * across - round((x[0] - lattice.step_x_m / 2) / lattice.step_x_m)
    top = math.floor(round((y[-1] + lattice.step_y_m / 2) / lattice.step_y_m) / down)
    first_y = round((y[-1] + lattice.step_y_m / 2) / lattice.step_y_m) - top * down
    height, width = (len(y) - first_y) // down, (len(x) - first_x) // across
    if min(height, width) < WINDOW:
        raise InterferometryError(
            "burst-elsewhere",
            f"{folder.name} covers only {height} x {width} pixels of the requested box.",
            "Remove it from the job.",
        )
    shape = height, width
    out = {
        "coherence": np.full(shape, np.nan, np.float32),
        "interferogram": np.full(shape, complex(np.nan, np.nan), np.complex64),
        "amplitude": np.full(shape, np.nan, np.float32),
    }
    halo = math.ceil((WINDOW // 2) / down)
    for begin in range(0, height, _ROWS):
        end = min(begin + _ROWS, height)
        upper, lower = max(0, begin - halo), min(height, end + halo)
        rows = slice(first_y + upper * down, first_y + lower * down)
        columns = slice(first_x, first_x + width * across)
        found = estimate(slcs[0].read(rows, columns), slcs[1].read(rows, columns), lattice.looks)
        inner = slice(begin - upper, begin - upper + end - begin)
        for name, array in out.items():
            array[begin:end] = getattr(found, name)[inner]
    valid = ~np.isnan(out["coherence"])
    padded = np.pad(valid, 1)
    distance = ndimage.distance_transform_edt(padded, sampling=(lattice.pixel_y_m, lattice.pixel_x_m))
    elevation = _elevation(geometry, first_y, first_x, shape, lattice.looks)
    incidence = _incidence(left, -top, shape, lattice, elevation, orbit)
    incidence[~valid] = np.nan
    return BurstEstimates(
        row=-top,
        column=left,
        incidence=incidence,
        distance_m=np.asarray(distance)[1:-1, 1:-1].astype(np.float32),
        **out,
    )


class _Slc:
    """A co-registered SLC in the processor's form: two 16-bit integers a sample, rows ordered northwards."""

    def __init__(self, path: Path, shape: tuple[int, int]) -> None:
        group = zarr.open_group(path, mode="r")
        self._parts = [np.asarray(group[name]) for name in ("re", "im")]
        self._scale = _scale(group["re"])
        if any(part.shape != shape or part.dtype != np.int16 for part in self._parts):
            raise InterferometryError(
                "processor-output",
                f"{path.name} has {self._parts[0].dtype} of {self._parts[0].shape}, not int16 of {shape}.",
                "Install the version of insardev_pygmtsar that the extra `insar` names.",
            )

    def read(self, rows: slice, columns: slice) -> Complex:
        """Complex samples; `rows` are counted from the north."""
        re, im = (part[::-1][rows, columns].astype(np.float32) for part in self._parts)
        values: Any = np.empty(re.shape, np.complex64)
        values.real, values.imag = re * self._scale, im * self._scale
        values[(re == _FILL) | (im == _FILL)] = complex(np.nan, np.nan)
        return np.asarray(values)


def _scale(array: Any) -> float:
    return float(array.attrs.get("scale_factor", 1.0))


def _elevation(
    geometry: Any, first_y: int, first_x: int, shape: tuple[int, int], looks: tuple[int, int]
) -> NDArray[np.float32]:
    """Height above the ellipsoid near the middle of every pixel, metres; 0 if unknown."""
    down, across = looks
    stored = geometry["ele"]
    rows = first_y + down // 2 + down * np.arange(shape[0])
    columns = first_x + across // 2 + across * np.arange(shape[1])
    values = np.asarray(stored)[::-1][np.ix_(rows, columns)]
    known = (values != np.iinfo(np.int32).max) & np.isfinite(values)
    return np.where(known, values * _scale(stored), 0).astype(np.float32)


def _incidence(
    column: int,
    row: int,
    shape: tuple[int, int],
    lattice: Lattice,
    elevation: NDArray[np.float32],
    orbit: Orbit,
) -> Float:
    """Degrees between the ellipsoid's normal and the line of sight.

    Exact at every 25th pixel and at two heights, linear in between: it errs by less than 0.001 degrees.
    """
    nodes = [np.arange(0, size + _NODE, _NODE, dtype=np.float64) for size in shape]
    easting = (column + nodes[1] + 0.5) * lattice.pixel_x_m
    northing = -(row + nodes[0] + 0.5) * lattice.pixel_y_m
    to_degrees = Transformer.from_crs(lattice.epsg, 4326, always_xy=True)
    longitude, latitude = to_degrees.transform(*np.meshgrid(easting, northing))
    low, high = (ellipsoidal_incidence_deg(orbit, longitude, latitude, height) for height in (0.0, _HIGH_M))
    out = np.empty(shape, np.float32)
    at_columns = np.arange(shape[1]) / _NODE
    for begin in range(0, shape[0], _ROWS):
        rows = np.arange(begin, min(begin + _ROWS, shape[0]))
        where = np.meshgrid(rows / _NODE, at_columns, indexing="ij")
        base, top = (
            ndimage.map_coordinates(values, where, order=1, mode="nearest") for values in (low, high)
        )
        out[rows] = base + (top - base) * elevation[rows] / _HIGH_M
    return out
