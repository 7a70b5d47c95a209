"""Orbits that see a given place under a given incidence: circular, inclined like Sentinel-1's, over a turning Earth."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from scipy.optimize import fsolve

from pipeline.catalogue.slc import StateVector
from pipeline.catalogue.state_vectors import OrbitFile

INSTANT = datetime(2018, 9, 5, 20, 42, tzinfo=UTC)
RADIUS_M = 7.07e6
MOTION_RAD_S = 1.0620e-3  # 5917 s for a revolution
INCLINATION = np.radians(98.18)
EARTH_RAD_S = 7.2921159e-5


def made_orbit_file(
    longitude_deg: float,
    latitude_deg: float,
    incidence_deg: float,
    direction: Literal["ascending", "descending"] = "descending",
    span_s: float = 300.0,
) -> OrbitFile:
    """The orbit that passes the place abeam at `INSTANT`, to its left, the place seen under that incidence."""
    to_fixed = Transformer.from_crs(4979, 4978, always_xy=True)
    point = np.array(to_fixed.transform(longitude_deg, latitude_deg, 0.0))
    above = np.array(to_fixed.transform(longitude_deg, latitude_deg, 1.0))

    def miss(unknown: NDArray[np.float64]) -> list[float]:
        node, phase = unknown
        position, velocity = _state(node, phase, 0.0)
        sight = position - point
        sight_length = np.linalg.norm(sight)
        cosine = float((above - point) @ sight / sight_length)
        right = np.cross(velocity, position) / (np.linalg.norm(velocity) * np.linalg.norm(position))
        angle = np.degrees(np.arccos(cosine)) * np.sign(-(sight @ right))
        return [float(sight @ velocity) / 1e9, (angle - incidence_deg) / 10]

    phase = np.arcsin(np.clip(np.sin(np.radians(latitude_deg)) / np.sin(INCLINATION), -1, 1))
    if direction == "descending":
        phase = np.pi - phase
    east = np.arctan2(np.cos(INCLINATION) * np.sin(phase), np.cos(phase))
    aside = 0.09 / np.cos(np.radians(latitude_deg)) * (1 if direction == "descending" else -1)
    node, phase = fsolve(miss, [np.radians(longitude_deg) - east + aside, phase], xtol=1e-13)
    assert np.abs(miss(np.array([node, phase]))).max() < 1e-7
    vectors = []
    for seconds in np.arange(-span_s, span_s + 1, 10.0):
        position, velocity = _state(node, phase, float(seconds))
        vectors.append(
            StateVector(
                time=INSTANT + timedelta(seconds=float(seconds)),
                position_m=tuple(position.tolist()),
                velocity_m_s=tuple(velocity.tolist()),
            )
        )
    return OrbitFile(
        name="made",
        platform="sentinel-1a",
        kind="precise",
        validity=(vectors[0].time, vectors[-1].time),
        state_vectors=tuple(vectors),
    )


def _state(node: float, phase: float, seconds: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Earth-fixed position and velocity."""
    u = phase + MOTION_RAD_S * seconds
    turned = node - EARTH_RAD_S * seconds
    ascending = np.array([np.cos(turned), np.sin(turned), 0.0])
    beside = np.array(
        [
            -np.sin(turned) * np.cos(INCLINATION),
            np.cos(turned) * np.cos(INCLINATION),
            np.sin(INCLINATION),
        ]
    )
    position = RADIUS_M * (np.cos(u) * ascending + np.sin(u) * beside)
    inertial = RADIUS_M * MOTION_RAD_S * (-np.sin(u) * ascending + np.cos(u) * beside)
    return position, inertial - np.cross([0.0, 0.0, EARTH_RAD_S], position)
