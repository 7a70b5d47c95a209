"""Rasters outside the scene, mirrored at its edges."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pyproj import Transformer
from scipy import ndimage

from pipeline.grid import Grid

Array = NDArray[np.float64]


def place(grid: Grid, longitude_deg: ArrayLike, latitude_deg: ArrayLike) -> tuple[Array, Array]:
    """Fractional rows and columns of a grid; pixel centres lie at whole numbers."""
    x, y = Transformer.from_crs(4326, grid.epsg, always_xy=True).transform(longitude_deg, latitude_deg)
    return (grid.top - np.asarray(y)) / grid.resolution_m - 0.5, (
        np.asarray(x) - grid.left
    ) / grid.resolution_m - 0.5


def mirrored(raster: NDArray[Any], row: ArrayLike, column: ArrayLike, order: int) -> NDArray[np.float32]:
    """A raster (y, x) at fractional rows and columns: order 0 the nearest pixel, 1 bilinear."""
    return np.asarray(
        ndimage.map_coordinates(
            raster, np.stack(np.broadcast_arrays(row, column)), order=order, mode="mirror", output=np.float32
        )
    )
