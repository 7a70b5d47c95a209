"""Files and folders that appear whole or not at all, even after a kill or a power cut."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import ModelError

_PARTIAL = re.compile(r"\..*\.[0-9a-f]{32}\.part(\.[^.]*)?")


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A partial name beside `target` to write to; it takes the target's place when the block ends without an error.

    The partial file begins with a dot and keeps the suffix of `target`, which some writers go by.

    Raises:
        OSError: the folder cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.stem}.{uuid.uuid4().hex}.part{target.suffix}")
    try:
        yield partial
        sync_path(partial)
        partial.replace(target)
        sync_path(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def is_partial(name: str) -> bool:
    """Whether a file's name is one that `whole_file` writes to, which a kill can leave behind."""
    return _PARTIAL.fullmatch(name) is not None


def write_whole(target: Path, content: bytes | str) -> None:
    """Write a small file, whole or not at all; text as UTF-8.

    Raises:
        OSError: the folder cannot be written.
    """
    with whole_file(target) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


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
            sync_path(path)


def sync_path(path: Path) -> None:
    """Write what a file or a folder holds to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
