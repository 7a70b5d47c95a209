"""Containers of vector files: a file, a zip, a file geodatabase. What is none of them is refused by its cause."""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pipeline.errors import SourceDataError, number_of
from pipeline.files import temporary
from pipeline.layers.outlines.vector_formats import READ, SNIFFED_BYTES, format_of

SUFFIXES = (".shp", ".gpkg", ".geojson", ".json", ".fgb", ".kml", ".gml", ".geojsonl")
GEODATABASE = ".gdb"
"""a folder of this suffix is one file geodatabase"""
MOST_LISTED = 20
"""names in an error"""
_ZIPS = (".zip", ".kmz")
_PLAIN = re.compile(r"[\w/.() +=@~^&$-]+")
"""what GDAL and its Python libraries read as a path; they give a meaning to ! # ? { } : and others"""


@dataclass(frozen=True)
class Opened:
    """What GDAL opens of a container, while the block lasts."""

    source: str
    layer: str | None
    """the layer that is wanted of it; None: not chosen yet"""
    kind: str
    """a key of `FORMATS`"""
    size_bytes: int
    """unpacked"""


@contextmanager
def opened(path: Path, wanted: str | None, field: str) -> Iterator[Opened]:
    """The vector file in a container. `wanted` chooses a layer, or a file of a zip; `field` names it in errors.

    Raises:
        SourceDataError: it is absent, no regular file, of another kind, cut short, points to other sources, or a choice
            is needed.
    """
    _check_exists(path)
    with _plain_name(path) as plain:
        if path.is_dir():
            size = sum(part.stat().st_size for part in path.iterdir() if part.is_file())
            yield Opened(str(plain), wanted, "file geodatabase", size)
        elif not zipfile.is_zipfile(path):
            # the layer of a file without layers has the file's name
            alias = plain.stem if wanted == path.stem and plain != path else wanted
            yield Opened(str(plain), alias, format_of(path.name, _head(path)), path.stat().st_size)
        else:
            member = _chosen(path, wanted, field)
            with _readable(path, plain, member) as source:
                yield replace(member, source=source)


@contextmanager
def _readable(path: Path, plain: Path, member: Opened) -> Iterator[str]:
    """What GDAL opens of a zip. SQLite cannot read within one: a GeoPackage is unpacked."""
    if member.kind != "SQLite":
        yield f"/vsizip/{{{plain.resolve()}}}/{member.source}"
        return
    with ExitStack() as stack:
        with temporary(f"The unpacked {member.source} of {path.name}"):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="slidecube-"))
            file = Path(folder) / "unpacked.gpkg"
            with (
                zipfile.ZipFile(path) as archive,
                archive.open(member.source) as packed,
                file.open("xb") as unpacked,
            ):
                shutil.copyfileobj(packed, unpacked)
        yield str(file)


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
    with ExitStack() as stack:
        with temporary(f"A link to {path.name}"):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slidecube-")))
            stem = absolute.stem
            for one in absolute.parent.iterdir() if absolute.is_file() else (absolute,):
                if one.name.startswith(f"{stem}."):
                    (folder / f"source{one.name.removeprefix(stem)}").symlink_to(one)
            link = folder / f"source{absolute.suffix}"
            if not link.exists():
                link.symlink_to(absolute)
        yield link


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(SNIFFED_BYTES)


def _chosen(path: Path, wanted: str | None, field: str) -> Opened:
    """The member of a zip that is read, by its name in it, and the layer that is wanted of it."""
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
            kind, own = "file geodatabase", f"{member}/"
            if not member.lower().endswith(GEODATABASE):
                with archive.open(member) as stream:
                    kind = format_of(f"{member} in {path.name}", stream.read(SNIFFED_BYTES))
                own = member.rpartition(".")[0]
            size = sum(one.file_size for one in archive.infolist() if one.filename.startswith(own))
    except (zipfile.BadZipFile, RuntimeError, OSError, NotImplementedError, EOFError) as error:
        reason = "it is protected by a password" if "password" in str(error) else str(error)
        raise SourceDataError(
            f"{path.name} is no readable zip file ({reason}).", "Fetch it again."
        ) from error
    return Opened(member, layer, kind, size)


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
        f"Give a zip with a {READ}.",
    )


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_LISTED
    return ", ".join(names[:MOST_LISTED]) + (f" and {more} more" if more > 0 else "")
