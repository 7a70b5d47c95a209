"""A lock that one process and one thread holds at a time, freed when its holder is killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


class LockedError(Exception):
    """Somebody else holds the lock."""


@contextmanager
def held(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of the file `path`; yields True if another holder had to be waited for.

    The file stays: removing it would let two holders in.

    Raises:
        LockedError: somebody else holds it, and `wait` is false.
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
