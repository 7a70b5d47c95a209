"""Files that somebody else wrote: opened only where they are what they look like."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

_MOST_BYTES = 2**24


def open_plain(path: Path) -> io.BufferedReader:
    """Open a file for reading that is no link, no device and no pipe. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path.name} is no plain file")
    return os.fdopen(descriptor, "rb")


def read_plain(path: Path) -> bytes:
    """The content of a small plain file, cut at 16 MiB. Raises OSError."""
    with open_plain(path) as file:
        return file.read(_MOST_BYTES)
