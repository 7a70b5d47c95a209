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
import sqlite3
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyogrio
from pydantic import Field
from pyogrio.errors import DataLayerError, DataSourceError, FieldError, GeometryError

from pipeline.archives.http.bodies import is_page
from pipeline.archives.local_files import open_regular
from pipeline.area import Inventory
from pipeline.errors import ArchiveError, SourceDataError, number_of
from pipeline.records import Frozen

FORMATS: Mapping[str, frozenset[str]] = {
    "SQLite": frozenset({"GPKG", "SQLite"}),
    "FlatGeobuf": frozenset({"FlatGeobuf"}),
    "shapefile": frozenset({"ESRI Shapefile"}),
    "JSON": frozenset({"GeoJSON", "GeoJSONSeq", "ESRIJSON", "TopoJSON"}),
    "KML": frozenset({"KML", "LIBKML"}),
    "GML": frozenset({"GML"}),
    "file geodatabase": frozenset({"OpenFileGDB"}),
}
"""Formats whose files hold the features themselves, and the GDAL drivers that may read each."""
READ = "GeoPackage, shapefile (zipped), GeoJSON, FlatGeobuf, KML, or a file geodatabase (zipped)"
LEAST_FEATURE_BYTES = 4
"""A feature takes more in any format. For more features than there can be, memory would be taken before reading."""
_SUFFIXES = (".shp", ".gpkg", ".geojson", ".json", ".fgb", ".kml", ".gml", ".geojsonl")
_POINTERS = re.compile(rb"<OGR\w*DataSource|gdal_streamed_alg|<VRTDataset|<WFS|<GDAL_WMS", re.IGNORECASE)
_SNIFFED_BYTES = 1 << 16
_PLAIN = re.compile(r"[\w/.() +=@~^&$-]+")
"""what pyogrio and GDAL read as a path; they give a meaning to ! # ? { } : and others"""
_OTHER_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b", "is compressed by gzip", "Unpack it."),
    (b"BZh", "is compressed by bzip2", "Unpack it."),
    (b"7z\xbc\xaf\x27\x1c", "is a 7-Zip archive", "Unpack it."),
    (b"Rar!", "is a RAR archive", "Unpack it."),
    (b"%PDF", "is a PDF document", "Give the vector file."),
    (b"II*\x00", "is a TIFF image", "Give outlines, not pixels."),
    (b"version https://git-lfs", "is a pointer of Git LFS, not the file", "Fetch it by `git lfs pull`."),
)
"""first bytes of what is often given instead, what it is, what to do"""
_GDAL_OPTIONS = {
    # no address is followed, no SQLite table stands for another file, nothing is written beside the file
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": "{none}",
    "OGR_SQLITE_STATIC_VIRTUAL_OGR": "NO",
    "OGR_SQLITE_LOAD_EXTENSIONS": "NONE",
    "GDAL_PAM_ENABLED": "NO",
    "GML_SKIP_RESOLVE_ELEMS": "ALL",
    "GML_SAVE_RESOLVED_TO": "SAME",
}
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
    pyogrio.set_gdal_config_options(_GDAL_OPTIONS)
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
            f"{path.name} is a folder.",
            f"Give one of the vector files in it: {_listed(inside)}." if inside else f"Give a {READ}.",
        )
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            head, size = file.read(_SNIFFED_BYTES), os.fstat(file.fileno()).st_size
    except ArchiveError as error:
        raise SourceDataError(
            error.message.replace(str(path), path.name), "Check the path in the area file."
        ) from None
    if head.startswith(b"PK"):
        return _in_zip(path, wanted, choice)
    # a name that GDAL or pyogrio could take for something else than a path is none here: it begins with a slash
    return _Source(path, str(path.resolve()), wanted, _format(path.name, head), size)


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
                    kind = _format(member, stream.read(_SNIFFED_BYTES))
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


def _format(name: str, head: bytes) -> str:
    """The format that a file's first bytes show: a key of `FORMATS`.

    Raises:
        SourceDataError: another format, or one that points elsewhere.
    """
    for magic, kind, remedy in _OTHER_KINDS:
        if head.startswith(magic):
            raise SourceDataError(f"{name} {kind}.", remedy)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if is_page(head):
        raise SourceDataError(
            f"{name} is a web page, not a vector file.",
            "Its address may ask for a login: open it in a browser, and give the file itself.",
        )
    if _POINTERS.search(head):
        raise SourceDataError(
            f"{name} does not hold features but points to other sources, which are not followed.",
            "Give the file that holds the features.",
        )
    shown = {
        "SQLite": head.startswith(b"SQLite format 3\0"),
        "FlatGeobuf": head.startswith(b"fgb\x03"),
        "shapefile": head.startswith(b"\x00\x00\x27\x0a"),
        "JSON": text.startswith((b"{", b"[", b"\x1e")),
        "KML": text.startswith(b"<") and re.search(rb"<(\w+:)?kml[\s>]", head) is not None,
        "GML": text.startswith(b"<") and b"http://www.opengis.net/gml" in head,
    }
    found = next((kind for kind, is_that in shown.items() if is_that), None)
    if found is None:
        problem = "is empty" if not head else "is none of the vector formats that are read"
        raise SourceDataError(f"{name} {problem}.", f"Give a {READ}.")
    return found


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
        _check_table(source, chosen)
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


def _check_table(source: _Source, layer: str) -> None:
    """A layer must be a table of its own: a view can compute without an end, a virtual table can stand for a file."""
    try:
        address = f"{Path(source.opened).as_uri()}?mode=ro&immutable=1"
        with closing(sqlite3.connect(address, uri=True)) as database:
            database.execute("PRAGMA trusted_schema = OFF")
            kinds = dict(
                database.execute("SELECT lower(name), type || ' ' || ifnull(sql, '') FROM sqlite_master")
            )
            table = layer.lower() if layer.lower() in kinds else layer.lower().rpartition("(")[0]
    except sqlite3.Error as error:
        raise SourceDataError(
            f"{source.path.name} is a damaged GeoPackage ({error}).", "Fetch it again."
        ) from None
    if not re.match(r"table CREATE TABLE\b", kinds.get(table, ""), re.IGNORECASE):
        raise SourceDataError(
            f"Layer {layer} of {source.path.name} is a view or a virtual table, which is not read.",
            "Write it to a table of its own (ogr2ogr).",
        )


def _without_path(error: object, path: Path) -> str:
    return str(error).replace(str(path.resolve()), path.name).replace(str(path), path.name)
