"""Zip archives from outside: their entries are checked before anything is unpacked."""

from __future__ import annotations

import re
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from pipeline.archives.http.downloads import ensure_room
from pipeline.errors import SourceDataError

MOST_UNPACKED_BYTES = 32 * 2**30
"""A whole SLC with two polarisations unpacks to 8 GB; the longest have slices of 10 GB."""
MOST_ENTRIES = 2000
"""A SAFE folder has about 60 files."""
MOST_RATIO = 100.0
"""Unpacked to packed bytes of a whole archive that unpacks to more than `RATIO_FROM_BYTES`; SLCs reach 2."""
RATIO_FROM_BYTES = 2**30
_CHUNK_BYTES = 2**20
_AGAIN = "Delete it, so that it is fetched again; if that file is wrong too, report it."


def unpack(path: Path, target: Path, top: str) -> Path:
    """Unpack a zip that must hold one folder `top` into `target`; the folder appears whole or not at all.

    Returns `target / top`. Refused before the first byte is written: names that are absolute or lead outside, links
    and other things that are neither file nor folder, encrypted entries, two entries of one name (also where only
    the case differs), a file that is also a folder, and more entries, bytes or compression than any product has.
    While unpacking, every entry must have exactly the bytes and the CRC that it states.

    Raises:
        SourceDataError: it is no zip, damaged, or holds something that is refused; the entry is named.
        DiskError: it does not fit on the disk, or cannot be written.
    """
    final = target / top
    part = target / f".{top}.part"
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check(path, entries, top)
            ensure_room(target, sum(e.file_size for e in entries), top)
            shutil.rmtree(part, ignore_errors=True)
            for entry in entries:
                _unpack(archive, entry, part)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        UnicodeError,
    ) as error:
        shutil.rmtree(part, ignore_errors=True)
        raise SourceDataError(
            f"{path.name} is no zip that can be unpacked ({type(error).__name__}).", _AGAIN
        ) from None
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    if final.exists():
        shutil.rmtree(final)
    (part / top).replace(final)
    shutil.rmtree(part, ignore_errors=True)
    return final


def _check(path: Path, entries: list[zipfile.ZipInfo], top: str) -> None:
    def refuse(why: str) -> SourceDataError:
        return SourceDataError(f"{path.name} is not unpacked: {why}.", _AGAIN)

    if not entries or len(entries) > MOST_ENTRIES:
        raise refuse(f"it has {len(entries)} entries")
    folders: set[str] = set()
    files: set[str] = set()
    for entry in entries:
        shown = repr(entry.filename[:200])
        name = PurePosixPath(entry.filename)
        plain = re.fullmatch(r"[\w.()+,@=~-]+(/[\w.()+,@=~-]+)*/?", entry.filename, flags=re.ASCII)
        if plain is None or name.is_absolute() or {".", ".."} & set(entry.filename.split("/")):
            raise refuse(f"the name {shown} leads outside or has unusual characters")
        if name.parts[0] != top:
            raise refuse(f"{shown} lies outside the folder {top}")
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFDIR if entry.is_dir() else stat.S_IFREG):
            raise refuse(f"{shown} is a link or something else that is no plain file")
        if entry.flag_bits & 0x1:
            raise refuse(f"{shown} is encrypted")
        folded = str(name).casefold()
        if folded in files or (folded in folders and not entry.is_dir()):
            raise refuse(f"{shown} occurs twice")
        if not entry.is_dir():
            files.add(folded)
        folders |= {str(parent).casefold() for parent in name.parents} | (
            {folded} if entry.is_dir() else set()
        )
    if files & folders:
        raise refuse(f"{min(files & folders)[:200]!r} is a file and a folder")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MOST_UNPACKED_BYTES:
        raise refuse(f"it unpacks to {unpacked / 1e9:.0f} GB")
    if unpacked > RATIO_FROM_BYTES and unpacked > MOST_RATIO * path.stat().st_size:
        raise refuse(f"it unpacks to {unpacked / path.stat().st_size:.0f} times its size")


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    target = folder / entry.filename
    if entry.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with archive.open(entry) as source, target.open("xb") as file:
        while chunk := source.read(_CHUNK_BYTES):
            written += len(chunk)
            if written > entry.file_size:
                break
            file.write(chunk)
    if written != entry.file_size:
        raise zipfile.BadZipFile(entry.filename)
