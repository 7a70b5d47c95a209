"""Look geometry of a track: local incidence angle, layover and shadow, from state vectors and elevation.

    order of look_orders(passes, slc_passes)        one for each track: relative_orbit, platform, instant, scene
    tiles over grid.bounds_deg(LOOK_MARGIN_M)       and the orbit file of each order
    ground = read_ground(tiles, grid, collection, orbit_file, instant) -> Ground
    derive_look(ground, grid, orbit_file, instant) -> LayerData of local_incidence_deg and layover_shadow

A look layer depends on the grid, the elevation, the orbit file and the instant; `ALGORITHM` names the method.
"""

from __future__ import annotations

import logging
import math
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.catalogue.state_vectors import OrbitFile
from pipeline.cube.layers import LayerData
from pipeline.grid import Grid
from pipeline.insar.look.layover import layover_shadow
from pipeline.insar.look.look_orders import LookOrder, look_orders
from pipeline.insar.look.orbit_geometry import Array, Orbit
from pipeline.insar.look.range_lines import Across, Projection, incidence_range_deg, range_lines
from pipeline.insar.look.relief import LOOK_MARGIN_M, Ground, look_margin_px, read_ground

__all__ = [
    "ALGORITHM",
    "LOOK_MARGIN_M",
    "Ground",
    "LookOrder",
    "derive_look",
    "local_incidence_deg",
    "look_margin_px",
    "look_orders",
    "read_ground",
]

log = logging.getLogger(__name__)

ALGORITHM = "look-2"
ROWS_AT_ONCE = 128
_EARTH_M = 6371000.0

Float = NDArray[np.float32]


def derive_look(ground: Ground, grid: Grid, orbit_file: OrbitFile, instant: datetime) -> LayerData:
    """Local incidence (degrees) and layover and shadow (0 none, 1 layover, 2 shadow, 3 both), each (y, x) float32.

    Local incidence is the angle between the terrain's normal and the line to the satellite at zero Doppler; the slope
    is Horn's (1981), as in the cube's terrain. Above 90 degrees the ground faces away. For layover and shadow see
    `pipeline.insar.look.layover`. Both are NaN for unknown elevation. `instant` is the start of the overflight, or
    shortly before.

    Raises:
        ValueError: the elevation is not on the grid with its margin.
        SourceDataError: the orbit file does not cover the overflight.
        InterferometryError: `orbit_short`, `wrong_side`, `out_of_swath`: the orbit does not pass the area as
            Sentinel-1 would.
    """
    wide = grid.padded(ground.margin_px)
    if ground.elevation_m.shape != wide.shape or ground.margin_px < 1:
        raise ValueError(
            f"elevation {ground.elevation_m.shape} is not the grid {grid.shape} with {ground.margin_px} px"
        )
    orbit = Orbit.over(orbit_file, instant)
    lines = range_lines(wide, orbit)
    bounds = incidence_range_deg(grid, orbit)
    edge = ground.margin_px
    codes = layover_shadow(ground.elevation_m, lines)
    codes = np.ascontiguousarray(codes[edge:-edge, edge:-edge])
    incidence = local_incidence_deg(ground.elevation_m, ground.margin_px, grid, orbit)
    relief = _relief(ground.elevation_m)
    needed = look_margin_px(relief, bounds, grid.resolution_m)
    if needed > ground.margin_px:
        log.warning(
            "terrain farther than %d m is not examined; relief of %.0f m can affect the area from %d m",
            ground.margin_px * grid.resolution_m, relief, needed * grid.resolution_m,
        )  # fmt: skip
    known = int(np.count_nonzero(~np.isnan(codes)))
    report = {
        **ground.notes,
        "orbit_file": orbit_file.name,
        "orbit_kind": orbit_file.kind,
        "platform": orbit_file.platform,
        "instant": instant.isoformat(),
        "ellipsoidal_incidence_deg": [round(v, 3) for v in bounds],
        "local_incidence_deg": _quantiles(incidence),
        "layover_share": _share(codes, (1, 3), known),
        "shadow_share": _share(codes, (2, 3), known),
        "both_share": _share(codes, (3,), known),
        "void_pixels": int(codes.size - known),
        "relief_m": round(relief, 1),
        "margin_m": ground.margin_px * grid.resolution_m,
        "margin_that_relief_asks_for_m": needed * grid.resolution_m,
    }
    return LayerData(
        {"local_incidence_deg": incidence, "layover_shadow": codes},
        {k: dict(v) for k, v in _ATTRIBUTES.items()},
        report,
    )


def local_incidence_deg(elevation_m: Float, margin_px: int, grid: Grid, orbit: Orbit) -> Float:
    """(y, x) float32 degrees on the grid; `elevation_m` (ellipsoidal) lies on `grid.padded(margin_px)`, 1 px or more.

    The vector to the satellite and the grid's axes and scale are computed at nodes along every row and interpolated by
    polynomials; elevation is used exactly.
    """
    projection, across = Projection(grid.epsg), Across(grid.width)
    plain_x = grid.left + (across.columns + 0.5) * grid.resolution_m
    x, y = np.meshgrid(plain_x, grid.y)
    points = projection.points(x, y)
    times, _ranges = orbit.zero_doppler(points.points_m)
    to_sensor = orbit.position_m(times) - points.points_m
    scale = 1 / np.linalg.norm(points.east, axis=-1)
    east, north, up = (
        across.fit((to_sensor * axis).sum(-1))
        for axis in (_unit(points.east), _unit(points.north), points.up)
    )
    scale = across.fit(scale)
    result = np.empty(grid.shape, np.float32)
    for first in range(0, grid.height, ROWS_AT_ONCE):
        last = min(first + ROWS_AT_ONCE, grid.height)
        height, p, q = _slopes(elevation_m, margin_px, (first, last), grid)
        e, n, u, k = (across.at(c[first:last], 0, grid.width) for c in (east, north, up, scale))
        # metres of the grid to metres at that height
        k *= 1 - height / _EARTH_M
        p *= k
        q *= k
        u -= height
        cosine = u - p * e - q * n
        cosine /= np.sqrt((e * e + n * n + u * u) * (1 + p * p + q * q))
        result[first:last] = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
    return result


def _slopes(
    elevation_m: Float, margin_px: int, rows: tuple[int, int], grid: Grid
) -> tuple[Array, Array, Array]:
    """Height, and its change per metre of the grid eastwards and northwards (Horn 1981), of some rows of the grid."""
    top, bottom = rows[0] + margin_px - 1, rows[1] + margin_px + 1
    band = elevation_m[top:bottom, margin_px - 1 : margin_px + grid.width + 1].astype(np.float64)
    above, middle, below = band[:-2], band[1:-1], band[2:]
    eight = 8 * grid.resolution_m
    column = above + 2 * middle + below
    east = (column[:, 2:] - column[:, :-2]) / eight
    row = above - below
    north = (row[:, :-2] + 2 * row[:, 1:-1] + row[:, 2:]) / eight
    return middle[:, 1:-1], east, north


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def _relief(elevation_m: Float) -> float:
    """Highest minus lowest elevation, metres."""
    relief = float(np.fmax.reduce(elevation_m, axis=None)) - float(np.fmin.reduce(elevation_m, axis=None))
    return relief if math.isfinite(relief) else 0.0


def _quantiles(values: Float) -> list[float] | None:
    """Least, median and largest value; None if no value is known."""
    known = values[~np.isnan(values)]
    if not known.size:
        return None
    return [round(float(v), 3) for v in (known.min(), np.median(known), known.max())]


def _share(codes: Float, wanted: tuple[int, ...], known: int) -> float:
    return float(np.count_nonzero(np.isin(codes, wanted)) / known) if known else 0.0


_ATTRIBUTES: dict[str, dict[str, Any]] = {
    "local_incidence_deg": {
        "convention": "angle between the terrain's normal and the line to the satellite at zero Doppler; over 90 the "
        "ground faces away",
        "method": "cubic Hermite orbit, range-Doppler geometry on WGS 84; slope: Horn (1981) at the cube's resolution",
    },
    "layover_shadow": {
        "flag_values": [0, 1, 2, 3],
        "flag_meanings": "none layover shadow layover_and_shadow",
        "convention": "active and passive; by geometry alone, ground in shadow counts as a partner in layover",
        "method": "order of slant range and look angle along range lines, Kropatsch and Strobl (1990)",
    },
}
