"""Land and sea of the whole Earth, in cells of 0.05 degrees: how far a place is from land.

`land.png` was made from the mask of the package `global-land-mask` 1.0.0 (MIT licence, copyright 2019 Todd Karin). It
holds the cells of 30 arc seconds that the elevation model GLOBE 1.0 (NOAA, public domain) marks as ocean. A cell counts
as land here where any of its 36 cells there is land, so that no island of 1 km is lost, and a coast lies up to 5 km too
far out at sea. Lakes and inland seas count as land.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.events.detected_event import Bounds

FILE = Path(__file__).resolve().parent / "land.png"
CELL_DEG = 0.05
COLUMNS, ROWS = 7200, 3600
KM_PER_DEG = 111.195
"""of a great circle, on a sphere of 6371 km"""


@lru_cache(maxsize=1)
def _mask() -> Image.Image:
    with Image.open(FILE) as image:
        image.load()
        return image


def _cells(first_column: int, last_column: int, first_row: int, last_row: int) -> NDArray[np.bool_]:
    """Rows from north to south and columns from west to east, both ends included; columns go on across 180 degrees."""
    mask, parts = _mask(), []
    column = first_column
    while column <= last_column:
        begin = column % COLUMNS
        width = min(last_column - column + 1, COLUMNS - begin)
        parts.append(np.asarray(mask.crop((begin, first_row, begin + width, last_row + 1)), dtype=bool))
        column += width
    return np.concatenate(parts, axis=1)


def _row(latitude: float) -> int:
    return min(max(int((90.0 - latitude) / CELL_DEG), 0), ROWS - 1)


def _column(longitude: float) -> int:
    return int(np.floor((longitude + 180.0) / CELL_DEG))


def km_to_land(longitude: float, latitude: float, most_km: float) -> float | None:
    """Distance from a place to the nearest cell of land, in km on the sphere; None where it is more than `most_km`.

    The distance is that to the cell's centre less half its height, and at least 0; 0 on land.
    """
    lat_margin = most_km / KM_PER_DEG + CELL_DEG
    north, south = _row(latitude + lat_margin), _row(latitude - lat_margin)
    shrink = np.cos(np.radians(min(abs(latitude) + lat_margin, 89.9)))
    lon_margin = min(lat_margin / shrink + CELL_DEG, 180.0 - CELL_DEG)
    west, east = _column(longitude - lon_margin), _column(longitude + lon_margin)
    rows, columns = np.nonzero(_cells(west, east, north, south))
    if not rows.size:
        return None
    if _cells(_column(longitude), _column(longitude), _row(latitude), _row(latitude))[0, 0]:
        return 0.0
    lat = np.radians(90.0 - (north + rows + 0.5) * CELL_DEG)
    lon = np.radians((west + columns + 0.5) * CELL_DEG - 180.0)
    nearest = (
        float(_km(np.radians(longitude), np.radians(latitude), lon, lat).min()) - CELL_DEG * KM_PER_DEG / 2
    )
    return max(nearest, 0.0) if nearest <= most_km else None


def km_between(here: tuple[float, float], there: tuple[float, float]) -> float:
    """Great-circle distance between two places (longitude, latitude in degrees), in km."""
    return float(_km(*np.radians(here), *np.radians(there)))


def _km(lon: float, lat: float, lons: NDArray[np.float64], lats: NDArray[np.float64]) -> NDArray[np.float64]:
    """Haversine formula, on a sphere; all angles in radians."""
    half = (
        np.sin((lats - lat) / 2) ** 2
        + np.cos(lat) * np.cos(lats) * np.sin((lons - lon) / 2) ** 2
    )  # fmt: skip
    return np.asarray(2 * KM_PER_DEG * np.degrees(np.arcsin(np.sqrt(np.clip(half, 0.0, 1.0)))))


def land_share(bounds: Bounds) -> float:
    """Share of the cells within a box that are land, 0 to 1; each cell counts by its area on the sphere."""
    west, south, east, north = bounds
    first, last = _column(west), _column(east + 360.0 if east < west else east)
    top, bottom = _row(north), _row(south)
    cells = _cells(first, max(first, last), top, bottom)
    weight = np.cos(np.radians(90.0 - (np.arange(top, bottom + 1) + 0.5) * CELL_DEG))
    return float((cells * weight[:, None]).sum() / (weight.sum() * cells.shape[1]))


def land_bounds(bounds: Bounds) -> Bounds | None:
    """The smallest box of whole cells within a box (west < east) that holds all of its land; None where there is none.

    It is not larger than the box.
    """
    west, south, east, north = bounds
    first, top = _column(west), _row(north)
    cells = _cells(first, max(first, _column(east)), top, _row(south))
    rows, columns = np.flatnonzero(cells.any(axis=1)), np.flatnonzero(cells.any(axis=0))
    if not rows.size:
        return None
    return (
        max(west, float((first + columns[0]) * CELL_DEG - 180.0)),
        max(south, float(90.0 - (top + rows[-1] + 1) * CELL_DEG)),
        min(east, float((first + columns[-1] + 1) * CELL_DEG - 180.0)),
        min(north, float(90.0 - (top + rows[0]) * CELL_DEG)),
    )
