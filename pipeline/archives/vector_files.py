"""Vector files: an inventory or a mapped extent, opened as the format that its first bytes show and as no other.

GDAL's vector drivers try every format on a file, and some formats point to other files, addresses or programs. Here a
file is looked at first: only the formats of `FORMATS` are handed to GDAL, and the driver that opened it must be one of
that format's.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyogrio
from pydantic import Field
from pyogrio.errors import DataLayerError, DataSourceError, FieldError, GeometryError

from pipeline.archives.local_files import open_regular
from pipeline.archives.vector_formats import (
    FORMATS,
    GDAL_OPTIONS,
    READ,
    SNIFFED_BYTES,
    check_table,
    format_of,
)
from pipeline.area import Inventory
from pipeline.errors import ArchiveError, SourceDataError, number_of
from pipeline.records import Frozen

LEAST_FEATURE_BYTES = 4
"""A feature takes more in any format. For more features than there can be, memory would be taken before reading."""
_SUFFIXES = (".shp", ".gpkg", ".geojson", ".json", ".fgb", ".kml", ".gml", ".geojsonl")
_PLAIN = re.compile(r"[\w/.() +=@~^&$-]+")
"""what pyogrio and GDAL read as a path; they give a meaning to ! # ? { } : and others"""
_READ_ERRORS = (
    DataSourceError, DataLayerError, GeometryError, FieldError, UnicodeError, ValueError, OSError, MemoryError,
    OverflowError, zipfile.BadZipFile,
)  # fmt: skip


@dataclass(frozen=True)
class _Source:
    """What GDAL opens."""

    path: Path
    opened: str
    layer: str | None
    kind: str
    """a key of `FORMATS`"""
    size_bytes: int
    """unpacked"""
    member: str | None = None
    """its name in a zip"""


class VectorHeader(Frozen):
    """What a vector file states of one of its layers."""

    layer: str
    driver: str
    attributes: tuple[str, ...]
    features: int = Field(description="-1: not stated")
    crs: str | None


def read_inventory(path: Path, inventory: Inventory) -> gpd.GeoDataFrame:
    """Every feature of an inventory, as `read_features`; `inventory.layer` chooses."""
    return read_features(path, inventory.layer, "inventory.layer")


def read_features(path: Path, layer: str | None = None, choice: str | None = None) -> gpd.GeoDataFrame:
    """Every feature of a vector file, in its own CRS; the index is the file's feature id.

    `layer` chooses one of several layers, or one of several files in a zip; `choice` is the field of an area file that
    does so. Geometry that cannot be parsed comes back as None. `frame.attrs` holds "file", "layer", "driver" and
    "remarks" of the reader.

    Raises:
        SourceDataError: not a readable vector file, a choice of layers is needed (they are listed), a view instead of a
            table, no features, no geometry, or no CRS.
    """
    with _opened(path, layer, choice) as source, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        header = _header(source, choice)
        frame = pyogrio.read_dataframe(
            source.opened, layer=header.layer, fid_as_index=True, on_invalid="ignore"
        )
    if not isinstance(frame, gpd.GeoDataFrame):
        raise SourceDataError(f"Layer {header.layer} of {path.name} has no geometry.", "Name another layer.")
    _check(header, path, len(frame), None if frame.crs is None else str(frame.crs))
    frame.attrs = {
        "file": path.name,
        "layer": header.layer,
        "driver": header.driver,
        # warnings are recorded for the whole process: those of other threads do not belong to this file
        "remarks": sorted(
            {_without_path(w.message, path) for w in caught if "pyogrio" in Path(w.filename).parts}
        ),
    }
    return frame


def read_header(path: Path, layer: str | None = None, choice: str | None = None) -> VectorHeader:
    """What a vector file states, without its features, by the rules of `read_features`.

    Raises:
        SourceDataError: as `read_features`, for what the header shows.
    """
    with _opened(path, layer, choice) as source, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = _header(source, choice)
    _check(header, path, header.features, header.crs)
    return header


@contextmanager
def _opened(path: Path, layer: str | None, choice: str | None) -> Iterator[_Source]:
    """What GDAL opens, for the length of the block; errors of the reader are those of the file."""
    chosen = _choose(path, layer, choice)
    pyogrio.set_gdal_config_options(GDAL_OPTIONS)
    try:
        with _as_a_file(chosen) as source:
            yield source
    except _READ_ERRORS as error:
        raise SourceDataError(
            f"{path.name} cannot be read as a vector file ({type(error).__name__}: {_without_path(error, path)}).",
            f"Give a {READ}.",
        ) from error


def _check(header: VectorHeader, path: Path, features: int, crs: str | None) -> None:
    if features == 0:
        raise SourceDataError(
            f"Layer {header.layer} of {path.name} holds no features.", "Name another layer or file."
        )
    if crs is None:
        raise SourceDataError(
            f"{path.name} states no CRS.",
            "Add it (a .prj file with a shapefile, or ogr2ogr -a_srs EPSG:nnnn); guessing would misplace landslides.",
        )


def _choose(path: Path, wanted: str | None, choice: str | None) -> _Source:
    """What GDAL opens, and the layer to read from it; None where it is not chosen yet."""
    if path.is_dir() and path.suffix.lower() == ".gdb":
        size = sum(part.stat().st_size for part in path.iterdir() if part.is_file())
        return _Source(path, str(path.resolve()), wanted, "file geodatabase", size)
    if path.is_dir():
        readable = (*_SUFFIXES, ".zip", ".kmz", ".gdb")
        inside = sorted(one.name for one in path.iterdir() if one.name.lower().endswith(readable))
        raise SourceDataError(
            f"{path} is a folder.",
            f"Give one of the vector files in it: {_listed(inside)}." if inside else f"Give a {READ}.",
        )
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            head, size = file.read(SNIFFED_BYTES), os.fstat(file.fileno()).st_size
    except ArchiveError as error:
        raise SourceDataError(error.message, "Check the path in the area file.") from None
    if head.startswith(b"PK"):
        return _in_zip(path, wanted, choice)
    # a name that GDAL or pyogrio could take for something else than a path is none here: it begins with a slash
    return _Source(path, str(path.resolve()), wanted, format_of(path.name, head), size)


def _in_zip(path: Path, wanted: str | None, choice: str | None) -> _Source:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if not n.startswith("__MACOSX") and "/._" not in f"/{n}"]
            folders = {name[: name.lower().index(".gdb/") + 4] for name in names if ".gdb/" in name.lower()}
            files = {name for name in names if name.lower().endswith(_SUFFIXES)}
            members = sorted(folders | {name for name in files if ".gdb/" not in name.lower()})
            member, layer = _member(path, members, names, wanted, choice)
            if member in folders:
                size = sum(
                    one.file_size for one in archive.infolist() if one.filename.startswith(f"{member}/")
                )
                kind = "file geodatabase"
            else:
                with archive.open(member) as stream:
                    kind = format_of(member, stream.read(SNIFFED_BYTES))
                stem = member.rpartition(".")[0]
                size = sum(one.file_size for one in archive.infolist() if one.filename.startswith(stem))
    except (zipfile.BadZipFile, RuntimeError, OSError, NotImplementedError, EOFError, ValueError) as error:
        raise SourceDataError(
            f"{path.name} is a damaged zip file, or one that was cut ({_without_path(error, path)}).",
            "Fetch it again.",
        ) from error
    return _Source(path, f"/vsizip/{{{path.resolve()}}}/{member}", layer, kind, size, member)


@contextmanager
def _as_a_file(source: _Source) -> Iterator[_Source]:
    """The source under a name that GDAL reads: a GeoPackage in a zip, which SQLite cannot read there, is unpacked.

    A path with a character that has a meaning for pyogrio or GDAL, such as `!`, is opened by a link.
    """
    with tempfile.TemporaryDirectory(prefix="slidecube-") as folder:
        if source.kind == "SQLite" and source.member is not None:
            file = Path(folder) / "unpacked.gpkg"
            with (
                zipfile.ZipFile(source.path) as archive,
                archive.open(source.member) as packed,
                file.open("xb") as unpacked,
            ):
                shutil.copyfileobj(packed, unpacked)
            yield replace(source, opened=str(file))
        elif not _PLAIN.fullmatch(str(source.path.resolve())):
            path = source.path.resolve()
            for part in path.parent.glob(f"{glob.escape(path.stem)}.*"):
                (Path(folder) / f"source{part.name.removeprefix(path.stem)}").symlink_to(part)
            linked = Path(folder) / f"source{path.suffix}"
            if not linked.exists():
                linked.symlink_to(path)
            yield replace(
                source,
                # the layer of a file without layers has the file's name
                layer=linked.stem if source.layer == path.stem and source.member is None else source.layer,
                opened=str(linked) if source.member is None else f"/vsizip/{{{linked}}}/{source.member}",
            )
        else:
            yield source


def _member(
    path: Path, members: list[str], names: list[str], wanted: str | None, choice: str | None
) -> tuple[str, str | None]:
    """The file or geodatabase of a zip to read, and the layer in it where that is what was wanted."""
    matching = [m for m in members if wanted in {m, Path(m).name, Path(m).stem}]
    if len(matching) == 1:
        return matching[0], None
    if len(members) == 1:
        return members[0], wanted
    nested = [
        name
        for name in names
        if name.lower().endswith((".zip", ".kmz", ".7z", ".rar", ".tar", ".gz", ".tgz"))
    ]
    if not members and nested:
        raise SourceDataError(
            f"{path.name} holds no vector file but further archives: {_listed(nested)}.",
            "Unpack it, and give the inner archive.",
        )
    if not members:
        raise SourceDataError(
            f"{path.name} holds no vector file{f', but {_listed(names)}' if names else ''}.",
            f"Give a zip with a {READ}.",
        )
    raise SourceDataError(
        f"{path.name} holds {number_of(len(members), 'vector file')}"
        + (f", and {len(matching)} are called {wanted!r}" if wanted else "")
        + f": {_listed(members)}.",
        f"Name one of them as {choice}." if choice else "Give a file with one of them.",
    )


def _header(source: _Source, choice: str | None) -> VectorHeader:
    """The layer to read, and what the file states of it."""
    path, wanted = source.path, source.layer
    layers: dict[str, Any] = {str(name): kind for name, kind in pyogrio.list_layers(source.opened)}
    spatial = [name for name, kind in layers.items() if kind is not None]
    if wanted is not None:
        if wanted not in layers:
            raise SourceDataError(
                f"{path.name} has no layer {wanted!r}.", f"Its layers are: {_listed(list(layers)) or 'none'}."
            )
        chosen = wanted
    elif len(spatial) == 1:
        chosen = spatial[0]
    elif spatial:
        raise SourceDataError(
            f"{path.name} has {number_of(len(spatial), 'layer')}: {_listed(spatial)}.",
            f"Name one as {choice}." if choice else "Give a file with one of them.",
        )
    else:
        raise SourceDataError(f"{path.name} has no layer with geometry.", "Give a file with polygons.")
    if source.kind == "SQLite":
        check_table(Path(source.opened), chosen, path.name)
    info = pyogrio.read_info(source.opened, layer=chosen)
    driver, features = str(info["driver"]), int(info["features"])
    if driver not in FORMATS[source.kind]:
        raise SourceDataError(
            f"{path.name} is a {driver} file, which is not read here.", f"Convert it to a {READ}."
        )
    if features * LEAST_FEATURE_BYTES > source.size_bytes:
        raise SourceDataError(
            f"{path.name} states {features} features in {source.size_bytes} bytes, which cannot be.",
            "Fetch it again; if it stays, report it to its publisher.",
        )
    return VectorHeader(
        layer=chosen,
        driver=driver,
        attributes=tuple(str(name) for name in info["fields"]),
        features=features,
        crs=None if info["crs"] is None else str(info["crs"]),
    )


def _listed(names: list[str], most: int = 20) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _without_path(error: object, path: Path) -> str:
    return str(error).replace(str(path.resolve()), path.name).replace(str(path), path.name)
