"""Files of this machine that an item names: read only where the user allowed it, and only regular files."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from pipeline.catalogue.assets import local_path
from pipeline.errors import ArchiveError, SourceDataError
from pipeline.settings import settings


def check_allowed(href: str) -> None:
    """Refuse a local address, as an archive's item could name any file of this machine.

    Raises:
        ArchiveError: the user did not allow local files.
    """
    if not settings().local_items:
        raise ArchiveError(
            f"An item names the local file {local_path(href).name!r}, which is not read.",
            "If the catalogue is your own, set SLIDECUBE_LOCAL_ITEMS=true.",
        )


class LocalFile:
    """A regular file of this machine, read by ranges; a file that changes while it is read is refused.

    Raises:
        ArchiveError: it does not exist, cannot be read, or is no regular file.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._fd = open_regular(path)
        status = os.fstat(self._fd)
        self.size = status.st_size
        self.etag = f"local-{status.st_size}-{status.st_mtime_ns}"
        self.bytes_read = 0

    def header(self, length: int) -> bytes:
        """The first `length` bytes, or all."""
        return self.fetch(0, min(length, self.size))

    def fetch(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`.

        Raises:
            SourceDataError: the file has become shorter or was changed.
        """
        data = bytearray()
        while len(data) < length:
            part = os.pread(self._fd, length - len(data), offset + len(data))
            if not part:
                break
            data += part
        status = os.fstat(self._fd)
        if len(data) != length or self.etag != f"local-{status.st_size}-{status.st_mtime_ns}":
            raise SourceDataError(f"{self.name} changed while it was read.", "Build again.")
        return bytes(data)

    def fetch_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of several (offset, length), in the order given."""
        return [self.fetch(offset, length) for offset, length in ranges]

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def open_regular(path: Path) -> int:
    """A descriptor for reading a regular file; a pipe or device is never waited for.

    Raises:
        ArchiveError: it does not exist, cannot be read, or is no regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "its name cannot be a path"
        raise ArchiveError(f"{path} cannot be read ({why}).", "Correct the path.") from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise ArchiveError(f"{path} is {kind}.", "Give the path of a file.")
    return descriptor
