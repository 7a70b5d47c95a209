"""Where a cube lives. Everything that differs between a local disk and an object store is in this module.

Keys are relative POSIX paths. What is put is complete or absent: readers never see half a file.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pipeline.errors import CubeError

STAGING = ".staging-"


class LocalStore:
    """A folder on a local disk (one file system, so that layers and versions can share bytes by hard link)."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, key: str) -> Path:
        """The file of that key.

        Raises:
            CubeError: the key leaves the store.
        """
        pure = PurePosixPath(key)
        if pure.is_absolute() or ".." in pure.parts:
            raise CubeError(f"The key {key!r} leaves the cube.", "The manifest is damaged; rebuild the cube.")
        return self.root / pure

    def read(self, key: str) -> bytes | None:
        """The bytes of that key, or None where there are none."""
        try:
            return self.path(key).read_bytes()
        except FileNotFoundError:
            return None

    def exists(self, key: str) -> bool:
        """Whether the key (or the folder of that name) is there."""
        return self.path(key).exists()

    def put_new(self, key: str, data: bytes) -> None:
        """Write a file that is whole or absent, even after a power cut."""
        target = self.path(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f"{STAGING}{uuid.uuid4().hex}")
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(target.parent)

    def compare_and_swap(self, key: str, expected: bytes | None, data: bytes) -> bool:
        """Replace the bytes of `key` if they are still `expected`; whether it was done.

        On a local disk the writer's lock makes this exact; an object store does it by a conditional write.
        """
        if self.read(key) != expected:
            return False
        self.put_new(key, data)
        return True

    def link(self, source: str, target: str) -> None:
        """Make `target` hold the bytes of `source` without copying where the file system can."""
        source_path, target_path = self.path(source), self.path(target)
        target_path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source_path, target_path)
        except FileNotFoundError as error:
            raise CubeError(f"{source} is gone from the cube.", "Run `slidecube build` again.") from error
        except OSError:
            shutil.copyfile(source_path, target_path)

    def names(self, prefix: str) -> list[str]:
        """Names directly below `prefix`, sorted; empty where there is no such folder."""
        folder = self.path(prefix)
        return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []

    def files(self, prefix: str) -> list[str]:
        """Keys of all files below `prefix`, relative to it, sorted."""
        folder = self.path(prefix)
        return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())

    def staging(self, parent: str) -> str:
        """A new folder below `parent` that no reader looks at; `commit` makes it visible."""
        key = f"{parent}/{STAGING}{uuid.uuid4().hex}"
        self.path(key).mkdir(parents=True)
        return key

    def commit(self, staging: str, final: str) -> None:
        """Sync a staged folder to the disk and give it its final name, in one step for every reader."""
        for folder, _, names in os.walk(self.path(staging), topdown=False):
            for name in names:
                _sync_file(Path(folder) / name)
            _sync_folder(Path(folder))
        target = self.path(final)
        try:
            self.path(staging).rename(target)
        except OSError:
            if not target.exists():
                raise
            # somebody committed the same recipe first: what it holds is the same by definition
            self.delete(staging)
        _sync_folder(target.parent)

    def delete(self, key: str) -> None:
        """Remove a file or a folder; nothing happens where there is none."""
        target = self.path(key)
        if target.is_dir() and not target.is_symlink():
            # renamed first, so that nobody finds half a folder under its name
            doomed = target.with_name(f"{STAGING}{uuid.uuid4().hex}")
            with contextlib.suppress(FileNotFoundError):
                target.rename(doomed)
                shutil.rmtree(doomed, ignore_errors=True)
        else:
            target.unlink(missing_ok=True)

    def sweep(self, prefix: str) -> int:
        """Remove what a killed writer left below `prefix`; how many entries. Only under the writer's lock."""
        doomed = [name for name in self.names(prefix) if name.startswith(STAGING)]
        for name in doomed:
            target = self.path(f"{prefix}/{name}")
            if target.is_dir():
                shutil.rmtree(target, ignore_errors=True)
            else:
                target.unlink(missing_ok=True)
        return len(doomed)

    @contextlib.contextmanager
    def lock(self, key: str, *, wait: bool) -> Iterator[bool]:
        """Hold the writer's lock; yields whether it had to be waited for. A kill frees it.

        Raises:
            CubeError: somebody else holds it and `wait` is false.
        """
        target = self.path(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("a") as file:
            waited = False
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not wait:
                    raise CubeError(
                        f"Somebody else is writing the cube {self.root}.", "Wait until that build has ended."
                    ) from None
                fcntl.flock(file, fcntl.LOCK_EX)
                waited = True
            try:
                yield waited
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)


def digest_of(data: bytes) -> str:
    """sha256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
