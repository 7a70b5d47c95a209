"""A plain Zarr of a cube: no shards, chunks of 512 x 512, Blosc; by Zarr v2 for older programs, or v3."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
import zarr
from numcodecs import Blosc
from zarr.codecs import BloscCodec
from zarr.storage import LocalStore

from pipeline.cube.encoding.arrays import writing
from pipeline.cube.encoding.portable import portable_attributes
from pipeline.cube.export.cube_layer import raster_variables

CHUNK_PX = 512
ZarrFormat = Literal[2, 3]


def write_plain_zarr(cube: xr.Dataset, target: Path, zarr_format: ZarrFormat) -> Iterator[str]:
    """Write a cube, as `open_cube` returns it; yields the name of each layer's variable once it is written.

    One layer is in memory at a time. Attributes and coordinates are those of the cube.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # words in Zarr v3 have no specification yet
        _coordinates(cube, zarr_format).to_zarr(target, zarr_format=zarr_format, consolidated=False)
        for name in raster_variables(cube):
            yield from _written(cube[name], name, target, zarr_format)
        zarr.consolidate_metadata(LocalStore(target), zarr_format=zarr_format)


def _coordinates(cube: xr.Dataset, zarr_format: ZarrFormat) -> xr.Dataset:
    """The cube without its variables; words of a fixed length in v2, which older programs read without objects."""
    bare = cube.drop_vars(list(cube.data_vars)).copy()
    bare.attrs = portable_attributes(cube.attrs)
    if zarr_format == 2:
        for name in list(bare.coords):
            if bare[name].dtype.kind in "OT":
                words = np.array([str(one) for one in bare[name].values], dtype=str)
                bare = bare.assign_coords({name: (bare[name].dims, words, bare[name].attrs)})
    # xarray takes these for coordinates; arrays are added beside them
    auxiliary = [str(name) for name in bare.coords if (name,) != bare[name].dims]
    bare.attrs["coordinates"] = " ".join(auxiliary)
    return bare.reset_coords(auxiliary)


def _written(source: xr.DataArray, name: str, target: Path, zarr_format: ZarrFormat) -> Iterator[str]:
    dims = [str(dim) for dim in source.dims]
    floating = source.dtype.kind == "f"
    attributes = portable_attributes(source.attrs, str(source.dtype))
    if zarr_format == 2:
        attributes["_ARRAY_DIMENSIONS"] = dims
    shape = source.shape
    with writing():
        array: zarr.Array[Any] = zarr.create_array(
            store=LocalStore(target / name),
            shape=shape,
            dtype=source.dtype,
            chunks=(*(1,) * (len(shape) - 2), *(max(1, min(CHUNK_PX, n)) for n in shape[-2:])),
            # xarray takes the fill value of v2 for no data: 0 of whole numbers is a value
            fill_value=float("nan") if floating else None if zarr_format == 2 else 0,
            compressors=Blosc(cname="zstd", clevel=3, shuffle=Blosc.SHUFFLE)
            if zarr_format == 2
            else BloscCodec(cname="zstd", clevel=3, shuffle="shuffle", typesize=source.dtype.itemsize),
            dimension_names=None if zarr_format == 2 else dims,
            attributes=attributes,
            config={"write_empty_chunks": True},
            zarr_format=zarr_format,
        )
    for step in range(shape[0]) if len(shape) == 3 else (None,):
        values = np.asarray(source.values if step is None else source[step].values)
        for row in range(0, shape[-2], CHUNK_PX):
            window = (slice(row, row + CHUNK_PX), slice(None))
            array[window if step is None else (step, *window)] = values[window]
        yield name
