"""The coordinate reference system and the transform of a cube, ours or any other program's."""

from __future__ import annotations

import xarray as xr
from affine import Affine
from pyproj.exceptions import CRSError as ProjError
from rasterio.crs import CRS
from rasterio.errors import CRSError

_ATTRIBUTES = ("proj:code", "proj:wkt2", "epsg")


def recorded_crs(cube: xr.Dataset) -> CRS | None:
    """The coordinate reference system that a cube records, or None.

    Read from the CF grid mapping, whatever its name (as rioxarray writes and reads it), else from the scalar coordinate
    `epsg` of stackstac, which the published cubes have, else from the attributes of GeoZarr and STAC.
    """
    import rioxarray  # noqa: F401  # registers `.rio`; slow, and most commands do not need it

    if "spatial_ref" in cube.data_vars:  # where some programs put it
        cube = cube.set_coords("spatial_ref")
    try:
        found: CRS | None = cube.rio.crs
    except (CRSError, ProjError):
        found = None
    if found:
        return found
    candidates: list[object] = [int(cube["epsg"])] if "epsg" in cube.coords and cube["epsg"].ndim == 0 else []
    candidates += [cube.attrs[name] for name in _ATTRIBUTES if cube.attrs.get(name)]
    for candidate in candidates:
        try:
            return CRS.from_user_input(candidate)
        except CRSError:
            continue
    return None


def transform_of(cube: xr.Dataset) -> Affine:
    """From (column, row) of a pixel's corner to map coordinates, by the coordinates x and y, evenly spaced."""
    import rioxarray  # noqa: F401  # as above

    transform: Affine = cube.rio.transform(recalc=True)
    return transform
