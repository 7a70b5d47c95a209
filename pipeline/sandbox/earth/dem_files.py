"""Elevation tiles: the true terrain as measured by a spaceborne survey of 30 m resolution."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.warp import Resampling, reproject
from scipy import ndimage

from pipeline.sandbox.earth.images import write_cog
from pipeline.sandbox.earth.mirror import mirrored, place
from pipeline.sandbox.earth.scene import Scene
from pipeline.sandbox.earth.stac_items import Raster
from pipeline.sandbox.earth.topography import degraded_heights

Bounds = tuple[float, float, float, float]
VOID = -32768
_ARCSEC = 1 / 3600

# Copernicus DEM, Product Handbook: longitude spacing grows towards the poles (upper latitude, factor)
_COPERNICUS_SPACING = ((50, 1.0), (60, 1.5), (70, 2.0), (80, 3.0), (85, 5.0), (90, 10.0))


@dataclass(frozen=True)
class Tile:
    """The part of a 1-degree tile that the scene needs."""

    id: str
    collection: str
    host: str
    path: str
    raster: Raster
    values: NDArray[Any]

    def write(self, root: Path) -> None:
        """Write the COG below `<root>/<host>/<path>`."""
        write_cog(root / self.host / self.path, self.values, Affine(*self.raster.transform), 4326, VOID)


def make_tiles(scene: Scene, collection: str, reach_deg: Bounds | None = None) -> list[Tile]:
    """The 1-degree tiles of the scene, cropped to it; heights at 30 m resolution with noise and a few voids.

    Samples outside the simulated terrain, at the edges of the crop, are void. With `reach_deg` (west, south, east,
    north) the tiles cover that box, and the terrain is mirrored at the scene's edges.
    """
    left, bottom, right, top = scene.grid.bounds
    to_degrees = Transformer.from_crs(scene.grid.epsg, 4326, always_xy=True)
    west, south, east, north = to_degrees.transform_bounds(left, bottom, right, top, densify_pts=21)
    onto = _onto
    if reach_deg is not None:
        onto = _onto_mirrored
        west, south = min(west, reach_deg[0]), min(south, reach_deg[1])
        east, north = max(east, reach_deg[2]), max(north, reach_deg[3])
    seed = [scene.parameters.seed, 5 if collection == "nasadem" else 6]
    degraded, voids = _degrade(scene, np.random.default_rng(seed))
    return [
        _tile(_Source(scene, collection, degraded, voids, onto), (lon, lat), (west, south, east, north))
        for lat in range(math.floor(south), math.floor(north) + 1)
        for lon in range(math.floor(west), math.floor(east) + 1)
    ]


def _degrade(scene: Scene, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Heights smoothed to 30 m with correlated noise, and voids on the steepest slopes, on the scene's grid."""
    heights = degraded_heights(scene.relief, scene.parameters.dem_noise_m, rng)
    steep = ndimage.gaussian_filter(scene.relief.slope_rad, 3.0)
    voids = (steep > np.quantile(steep, 0.9995)) & ~scene.relief.water
    return heights, voids


@dataclass(frozen=True)
class _Source:
    """The input of a collection's tiles."""

    scene: Scene
    collection: str
    heights: NDArray[np.float32]
    """(y, x) on the scene's grid, metres"""
    voids: NDArray[np.bool_]
    onto: Callable[..., NDArray[np.float32]]
    """resamples a raster of the scene to a lattice in degrees"""


def _tile(source: _Source, corner: tuple[int, int], wanted: tuple[float, float, float, float]) -> Tile:
    scene, collection = source.scene, source.collection
    lon, lat = corner
    west, south, east, north = wanted
    nasadem = collection == "nasadem"
    factor = 1.0
    if not nasadem:
        factor = next(f for limit, f in _COPERNICUS_SPACING if max(abs(lat), abs(lat + 1)) <= limit)
    dx, dy = _ARCSEC * factor, _ARCSEC
    # pixel centres lie on whole steps from the tile's corner; NASADEM repeats the row and column of its neighbour
    columns = round(1 / dx) + (1 if nasadem else 0)
    first_column = max(0, math.floor((west - lon) / dx) - 2)
    last_column = min(columns, math.ceil((east - lon) / dx) + 2)
    upper = lat + 1
    first_row = max(0, math.floor((upper - north) / dy) - 2)
    last_row = min(3600 + (1 if nasadem else 0), math.ceil((upper - south) / dy) + 2)
    transform = Affine(dx, 0.0, lon + (first_column - 0.5) * dx, 0.0, -dy, upper - (first_row - 0.5) * dy)
    shape = last_row - first_row, last_column - first_column
    filled = source.onto(source.heights, scene, transform, shape, Resampling.bilinear)
    void = (
        source.onto(source.voids.astype(np.float32), scene, transform, shape, Resampling.nearest) != 0
    )  # NaN outside
    filled = np.where(void | np.isnan(filled), VOID, np.rint(filled) if nasadem else filled)
    ns, ew = ("n" if lat >= 0 else "s"), ("e" if lon >= 0 else "w")
    if nasadem:
        name = f"NASADEM_HGT_{ns}{abs(lat):02d}{ew}{abs(lon):03d}"
        host, path = "nasademeuwest.blob.core.windows.net", f"nasadem-cog/v001/{name}.tif"
    else:
        name = f"Copernicus_DSM_COG_10_{ns.upper()}{abs(lat):02d}_00_{ew.upper()}{abs(lon):03d}_00_DEM"
        host, path = "elevationeuwest.blob.core.windows.net", f"copernicus-dem/COP30_hh/{name}.tif"
    return Tile(
        id=name,
        collection=collection,
        host=host,
        path=path,
        raster=Raster.of(4326, transform, filled.shape),
        values=filled.astype(np.int16 if nasadem else np.float32),
    )


def _onto(
    values: NDArray[np.float32],
    scene: Scene,
    transform: Affine,
    shape: tuple[int, int],
    resampling: Resampling,
) -> NDArray[np.float32]:
    """A raster of the scene on a lattice in degrees; NaN outside the scene."""
    target = np.full(shape, np.nan, dtype=np.float32)
    reproject(
        values,
        target,
        src_transform=scene.grid.affine,
        src_crs=f"EPSG:{scene.grid.epsg}",
        dst_transform=transform,
        dst_crs="EPSG:4326",
        dst_nodata=np.nan,
        resampling=resampling,
    )
    return target


def _onto_mirrored(
    values: NDArray[np.float32],
    scene: Scene,
    transform: Affine,
    shape: tuple[int, int],
    resampling: Resampling,
) -> NDArray[np.float32]:
    """The same with values everywhere: the raster is mirrored at the scene's edges."""
    longitude = transform.c + (np.arange(shape[1]) + 0.5) * transform.a
    latitude = transform.f + (np.arange(shape[0]) + 0.5) * transform.e
    row, column = place(scene.grid, *np.meshgrid(longitude, latitude))
    return mirrored(values, row, column, order=0 if resampling == Resampling.nearest else 1)
