"""The geolocation grid of a product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from pipeline.sandbox.slc import instrument as iw
from pipeline.sandbox.slc.survey import SlcFlight
from pipeline.sandbox.slc.wgs84 import geodetic, incidence_deg, to_ground

Ring = tuple[tuple[float, float], ...]
"""Longitudes and latitudes; the last point is the first."""
_GRID_PIXELS = 21


@dataclass(frozen=True)
class GridPoint:
    """One point of the geolocation grid."""

    time: datetime
    line: int
    pixel: int
    delay_s: float
    longitude_deg: float
    latitude_deg: float
    height_m: float
    incidence_deg: float
    elevation_deg: float


def geolocation_grid(overflight: SlcFlight, height_m: float) -> tuple[GridPoint, ...]:
    """Points at the first line of every burst and at the last line, at one height above the ellipsoid."""
    acquisition, frame = overflight.acquisition, overflight.acquisition.frame
    bursts = len(acquisition.starts)
    rows = [(b * frame.lines, acquisition.starts[b]) for b in range(bursts)]
    rows.append((bursts * frame.lines - 1, overflight.end))
    pixels = np.unique(np.linspace(0, frame.samples - 1, _GRID_PIXELS).astype(int))
    range_m = frame.near_m + pixels * iw.SAMPLE_M
    points: list[GridPoint] = []
    for line, instant in rows:
        t = np.full(len(pixels), (instant - acquisition.orbit.epoch).total_seconds())
        places = to_ground(acquisition.orbit, t, range_m, np.full(len(pixels), height_m))
        position = acquisition.orbit.state(t)[0]
        longitude, latitude, _ = geodetic(places)
        # as in products, measured from the geocentric direction, not from the ellipsoid's normal
        incidence = incidence_deg(position, places, places)
        elevation = incidence_deg(places, position, -position)
        points.extend(
            GridPoint(
                instant,
                line,
                int(p),
                2 * float(r) / iw.LIGHT_M_S,
                float(x),
                float(y),
                height_m,
                float(i),
                float(e),
            )
            for p, r, x, y, i, e in zip(
                pixels, range_m, longitude, latitude, incidence, elevation, strict=True
            )
        )
    return tuple(points)


def ring(grid: Sequence[GridPoint], burst: int) -> Ring:
    """Outline of a burst, closed."""
    rows = sorted({p.line for p in grid})
    return _between(grid, rows[burst], rows[burst + 1])


def whole_ring(grid: Sequence[GridPoint]) -> Ring:
    """Outline of all bursts, closed."""
    rows = sorted({p.line for p in grid})
    return _between(grid, rows[0], rows[-1])


def _between(grid: Sequence[GridPoint], first: int, last: int) -> Ring:
    start, end = ([p for p in grid if p.line == line] for line in (first, last))
    corners = [start[0], start[-1], end[-1], end[0], start[0]]
    return tuple((p.longitude_deg, p.latitude_deg) for p in corners)
