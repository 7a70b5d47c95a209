"""The azimuth from the ground to the sensor, from the flight direction."""

from __future__ import annotations

from pipeline.errors import ModelError

HEADING_DEG = {"descending": 190.5, "ascending": 349.5}
"""Flight direction over ground, clockwise from north, at middle latitudes: the orbit's inclination is 98.18 degrees
(ESA, Sentinel-1 mission description), sin(heading) = cos(inclination) / cos(latitude), which is -0.18 at 39
degrees. The true heading varies by about 5 degrees from the equator to 50 degrees; here it is constant."""


def azimuth_to_sensor_deg(direction: str) -> float:
    """Azimuth from the ground to the sensor, degrees clockwise from north; Sentinel-1 looks to the right.

    100.5 for descending, 259.5 for ascending passes; the published cubes have 100.4 in Hokkaido and 252.2 in Kaikoura
    (mean of their band los.rdr_1).

    Raises:
        ModelError: the direction is unknown.
    """
    if direction not in HEADING_DEG:
        raise ModelError(
            f"The cube does not record whether its passes are ascending or descending ({direction!r}), so the "
            "direction to the sensor is unknown.",
            "Use the aspect from north (aspect 'direction'), or give the cube the coordinate 'sat:orbit_state'.",
        )
    return (HEADING_DEG[direction] - 90.0) % 360.0
