"""An exported cube: a folder to hand on, with the cube in the forms that were asked for, and what belongs to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import pystac
import xarray as xr

from pipeline.cube.export.cogs import cog_tags, georeference, write_cog
from pipeline.cube.export.cube_item import (
    CHECKSUMS,
    CITATION,
    ITEM,
    LICENCE,
    add_file,
    checksums,
    citation,
    cube_item,
    describe_cog,
    licence,
)
from pipeline.cube.export.cube_layer import cube_layers
from pipeline.cube.export.netcdf_file import check_engine, write_netcdf
from pipeline.cube.export.plain_zarr import write_plain_zarr
from pipeline.errors import CubeError
from pipeline.files import put_folder, scratch_name, writing
from pipeline.progress import Progress, no_progress
from pipeline.records import Frozen

Form = Literal["cogs", "zarr2", "zarr3", "netcdf"]


class ExportedFolder(Frozen):
    """What was written."""

    path: str
    forms: tuple[Form, ...]
    files: int
    size_bytes: int
    layers: int
    simulated: bool


def write_export(
    cube: xr.Dataset, target: Path, forms: Sequence[Form], progress: Progress = no_progress
) -> ExportedFolder:
    """Write a cube, as `open_cube` returns it, into a new folder; whole or not at all.

    The folder has, beside the forms: `item.json` (STAC), `CITATION.txt`, `LICENSE.txt`, `SHA256SUMS`. One layer is in
    memory at a time.

    Raises:
        CubeError: something is at `target`, the cube has no raster or no reference system, or the package that writes
            a form is not installed.
        DiskError: the folder cannot be written.
    """
    if target.exists() or target.is_symlink():
        raise CubeError(f"{target} exists already.", "Give another folder, or remove it.")
    chosen = tuple(dict.fromkeys(forms))
    if "netcdf" in chosen:
        check_engine()
    layers = cube_layers(cube)
    place = georeference(cube)
    total, done = len(layers) * len(chosen), 0
    with scratch_name(target) as scratch, writing(target, alone=False):
        scratch.mkdir()
        item = cube_item(cube, place, target.name)
        item.set_self_href(str(scratch / ITEM))
        for form in chosen:
            for name in _FORMS[form](cube, scratch, item):
                done += 1
                progress(name, done, total)
        (scratch / CITATION).write_text(citation(cube), encoding="utf-8")
        (scratch / LICENCE).write_text(licence(cube), encoding="utf-8")
        add_file(item, "citation", scratch / CITATION, "How to cite", "text/plain", ["metadata"])
        add_file(item, "license", scratch / LICENCE, "Licence", "text/plain", ["metadata"])
        item.save_object(include_self_link=False, dest_href=str(scratch / ITEM))
        (scratch / CHECKSUMS).write_text(checksums(scratch), encoding="utf-8")
        files = [path for path in scratch.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        put_folder(scratch, target, replace=False)
    return ExportedFolder(
        path=str(target), forms=chosen, files=len(files), size_bytes=size, layers=len(layers),
        simulated=bool(cube.attrs.get("simulated", 0)),
    )  # fmt: skip


def _cogs(cube: xr.Dataset, folder: Path, item: pystac.Item) -> Iterator[str]:
    place, tags = georeference(cube), cog_tags(cube)
    (folder / "cogs").mkdir()
    for layer in cube_layers(cube):
        path = folder / "cogs" / f"{layer.stem}.tif"
        write_cog(layer, path, place, tags)
        title = f"{layer.variable} {' '.join(layer.facts.values())}".strip()[:200]
        asset = add_file(item, layer.stem, path, title, str(pystac.MediaType.COG), ["data"])
        describe_cog(asset, layer)
        yield layer.variable


def _zarr(cube: xr.Dataset, folder: Path, item: pystac.Item, zarr_format: Literal[2, 3]) -> Iterator[str]:
    path = folder / f"cube_v{zarr_format}.zarr"
    yield from write_plain_zarr(cube, path, zarr_format)
    kind = f"application/vnd.zarr; version={zarr_format}"
    add_file(item, f"zarr{zarr_format}", path, f"Zarr v{zarr_format} without shards", kind, ["data"])


def _zarr2(cube: xr.Dataset, folder: Path, item: pystac.Item) -> Iterator[str]:
    return _zarr(cube, folder, item, 2)


def _zarr3(cube: xr.Dataset, folder: Path, item: pystac.Item) -> Iterator[str]:
    return _zarr(cube, folder, item, 3)


def _netcdf(cube: xr.Dataset, folder: Path, item: pystac.Item) -> Iterator[str]:
    path = folder / "cube.nc"
    yield from write_netcdf(cube, path)
    add_file(item, "netcdf", path, "netCDF-4 by CF", "application/netcdf", ["data"])


_FORMS: dict[Form, Callable[[xr.Dataset, Path, pystac.Item], Iterator[str]]] = {
    "cogs": _cogs,
    "zarr2": _zarr2,
    "zarr3": _zarr3,
    "netcdf": _netcdf,
}
