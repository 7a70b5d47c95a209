"""Positions on the WGS 84 ellipsoid and their geometry to a satellite (NGA.STND.0036, table 3.1).

Earth-fixed positions are metres, (..., 3).
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SEMI_MAJOR_M = 6378137.0
FLATTENING = 1 / 298.257223563
_E2 = FLATTENING * (2 - FLATTENING)
_STEPS = 8


class Path(Protocol):
    """A moving body: position, velocity and acceleration at times."""

    def state(self, t: Array) -> tuple[Array, Array, Array]: ...


def earth_fixed(longitude_deg: Array, latitude_deg: Array, height_m: Array) -> Array:
    """Positions of geodetic coordinates and heights above the ellipsoid."""
    longitude, latitude = np.radians(longitude_deg), np.radians(latitude_deg)
    normal_m = SEMI_MAJOR_M / np.sqrt(1 - _E2 * np.sin(latitude) ** 2)
    return np.stack(
        [
            (normal_m + height_m) * np.cos(latitude) * np.cos(longitude),
            (normal_m + height_m) * np.cos(latitude) * np.sin(longitude),
            (normal_m * (1 - _E2) + height_m) * np.sin(latitude),
        ],
        axis=-1,
    )


def geodetic(points_m: Array) -> tuple[Array, Array, Array]:
    """Longitude and latitude (degrees) and height above the ellipsoid (m), by iteration to micrometres."""
    x, y, z = np.moveaxis(points_m, -1, 0)
    across = np.hypot(x, y)
    latitude = np.arctan2(z, across * (1 - _E2))
    for _ in range(_STEPS):
        normal_m = SEMI_MAJOR_M / np.sqrt(1 - _E2 * np.sin(latitude) ** 2)
        height_m = across / np.cos(latitude) - normal_m
        latitude = np.arctan2(z, across * (1 - _E2 * normal_m / (normal_m + height_m)))
    return np.degrees(np.arctan2(y, x)), np.degrees(latitude), height_m


def upwards(longitude_rad: float, latitude_rad: float) -> Array:
    """(3,) unit normal of the ellipsoid."""
    return np.array(
        [
            np.cos(latitude_rad) * np.cos(longitude_rad),
            np.cos(latitude_rad) * np.sin(longitude_rad),
            np.sin(latitude_rad),
        ]
    )


def incidence_deg(position: Array, points_m: Array, up: Array) -> Any:
    """(...) angle at points between `up` and the line to the satellite, degrees."""
    away = position - points_m
    cosine = (away * up).sum(-1) / np.linalg.norm(away, axis=-1) / np.linalg.norm(up, axis=-1)
    return np.degrees(np.arccos(cosine))


def zero_doppler(path: Path, points_m: Array, guess_s: Array) -> tuple[Array, Array]:
    """Zero-Doppler time (s) and slant range (m) of points, by Newton's method on (x - p(t)) . v(t) = 0."""
    t = np.broadcast_to(np.asarray(guess_s, dtype=np.float64), points_m.shape[:-1]).copy()
    for _ in range(_STEPS):
        position, velocity, acceleration = path.state(t)
        away = points_m - position
        slope = (away * acceleration).sum(-1) - (velocity * velocity).sum(-1)
        t -= (away * velocity).sum(-1) / slope
    return t, np.linalg.norm(points_m - path.state(t)[0], axis=-1)


def to_ground(path: Path, t: Array, range_m: Array, height_m: Array) -> Array:
    """Points to the right of the flight at zero-Doppler time, slant range and height above the ellipsoid.

    In the plane normal to the velocity a point is given by the angle from the nadir at the satellite, which Newton's
    method finds from the height (Curlander and McDonough 1991, section 8.2).
    """
    position, velocity, _ = path.state(t)
    forward = velocity / np.linalg.norm(velocity, axis=-1, keepdims=True)
    down = -position + (position * forward).sum(-1, keepdims=True) * forward
    down /= np.linalg.norm(down, axis=-1, keepdims=True)
    right = np.cross(down, forward)
    right *= np.sign((np.cross(velocity, position) * right).sum(-1, keepdims=True))
    sat = np.linalg.norm(position, axis=-1)
    ground = 6_370_000.0 + height_m
    look = np.arccos((sat**2 + range_m**2 - ground**2) / (2 * sat * range_m))
    for _ in range(_STEPS):
        point = position + range_m[..., None] * (
            np.cos(look)[..., None] * down + np.sin(look)[..., None] * right
        )
        miss = geodetic(point)[2] - height_m
        # rotating the ray raises the point by about range times the sine of the incidence
        sine = np.minimum(np.sin(look) * sat / ground, 0.99)
        look -= miss / (range_m * sine)
    return np.asarray(
        position + range_m[..., None] * (np.cos(look)[..., None] * down + np.sin(look)[..., None] * right)
    )
