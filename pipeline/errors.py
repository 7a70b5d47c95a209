"""Errors that name the object and the remedy, and the exit status of each on the command line."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from pathlib import Path


class SlidecubeError(Exception):
    """Base of every error that a user can act on.

    `str(error)` is the message and, after a blank, what to do next (`remedy`).
    `exit_code` is what the command line returns.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(message, remedy)

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class AreaError(SlidecubeError):
    """An area file is missing, malformed, or asks for something that cannot be built."""

    exit_code = 2


class LedgerError(SlidecubeError):
    """No event has that name, or its document in the ledger is damaged."""

    exit_code = 2


class SettingsError(SlidecubeError):
    """An environment variable or a key is missing or malformed."""

    exit_code = 2


class ArchiveError(SlidecubeError):
    """An archive refused, failed or answered with something that cannot be used."""

    exit_code = 3

    def __init__(self, message: str, remedy: str = "", *, transient: bool = False) -> None:
        super().__init__(message, remedy)
        self.transient = transient  # True: trying again later may help


class SourceDataError(SlidecubeError):
    """A raster, DEM or inventory was read and its content cannot be used."""

    exit_code = 4


class GridError(SlidecubeError):
    """A layer does not lie exactly on the cube's grid."""

    exit_code = 4


class CubeError(SlidecubeError):
    """A cube is absent, damaged, or of another grid."""

    exit_code = 5


class InterferometryError(SlidecubeError):
    """A pair could not be processed: the processor, its engine or its product failed; `code` names how."""

    exit_code = 8

    def __init__(self, code: str, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.code = code


class IncompleteError(SlidecubeError):
    """The work was done in part; what is missing is named."""

    exit_code = 6


class DiskError(SlidecubeError):
    """A file of this machine cannot be written: full or read-only disk, quota, limit, no permission, a fault of it.

    `number` is the system's error number, None where it is not known.
    """

    exit_code = 9

    def __init__(self, message: str, remedy: str = "", number: int | None = None) -> None:
        super().__init__(message, remedy)
        self.number = number

    @property
    def full(self) -> bool:
        """Whether room is what lacks."""
        return self.number in (errno.ENOSPC, errno.EDQUOT)


class StorageError(DiskError):
    """An object store cannot be reached, or refuses; no layer can be kept in it."""


class BusyError(SlidecubeError):
    """What another process or run holds did not come free in time; what it is and who holds it are named."""

    exit_code = 10


class ModelError(SlidecubeError):
    """A cube cannot be trained on or mapped, or a bundle cannot be used."""

    exit_code = 7


class ReplaceError(ModelError):
    """Another result exists at the target, and the caller did not allow replacing it."""


_WHY = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EFBIG: "the file would be larger than this process may write (ulimit -f) or the disk can hold",
}
"""Only a write gives these, so that they decide whatever error they come wrapped in."""
_REMEDIES = {
    errno.ENOSPC: "Free disk space",
    errno.EDQUOT: "Free disk space of yours",
    errno.EFBIG: "Raise the limit",
    errno.EMFILE: "Raise the limit of open files (ulimit -n)",
}
_WORDS = {
    "No space left on device": errno.ENOSPC,
    "Disk quota exceeded": errno.EDQUOT,
    "Read-only file system": errno.EROFS,
    "File too large": errno.EFBIG,
}
"""By which libraries that raise errors of their own name the same."""
_UNFINISHED = re.compile(r"\.(staging-.*|.*\.(part|partial|old)(\.[^.]*)?)")
_SCRATCH = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{12,32}\.(part|partial)(?P<suffix>\.[^.]*)?")
"""what `pipeline.files` calls a file or a folder while it is written"""


def disk_error_of(
    error: BaseException, where: str | Path | None = None, *, writing: bool = False
) -> DiskError | None:
    """The error of this machine's disk that an error is, or was caused by; None where it was another.

    An error that names its remedy already (a `SlidecubeError`) counts only where no more can be written at all.

    Args:
        where: what was written, if it is known; else the file that the error names.
        writing: nothing but `where` was in work, so that every number of the system is of the disk.
    """
    if isinstance(error, DiskError):
        return error
    wrapped = isinstance(error, SlidecubeError)
    for one in _causes(error):
        number = one.errno if isinstance(one, OSError) else None
        named = getattr(one, "filename", None)
        if number is None and not isinstance(one, SlidecubeError):
            number = next((n for words, n in _WORDS.items() if words in str(one)), None)
        of_disk = isinstance(named, str | bytes) or number == errno.EIO or writing
        if number is None or (number not in _WHY and (wrapped or not of_disk)) or _of_network(one):
            continue
        why = _WHY.get(number) or str(getattr(one, "strerror", "") or type(one).__name__)
        target = _finished(str(where or named)) if where or isinstance(named, str) else "A file"
        remedy = _REMEDIES.get(number, "Give a folder that can be written")
        return DiskError(
            f"{target} cannot be {'written' if number in _WHY or writing else 'opened or written'}: {why}.",
            f"{remedy}, or choose another place (SLIDECUBE_DATA_DIR, --out); the same command then goes on from what "
            "is whole.",
            number,
        )
    return None


def _of_network(error: BaseException) -> bool:
    return isinstance(error, ConnectionError | TimeoutError | ssl.SSLError | socket.gaierror | socket.herror)


def _causes(error: BaseException) -> list[BaseException]:
    """The error, the members of its groups, and what caused them."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop(0)
        if one is None or any(one is each for each in found):
            continue
        found.append(one)
        waiting += one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        waiting += (one.__cause__, None if one.__suppress_context__ else one.__context__)
    return found


def _finished(name: str) -> str:
    """A path without the names that it has only while it is written."""
    path = Path(name)
    for index, part in enumerate(path.parts):
        if index and (scratch := _SCRATCH.fullmatch(part)) is not None:
            return str(Path(*path.parts[:index], scratch["name"] + (scratch["suffix"] or "")))
        if index and _UNFINISHED.fullmatch(part):
            return str(Path(*path.parts[:index]))
    return name


def number_of(count: int, noun: str) -> str:
    """A count with its noun: '1 layer', '2 layers', '2 passes', '1,000 pixels'."""
    return f"{count:,} {noun}{'' if count == 1 else 'es' if noun.endswith('s') else 's'}"
