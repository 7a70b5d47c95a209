"""Bodies of landslides: source, transport and deposit along the flow, and how well each landslide shows."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from shapely import Polygon

from pipeline.sandbox.earth.realism.drainage import Descent
from pipeline.sandbox.earth.realism.switches import SlideBodies

ZONES = SOURCE, TRANSPORT, DEPOSIT = 1, 2, 3
_ENDS = (0.40, 0.68)
"""Where the source and the transport zone end, as shares of the length."""
_LEAST_RATIO = 2.4
"""Of length and width: where a slope is too short for a landslide of its size, the landslide is smaller."""
_SMALLEST_M2 = 100.0
_SMALLEST = 4
"""Points of a path; a shorter one has no zones."""


@dataclass(frozen=True)
class Body:
    """A landslide's outline, and the outlines of its three zones in order; a small one has none."""

    outline: Polygon
    zones: tuple[Polygon, Polygon, Polygon] | None
    path: tuple[tuple[float, float], ...]
    """from its head downwards"""


def flowing_body(
    descent: Descent,
    x: float,
    y: float,
    area_m2: float,
    runout: float,
    rng: np.random.Generator,
) -> Body | None:
    """A landslide of about that area around (x, y): a scar upslope, a narrow track and a wide deposit along the flow.

    Its length is two to five times its width, times `runout`, where the slope is long enough. None where there is no
    path, or where it folds upon itself, so that an ellipse must do.
    """
    ratio = rng.uniform(2.0, 5.0) * runout
    wobble = rng.uniform(0.85, 1.15, 3)
    length = math.sqrt(area_m2 * ratio)
    upward = descent.path(x, y, 0.35 * length, uphill=True)[::-1]
    points = np.array(
        upward[:-1] + descent.path(x, y, length - (len(upward) - 1) * descent.grid.resolution_m)
    )
    if len(points) < _SMALLEST:
        return None
    # a mass as wide as this one does not follow shorter bends
    points = ndimage.uniform_filter1d(points, max(1, len(points) // 3), axis=0, mode="nearest")
    along = np.linspace(0.0, 1.0, len(points))
    # half widths: a rounded scar, a narrow track, a fan
    shape = np.interp(along, (0.0, 0.12, 0.3, 0.55, 0.8, 1.0), (0.35, 0.95, 1.1, 0.7, 1.2, 0.5))
    shape *= np.interp(along, (0.0, 0.5, 1.0), wobble)
    tangent = np.gradient(points, axis=0)
    tangent /= np.maximum(np.hypot(*tangent.T), 1e-9)[:, None]
    travelled = float(np.hypot(*np.diff(points, axis=0).T).sum())
    area_m2 = min(area_m2, travelled**2 / _LEAST_RATIO)
    half = shape * area_m2 / (2 * max(travelled, 1.0) * np.trapezoid(shape, along))
    normal = np.column_stack([-tangent[:, 1], tangent[:, 0]]) * half[:, None]
    left, right = points + normal, points - normal
    outline = _whole(left, right)
    if outline is None or outline.area < _SMALLEST_M2:
        return None
    cuts = [0, *(max(1, round(end * (len(points) - 1))) for end in _ENDS), len(points) - 1]
    zones = None
    if cuts[0] < cuts[1] < cuts[2] < cuts[3]:
        parts = [_ring(left[a : b + 1], right[a : b + 1]) for a, b in itertools.pairwise(cuts)]
        zones = (parts[0], parts[1], parts[2])
    return Body(outline, zones, tuple(map(tuple, points.tolist())))


def _ring(left: NDArray[np.float64], right: NDArray[np.float64]) -> Polygon:
    return Polygon(np.concatenate([left, right[::-1]]))


def _whole(left: NDArray[np.float64], right: NDArray[np.float64]) -> Polygon | None:
    """The ground between the two sides, without folds; None where it falls apart."""
    ring = _ring(left, right)
    if ring.is_valid:
        return ring
    strips = [_ring(left[a : a + 2], right[a : a + 2]).convex_hull for a in range(len(left) - 1)]
    joined = shapely.union_all(strips)
    return Polygon(joined.exterior) if isinstance(joined, Polygon) else None


def draw_visibility(count: int, bodies: SlideBodies, rng: np.random.Generator) -> NDArray[np.float32]:
    """(count,) part of its change in dB that each landslide shows: 0, 0.5 or 1."""
    chance = rng.uniform(size=count)
    hidden = chance < bodies.hidden_share
    half = chance < bodies.hidden_share + bodies.half_share
    return np.where(hidden, 0.0, np.where(half, 0.5, 1.0)).astype(np.float32)


def zone_change_db(bodies: SlideBodies, polarisation: str) -> NDArray[np.float32]:
    """(4,) dB to add by zone: none, source, transport, deposit."""
    which = 0 if polarisation == "vv" else 1
    zones = (bodies.source_db, bodies.transport_db, bodies.deposit_db)
    return np.array([0.0, *(zone[which] for zone in zones)], dtype=np.float32)
