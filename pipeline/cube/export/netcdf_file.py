"""A netCDF-4 file of a cube by the CF conventions, as ncdump, xarray, QGIS, GDAL and Panoply read it.

Names that CF does not have (`sat:orbit_state`) are written with underscores; pairs are numbered along `timepair`, and
their labels are a coordinate of words, since a coordinate variable of CF is numeric.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pipeline.cube.encoding.portable import portable_attributes
from pipeline.cube.export.cube_layer import raster_variables
from pipeline.errors import CubeError

CHUNK_PX = 512
CONVENTIONS = "CF-1.11"
EPOCH = "seconds since 1970-01-01 00:00:00"
LABEL = "timepair_label"


def check_engine() -> None:
    """
    Raises:
        CubeError: h5netcdf is not installed.
    """
    if find_spec("h5netcdf") is None or find_spec("h5py") is None:
        raise CubeError(
            "Writing netCDF needs the package h5netcdf, which is not installed.",
            "Install the extra: pip install 'slidecube[netcdf]'.",
        )


def write_netcdf(cube: xr.Dataset, target: Path) -> Iterator[str]:
    """Write a cube, as `open_cube` returns it; yields the name of each layer's variable once it is written.

    One layer is in memory at a time.

    Raises:
        CubeError: h5netcdf is not installed.
    """
    check_engine()
    import h5netcdf

    coordinates = _coordinates(cube)
    encoding: dict[str, dict[str, Any]] = {}
    for name, one in coordinates.variables.items():
        if one.dtype.kind == "M":
            calendar = {"units": EPOCH, "dtype": "float64", "calendar": "proleptic_gregorian"}
            encoding[str(name)] = {**calendar, "_FillValue": None}
        elif one.dtype.kind == "f":
            encoding[str(name)] = {"_FillValue": None}
    coordinates.to_netcdf(target, engine="h5netcdf", encoding=encoding)
    with h5netcdf.File(target, "a") as file:
        for name in raster_variables(cube):
            source = cube[name]
            made = file.create_variable(
                name, tuple(map(str, source.dims)), source.dtype,
                chunks=(*(1,) * (source.ndim - 2), *(min(CHUNK_PX, n) for n in source.shape[-2:])),
                fillvalue=np.nan if source.dtype.kind == "f" else None,
                compression="gzip", compression_opts=4, shuffle=True,
            ) if source.size else None  # fmt: skip
            if made is None:
                continue
            made.attrs.update(_attributes(source, coordinates))
            for step in range(source.shape[0]) if source.ndim == 3 else (None,):
                if step is None:
                    made[...] = source.values
                else:
                    made[step, ...] = source[step].values
                yield name


def _coordinates(cube: xr.Dataset) -> xr.Dataset:
    bare = cube.drop_vars(list(cube.data_vars))
    if "timepair" in bare.coords:
        labels = bare["timepair"].values.astype(object)
        number = np.arange(len(labels), dtype="int32")
        numbered: dict[str, Any] = {
            "timepair": ("timepair", number, {"long_name": "pair", "units": "1"}),
            LABEL: ("timepair", labels, {"long_name": "days of the two passes"}),
        }
        bare = bare.drop_vars("timepair").assign_coords(numbered)
    bare = bare.rename({name: str(name).replace(":", "_") for name in bare.coords if ":" in str(name)})
    if not cube.sizes.get("timepair"):
        bare = bare.drop_vars([name for name in bare.coords if "timepair" in bare[name].dims])
    attributes = portable_attributes(cube.attrs)
    kept = {k: v for k, v in attributes.items() if ":" not in k and k != "coordinates" and v != ""}
    auxiliary = [name for name in bare.coords if (name,) != bare[name].dims]
    made = bare.reset_coords(auxiliary)  # else xarray lists them in a global attribute that CF does not have
    made.attrs = {
        **kept,
        "Conventions": CONVENTIONS,
        "institution": str(kept.get("attribution", "not stated")),
        "source": str(kept.get("sources", "Sentinel-1")),
        "history": f"exported from a cube by {kept.get('software', 'slidecube')}",
        "references": "https://cfconventions.org",
    }
    for name, one in made.variables.items():
        one.encoding = {}
        one.attrs.setdefault("long_name", str(name).replace("_", " "))
        if one.dtype.kind == "M":
            one.attrs["units_metadata"] = "leap_seconds: none"
    return made


def _attributes(source: xr.DataArray, coordinates: xr.Dataset) -> dict[str, Any]:
    dims = set(source.dims)
    auxiliary = [
        str(name) for name, one in coordinates.data_vars.items() if one.ndim and set(one.dims) <= dims
    ]
    attributes = {
        k: v for k, v in portable_attributes(source.attrs, str(source.dtype)).items() if ":" not in k
    }
    if "flag_values" in attributes:
        attributes["flag_values"] = np.asarray(attributes["flag_values"], dtype=source.dtype)
    return {
        **attributes,
        "grid_mapping": "spatial_ref",
        **({"coordinates": " ".join(auxiliary)} if auxiliary else {}),
    }
