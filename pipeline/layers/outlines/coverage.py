"""Pixels that polygons cover: by the pixel's centre, half-open, and as exact shares. Computed in local coordinates.

The unit is the pixel and the origin a corner of the grid. There the coordinates are small, so that edges and lattice
are exact to far less than a millionth of a pixel; at UTM coordinates, millions of metres from the origin, exactextract
was seen to add or lose a whole pixel.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import shapely
from exactextract import exact_extract
from exactextract.feature import JSONFeatureSource
from exactextract.raster import NumPyRasterSource
from numpy.typing import NDArray

from pipeline.grid import Grid

log = logging.getLogger(__name__)

PIECE_PIXELS = 1024
"""Coverage of a large polygon is computed in squares of this width, and centres in as many rows; it bounds memory."""
MOST_CROSSINGS = 2_000_000
"""Crossings of outlines with rows of pixels that are computed at once."""
SNAP = 2.0**20
"""Steps of coordinates in a pixel: what is nearer to a pixel's centre is on it, however a projection rounded it."""
SHARE_TOLERANCE = 1e-6
"""Shares are float32: by so much, for each pixel that is met, they may differ from the polygon's area."""

Cells = tuple[NDArray[np.intp], NDArray[np.float32]]
Mask = NDArray[np.bool_]
Float = NDArray[np.float64]


def centres_in(polygons: NDArray[np.object_], grid: Grid) -> Mask:
    """(y, x) where a pixel's centre lies in one of the valid (multi)polygons, which are in the grid's CRS.

    Half-open: a centre on the western or southern edge of a polygon lies in it, one on the eastern or northern edge
    does not. So polygons that share an edge share no pixel, no pixel is left out between them, and outlines that run
    through pixel centres, as those of inventories made from rasters do, count as many pixels as their area has.

    A centre is inside where the outlines west of it wind around it. Each edge counts in the rows of pixels whose
    centres lie in its half-open range of y, which meets every vertex exactly once.
    """
    inside = np.zeros(grid.shape, bool)
    u1, v1, u2, v2 = _edges(polygons, grid)
    # rows whose centre lies in (v1, v2]; v grows southwards
    first = np.maximum(np.floor(np.minimum(v1, v2)).astype(np.int64) + 1, 0)
    last = np.minimum(np.floor(np.maximum(v1, v2)).astype(np.int64), grid.height - 1)
    for top in range(0, grid.height, PIECE_PIXELS):
        bottom = min(top + PIECE_PIXELS, grid.height)
        met = np.flatnonzero((first < bottom) & (last >= top))
        winding = np.zeros((bottom - top, grid.width + 1), np.int32)
        start = np.maximum(first[met], top)
        count = np.minimum(last[met], bottom - 1) - start + 1
        for chosen in _batches(count):
            edge = np.repeat(met[chosen], count[chosen])
            row = np.repeat(start[chosen], count[chosen]) + _within(count[chosen])
            # the southern end first, so that an edge shared by two polygons crosses at the same coordinate in both
            swap = v1[edge] < v2[edge]
            ua, ub = np.where(swap, u2[edge], u1[edge]), np.where(swap, u1[edge], u2[edge])
            va, vb = np.where(swap, v2[edge], v1[edge]), np.where(swap, v1[edge], v2[edge])
            crossing = np.round((ua + (row - va) / (vb - va) * (ub - ua)) * SNAP) / SNAP
            column = np.clip(np.ceil(crossing), 0, grid.width).astype(np.int64)
            np.add.at(winding, (row - top, column), np.where(swap, 1, -1))
        inside[top:bottom] = np.cumsum(winding, axis=1)[:, :-1] > 0
    return inside


def _edges(polygons: NDArray[np.object_], grid: Grid) -> tuple[Float, Float, Float, Float]:
    """Both ends of every edge that is not level, shells anticlockwise and holes clockwise.

    u counts pixel centres eastwards and v southwards.
    """
    parts = shapely.orient_polygons(shapely.get_parts(polygons))
    points, ring = shapely.get_coordinates(shapely.get_rings(parts), return_index=True)
    u = np.round(((points[:, 0] - grid.left) / grid.resolution_m - 0.5) * SNAP) / SNAP
    v = np.round(((grid.top - points[:, 1]) / grid.resolution_m - 0.5) * SNAP) / SNAP
    real = (ring[1:] == ring[:-1]) & (v[1:] != v[:-1])
    return u[:-1][real], v[:-1][real], u[1:][real], v[1:][real]


def _within(count: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, ... count - 1 for each count, one after the other."""
    ends = np.cumsum(count)
    steps: NDArray[np.int64] = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - count, count)
    return steps


def _batches(count: NDArray[np.int64]) -> Iterator[slice]:
    """Runs of edges with at most `MOST_CROSSINGS` crossings together, or one edge with more."""
    ends = np.cumsum(count)
    begin = 0
    while begin < len(count):
        before = ends[begin - 1] if begin else 0
        stop = max(begin + 1, int(np.searchsorted(ends, before + MOST_CROSSINGS, side="right")))
        yield slice(begin, stop)
        begin = stop


def shares_of(polygon: shapely.Geometry, grid: Grid) -> Iterator[Cells]:
    """Flat indices into (y, x) of the pixels that a valid (multi)polygon meets, and its share (0..1) of each.

    They are yielded in pieces, found by exactextract (Baston 2021) in local coordinates. Where it fails, or they
    do not add up to the polygon's area, GEOS computes them, pixel by pixel.
    """
    local = _local(polygon, grid)
    left, top, right, bottom = local.bounds
    columns = max(int(np.floor(left)), 0), min(int(np.floor(right)) + 1, grid.width)
    rows = max(int(np.floor(-bottom)), 0), min(int(np.floor(-top)) + 1, grid.height)
    for row in range(rows[0], rows[1], PIECE_PIXELS):
        for column in range(columns[0], columns[1], PIECE_PIXELS):
            height, width = min(PIECE_PIXELS, rows[1] - row), min(PIECE_PIXELS, columns[1] - column)
            box = shapely.box(column, -(row + height), column + width, -row)
            clipped = local if shapely.contains_properly(box, local) else shapely.intersection(local, box)
            if clipped.area == 0:
                continue
            cells, share = _shares(clipped, (row, column), (height, width))
            yield (cells // width + row) * grid.width + cells % width + column, share


def _local(polygon: shapely.Geometry, grid: Grid) -> shapely.Geometry:
    """The polygon in pixels, x eastwards and y northwards from the grid's upper left corner."""
    return shapely.transform(polygon, lambda xy: (xy - np.array([grid.left, grid.top])) / grid.resolution_m)


def _shares(polygon: shapely.Geometry, corner: tuple[int, int], shape: tuple[int, int]) -> Cells:
    """Flat indices into a window of the local lattice, and the polygon's share of each of those pixels."""
    (row, column), (height, width) = corner, shape
    window = shapely.transform(polygon, lambda xy: xy + np.array([-column, row + height]))
    raster = NumPyRasterSource(np.zeros(shape, np.uint8), 0, 0, width, height)
    feature = [{"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(window)}]
    try:
        found = exact_extract(raster, JSONFeatureSource(feature), ["cell_id", "coverage"])[0]["properties"]
    except RuntimeError as error:
        log.info("exactextract failed (%s); GEOS computes the pixels", error)
        return _shares_by_geos(window, shape)
    share = np.asarray(found["coverage"], np.float32)
    cells = np.asarray(found["cell_id"], np.intp)[share > 0]
    share = share[share > 0]
    apart = float(share.sum(dtype=np.float64)) - window.area
    if abs(apart) > SHARE_TOLERANCE * (len(cells) + 1):
        log.info("exactextract is %.3g pixels apart from a polygon's area; GEOS computes them", apart)
        return _shares_by_geos(window, shape)
    return cells, share


def _shares_by_geos(window: shapely.Geometry, shape: tuple[int, int]) -> Cells:
    """The same as `_shares`, by the intersection of the polygon with every pixel that its bounds meet."""
    height, width = shape
    left, bottom, right, top = (int(np.floor(v)) for v in window.bounds)
    across, up = np.arange(left, min(right + 1, width)), np.arange(bottom, min(top + 1, height))
    x, y = np.tile(across, len(up)), np.repeat(up, len(across))
    pixels = shapely.box(x, y, x + 1, y + 1)
    shapely.prepare(window)
    met = shapely.intersects(window, pixels)
    columns, rows, pixels = x[met], y[met], pixels[met]
    share = shapely.contains_properly(window, pixels).astype(np.float64)
    edge = share == 0
    share[edge] = shapely.area(shapely.intersection(pixels[edge], window))
    cells = (height - 1 - rows) * width + columns
    return cells[share > 0].astype(np.intp), share[share > 0].astype(np.float32)
