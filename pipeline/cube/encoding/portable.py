"""What makes a cube survive other tools: attributes that netCDF and CF take, coordinates in memory, plain encodings."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.cube.encoding.geozarr import CONVENTIONS_KEY, MULTISCALES_KEY, of_no_store
from pipeline.cube.schema import SHARD, VARIABLES

if TYPE_CHECKING:  # who writes a cube does not need it
    import xarray as xr

FIRST = ("timestep", "timepair", "track", "sat:orbit_state", "relative_orbit", "platform")
"""Coordinates in this order come first: the title of a plot begins with them, so with a date."""
LAST = ("spatial_ref", "layer_digest", "timepair_layer_digest", "track_layer_digest")
_KEPT_ENCODING = ("units", "calendar", "dtype")
"""of times; all other encodings belong to the store that was read"""
_GEOZARR = ("spatial:", "proj:", CONVENTIONS_KEY, MULTISCALES_KEY)


def portable_attributes(attributes: Mapping[Any, Any], dtype: str | None = None) -> dict[str, Any]:
    """Attributes of types that netCDF and CF have: words, numbers, and lists of numbers.

    True becomes 1, a list of words a text of lines, a mapping JSON; what is None is left out. Flags are of the type of
    their variable (CF 3.5), whose type is `dtype`. Attributes of GeoZarr stay as its conventions write them.
    """
    found: dict[str, Any] = {}
    for name, value in attributes.items():
        if str(name).startswith(_GEOZARR):
            found[name] = value
        elif isinstance(value, bool | np.bool_):
            found[name] = int(value)
        elif isinstance(value, Mapping):
            found[name] = json.dumps(value, sort_keys=True)
        elif isinstance(value, list | tuple) and not all(
            isinstance(one, int | float) and not isinstance(one, bool) for one in value
        ):
            found[name] = "\n".join(map(str, value))
        elif isinstance(value, list | tuple) and not value:
            found[name] = ""
        elif value is not None:
            found[name] = value
    if dtype is not None and dtype.startswith("float") and isinstance(found.get("flag_values"), list):
        found["flag_values"] = [float(one) for one in found["flag_values"]]
    return found


def lines_of(attribute: object) -> tuple[str, ...]:
    """The words of an attribute that is a text of lines, or a list as in cubes of earlier releases."""
    if isinstance(attribute, str):
        return tuple(attribute.splitlines())
    return tuple(map(str, attribute)) if isinstance(attribute, list | tuple | np.ndarray) else ()


def portable(cube: xr.Dataset, *, dask: bool) -> xr.Dataset:
    """The same cube as other tools can use it.

    Coordinates are in memory, so that they can be grouped and selected by; encodings can be written again, to Zarr and
    to netCDF; attributes are portable; `timepair` exists, of length 0 in a cube without pairs.

    Args:
        dask: data as dask arrays, a chunk for each shard (of a cube from elsewhere: for each of its chunks); where dask
            is not installed, and without it, data are read when they are used.
    """
    import xarray as xr

    if "timepair" not in cube.dims:
        cube = cube.assign_coords(timepair=("timepair", np.array([], dtype=object)))
    chunks = _chunks(cube)
    coords = {name: cube[name].variable.load() for name in _ordered(cube)}
    data = {name: variable.variable for name, variable in cube.data_vars.items()}
    made = xr.Dataset(
        data, coords=coords, attrs=portable_attributes(of_no_store(cube.attrs, keep_place=True))
    )
    for variable in made.variables.values():
        kept = variable.encoding if variable.dtype.kind == "M" else {}
        variable.encoding = {key: kept[key] for key in _KEPT_ENCODING if key in kept}
    for name in made.variables:
        attributes = of_no_store(made[name].attrs, keep_place=False)
        made[name].attrs = portable_attributes(attributes, str(made[name].dtype))
    if dask and find_spec("dask") is not None:
        made = made.assign({name: made[name].chunk(chunks[name]) for name in made.data_vars})
    return made


def _ordered(cube: xr.Dataset) -> list[Hashable]:
    first = [name for name in FIRST if name in cube.coords]
    last = [name for name in LAST if name in cube.coords]
    return [*first, *(name for name in cube.coords if name not in {*first, *last}), *last]


def _chunks(cube: xr.Dataset) -> dict[Hashable, dict[Hashable, int]]:
    """Chunks of dask by variable: whole shards, else the chunks that the variable is stored in."""
    found: dict[Hashable, dict[Hashable, int]] = {}
    for name, variable in cube.data_vars.items():
        shards = variable.encoding.get("shards") or variable.encoding.get("chunks")
        if shards is None or len(shards) != variable.ndim:
            known = name in VARIABLES
            shards = [SHARD if dim in ("y", "x") else 1 if known else n for dim, n in variable.sizes.items()]
        found[name] = {dim: int(n) for dim, n in zip(variable.dims, shards, strict=True)}
    return found
