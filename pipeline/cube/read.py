"""Opening a cube that slidecube built, or one from elsewhere, as the same kind of dataset."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import xarray as xr

from pipeline.cube.addresses import VersionAddress, fetched_as, resolve_version
from pipeline.cube.encoding.portable import portable
from pipeline.cube.foreign.contract import check_contract
from pipeline.cube.foreign.published import PUBLISHED, with_our_labels, with_our_names
from pipeline.cube.foreign.storage import check_storage
from pipeline.cube.manifest import MANIFEST
from pipeline.cube.schema import SCHEMA_VERSION
from pipeline.errors import CubeError, SlidecubeError
from pipeline.pending_reads import wait_for_reads


def open_cube(address: str | Path, *, dask: bool = False) -> xr.Dataset:
    """A cube as a lazily read dataset.

    `address` is the path or URI of a cube (its latest version is taken), of a version, or of a cube from elsewhere. The
    latter must meet the contract of `pipeline.cube.foreign.contract`. One in the form of the published cubes (Zarr v2)
    is converted: ascending UTC times, orbit states in words ('unknown' where absent), ISCE2's band of coherence named
    `coherence`, labels as 1, 0 and NaN.

    Args:
        dask: data as dask arrays by whole shards, where dask is installed, as `slidecube.open_cube` gives them; else
            they are read once, when they are used, which is faster for small windows.

    Returns:
        Dataset with dims (timestep, y, x), timepair (of length 0 where there are no pairs), and with look geometry
        track, see `pipeline.cube.schema`. Coordinates are in memory, and it can be written to Zarr and netCDF, see
        `pipeline.cube.encoding.portable`; `encoding["source"]` is the version's path or URI.

    Raises:
        CubeError: there is no cube, it cannot be decoded, or holds no variable on (y, x).
        ContractError: a cube from elsewhere does not meet the contract; what is not met is named.
    """
    version = resolve_version(address)
    check_storage(version)
    try:
        dataset = _opened(version, dask=dask)
    except SlidecubeError:
        raise
    except (
        Exception
    ) as error:  # zarr, its codecs and xarray raise what they like for a damaged or hostile store
        wait_for_reads()
        raise CubeError(
            f"{version.uri} cannot be opened as Zarr ({type(error).__name__}: {str(error)[:300]}).",
            "Run `slidecube verify` on it.",
        ) from error
    dataset.encoding["source"] = version.uri
    return dataset


DECODERS = ("zarr", "numcodecs", "zarrs")
"""packages that decode a cube's bytes, and raise what they like where these are damaged"""


@contextmanager
def decoding(uri: str) -> Iterator[None]:
    """Name the cube in an error that the decoding of its values raised, long after it was opened.

    Raises:
        CubeError: an error came from a package that decodes.
    """
    try:
        yield
    except (SlidecubeError, OSError):  # an error of the disk is no error of what is on it
        raise
    except Exception as error:  # only what the packages that decode raised is taken
        called = [Path(frame.filename).as_posix() for frame in traceback.extract_tb(error.__traceback__)]
        if not any(f"/site-packages/{name}/" in path for name in DECODERS for path in called):
            raise
        wait_for_reads()
        raise CubeError(
            f"{uri} cannot be decoded ({type(error).__name__}: {str(error)[:300]}).",
            "Run `slidecube verify` on it, and `slidecube build`, which makes damaged layers again.",
        ) from error


def _opened(version: VersionAddress, *, dask: bool) -> xr.Dataset:
    dataset: xr.Dataset = xr.open_zarr(version.zarr(), chunks=None)
    if not any({"y", "x"} <= set(v.dims) for v in dataset.data_vars.values()):
        found = ", ".join(sorted({str(dim) for v in dataset.data_vars.values() for dim in v.dims})) or "none"
        raise CubeError(
            f"{version.uri} holds no variable on (y, x); its dimensions: {found}.",
            "Give the path of a landslide cube.",
        )
    if not is_built_here(version):
        dataset = _from_elsewhere(dataset, version)
    return portable(dataset, dask=dask)


def is_built_here(version: VersionAddress) -> bool:
    """Whether it is a version with a manifest, which `slidecube verify` can check."""
    return version.number is not None and version.read(MANIFEST) is not None


def _from_elsewhere(dataset: xr.Dataset, version: VersionAddress) -> xr.Dataset:
    """A cube that another program wrote, or a copy of a version that xarray wrote, with names and labels as ours."""
    is_copy = dataset.attrs.get("schema") == SCHEMA_VERSION
    if not is_copy:
        dataset = with_our_names(dataset)
    check_contract(dataset, version.uri, published=not is_copy and version.name in PUBLISHED)
    return dataset if is_copy else _with_its_origin(with_our_labels(dataset), version)


def _with_its_origin(dataset: xr.Dataset, version: VersionAddress) -> xr.Dataset:
    """A fetched cube with the name, licence and citation that are recorded beside it, unless it has its own."""
    fetched = fetched_as(version)
    if fetched is None:
        return dataset
    stated = {
        "license": fetched.licence,
        "attribution": fetched.citation,
        "sources": fetched.source,
        **({"simulated": True} if fetched.simulated else {}),
    }
    return dataset.assign_attrs({**stated, **dataset.attrs, "area": fetched.area})
