"""Writes the job's DEM in ISCE2's format, marked as ellipsoidal, so that topsApp does not add the geoid again.

topsApp geocodes to the posting of its geocoding DEM, so that DEM is resampled to the posting of the products.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.transform import Affine, array_bounds, from_origin
from rasterio.warp import Resampling, reproject

from pipeline.errors import InterferometryError
from pipeline.insar.isce2.topsapp.files.isce_files import IsceImage, write_headers
from pipeline.records import Frozen

METRES_PER_DEGREE = 111_320.0
"""Metres in a degree of longitude at the equator of WGS 84; also used for latitude."""

Box = tuple[float, float, float, float]  # west, south, east, north, degrees


class Elevation(Frozen):
    """The two DEM files: for the geometry at the job's posting, for geocoding at the products' posting."""

    geometry: Path
    geocoding: Path
    bounds: Box


def write_elevation(dem: Path, folder: Path, posting_m: float) -> Elevation:
    """Write the ISCE2 files of the job's GeoTIFF `dem` (EPSG:4326, metres above the ellipsoid) into `folder`.

    Raises InterferometryError `dem-unusable` if it is no such raster, `dem-void` if a height is missing.
    """
    heights, transform = _read(dem)
    folder.mkdir(parents=True, exist_ok=True)
    geometry = _write(folder / "geometry.wgs84", heights, transform)
    bounds: Box = array_bounds(*heights.shape, transform)
    fine_heights, fine_transform = _resampled(heights, transform, bounds, posting_m)
    geocoding = _write(folder / "geocoding.wgs84", fine_heights, fine_transform)
    return Elevation(geometry=geometry, geocoding=geocoding, bounds=bounds)


def check_cover(bounds: Box, footprint: Box, name: str) -> None:
    """Raise InterferometryError `dem-not-covering` if `footprint` exceeds the DEM's `bounds`, both in degrees."""
    west, south, east, north = footprint
    if not (bounds[0] <= west and bounds[1] <= south and bounds[2] >= east and bounds[3] >= north):
        raise InterferometryError(
            "dem-not-covering",
            f"the DEM covers {_spell(bounds)}, but {name} covers {_spell(footprint)}.",
            "Delete the job's folder and run the pair again, so that a DEM of these bursts is written.",
        )


def _read(dem: Path) -> tuple[np.ndarray, Affine]:
    try:
        with rasterio.open(dem, driver="GTiff") as source:
            if source.count != 1 or source.crs is None or source.crs.to_epsg() != 4326:
                raise ValueError(f"{source.count} bands, {source.crs}")
            transform = source.transform
            if transform.b or transform.d or transform.a <= 0 or transform.e >= 0:
                raise ValueError("it is not north up")
            heights = source.read(1, masked=True).astype(np.float32).filled(np.nan)
    except (RasterioError, ValueError) as error:
        raise InterferometryError(
            "dem-unusable",
            f"{dem.name} is not a raster of heights in EPSG:4326: {error}.",
            "Delete the job's folder and run the pair again.",
        ) from error
    void = int(np.count_nonzero(~np.isfinite(heights)))
    if void:
        raise InterferometryError(
            "dem-void",
            f"{void} of {heights.size} heights of {dem.name} are missing.",
            "Delete the job's folder and run the pair again, with a DEM that has no voids here.",
        )
    return heights, transform


def _resampled(
    heights: np.ndarray, transform: Affine, bounds: Box, posting_m: float
) -> tuple[np.ndarray, Affine]:
    """Resample with cubic splines, since bilinear interpolation makes facets that show in the slopes."""
    west, south, east, north = bounds
    step_y = posting_m / METRES_PER_DEGREE
    step_x = step_y / math.cos(math.radians((south + north) / 2))
    shape = (max(1, int((north - south) / step_y)), max(1, int((east - west) / step_x)))
    target = from_origin(west, north, step_x, step_y)
    fine = np.empty(shape, np.float32)
    reproject(
        heights,
        fine,
        src_transform=transform,
        dst_transform=target,
        src_crs="EPSG:4326",
        dst_crs="EPSG:4326",
        resampling=Resampling.cubic_spline,
    )
    return fine, target


def _write(path: Path, heights: np.ndarray, transform: Affine) -> Path:
    heights.astype("<f4").tofile(path)
    image = IsceImage(
        width=heights.shape[1],
        length=heights.shape[0],
        bands=1,
        data_type="FLOAT",
        scheme="BIP",
        first_longitude=transform.c + transform.a / 2,
        first_latitude=transform.f + transform.e / 2,
        delta_longitude=transform.a,
        delta_latitude=transform.e,
        reference="WGS84",
    )
    write_headers(path, image, "dem")
    return path


def _spell(box: Box) -> str:
    return "west {:.3f}, south {:.3f}, east {:.3f}, north {:.3f}".format(*box)
