"""A disk that fails at a chosen moment: every such call on a path in one folder raises the system's error.

What Python writes goes through the calls that are replaced here. GDAL and Arrow write by themselves: of their files
only the folder, the sync and the rename can fail so; `ulimit -f` fails their writes (test_full_disk_results.py).
"""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

Moment = Literal["folder", "open", "write", "sync", "rename"]


class _Full(io.FileIO):
    """A file that takes no byte."""

    number = 0

    def write(self, data: Any, /) -> int:
        raise OSError(self.number, os.strerror(self.number))


def _path_of(file: Any) -> Path | None:
    try:
        return Path(f"/proc/self/fd/{file}").readlink() if isinstance(file, int) else Path(os.fsdecode(file))
    except (OSError, TypeError, ValueError):
        return None


@contextmanager
def failing_disk(folder: Path, moment: Moment, number: int) -> Iterator[list[str]]:
    """Fail at a moment with an error number; the list is filled with the paths at which that happened."""
    met: list[str] = []

    def within(file: Any) -> bool:
        path = _path_of(file)
        return path is not None and path.absolute().is_relative_to(folder)

    def refuse(file: Any) -> None:
        met.append(str(file))
        raise OSError(number, os.strerror(number), None if isinstance(file, int) else os.fsdecode(file))

    def failing(honest: Callable[..., Any], place: int = 0) -> Callable[..., Any]:
        def call(*given: Any, **options: Any) -> Any:
            if len(given) > place and within(given[place]):
                refuse(given[place])
            return honest(*given, **options)

        return call

    honest_open, honest_os_open = io.open, os.open

    def opened(file: Any, mode: str = "r", *given: Any, **options: Any) -> Any:
        if not (set(mode) & set("wax+") and within(file)) or "opener" in options:
            return honest_open(file, mode, *given, **options)
        if moment == "open" and not isinstance(file, int):
            refuse(file)
        if moment != "write":
            return honest_open(file, mode, *given, **options)
        raw = _Full(file, mode.replace("b", "").replace("t", ""), closefd=options.get("closefd", True))
        raw.number = number
        met.append(str(file))
        if options.get("buffering", given[0] if given else -1) == 0:
            return raw
        binary = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return (
            binary if "b" in mode else io.TextIOWrapper(binary, encoding=options.get("encoding") or "utf-8")
        )

    def os_opened(file: Any, flags: int, *given: Any, **options: Any) -> int:
        if moment == "open" and flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR) and within(file):
            refuse(file)
        return honest_os_open(file, flags, *given, **options)

    with pytest.MonkeyPatch.context() as patch:
        if moment == "folder":
            patch.setattr(os, "mkdir", failing(os.mkdir))
        elif moment == "sync":
            patch.setattr(os, "fsync", failing(os.fsync))
        elif moment == "rename":
            patch.setattr(os, "rename", failing(os.rename))
            patch.setattr(os, "replace", failing(os.replace))
        else:
            patch.setattr(io, "open", opened)
            patch.setattr(builtins, "open", opened)
            patch.setattr(os, "open", os_opened)
        yield met
