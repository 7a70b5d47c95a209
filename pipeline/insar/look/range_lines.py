"""Range lines over a grid: intersections of the zero-Doppler planes with the ground, with range and look angle on them.

These values are smooth over tens of kilometres. They are computed exactly at a few nodes across the grid and
interpolated by a polynomial (Chebyshev interpolation: Trefethen (2013), "Approximation Theory and Approximation
Practice", chapter 8). With `NODES` nodes over 100 km the slant range errs by less than a millimetre.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from pipeline.errors import InterferometryError
from pipeline.grid import Grid
from pipeline.insar.look.orbit_geometry import (
    Array,
    Orbit,
    earth_fixed,
    ellipsoidal_incidence_deg,
    looks_right,
    upwards,
)

T = TypeVar("T", bound=np.generic)

NODES = 8
GROUND_SPEED_M_S = 7000.0
"""Slightly more than the speed of Sentinel-1's beam on the ground (6.8 km/s), so that every row has a line."""
INCIDENCE_DEG = (16.0, 50.0)
"""Range of incidence of all modes of Sentinel-1: stripmap from 18, interferometric wide swath from 29 to 46 degrees."""
_STEP_M = 100.0  # step of the differences that give the directions of the grid's axes
_CLOSE_M = 1e-4  # accuracy of a line's points in its plane


@dataclass(frozen=True)
class EllipsoidPoints:
    """Points of a grid on the ellipsoid; arrays (...)."""

    points_m: Array
    """(..., 3) earth-fixed"""
    up: Array
    """(..., 3) unit normal of the ellipsoid"""
    east: Array
    """(..., 3) change of the point per metre of the grid eastwards; its length is the inverse of the grid's scale"""
    north: Array
    """(..., 3) change of the point per metre northwards"""


class Projection:
    """Converts coordinates of a grid to earth-fixed points of the ellipsoid."""

    def __init__(self, epsg: int) -> None:
        self._to_degrees = Transformer.from_crs(epsg, 4326, always_xy=True)

    def degrees(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Longitude and latitude, degrees."""
        longitude, latitude = self._to_degrees.transform(x, y)
        return np.asarray(longitude), np.asarray(latitude)

    def points_m(self, x: Array, y: Array) -> Array:
        """(..., 3) points at height 0."""
        return earth_fixed(*self.degrees(x, y), 0.0)

    def points(self, x: Array, y: Array) -> EllipsoidPoints:
        """The points, the normal and the grid's axes at them."""
        longitude, latitude = self.degrees(x, y)
        step = _STEP_M
        return EllipsoidPoints(
            earth_fixed(longitude, latitude, 0.0),
            upwards(longitude, latitude),
            (self.points_m(x + step, y) - self.points_m(x - step, y)) / (2 * step),
            (self.points_m(x, y + step) - self.points_m(x, y - step)) / (2 * step),
        )


class Across:
    """Polynomials across an image, which interpolate values at nodes to every column."""

    def __init__(self, width: int) -> None:
        self.width = width
        angles = np.pi * (np.arange(NODES) + 0.5) / NODES
        self._half = max(width - 1, 1) / 2
        self.columns = self._half * (1 - np.cos(angles))
        """(NODES,) fractional columns of the nodes"""
        # one matrix for all rows, so that no value depends on the division into blocks
        self._to_powers = np.linalg.inv(np.vander(-np.cos(angles), increasing=True))

    def fit(self, values: Array) -> Array:
        """(rows, NODES) coefficients of the polynomials through values (rows, NODES)."""
        return np.asarray(np.einsum("rn,pn->rp", values, self._to_powers))

    def at(self, coefficients: Array, first: int, last: int) -> Array:
        """(rows, last - first) values at the columns from `first` to before `last`."""
        u = np.arange(first, last) / self._half - 1.0
        values = np.repeat(coefficients[:, -1:], last - first, axis=1)
        for power in range(NODES - 2, -1, -1):
            values *= u
            values += coefficients[:, power, None]
        return values


@dataclass(frozen=True)
class View:
    """A view of a grid in which range grows along columns and lines are ordered along rows.

    `swapped`: its rows are the grid's columns. `mirrored`: its columns are in reverse order.
    """

    grid: Grid
    swapped: bool
    mirrored: bool

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)"""
        height, width = self.grid.shape
        return (width, height) if self.swapped else (height, width)

    def turn(self, image: NDArray[T]) -> NDArray[T]:
        """An image (y, x) of the grid in this view, without a copy."""
        turned = image.T if self.swapped else image
        return turned[:, ::-1] if self.mirrored else turned

    def turn_back(self, image: NDArray[T]) -> NDArray[T]:
        """An image (rows, columns) of this view as an image (y, x) of the grid, without a copy."""
        turned = image[:, ::-1] if self.mirrored else image
        return turned.T if self.swapped else turned

    def xy(self, rows: Array, columns: Array) -> tuple[Array, Array]:
        """The grid's coordinates (m) of pixel positions; pixel centres are whole numbers."""
        if self.mirrored:
            columns = self.shape[1] - 1 - columns
        if self.swapped:
            rows, columns = columns, rows
        step = self.grid.resolution_m
        return self.grid.left + (columns + 0.5) * step, self.grid.top - (rows + 0.5) * step


@dataclass(frozen=True)
class RangeLines:
    """The lines over a grid, with values along each as coefficients (lines, NODES) of `across`.

    Line i has the zero-Doppler time `times_s[i]`. A point at ellipsoidal height h above column c of the line has

        slant range squared          range2 - 2 h rise + h^2
        tangent of the look angle    tangent + h lift / (1 + h sink)

    The look angle is measured at the satellite in the zero-Doppler plane, from the direction to the Earth's centre.
    The columns are in order of range, so both values grow along a line over level ground. The vertical's component
    normal to the plane is neglected; it is at most 3.5 m for a kilometre of height.
    """

    view: View
    across: Across
    times_s: Array
    row: Array
    """fractional row of the view where the line crosses the column; grows from line to line"""
    range2: Array
    """m2, at height 0"""
    rise: Array
    """m: slant range times the cosine of the ellipsoidal incidence"""
    tangent: Array
    lift: Array
    """1/m"""
    sink: Array
    """1/m"""


def range_lines(grid: Grid, orbit: Orbit) -> RangeLines:
    """The lines that cover every pixel of the grid, less than a row apart, at constant time steps.

    Raises:
        InterferometryError: `orbit_short`, the orbit does not cover the grid; `wrong_side`, the grid lies to its left.
    """
    projection = Projection(grid.epsg)
    view, seen = _turned(grid, projection, orbit)
    rows, columns = view.shape
    middle = np.array([rows / 2, rows / 2 + 1]), np.full(2, columns / 2)
    apart = float(np.diff(orbit.zero_doppler(projection.points_m(*view.xy(*middle)))[0])[0])
    step_s = grid.resolution_m / GROUND_SPEED_M_S
    while step_s > 0.97 * abs(apart):  # oblique to the grid
        step_s /= 1.25
    first, last = math.floor(seen.min() / step_s) - 1, math.ceil(seen.max() / step_s) + 1
    times = np.arange(first, last + 1) * step_s
    if apart < 0:
        times = times[::-1]
    across = Across(columns)
    at_rows, points = _follow(view, projection, orbit, times, across.columns, apart)
    position, velocity = orbit.position_m(times), orbit.velocity_m_s(times)
    along = velocity / np.linalg.norm(velocity, axis=-1, keepdims=True)
    down = -position + (position * along).sum(-1, keepdims=True) * along
    down /= np.linalg.norm(down, axis=-1, keepdims=True)
    right = np.cross(down, along)
    away = points.points_m - position[:, None]
    below, aside = (away * down[:, None]).sum(-1), (away * right[:, None]).sum(-1)
    up_below, up_aside = (points.up * down[:, None]).sum(-1), (points.up * right[:, None]).sum(-1)
    tangent = aside / below
    return RangeLines(
        view=view,
        across=across,
        times_s=times,
        row=across.fit(at_rows),
        range2=across.fit((away * away).sum(-1)),
        rise=across.fit(-(away * points.up).sum(-1)),
        tangent=across.fit(tangent),
        lift=across.fit((up_aside - tangent * up_below) / below),
        sink=across.fit(up_below / below),
    )


def _turned(grid: Grid, projection: Projection, orbit: Orbit) -> tuple[View, Array]:
    """The view of the grid for the orbit, and the zero-Doppler times of points along its outline."""
    plain = View(grid, swapped=False, mirrored=False)
    rows, columns = np.meshgrid(
        np.linspace(-0.5, grid.height - 0.5, 9), np.linspace(-0.5, grid.width - 0.5, 9), indexing="ij"
    )
    points = projection.points_m(*plain.xy(rows, columns))
    times, ranges = orbit.zero_doppler(points)
    if not looks_right(orbit, points).all():
        raise InterferometryError(
            "wrong_side",
            f"The satellite of {orbit.epoch.isoformat()} does not have the whole area on its right, where Sentinel-1 "
            "looks.",
            "Give the orbit file and the instant of a pass whose swath holds the area.",
        )
    row_m, column_m = grid.height / 8, grid.width / 8
    swapped = bool(abs(np.diff(times, axis=1).mean() / column_m) > abs(np.diff(times, axis=0).mean() / row_m))
    mirrored = bool(np.diff(ranges, axis=0 if swapped else 1).mean() < 0)
    return View(grid, swapped, mirrored), times


def _follow(
    view: View, projection: Projection, orbit: Orbit, times: Array, columns: Array, apart_s: float
) -> tuple[Array, EllipsoidPoints]:
    """(lines, NODES) rows where the zero-Doppler planes cross the columns, by Newton's method, and the points there."""
    position, velocity = orbit.position_m(times), orbit.velocity_m_s(times)
    along = (velocity / np.linalg.norm(velocity, axis=-1, keepdims=True))[:, None]
    middle = view.shape[0] / 2
    at_columns = np.broadcast_to(columns, (len(times), len(columns)))
    start, _ranges = orbit.zero_doppler(projection.points_m(*view.xy(np.full(len(columns), middle), columns)))
    rows = middle + (times[:, None] - start) / apart_s
    for _ in range(10):
        points = projection.points(*view.xy(rows, at_columns))
        short = ((points.points_m - position[:, None]) * along).sum(-1)
        per_row = points.east if view.swapped else -points.north
        rows = rows - short / ((per_row * along).sum(-1) * view.grid.resolution_m)
        if np.abs(short).max() < _CLOSE_M:
            return rows, points
    raise InterferometryError(
        "orbit_short",
        f"The range lines of the orbit from {orbit.epoch.isoformat()} cannot be computed over the area.",
        "Give state vectors from two minutes before to two minutes after the overflight.",
    )


def incidence_range_deg(grid: Grid, orbit: Orbit) -> tuple[float, float]:
    """Least and largest ellipsoidal incidence on the grid, degrees, at height 0.

    Raises:
        InterferometryError: `orbit_short`; `out_of_swath`, the whole grid lies outside any swath.
    """
    left, bottom, right, top = grid.bounds
    x, y = np.meshgrid(np.linspace(left, right, 5), np.linspace(bottom, top, 5))
    found = ellipsoidal_incidence_deg(orbit, *Projection(grid.epsg).degrees(x, y))
    least, largest = float(found.min()), float(found.max())
    if largest < INCIDENCE_DEG[0] or least > INCIDENCE_DEG[1]:
        raise InterferometryError(
            "out_of_swath",
            f"The satellite of {orbit.epoch.isoformat()} has an incidence of at least {least:.0f} degrees in the area, "
            "which is outside every swath of Sentinel-1.",
            "Give the orbit file and the instant of a pass whose swath holds the area.",
        )
    return least, largest
