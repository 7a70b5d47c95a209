"""A simulated orbit that repeats after twelve days, and the displacement of single overflights in its tube.

Relative to the rotating Earth a sun-synchronous orbit with the repeat cycle of Sentinel-1 (175 orbits in 12 days) has a
node that moves west by 360 degrees a day. The same closed form is valid on every repeat. Therefore the overflights of a
track have the same geometry except for the displacements that cause their baselines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from pipeline.catalogue.slc import StateVector
from pipeline.sandbox.earth.parameters import SandboxError, TrackPlan
from pipeline.sandbox.slc.wgs84 import Array, earth_fixed, incidence_deg, upwards

RADIUS_M = 7_071_000.0
"""Mean semi-major axis of Sentinel-1: 693 km above the equator."""
INCLINATION_RAD = np.radians(98.18)
PERIOD_S = 12 * 86400 / 175
_NODE_RAD_S = -2 * np.pi / 86400
_PHASE_RAD_S = 2 * np.pi / PERIOD_S


@dataclass(frozen=True)
class Orbit:
    """One overflight; times are seconds since `epoch`, the zero-Doppler time of the track's target.

    `argument_rad` is the angle from the ascending node along the orbit and `node_rad` the node's longitude, both at
    the epoch. `radial_m` and `left_m` displace the orbit from the track's nominal one, outwards and to the left.
    """

    epoch: datetime
    argument_rad: float
    node_rad: float
    radial_m: float = 0.0
    left_m: float = 0.0

    def state(self, t: Array) -> tuple[Array, Array, Array]:
        """Position (m), velocity (m/s) and acceleration (m/s²), earth-fixed, each (..., 3), at times (...)."""
        u = self.argument_rad + _PHASE_RAD_S * t
        r = RADIUS_M + self.radial_m
        along = np.stack([r * np.cos(u), r * np.sin(u), np.full_like(u, self.left_m)], axis=-1)
        first = _PHASE_RAD_S * np.stack([-r * np.sin(u), r * np.cos(u), np.zeros_like(u)], axis=-1)
        second = -(_PHASE_RAD_S**2) * np.stack([r * np.cos(u), r * np.sin(u), np.zeros_like(u)], axis=-1)
        ci, si = np.cos(INCLINATION_RAD), np.sin(INCLINATION_RAD)
        tilt = np.array([[1, 0, 0], [0, ci, -si], [0, si, ci]])
        x, v, a = (_turned(part @ tilt.T, self.node_rad + _NODE_RAD_S * t) for part in (along, first, second))
        w = np.array([0.0, 0.0, _NODE_RAD_S])
        return x, v + np.cross(w, x), a + 2 * np.cross(w, v) + np.cross(w, np.cross(w, x))

    def at(self, epoch: datetime, radial_m: float, left_m: float) -> Orbit:
        """The same track on another day, displaced from its nominal orbit."""
        return replace(self, epoch=epoch, radial_m=radial_m, left_m=left_m)

    @property
    def since_node_s(self) -> float:
        """Seconds from the ascending node to the epoch."""
        return float(self.argument_rad % (2 * np.pi) / _PHASE_RAD_S)

    def vectors(self, instants: Sequence[datetime]) -> tuple[StateVector, ...]:
        """State vectors at aware instants."""
        t = np.array([(instant - self.epoch).total_seconds() for instant in instants])
        positions, velocities, _ = self.state(t)
        return tuple(
            StateVector(
                time=instant,
                position_m=tuple(round(float(v), 6) for v in p),
                velocity_m_s=tuple(round(float(v), 6) for v in q),
            )
            for instant, p, q in zip(instants, positions, velocities, strict=True)
        )


def _turned(vectors: Array, angle: Array) -> Array:
    x, y, z = np.moveaxis(vectors, -1, 0)
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack([x * cosine - y * sine, x * sine + y * cosine, z], axis=-1)


def find_orbit(track: TrackPlan, longitude_deg: float, latitude_deg: float, epoch: datetime) -> Orbit:
    """The nominal orbit of a track. At `epoch` the target is at zero Doppler, on the right, at the track's incidence.

    Raises:
        SandboxError: no such orbit exists (a target near a pole).
    """
    theta = np.radians(track.incidence_deg)
    target = earth_fixed(np.array(longitude_deg), np.array(latitude_deg), np.array(0.0))
    distance = float(np.linalg.norm(target))
    # first guess on a sphere; the satellite's nadir lies in the direction of the sensor
    reach = theta - np.arcsin(distance / RADIUS_M * np.sin(theta))
    azimuth, latitude = np.radians(track.to_sensor_deg), np.radians(latitude_deg)
    nadir_latitude = np.arcsin(
        np.sin(latitude) * np.cos(reach) + np.cos(latitude) * np.sin(reach) * np.cos(azimuth)
    )
    nadir_longitude = np.radians(longitude_deg) + np.arctan2(
        np.sin(azimuth) * np.sin(reach) * np.cos(latitude),
        np.cos(reach) - np.sin(latitude) * np.sin(nadir_latitude),
    )
    sine = np.sin(nadir_latitude) / np.sin(INCLINATION_RAD)
    if abs(sine) >= 1:
        raise SandboxError(
            f"No orbit of track {track.relative_orbit} passes over {latitude_deg:.1f} degrees of latitude.",
            "Simulate an area farther from the pole.",
        )
    u = np.arcsin(sine) if track.direction == "ascending" else np.pi - np.arcsin(sine)
    node = nadir_longitude - np.arctan2(np.cos(INCLINATION_RAD) * np.sin(u), np.cos(u))

    def misses(guess: NDArray[np.float64]) -> list[float]:
        position, velocity, _ = Orbit(epoch, float(guess[0]), float(guess[1])).state(np.array(0.0))
        off_m = float((target - position) @ velocity / np.linalg.norm(velocity))
        up = upwards(np.radians(longitude_deg), np.radians(latitude_deg))
        return [off_m / RADIUS_M, float(np.radians(incidence_deg(position, target, up)) - theta)]

    from scipy.optimize import root  # only where a world is made

    found = root(misses, [u, node], tol=1e-12)
    orbit = Orbit(epoch, float(found.x[0]), float(found.x[1]))
    position, velocity, _ = orbit.state(np.array(0.0))
    if max(map(abs, misses(found.x))) > 1e-8 or np.cross(velocity, position) @ (target - position) <= 0:
        raise SandboxError(
            f"No orbit of track {track.relative_orbit} has {latitude_deg:.2f} N {longitude_deg:.2f} E in view "
            f"at {track.incidence_deg} degrees.",
            "Choose another incidence for the track.",
        )
    return orbit


def heading_deg(orbit: Orbit, t: float = 0.0) -> float:
    """Flight direction over the rotating Earth, clockwise from north, -180 to 180."""
    position, velocity, _ = orbit.state(np.array(t))
    east = np.cross([0.0, 0.0, 1.0], position)
    north = np.cross(position, east)
    return float(
        np.degrees(
            np.arctan2(velocity @ east / np.linalg.norm(east), velocity @ north / np.linalg.norm(north))
        )
    )


def every(step_s: float, start: datetime, count: int) -> list[datetime]:
    """`count` instants, one every `step_s`."""
    return [start + timedelta(seconds=step_s * k) for k in range(count)]
