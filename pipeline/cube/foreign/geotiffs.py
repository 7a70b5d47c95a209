"""A cube made of a folder of GeoTIFFs: one file for each pass and polarisation, with the date in its name.

vv_20180824.tif                         a pass, known to the day
S1_20180906T204103_track46_VH.tif       a pass with its time, UTC
20180906.tif                            bands described as VV and VH
dem.tif, dem_slope_radians.tif, dem_aspect.tif, dem_curvature.tif, landslides.tif
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
import xarray as xr
import zarr
from numpy.typing import NDArray
from pydantic import Field
from pyproj import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from zarr.storage import LocalStore

from pipeline.cube.encoding import arrays
from pipeline.cube.foreign.contract import ContractError, check_contract
from pipeline.cube.schema import BACKSCATTER, SCHEMA_VERSION, TERRAIN, VARIABLES, Variable
from pipeline.elevation.raster_values import values_of_band
from pipeline.errors import CubeError
from pipeline.files import put_folder, scratch_name, writing
from pipeline.grid import MOST_PIXELS
from pipeline.records import Frozen, Utc

STATIC = (*TERRAIN, "landslides")
MOST_FILES = 10_000
_DATE = re.compile(
    r"(?<!\d)(?P<day>20\d{2}-?[01]\d-?[0-3]\d)(?:[T_ ](?P<time>[0-2]\d[:-]?[0-5]\d[:-]?[0-5]\d)Z?)?(?!\d)"
)
_POLARISATION = re.compile(r"(?<![a-z])(vv|vh)(?![a-z])")


class GeoTiffImport(Frozen):
    """What the files do not state."""

    backscatter: Literal["linear", "dB"] = Field(
        "linear", description="what vv and vh are; decibels are converted"
    )
    landslide: tuple[float, ...] = Field((1.0,), description="label codes of landslides")
    background: tuple[float, ...] = Field(
        (0.0,), description="label codes of mapped ground without a landslide"
    )
    unmapped: tuple[float, ...] = Field((), description="label codes of ground that was not mapped")
    direction: Literal["ascending", "descending", "unknown"] = "unknown"
    track: int | None = Field(None, description="relative orbit of all passes")
    event: Utc | None = None


class Imported(Frozen):
    """The cube that was made."""

    uri: str
    passes: int
    variables: tuple[str, ...]


class _Band(Frozen):
    """One band of one file."""

    path: Path
    number: int
    variable: str
    instant: datetime | None = Field(description="None: a static variable")


class _Place(Frozen):
    """What all files must agree on."""

    crs: str
    transform: tuple[float, ...]
    shape: tuple[int, int]


def import_folder(folder: Path, target: Path, wanted: GeoTiffImport | None = None) -> Imported:
    """Make a Zarr cube at `target` of the GeoTIFFs in `folder`; whole or not at all.

    What a file declares is applied: nodata becomes NaN, scale and offset are applied.

    Raises:
        CubeError: there is no GeoTIFF, one cannot be read or placed in the cube, or something is at `target` already.
        ContractError: the cube would not meet the contract.
    """
    wanted = wanted or GeoTiffImport()
    if target.exists():
        raise CubeError(f"{target} exists already.", "Give another --out, or remove it.")
    bands, place = _examined(folder)
    with scratch_name(target) as scratch, writing(target, alone=False):
        scratch.parent.mkdir(parents=True, exist_ok=True)
        _write(scratch, bands, place, wanted, target.stem)
        with xr.open_zarr(LocalStore(scratch), chunks=None) as made:
            _check(made, str(target))
            variables = tuple(sorted(map(str, made.data_vars)))
        put_folder(scratch, target, replace=False)
    return Imported(uri=str(target), passes=len({b.instant for b in bands if b.instant}), variables=variables)


def _check(made: xr.Dataset, target: str) -> None:
    """Refuse a cube that does not meet the contract; the way out is to say what the files hold."""
    try:
        check_contract(made, target)
    except ContractError as error:
        remedy = (
            "Say what the files hold: --backscatter, --landslide, --background, --unmapped; or correct them."
        )
        raise ContractError(target, error.problems, remedy) from None


def _examined(folder: Path) -> tuple[list[_Band], _Place]:
    """The bands of the folder's files, and the place that all of them have."""
    paths = (
        sorted(p for p in folder.iterdir() if p.suffix.lower() in (".tif", ".tiff"))
        if folder.is_dir()
        else []
    )
    if not paths:
        raise CubeError(
            f"There is no GeoTIFF in {folder}.", "Give a folder with files such as vv_20180824.tif."
        )
    if len(paths) > MOST_FILES:
        raise CubeError(f"{folder} has {len(paths)} GeoTIFFs, of at most {MOST_FILES}.", "Divide it.")
    bands: dict[tuple[str, datetime | None], _Band] = {}
    places: dict[_Place, Path] = {}
    for path in paths:
        try:
            with rasterio.open(path, driver="GTiff") as file:
                if file.crs is None:
                    raise _unfit(path, "records no reference system")
                place = _Place(crs=file.crs.to_wkt(), transform=tuple(file.transform)[:6], shape=file.shape)
                found = list(_bands_of(path, file))
        except RasterioError as error:
            raise _unfit(path, f"cannot be read as GeoTIFF ({str(error)[:100]})") from error
        places.setdefault(place, path)
        for band in found:
            other = bands.setdefault((band.variable, band.instant), band)
            if other is not band:
                raise _unfit(path, f"has the same variable and time as {other.path.name}")
    if len(places) > 1:
        first, second = list(places.values())[:2]
        raise _unfit(second, f"lies on another grid than {first.name}: warp all files to one grid first")
    place = next(iter(places))
    _, b, _, d, _, _ = place.transform
    if b or d or not (0 < place.transform[0] < math.inf and -math.inf < place.transform[4] < 0):
        raise _unfit(paths[0], "is not north-up")
    if place.shape[0] * place.shape[1] > MOST_PIXELS:
        raise _unfit(paths[0], f"has {place.shape[0] * place.shape[1]:,} pixels, of at most {MOST_PIXELS:,}")
    if not any(band.instant for band in bands.values()):
        raise CubeError(f"No file in {folder} is a pass.", "Name passes as in vv_20180824.tif.")
    return list(bands.values()), place


def _bands_of(path: Path, file: rasterio.DatasetReader) -> Iterator[_Band]:
    stem = path.stem.lower()
    if stem in STATIC and file.count == 1:
        yield _Band(path=path, number=1, variable=stem, instant=None)
        return
    instant = _instant(path)
    if instant is None:
        raise _unfit(path, f"has no date in its name, and is none of {', '.join(STATIC)}")
    named = _POLARISATION.findall(stem)
    described = [str(text or "").strip().lower() for text in file.descriptions]
    names = named if file.count == 1 and len(set(named)) == 1 else described
    if file.count != len(names) or not set(names) <= set(BACKSCATTER):
        raise _unfit(path, "names neither vv nor vh, in its name or in the descriptions of its bands")
    for number, name in enumerate(names, start=1):
        yield _Band(path=path, number=number, variable=name, instant=instant)


def _instant(path: Path) -> datetime | None:
    found = _DATE.search(path.stem)
    if found is None:
        return None
    text = re.sub(r"\D", "", found["day"]) + (re.sub(r"\D", "", found["time"]) if found["time"] else "000000")
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError as error:
        raise _unfit(path, f"has no valid date in its name ({found[0]})") from error


def _unfit(path: Path, why: str) -> CubeError:
    return CubeError(f"{path} {why}.", "Correct or remove the file.")


def _write(scratch: Path, bands: list[_Band], place: _Place, wanted: GeoTiffImport, name: str) -> None:
    instants = sorted({band.instant for band in bands if band.instant is not None})
    _coordinates(instants, place, wanted, name).to_zarr(scratch, zarr_format=3, consolidated=False)
    by_variable: dict[str, dict[datetime | None, _Band]] = {}
    for band in bands:
        by_variable.setdefault(band.variable, {})[band.instant] = band
    for variable, found in sorted(by_variable.items()):
        kind = VARIABLES[variable]
        steps: list[datetime | None] = [None] if kind.leading is None else list(instants)
        shape = place.shape if kind.leading is None else (len(steps), *place.shape)
        array: zarr.Array[Any] | None = None
        for index, step in enumerate(steps):
            values, unit = _values(found[step], wanted, kind) if step in found else (None, kind.units)
            if array is None:
                array = arrays.create(LocalStore(scratch / variable), kind, shape, {"units": unit})
            full = np.full(place.shape, np.nan, np.float32) if values is None else values
            for _, window in arrays.shard_keys(place.shape):
                array[window if kind.leading is None else (index, *window)] = full[window]
    arrays.consolidate(LocalStore(scratch))


def _coordinates(instants: list[datetime], place: _Place, wanted: GeoTiffImport, name: str) -> xr.Dataset:
    height, width = place.shape
    a, _, c, _, e, f = place.transform
    count = len(instants)
    times = np.array([np.datetime64(one.replace(tzinfo=None), "us") for one in instants])
    coords: dict[str, Any] = {
        "timestep": times,
        "x": (
            "x",
            c + (np.arange(width) + 0.5) * a,
            {"units": "m", "standard_name": "projection_x_coordinate"},
        ),
        "y": (
            "y",
            f + (np.arange(height) + 0.5) * e,
            {"units": "m", "standard_name": "projection_y_coordinate"},
        ),
        "sat:orbit_state": ("timestep", np.array([wanted.direction] * count, dtype=object)),
        "spatial_ref": ((), 0, {**CRS.from_wkt(place.crs).to_cf(), "spatial_ref": place.crs}),
    }
    if wanted.track is not None:
        coords["relative_orbit"] = ("timestep", np.full(count, wanted.track))
    attributes: dict[str, Any] = {"schema": SCHEMA_VERSION, "area": name, "title": name, "simulated": 0}
    if wanted.event is not None:
        attributes["event"] = json.dumps({key: wanted.event.isoformat() for key in ("start", "end")})
    return xr.Dataset(coords=coords, attrs=attributes)


def _values(band: _Band, wanted: GeoTiffImport, kind: Variable) -> tuple[NDArray[np.float32], str]:
    """(y, x) values as the cube keeps them, and their unit as far as it is known."""
    try:
        with rasterio.open(band.path, driver="GTiff") as file:
            stated = values_of_band(file, band.number, lambda problem: _unfit(band.path, problem))
            if kind.name != "landslides" and file.colorinterp[band.number - 1] == ColorInterp.palette:
                raise _unfit(band.path, "holds colours (palette), no measured values")
            read = file.read(band.number, masked=True)
    except RasterioError as error:
        # rasterio's own words for a failed read only point to GDAL's error
        raise _unfit(band.path, f"cannot be read ({str(error.__cause__ or error)[:100]})") from error
    declared = stated.unit
    values = np.ma.filled(read.astype(np.float64), np.nan) * stated.scale + stated.offset
    values[stated.is_nodata(np.ma.getdata(read))] = np.nan
    if kind.name == "landslides":
        return _labels(values, wanted), kind.units
    if kind.name in BACKSCATTER and wanted.backscatter == "dB":
        values = 10 ** (values / 10)
        declared = kind.units
    return values.astype(np.float32), declared or kind.units


def _labels(values: NDArray[np.float64], wanted: GeoTiffImport) -> NDArray[np.float32]:
    """1, 0 and NaN; a code without a meaning stays, and the contract names it."""
    made = values.astype(np.float32)
    for codes, meaning in ((wanted.landslide, 1.0), (wanted.background, 0.0), (wanted.unmapped, np.nan)):
        made[np.isin(values, codes)] = meaning
    return made
