"""Reads untrusted files: only regular files are opened."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

_MOST_BYTES = 2**24


def open_plain(path: Path) -> io.BufferedReader:
    """Open a regular file for reading; a link, device or pipe raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path.name} is not a regular file")
    return os.fdopen(descriptor, "rb")


def read_plain(path: Path) -> bytes:
    """At most 16 MiB of the content of a regular file. Raises OSError."""
    with open_plain(path) as file:
        return file.read(_MOST_BYTES)
