"""Zip archives from outside: their entries are checked before anything is unpacked."""

from __future__ import annotations

import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.archives.http.downloads import ensure_room
from pipeline.errors import SourceDataError
from pipeline.progress import Progress, no_progress

MOST_RATIO = 100.0
"""Unpacked to packed bytes of a whole archive that unpacks to more than `RATIO_FROM_BYTES`; SLCs reach 2."""
RATIO_FROM_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that a zip of one kind may hold."""

    entries: int
    unpacked_bytes: int


SLC_LIMITS = Limits(entries=2000, unpacked_bytes=32 * 2**30)
"""A SAFE folder has about 60 files; a whole SLC unpacks to 8 GB, the longest have slices of 10 GB."""
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
    return unpack_folder(path, target / top, top, SLC_LIMITS, only=True)


def unpack_folder(
    path: Path,
    final: Path,
    inside: str,
    limits: Limits,
    *,
    only: bool = False,
    progress: Progress = no_progress,
) -> Path:
    """Unpack the folder `inside` of a zip as `final`, which appears whole or not at all; the rules are `unpack`'s.

    Args:
        inside: the empty text is the zip itself.
        only: refuse a zip that holds anything else; else the rest is checked too and left out.
        progress: gets the bytes written of the bytes in all.

    Raises:
        SourceDataError: it is no zip, damaged, lacks the folder, or holds something that is refused.
        ArchiveError: it does not fit on the disk.
    """
    part = final.with_name(f".{final.name}.part")
    with _named(path), zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        _check(path, entries, limits)
        beneath = f"{inside}/" if inside else ""
        wanted = [entry for entry in entries if f"{entry.filename}/".startswith(beneath)]
        if only and len(wanted) < len(entries):
            outside = next(entry for entry in entries if entry not in wanted)
            raise _refused(path, f"{outside.filename[:200]!r} lies outside the folder {inside}")
        total = sum(entry.file_size for entry in wanted)
        ensure_room(final.parent, total, final.name)
        shutil.rmtree(part, ignore_errors=True)
        try:
            done = 0
            for entry in wanted:
                _unpack(archive, entry, part)
                done += entry.file_size
                progress(f"unpacking {path.name}", done, total)
            if not (part / inside).is_dir():
                raise _refused(path, f"it holds no folder {inside!r}")
            if final.exists():
                shutil.rmtree(final)
            (part / inside).replace(final)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return final


def entries_of(path: Path, limits: Limits) -> list[str]:
    """The names of a zip's entries, if every one of them would be unpacked.

    Raises:
        SourceDataError: it is no zip, or holds something that is refused.
    """
    with _named(path), zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        _check(path, entries, limits)
        return [entry.filename for entry in entries]


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn the errors of a damaged zip into one that names it."""
    try:
        yield
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        UnicodeError,
    ) as error:
        raise SourceDataError(
            f"{path.name} is no zip that can be unpacked ({type(error).__name__}).", _AGAIN
        ) from None


def _refused(path: Path, why: str) -> SourceDataError:
    return SourceDataError(f"{path.name} is not unpacked: {why}.", _AGAIN)


def _check(path: Path, entries: Sequence[zipfile.ZipInfo], limits: Limits) -> None:
    if not entries or len(entries) > limits.entries:
        raise _refused(path, f"it has {len(entries)} entries")
    folders: set[str] = set()
    files: set[str] = set()
    for entry in entries:
        shown = repr(entry.filename[:200])
        name = PurePosixPath(entry.filename)
        plain = re.fullmatch(r"[\w.:()+,@=~-]+(/[\w.:()+,@=~-]+)*/?", entry.filename, flags=re.ASCII)
        if plain is None or name.is_absolute() or {".", ".."} & set(entry.filename.split("/")):
            raise _refused(path, f"the name {shown} leads outside or has unusual characters")
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFDIR if entry.is_dir() else stat.S_IFREG):
            raise _refused(path, f"{shown} is a link or something else that is no plain file")
        if entry.flag_bits & 0x1:
            raise _refused(path, f"{shown} is encrypted")
        folded = str(name).casefold()
        if folded in files or (folded in folders and not entry.is_dir()):
            raise _refused(path, f"{shown} occurs twice")
        if not entry.is_dir():
            files.add(folded)
        folders |= {str(parent).casefold() for parent in name.parents} | (
            {folded} if entry.is_dir() else set()
        )
    if files & folders:
        raise _refused(path, f"{min(files & folders)[:200]!r} is a file and a folder")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > limits.unpacked_bytes:
        raise _refused(path, f"it unpacks to {unpacked / 1e9:.0f} GB")
    if unpacked > RATIO_FROM_BYTES and unpacked > MOST_RATIO * path.stat().st_size:
        raise _refused(path, f"it unpacks to {unpacked / path.stat().st_size:.0f} times its size")


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
