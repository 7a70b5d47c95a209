"""Folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import ModelError


@contextmanager
def whole_folder(target: Path, mark: str) -> Iterator[Path]:
    """A scratch folder beside `target` that takes its place when the block ends without an error.

    A folder that is already there is replaced only if it holds the file `mark`, which says that it is of the same
    kind, or nothing at all.

    Raises:
        ModelError: something else is at `target`, or the folder cannot be written.
    """
    target = target.absolute()
    if target.exists() and not (target.is_dir() and ((target / mark).is_file() or not any(target.iterdir()))):
        raise ModelError(
            f"{target} exists and is not what would be replaced (it holds no {mark}).", "Give another --out."
        )
    scratch = Path(
        tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=writable_parent(target))
    )
    try:
        yield scratch
        scratch.chmod(0o755)
        _sync(scratch)
        _replace(scratch, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def writable_parent(target: Path) -> Path:
    """The folder that `target` will lie in, made if it is not there.

    Raises:
        ModelError: it cannot be written.
    """
    parent = target.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=parent):
            return parent
    except OSError as error:
        raise ModelError(f"{target} cannot be written ({error.strerror}).", "Give another --out.") from error


def _replace(scratch: Path, target: Path) -> None:
    if not target.exists():
        scratch.rename(target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
    target.rename(aside / "old")
    scratch.rename(target)
    shutil.rmtree(aside, ignore_errors=True)


def _sync(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
