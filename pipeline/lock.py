"""A lock that one thread of one process holds at a time; a kill of the process frees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


class LockedError(Exception):
    """Another holder has the lock."""


@contextmanager
def held(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of the file `path`; yields True if it waited for another holder.

    The file stays: removing it would let two holders in.

    Raises:
        LockedError: another holder has it, and `wait` is false.
        OSError: its folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    waited = False
    try:
        lock.acquire(blocking=False)
    except Timeout:
        if not wait:
            raise LockedError(str(path)) from None
        lock.acquire()
        waited = True
    try:
        yield waited
    finally:
        lock.release()
