"""Containers of vector files: a file, a zip, a file geodatabase. What is none of them is refused by its cause."""

from __future__ import annotations

import re
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.errors import SourceDataError, number_of

SUFFIXES = (".shp", ".gpkg", ".geojson", ".json", ".fgb", ".kml", ".gml", ".tab", ".geojsonl")
GEODATABASE = ".gdb"
"""a folder of this suffix is one file geodatabase"""
MOST_LISTED = 20
"""names in an error"""
_ZIPS = (".zip", ".kmz")
_SNIFFED_BYTES = 1 << 16
_POINTERS = re.compile(rb"<OGR\w*DataSource|gdal_streamed_alg|<VRTDataset|<WFS|<GDAL_WMS", re.IGNORECASE)
_PAGE = re.compile(
    rb"\s*(\xef\xbb\xbf)?\s*(<!--.*?-->\s*)*<(!doctype\s+html|html)", re.IGNORECASE | re.DOTALL
)
_PLAIN = re.compile(r"[\w/.() +=@~^&$-]+")
"""what GDAL and its Python libraries read as a path; they give a meaning to ! # ? { } : and others"""
_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b"PK\x03\x04", "is a zip that ends early or is damaged", "Fetch it again."),
    (b"\x1f\x8b", "is compressed by gzip", "Unpack it."),
    (b"BZh", "is compressed by bzip2", "Unpack it."),
    (b"\xfd7zXZ", "is compressed by xz", "Unpack it."),
    (b"7z\xbc\xaf\x27\x1c", "is a 7-Zip archive", "Unpack it."),
    (b"Rar!", "is a RAR archive", "Unpack it."),
    (b"%PDF", "is a PDF document", "Give the vector file."),
    (b"II*\x00", "is a TIFF image", "Give outlines, not pixels."),
    (b"MM\x00*", "is a TIFF image", "Give outlines, not pixels."),
    (b"version https://git-lfs", "is a pointer of Git LFS, not the file", "Fetch it by `git lfs pull`."),
)
"""first bytes, what they are, what to do"""


@dataclass(frozen=True)
class Opened:
    """What GDAL opens of a container, while the block lasts."""

    source: str
    layer: str | None
    """the layer that is wanted of it; None: not chosen yet"""


@contextmanager
def opened(path: Path, wanted: str | None, field: str) -> Iterator[Opened]:
    """The vector file in a container. `wanted` chooses a layer, or a file of a zip; `field` names it in errors.

    Raises:
        SourceDataError: it is absent, no regular file, of another kind, cut short, points to other sources, or a choice
            is needed.
    """
    _check_exists(path)
    with _plain_name(path) as plain:
        if path.is_dir() or not zipfile.is_zipfile(path):
            if not path.is_dir():
                _check_head(path.name, _head(path))
            # the layer of a file without layers has the file's name
            alias = plain.stem if wanted == path.stem and plain != path else wanted
            yield Opened(str(plain), alias)
        else:
            member, layer = _chosen(path, wanted, field)
            yield Opened(f"/vsizip/{{{plain.resolve()}}}/{member}", layer)


def _check_exists(path: Path) -> None:
    if not path.exists():
        raise SourceDataError(f"{path} does not exist.", "Correct the path in the area file.")
    if path.is_dir():
        if path.suffix.lower() == GEODATABASE:
            return
        inside = sorted(
            one.name for one in path.iterdir() if one.name.lower().endswith((*SUFFIXES, *_ZIPS, GEODATABASE))
        )
        raise SourceDataError(
            f"{path} is a folder.",
            f"Give one of the vector files in it: {_listed(inside)}." if inside else "Give a vector file.",
        )
    if not path.is_file():
        raise SourceDataError(f"{path} is no regular file.", "Give a vector file.")


@contextmanager
def _plain_name(path: Path) -> Iterator[Path]:
    """The path, or a link to it and the files beside it of the same stem, if its name has a meaning for GDAL."""
    absolute = path.absolute()
    if _PLAIN.fullmatch(str(absolute)) and not str(absolute).startswith("/vsi"):
        yield absolute
        return
    with tempfile.TemporaryDirectory(prefix="slidecube-") as folder:
        stem = absolute.stem
        for one in absolute.parent.iterdir() if absolute.is_file() else (absolute,):
            if one.name.startswith(f"{stem}."):
                (Path(folder) / f"source{one.name.removeprefix(stem)}").symlink_to(one)
        link = Path(folder) / f"source{absolute.suffix}"
        if not link.exists():
            link.symlink_to(absolute)
        yield link


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(_SNIFFED_BYTES)


def _check_head(name: str, head: bytes) -> None:
    """Refuse what is no vector file by what it is."""
    if not head:
        raise SourceDataError(f"{name} is empty.", "Fetch it again.")
    for magic, kind, remedy in _KINDS:
        if head.startswith(magic):
            raise SourceDataError(f"{name} {kind}.", remedy)
    if _PAGE.match(head):
        raise SourceDataError(
            f"{name} is a web page: of a sign-in, of an error, or one that only links to the file.",
            "Open its address in a browser, and give the address or path of the file itself.",
        )
    if _POINTERS.search(head):
        raise SourceDataError(
            f"{name} does not hold features but points to other sources, which are not followed.",
            "Give the file that holds the features.",
        )


def _chosen(path: Path, wanted: str | None, field: str) -> tuple[str, str | None]:
    """The member of a zip that is read, and the layer that is wanted of it."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = _vector_members(archive)
            matching = [m for m in members if wanted in {m, PurePosixPath(m).name, PurePosixPath(m).stem}]
            if len(matching) == 1:
                member, layer = matching[0], None
            elif len(members) == 1:
                member, layer = members[0], wanted
            else:
                raise _no_choice(path, archive, members, matching, wanted, field)
            if not member.lower().endswith(GEODATABASE):
                with archive.open(member) as stream:
                    _check_head(f"{member} in {path.name}", stream.read(_SNIFFED_BYTES))
    except (zipfile.BadZipFile, RuntimeError, OSError, NotImplementedError, EOFError) as error:
        reason = "it is protected by a password" if "password" in str(error) else str(error)
        raise SourceDataError(
            f"{path.name} is no readable zip file ({reason}).", "Fetch it again."
        ) from error
    return member, layer


def _vector_members(archive: zipfile.ZipFile) -> list[str]:
    """Vector files and file geodatabases in a zip."""
    found: set[str] = set()
    for name in archive.namelist():
        parts = PurePosixPath(name).parts
        if not parts or parts[0] == "__MACOSX" or parts[-1].startswith("._"):
            continue
        within = next((i for i, part in enumerate(parts) if part.lower().endswith(GEODATABASE)), None)
        if within is not None:
            found.add("/".join(parts[: within + 1]))
        elif name.lower().endswith(SUFFIXES):
            found.add(name)
    return sorted(found)


def _no_choice(
    path: Path,
    archive: zipfile.ZipFile,
    members: list[str],
    matching: list[str],
    wanted: str | None,
    field: str,
) -> SourceDataError:
    if members:
        called = f", and {len(matching)} are called {wanted!r}" if wanted else ""
        return SourceDataError(
            f"{path.name} holds {number_of(len(members), 'vector file')}{called}: {_listed(members)}.",
            f"Name one of them as {field}.",
        )
    names = [name for name in archive.namelist() if not name.endswith("/")]
    zips = [name for name in names if name.lower().endswith(_ZIPS)]
    if zips:
        return SourceDataError(
            f"{path.name} holds no vector file but {number_of(len(zips), 'further zip')}: {_listed(zips)}.",
            "Unpack it, and give the zip or the vector file that is inside.",
        )
    return SourceDataError(
        f"{path.name} holds no vector file{f', but {_listed(names)}' if names else ''}.",
        "Give a zip with a GeoPackage, shapefile, GeoJSON, FlatGeobuf, KML or file geodatabase in it.",
    )


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_LISTED
    return ", ".join(names[:MOST_LISTED]) + (f" and {more} more" if more > 0 else "")
