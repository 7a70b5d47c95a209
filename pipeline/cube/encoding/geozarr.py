"""GeoZarr: the conventions `spatial:`, `proj:` and `multiscales`, each as of its release v0.1.

    https://github.com/zarr-conventions/spatial       dimensions, affine transformation, shape and bounds
    https://github.com/zarr-conventions/proj          the reference system
    https://github.com/zarr-conventions/multiscales   overviews

They are the parts of GeoZarr that its working group has agreed on; a reader that knows none of them loses nothing but
the overviews, since CF says where the pixels lie as well.

The arrays of the full resolution lie in the root group, so that `xr.open_zarr` finds them; those of an overview have
the same names, in `overviews/<factor>`. So the layout of `multiscales` names arrays and not groups, and `scale` has one
number for each dimension of the array.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.cube.schema import Variable
from pipeline.grid import Grid

CONVENTIONS_KEY = "zarr_conventions"
MULTISCALES_KEY = "multiscales"

METHODS = {
    "average": "average",
    "circular average": "circular_average",
    "maximum": "max",
    "union of flags": "bitwise_or",
}
"""`resampling_method` of a level, by the rule of the variable; any word is allowed, those of GDAL are preferred"""


def _convention(name: str, uuid: str, description: str) -> dict[str, str]:
    return {
        "uuid": uuid,
        "name": name,
        "schema_url": f"https://raw.githubusercontent.com/zarr-conventions/{name}/refs/tags/v0.1/schema.json",
        "spec_url": f"https://github.com/zarr-conventions/{name}/blob/v0.1/README.md",
        "description": description,
    }


MULTISCALES = _convention(
    "multiscales", "d35379db-88df-4056-af3a-620245f8e347", "Multiscale layout of zarr datasets"
)
PROJ = _convention(
    "proj",
    "f17cb550-5864-4468-aeb7-f3180cfb622f",
    "Coordinate reference system information for geospatial data",
)
SPATIAL = _convention("spatial", "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4", "Spatial coordinate information")


def placed(grid: Grid) -> dict[str, Any]:
    """Attributes of an array on the grid, or of a group of such arrays."""
    return {
        CONVENTIONS_KEY: [SPATIAL, PROJ],
        "proj:code": f"EPSG:{grid.epsg}",
        "spatial:dimensions": ["y", "x"],
        "spatial:registration": "pixel",
        "spatial:transform": _transform(grid),
        "spatial:shape": list(grid.shape),
        "spatial:bbox": list(grid.bounds),
    }


def with_overviews(grid: Grid, levels: dict[int, Iterable[Variable]]) -> dict[str, Any]:
    """Attributes of the root group: as of `placed`, and the layout of its overviews.

    Args:
        levels: by factor, the variables that have an overview.
    """
    layout: list[dict[str, Any]] = []
    variables = {one.name: one for found in levels.values() for one in found}
    for name, variable in variables.items():
        layout.append(_level(name, variable, grid, 1))
        for factor in sorted(levels):
            if any(one.name == name for one in levels[factor]):
                asset = f"{overview_group(factor)}/{name}"
                derived = {"derived_from": name, "resampling_method": METHODS[variable.coarsening]}
                layout.append({**_level(asset, variable, grid, factor), **derived})
    if not layout:
        return placed(grid)
    conventions = [MULTISCALES, SPATIAL, PROJ]
    return {**placed(grid), CONVENTIONS_KEY: conventions, MULTISCALES_KEY: {"layout": layout}}


def overview_group(factor: int) -> str:
    """Path of the group of one level, relative to the version."""
    return f"overviews/{factor}"


def of_no_store(attributes: Mapping[Any, Any], *, keep_place: bool) -> dict[Any, Any]:
    """The attributes without what is true of the store alone: conventions as objects, which netCDF cannot hold, and
    overviews, which a copy does not have.

    Args:
        keep_place: keep `spatial:` and `proj:`, which an array has in its coordinates too.
    """
    dropped = (CONVENTIONS_KEY, MULTISCALES_KEY, *(() if keep_place else ("spatial:", "proj:")))
    return {name: value for name, value in attributes.items() if not str(name).startswith(dropped)}


def _level(asset: str, variable: Variable, grid: Grid, factor: int) -> dict[str, Any]:
    leading = [1.0] * (len(variable.dims) - 2)
    coarse = grid.coarser(factor)
    return {
        "asset": asset,
        "transform": {
            "scale": [*leading, float(factor), float(factor)],
            "translation": [0.0] * len(variable.dims),
        },
        "spatial:transform": _transform(coarse),
        "spatial:shape": list(coarse.shape),
    }


def _transform(grid: Grid) -> list[float]:
    return [grid.resolution_m, 0.0, grid.left, 0.0, -grid.resolution_m, grid.top]
