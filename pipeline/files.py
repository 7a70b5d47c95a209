"""Files and folders that appear whole or not at all, even after a kill or a power cut."""

from __future__ import annotations

import fcntl
import glob
import os
import re
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import DiskError, ModelError, disk_error_of

FORGOTTEN_S = 86400.0
"""age at which a scratch folder without a lock is a left-over"""

MIB = 2**20

_PARTIAL = re.compile(r"\..*\.[0-9a-f]{32}\.part(\.[^.]*)?")


class UnreadableError(OSError):
    """A file is no regular file, or larger than one of its kind may be; its message says which."""


class TooLargeError(UnreadableError):
    """A file is larger than one of its kind may be."""


def open_regular(path: Path) -> BinaryIO:
    """A regular file, open for reading.

    Raises:
        UnreadableError: it is a folder, pipe or device, which may never end.
        OSError: it does not exist or cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnreadableError(f"{path} is no regular file")
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, most_bytes: int) -> bytes:
    """The content of a regular file of at most `most_bytes`; its size is asked before memory is taken.

    Raises:
        UnreadableError: it is a folder, pipe or device, which may never end.
        TooLargeError: it is larger.
        OSError: it does not exist or cannot be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        # memory is taken for what is asked: for the size first, and more only of a file that grows
        content = b"" if size > most_bytes else file.read(size + 1)
        if len(content) > size:
            content += file.read(most_bytes + 1 - len(content))
        if max(size, len(content)) > most_bytes:
            raise TooLargeError(f"{path} is larger than {max(1, most_bytes // MIB)} MiB")
        return content


@contextmanager
def temporary(what: str) -> Iterator[None]:
    """Turn an error of the block, which writes to the folder of temporary files, into one that names that folder.

    Raises:
        DiskError: `what` cannot be kept there.
    """
    try:
        yield
    except OSError as error:
        folder = getattr(tempfile, "tempdir", None) or os.environ.get("TMPDIR") or "/tmp"
        raise DiskError(
            f"{what} cannot be kept in {folder} ({error.strerror or type(error).__name__}).",
            "Free some room there, or set TMPDIR to another folder.",
            error.errno,
        ) from error


@contextmanager
def writing(target: Path | str, *, alone: bool = True) -> Iterator[None]:
    """Turn an error of the own disk in the block, which writes `target`, into one that names it.

    Args:
        alone: the block does nothing else; where it does, an error that names no file counts only where it says that
            no more can be written.

    Raises:
        DiskError: `target` cannot be written.
    """
    try:
        yield
    except Exception as error:  # libraries raise what they like
        named = getattr(error, "filename", None)
        beside = _around(Path(named), Path(target)) if isinstance(named, str) else alone
        where = target if beside or named is None else None
        if (disk := disk_error_of(error, where, writing=beside)) is not None:
            raise disk from error
        raise


def _around(path: Path, target: Path) -> bool:
    """Whether a path lies in the folder of `target`, or is a folder above it."""
    folder = target.absolute().parent
    return path.absolute().is_relative_to(folder) or folder.is_relative_to(path.absolute())


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A partial name next to `target` to write to; it is renamed to `target` when the block ends without an error.

    The partial file's name begins with a dot and has the suffix of `target`, by which some writers choose a format.

    Raises:
        DiskError: `target` cannot be written.
    """
    partial = target.with_name(f".{target.stem}.{uuid.uuid4().hex}.part{target.suffix}")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            sync_path(partial)
            partial.replace(target)
            sync_path(target.parent)
        finally:
            with suppress(OSError):  # what cannot be written cannot be removed either
                partial.unlink(missing_ok=True)


def is_partial(name: str) -> bool:
    """Whether a file's name is one that `whole_file` writes to, which a kill can leave behind."""
    return _PARTIAL.fullmatch(name) is not None


def write_whole(target: Path, content: bytes | str) -> None:
    """Write a small file, whole or not at all; text as UTF-8.

    Raises:
        DiskError: `target` cannot be written.
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
    with scratch_name(target) as scratch, writing(target, alone=False):
        writable_parent(target)
        scratch.mkdir()
        yield scratch
        put_folder(scratch, target, replace=True)


@contextmanager
def scratch_name(target: Path) -> Iterator[Path]:
    """The path of a scratch folder next to `target` that does not exist yet; what lies there is removed at the end.

    What a killed run of the same target has left is removed, and a result that the run had put aside is put back. A
    locked file next to the scratch folder says that a run is in work; a kill frees the lock.

    Raises:
        DiskError: the folder of `target` cannot be written.
    """
    target = target.absolute()
    missing = [each for each in target.parents if not each.exists()]
    writable_parent(target)
    try:
        _remove_abandoned(target)
        scratch = target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}.partial")
        lock = _lock_of(scratch)
        with lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            try:
                yield scratch
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
                lock.unlink(missing_ok=True)
    finally:
        for folder in missing:
            with suppress(OSError):  # it holds the result
                folder.rmdir()


def is_there(target: Path) -> bool:
    """Whether a folder exists, after one that a killed run had put aside is brought back."""
    target = target.absolute()
    if (
        not target.is_dir()
        and target.parent.is_dir()
        and any(target.parent.glob(f".{glob.escape(target.name)}.*.old"))
    ):
        with scratch_name(target):
            pass
    return target.is_dir()


def _lock_of(scratch: Path) -> Path:
    return scratch.with_suffix(".lock")


def _remove_abandoned(target: Path) -> None:
    """Remove scratch folders of killed runs of a target; put back a result that such a run had put aside."""
    begin = f".{target.name}."
    scratches, aside = set(), []
    for path in target.parent.iterdir():
        if path.name.startswith(begin) and re.fullmatch(
            r"[0-9a-f]{12}\.(partial|lock)", path.name[len(begin) :]
        ):
            scratches.add(path.with_suffix(".partial"))
        elif path.name.startswith(begin) and path.name.endswith(".old") and path.is_dir():
            aside.append(path)
    in_work = False
    for scratch in scratches:
        if is_abandoned(scratch):
            shutil.rmtree(scratch, ignore_errors=True)
            _lock_of(scratch).unlink(missing_ok=True)
        else:
            in_work = True
    for folder in () if in_work else aside:
        if not target.exists() and (folder / "old").exists():
            (folder / "old").rename(target)
        shutil.rmtree(folder, ignore_errors=True)


def is_abandoned(scratch: Path) -> bool:
    """Whether nobody works in a scratch folder; one of an earlier release, which has no lock, counts after a day."""
    try:
        with _lock_of(scratch).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except FileNotFoundError:
        return scratch.exists() and time.time() - scratch.stat().st_mtime > FORGOTTEN_S
    except OSError:
        return False


def put_folder(folder: Path, target: Path, *, replace: bool) -> None:
    """Sync a finished folder to the disk and rename it to `target`, on the same file system.

    Raises:
        FileExistsError: `target` exists and is not empty, and `replace` is false.
        DiskError: it cannot be synced or renamed.
    """
    with writing(target):
        _sync(folder)
        try:
            folder.rename(target)  # on POSIX an empty folder is replaced
            sync_path(target.parent)
            return
        except OSError:
            if not target.exists():
                raise
    if not replace:
        raise FileExistsError(str(target)) from None
    with writing(target):
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
    with writing(target):
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=parent):
            return parent


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
