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

from pipeline.errors import ModelError, disk_error_of

_PARTIAL = re.compile(r"\..*\.[0-9a-f]{32}\.part(\.[^.]*)?")


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A partial name next to `target` to write to; it is renamed to `target` when the block ends without an error.

    The partial file's name begins with a dot and has the suffix of `target`, by which some writers choose a format.

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
    """A scratch folder next to `target` that is renamed to `target` when the block ends without an error.

    A folder that exists already is replaced only if it holds the file `mark`, which marks a folder of the same kind,
    or if it is empty.

    Raises:
        ModelError: something else is at `target`.
        DiskError: the folder cannot be written.
    """
    target = target.absolute()
    if target.exists() and not (target.is_dir() and ((target / mark).is_file() or not any(target.iterdir()))):
        raise ModelError(
            f"{target} exists and is not what would be replaced (it holds no {mark}).", "Give another --out."
        )
    with scratch_name(target) as scratch:
        writable_parent(target)
        scratch.mkdir()
        yield scratch
        put_folder(scratch, target, replace=True)


@contextmanager
def scratch_name(target: Path) -> Iterator[Path]:
    """The path of a scratch folder next to `target` that does not exist yet; what lies there is removed at the end."""
    target = target.absolute()
    scratch = target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}.partial")
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def put_folder(folder: Path, target: Path, *, replace: bool) -> None:
    """Sync a finished folder to the disk and rename it to `target`, on the same file system.

    Raises:
        FileExistsError: `target` exists and is not empty, and `replace` is false.
        OSError: it cannot be renamed.
    """
    _sync(folder)
    try:
        folder.rename(target)  # on POSIX an empty folder is replaced
    except OSError:
        if not target.exists():
            raise
        if not replace:
            raise FileExistsError(str(target)) from None
        aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
        target.rename(aside / "old")
        folder.rename(target)
        shutil.rmtree(aside, ignore_errors=True)
    sync_path(target.parent)


def writable_parent(target: Path) -> Path:
    """The folder that `target` will lie in, made if it does not exist.

    Raises:
        DiskError: it cannot be written.
    """
    parent = target.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=parent):
            return parent
    except OSError as error:
        if (disk := disk_error_of(error, target)) is not None:
            raise disk from error
        raise


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
