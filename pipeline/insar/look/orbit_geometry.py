"""Geometry between a satellite and a point on the ground: orbit, zero-Doppler time, slant range, incidence.

Positions are earth-fixed (WGS 84) metres, arrays of shape (..., 3); times are seconds since `Orbit.epoch`.
Range-Doppler equations: Curlander and McDonough (1991), "Synthetic Aperture Radar: Systems and Signal Processing",
section 8.2. Sentinel-1's products are processed to zero Doppler, so that the time t of a point x satisfies
(x - p(t)) . v(t) = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.catalogue.slc import StateVector
from pipeline.catalogue.state_vectors import OrbitFile
from pipeline.errors import InterferometryError

if TYPE_CHECKING:  # imported when an orbit is read
    from scipy.interpolate import CubicHermiteSpline

Array = NDArray[np.float64]
Normal = Literal["ellipsoid", "geocentric"]

SEMI_MAJOR_M = 6378137.0
FLATTENING = 1 / 298.257223563
"""WGS 84: NGA.STND.0036 (2014), table 3.1."""
_E2 = FLATTENING * (2 - FLATTENING)
LIGHT_M_S = 299792458.0
CONVERGED_S = 1e-9
"""Accuracy of zero-Doppler times, seconds: the satellite moves 8 µm in that time."""
LONGEST_S = 2400.0
"""A piece of an orbit (of 5925 s) up to this length has one zero-Doppler time for each point."""
OVERFLIGHT_S = 180.0
"""State vectors are used from so long before the start of an overflight to so long after, if the file has them."""
_MOST_STEPS = 20


@dataclass(frozen=True)
class Orbit:
    """Less than half an orbit: cubic Hermite interpolation through positions and velocities.

    With a state vector every 10 s the interpolation errs by less than a millimetre (step^4 / 384 times the fourth
    derivative, mean motion squared times gravity).
    """

    epoch: datetime
    """of the first state vector"""
    spline: CubicHermiteSpline
    """(seconds) -> (..., 3) metres"""

    @classmethod
    def of(cls, vectors: Sequence[StateVector]) -> Orbit:
        """The orbit through two or more state vectors, ascending in time.

        Raises:
            InterferometryError: `orbit_short`, fewer than two, or not ascending; `orbit_long`, over more than
                `LONGEST_S`.
        """
        times = [vector.time for vector in vectors]
        if len(times) > 1 and (times[-1] - times[0]).total_seconds() > LONGEST_S:
            raise InterferometryError(
                "orbit_long",
                f"State vectors from {times[0].isoformat()} to {times[-1].isoformat()} cover more than half an orbit.",
                "Give the state vectors of one overflight.",
            )
        if len(times) < 2 or any(b <= a for a, b in pairwise(times)):
            raise InterferometryError(
                "orbit_short",
                f"{len(times)} state vectors are too few for an orbit, or not ascending in time.",
                "Give the state vectors of a whole orbit file.",
            )
        seconds = [(time - times[0]).total_seconds() for time in times]
        positions = np.array([vector.position_m for vector in vectors])
        velocities = np.array([vector.velocity_m_s for vector in vectors])
        from scipy.interpolate import CubicHermiteSpline

        return cls(times[0], CubicHermiteSpline(seconds, positions, velocities))

    @classmethod
    def over(cls, orbit_file: OrbitFile, instant: datetime) -> Orbit:
        """The orbit around an overflight that begins at `instant` or shortly after.

        Raises:
            SourceDataError: the orbit file does not cover it.
        """
        return cls.of(orbit_file.around(instant, instant, margin_s=OVERFLIGHT_S))

    @property
    def span_s(self) -> tuple[float, float]:
        """First and last instant, seconds since the epoch."""
        return float(self.spline.x[0]), float(self.spline.x[-1])

    def seconds(self, instant: datetime) -> float:
        """Seconds since the epoch of an aware instant."""
        return (instant - self.epoch).total_seconds()

    def position_m(self, t: Array) -> Array:
        """(..., 3) at times (...)."""
        return np.asarray(self.spline(t))

    def velocity_m_s(self, t: Array) -> Array:
        """(..., 3) at times (...)."""
        return np.asarray(self.spline(t, 1))

    def zero_doppler(self, points_m: Array) -> tuple[Array, Array]:
        """Zero-Doppler time (s) and slant range (m), each (...), of points (..., 3).

        Newton's method on (x - p(t)) . v(t), starting at the orbit's middle.

        Raises:
            InterferometryError: `orbit_short`, a point has no zero-Doppler time within the orbit's span (the search
                then may not converge).
        """
        first, last = self.span_s
        t = np.full(points_m.shape[:-1], (first + last) / 2)
        converged = False
        for _ in range(_MOST_STEPS):
            away = points_m - self.spline(t)
            velocity = self.spline(t, 1)
            slope = (away * self.spline(t, 2)).sum(-1) - (velocity * velocity).sum(-1)
            # a cubic diverges outside the span, so stay near it
            after = np.clip(t - (away * velocity).sum(-1) / slope, first - 60.0, last + 60.0)
            moved = float(np.abs(after - t).max(initial=0.0))
            t = after
            if moved < CONVERGED_S:
                converged = True
                break
        if not converged or (t.size and (t.min() < first or t.max() > last)):
            raise InterferometryError(
                "orbit_short",
                f"The orbit from {self.epoch.isoformat()} over {last - first:.0f} s does not cover the whole area.",
                "Give state vectors from two minutes before to two minutes after the overflight.",
            )
        return t, np.linalg.norm(points_m - self.spline(t), axis=-1)


def earth_fixed(longitude_deg: Array, latitude_deg: Array, height_m: Array | float) -> Array:
    """(..., 3) earth-fixed positions from geodetic coordinates and heights above the ellipsoid."""
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


def upwards(longitude_deg: Array, latitude_deg: Array) -> Array:
    """(..., 3) unit normal of the ellipsoid."""
    longitude, latitude = np.radians(longitude_deg), np.radians(latitude_deg)
    return np.stack(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)],
        axis=-1,
    )


def look_to_sensor(orbit: Orbit, points_m: Array) -> Array:
    """(..., 3) unit vectors from points (..., 3) to the satellite at their zero-Doppler times.

    Raises:
        InterferometryError: `orbit_short`, as `Orbit.zero_doppler`.
    """
    t, range_m = orbit.zero_doppler(points_m)
    return np.asarray((orbit.position_m(t) - points_m) / range_m[..., None])


def ellipsoidal_incidence_deg(
    orbit: Orbit,
    longitude_deg: Array,
    latitude_deg: Array,
    height_m: Array | float = 0.0,
    normal: Normal = "ellipsoid",
) -> Array:
    """(...) degrees between the normal at a point of that ellipsoidal height and the line to the satellite.

    By default it is the ellipsoid's normal. `incidenceAngle` in Sentinel-1's annotation is measured from the geocentric
    direction instead, which is the option "geocentric". (Compared with real annotation, that agrees to 1e-8 degrees,
    while the ellipsoid's normal differs by up to 0.03 degrees at 31 N.)

    Raises:
        InterferometryError: `orbit_short`, as `Orbit.zero_doppler`.
    """
    points = earth_fixed(longitude_deg, latitude_deg, height_m)
    if normal == "ellipsoid":
        upright = upwards(longitude_deg, latitude_deg)
    else:
        upright = points / np.linalg.norm(points, axis=-1, keepdims=True)
    cosine = (look_to_sensor(orbit, points) * upright).sum(-1)
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def looks_right(orbit: Orbit, points_m: Array) -> NDArray[np.bool_]:
    """(...) whether points (..., 3) lie to the right of the flight direction, Sentinel-1's look direction."""
    t, _range = orbit.zero_doppler(points_m)
    position = orbit.position_m(t)
    right = np.cross(orbit.velocity_m_s(t), position)
    return np.asarray(((points_m - position) * right).sum(-1) > 0)


def elevation_angle_deg(orbit: Orbit, points_m: Array) -> Array:
    """(...) degrees at the satellite between the line to the Earth's centre and the line to a point (..., 3)."""
    t, range_m = orbit.zero_doppler(points_m)
    position = orbit.position_m(t)
    distance = np.linalg.norm(position, axis=-1)
    cosine = -((points_m - position) * position).sum(-1) / (range_m * distance)
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
