"""A cube written in the form of the cubes published with Boehm et al. 2022 (Zenodo record 7248056).

    storage     one Zarr v2 group with consolidated metadata, chunks of 512 x 512, Blosc; every chunk is written
    timestep    instants of the passes, datetime64[ns], ascending
    sat:orbit_state  'd' or 'a' along timestep, left out where no direction is known
    epsg        scalar coordinate, as stackstac writes it
    vv, vh      (timestep, y, x) linear gamma0
    dem, dem_slope_radians, dem_aspect, dem_curvature, landslides    (y, x)
    timepair    'YYYYMMDD_YYYYMMDD', of length 0 where there are no pairs, because the published code drops that axis
    topophase.cor_1                             (timepair, y, x) coherence: band 2 of ISCE2's topophase.cor
    topophase.flat_real, topophase.flat_imag    (timepair, y, x) the interferogram. A cube keeps no amplitude, so the
                                                modulus is 1

Names and meanings are those that public code reads (iprapas/landslide-sar-unet, VMBoehm/SAR-landslide-detection-
pretraining).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
import zarr
from numcodecs import Blosc
from numpy.typing import NDArray
from zarr.storage import LocalStore

from pipeline.catalogue.identities import direction_name
from pipeline.cube.encoding.arrays import writing
from pipeline.cube.encoding.georeference import recorded_crs
from pipeline.cube.encoding.portable import portable_attributes
from pipeline.cube.foreign.contract import check_contract
from pipeline.cube.schema import BACKSCATTER, TERRAIN
from pipeline.errors import CubeError
from pipeline.files import put_folder, scratch_name
from pipeline.progress import Progress, no_progress
from pipeline.records import Frozen

CHUNK_PX = 512
COHERENCE = "topophase.cor_1"
REAL, IMAGINARY = "topophase.flat_real", "topophase.flat_imag"
WRITTEN = (*BACKSCATTER, *TERRAIN, "landslides", "coherence", "interferogram")
"""variables of a cube that the published form has"""
PASSES = ("platform", "relative_orbit", "absolute_orbit")
"""coordinates of passes that the published cubes are not known to have"""
ATTRIBUTES = ("title", "area", "event", "sources", "license", "attribution", "simulated", "software")

Background = Literal["zero", "nan"]
Values = NDArray[np.float32]


class Exported(Frozen):
    """The cube that was written."""

    uri: str
    passes: int
    pairs: int
    variables: tuple[str, ...]
    left_out: tuple[str, ...]
    """variables of the cube that the published form does not have"""


def write_published(
    cube: xr.Dataset,
    target: Path,
    *,
    background: Background = "zero",
    bare: bool = False,
    progress: Progress = no_progress,
) -> Exported:
    """Write a cube, as `open_cube` returns it, in the published form; whole or not at all.

    One layer is in memory at a time.

    Args:
        background: what a mapped pixel without a landslide gets. 'nan' is as in the published cubes, and no longer
            tells it from a pixel that was not mapped.
        bare: without the coordinates of passes, the CF grid mapping and the attributes, which the published cubes are
            not known to have. The attribute `simulated` stays.

    Raises:
        CubeError: something is at `target`, or the cube has no pass.
        ContractError: what was written would not be opened again.
        DiskError: the folder cannot be written.
    """
    if target.exists():
        raise CubeError(f"{target} exists already.", "Give another path, or remove it.")
    if not cube.sizes.get("timestep", 0):
        raise CubeError("The cube has no pass.", "Export a cube with backscatter.")
    layers = [*_layers(cube, background)]
    with scratch_name(target) as scratch:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)
            _coordinates(cube, bare).to_zarr(scratch, zarr_format=2, consolidated=False)
            total = sum(layer.steps for layer in layers)
            done = 0
            for layer in layers:
                for _ in _write(scratch, layer, bare):
                    done += 1
                    progress(layer.name, done, total)
            zarr.consolidate_metadata(LocalStore(scratch), zarr_format=2)
        with xr.open_zarr(scratch, chunks=None) as made:
            check_contract(made, str(target), published=True)
        put_folder(scratch, target, replace=False)
    return Exported(
        uri=str(target),
        passes=cube.sizes["timestep"],
        pairs=cube.sizes.get("timepair", 0),
        variables=tuple(layer.name for layer in layers),
        left_out=tuple(sorted(str(name) for name in cube.data_vars if name not in WRITTEN)),
    )


class _Layer:
    """One array of the published form, and how its values are found, one step of its leading axis at a time."""

    def __init__(
        self,
        name: str,
        source: xr.DataArray,
        convert: Callable[[Values], Values] | None = None,
        attributes: dict[str, Any] | None = None,
    ) -> None:
        leading = [str(dim) for dim in source.dims if dim not in ("y", "x")]
        self.name = name
        self.source = source.transpose(*leading, "y", "x")
        self.dims = (*leading, "y", "x")
        self.steps = math.prod(self.source.shape[:-2])
        self.convert = convert
        self.attributes = attributes or {}

    def values(self, step: int) -> Values:
        """(y, x) of one step."""
        window = self.source[step] if len(self.dims) == 3 else self.source
        read = np.asarray(window.values, dtype=np.float32)
        return read if self.convert is None else self.convert(read)


def _layers(cube: xr.Dataset, background: Background) -> Iterator[_Layer]:
    for name in (*BACKSCATTER, *TERRAIN):
        if name in cube:
            yield _Layer(name, cube[name])
    if "landslides" in cube:
        convert = _without_zeros if background == "nan" else None
        yield _Layer("landslides", cube["landslides"], convert)
    if "coherence" in cube:
        yield _Layer(COHERENCE, cube["coherence"])
    if "interferogram" in cube:
        attributes = {"units": "1", "comment": "the modulus is 1: the cube keeps the phase alone"}
        for name, part in ((REAL, np.cos), (IMAGINARY, np.sin)):
            yield _Layer(name, cube["interferogram"], part, attributes)


def _without_zeros(labels: Values) -> Values:
    return np.where(labels > 0, labels, np.float32(np.nan))


def _coordinates(cube: xr.Dataset, bare: bool) -> xr.Dataset:
    """A dataset without variables: the coordinates and attributes of the published form."""
    pairs = [str(label) for label in cube["timepair"].values] if "timepair" in cube.coords else []
    coords: dict[str, Any] = {
        "timestep": cube["timestep"].values.astype("datetime64[ns]"),
        "timepair": np.array(pairs, dtype="<U17" if all(len(p) <= 17 for p in pairs) else str),
        "y": np.asarray(cube["y"].values, dtype=np.float64),
        "x": np.asarray(cube["x"].values, dtype=np.float64),
    }
    letters = [(direction_name(state) or "")[:1] for state in _states(cube)]
    if all(letters):
        coords["sat:orbit_state"] = ("timestep", np.array(letters, dtype="<U1"))
    crs = recorded_crs(cube)
    if crs is not None and (epsg := crs.to_epsg()) is not None:
        coords["epsg"] = ((), np.int64(epsg))
    attributes: dict[str, Any] = {"simulated": int(cube.attrs["simulated"])} if _simulated(cube) else {}
    if not bare:
        for name in PASSES:
            if name in cube.coords and cube[name].dims == ("timestep",):
                values = cube[name].values
                coords[name] = ("timestep", values.astype(str) if values.dtype.kind == "O" else values)
        if "spatial_ref" in cube.coords:
            coords["spatial_ref"] = ((), np.int64(0), dict(cube["spatial_ref"].attrs))
        attributes = {name: cube.attrs[name] for name in ATTRIBUTES if name in cube.attrs}
    return xr.Dataset(coords=coords, attrs=portable_attributes(attributes))


def _simulated(cube: xr.Dataset) -> bool:
    return bool(cube.attrs.get("simulated", 0))


def _states(cube: xr.Dataset) -> list[Any]:
    states = cube.coords.get("sat:orbit_state")
    return [None] if states is None or states.dims != ("timestep",) else list(states.values)


def _write(folder: Path, layer: _Layer, bare: bool) -> Iterator[int]:
    """Write one array; yields each step of its leading axis once it is written."""
    attributes = portable_attributes({**layer.source.attrs, **layer.attributes})
    if bare:
        attributes.pop("grid_mapping", None)
    attributes["_ARRAY_DIMENSIONS"] = list(layer.dims)
    shape = layer.source.shape
    with writing():
        array: zarr.Array[Any] = zarr.create_array(
            store=LocalStore(folder / layer.name),
            shape=shape,
            dtype="float32",
            chunks=(*(1,) * (len(shape) - 2), *(min(CHUNK_PX, n) for n in shape[-2:])),
            fill_value=float("nan"),
            compressors=Blosc(cname="zstd", clevel=3, shuffle=Blosc.SHUFFLE),
            attributes=attributes,
            config={"write_empty_chunks": True},
            zarr_format=2,
        )
    for step in range(layer.steps):
        values = layer.values(step)
        for row in range(0, shape[-2], CHUNK_PX):
            window = (slice(row, row + CHUNK_PX), slice(None))
            array[window if len(shape) == 2 else (step, *window)] = values[window]
        yield step
