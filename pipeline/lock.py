"""A lock that one thread of one process holds at a time; a kill of the process frees it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.errors import BusyError
from pipeline.files import writing

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 24 * 3600.0
"""Longest wait for another holder: longer than a job of a pair may run by default."""
REPORT_S = 600.0
"""How often a wait is reported."""


class LockedError(Exception):
    """Another holder has the lock."""


@contextmanager
def held(
    path: Path, *, wait: bool = True, what: str | None = None, longest_s: float = LONGEST_WAIT_S
) -> Iterator[bool]:
    """Hold the lock of the file `path`; yields True if it waited for another holder.

    A wait is logged when it begins and every `REPORT_S` seconds, with `what` is locked (by default the file) and the
    process that holds it. The file stays: removing it would let two holders in.

    Raises:
        LockedError: another holder has it, and `wait` is false.
        BusyError: another holder had it for `longest_s` seconds.
        DiskError: the file cannot be made or locked.
    """
    lock = FileLock(path)
    waited = False
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(blocking=False)
    except Timeout:
        if not wait:
            raise LockedError(str(path)) from None
        _wait(lock, path, what or str(path), longest_s)
        waited = True
    try:
        yield waited
    finally:
        lock.release()


def _wait(lock: FileLock, path: Path, what: str, longest_s: float) -> None:
    began = time.monotonic()
    log.warning("waiting for %s, held by %s", what, holder(path))
    while True:
        left_s = longest_s - (time.monotonic() - began)
        try:
            lock.acquire(timeout=max(0.0, min(REPORT_S, left_s)))
        except Timeout:
            if left_s <= REPORT_S:
                raise BusyError(
                    f"{what} is held by {holder(path)}, for more than {longest_s / 3600:.3g} hours.",
                    "Wait until it ends, or end it, and run this again.",
                ) from None
            minutes = (time.monotonic() - began) / 60
            log.warning("waiting for %s, held by %s, for %.0f minutes", what, holder(path), minutes)
        else:
            return


def holder(path: Path) -> str:
    """The process that holds the lock of a file, in words, as far as this machine knows it.

    `/proc/locks` (proc(5)) lists locks by device and inode; other machines and systems list none.
    """
    with suppress(OSError, ValueError):
        inode = str(path.stat().st_ino)
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            words = line.split()
            if "->" not in words and words[5].rpartition(":")[2] == inode and int(words[4]) > 0:
                return f"process {words[4]}"
    return "another process"
