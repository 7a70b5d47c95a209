"""A cube in a folder on a local disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from zarr.storage import LocalStore as ZarrFolder

from pipeline.cube.store import MOST_BYTES, STAGING, ZarrStore, checked_key, digest_of
from pipeline.errors import BusyError, CubeError
from pipeline.files import UnreadableError, is_partial, open_regular, read_regular, sync_path, write_whole
from pipeline.lock import LockedError, held

CONTENT, OPEN = "content", ".open"
"""of `.staging-<id>`: the staged folder itself, and a file that is written first. Where the latter is missing, a sweep
has removed the folder, and its writer has made it again by the next file."""


class LocalStore:
    """A folder on a local disk (one file system, so that layers and versions can share bytes by hard link)."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def uri(self) -> str:
        """The folder's path, as it was given."""
        return str(self.root)

    def uri_of(self, key: str) -> str:
        """The path of a key."""
        return str(self.path(key))

    def path(self, key: str) -> Path:
        """The file or folder of a key.

        Raises:
            CubeError: the key points outside the cube.
        """
        return self.root / checked_key(key)

    def zarr(self, key: str) -> ZarrStore:
        """The folder of a key, for zarr and xarray."""
        return ZarrFolder(self.path(key))

    def read(self, key: str, most_bytes: int = MOST_BYTES) -> bytes | None:
        """The bytes of a key, or None where there are none.

        Raises:
            CubeError: it is a pipe or a device, which may never end, or larger.
        """
        path = self.path(key)
        try:
            return None if path.is_dir() else read_regular(path, most_bytes)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except UnreadableError as error:
            raise CubeError(f"{error}.", "Remove it; a cube has no such files.") from error

    def read_part(self, key: str, offset: int, length: int) -> bytes:
        """Bytes of a file from `offset` on, from its end where that is negative.

        Raises:
            CubeError: there is no such file, or it cannot be read.
        """
        try:
            with open_regular(self.path(key)) as file:
                file.seek(offset, os.SEEK_SET if offset >= 0 else os.SEEK_END)
                return file.read(length)
        except (OSError, UnreadableError) as error:
            raise CubeError(
                f"{self.uri_of(key)} cannot be read.", "Run `slidecube verify` on the cube."
            ) from error

    def exists(self, key: str) -> bool:
        """Whether there is a file or a folder of that key."""
        return self.path(key).exists()

    def names(self, prefix: str) -> list[str]:
        """Names directly below `prefix`, sorted; empty where there is no such folder."""
        folder = self.path(prefix)
        return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []

    def files(self, prefix: str) -> list[str]:
        """Keys of all files below `prefix`, relative to it, sorted."""
        folder = self.path(prefix)
        return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())

    def irregular(self, prefix: str) -> list[str]:
        """Keys below `prefix` that are neither file nor folder, such as a pipe or a device, sorted."""
        folder = self.path(prefix)
        return sorted(
            p.relative_to(folder).as_posix()
            for p in folder.rglob("*")
            if p.exists() and not (p.is_file() or p.is_dir())
        )

    def stamp(self, prefix: str) -> str:
        """From the names, sizes and times of change of all files below `prefix`."""
        states = []
        for name in self.files(prefix):
            found = (self.path(prefix) / name).stat()
            states.append(f"{name} {found.st_size} {found.st_mtime_ns} {found.st_ino}")
        return digest_of("\n".join(states).encode())

    def write(self, key: str, data: bytes) -> None:
        """Write a file that is whole or absent, even after a power cut."""
        write_whole(self.path(key), data)

    def put(self, key: str, data: bytes) -> None:
        """Write a file of a staged folder; `commit` syncs it."""
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def compare_and_swap(self, key: str, expected: bytes | None, data: bytes) -> bool:
        """Replace the bytes of `key` if they are still `expected`; the writer's lock makes this exact."""
        if self.read(key) != expected:
            return False
        self.write(key, data)
        return True

    def link(self, source: str, target: str) -> None:
        """A hard link; a copy where the file system has none."""
        source_path, target_path = self.path(source), self.path(target)
        target_path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source_path, target_path)
        except FileNotFoundError as error:
            raise CubeError(f"{source} is gone from the cube.", "Run `slidecube build` again.") from error
        except OSError:
            shutil.copyfile(source_path, target_path)

    def delete(self, key: str) -> None:
        """Remove a file or a folder; nothing happens where there is none."""
        target = self.path(key)
        if target.name == CONTENT and target.parent.name.startswith(STAGING):
            target = target.parent
        if target.is_dir() and not target.is_symlink():
            _remove(target)
        else:
            target.unlink(missing_ok=True)

    def staging(self, parent: str) -> str:
        """A new folder below `parent` that readers ignore."""
        key = f"{parent}/{_new_name()}"
        try:
            self.put(f"{key}/{OPEN}", b"")
            self.path(f"{key}/{CONTENT}").mkdir(parents=True)
        except OSError:
            _remove(self.path(key))
            raise
        return f"{key}/{CONTENT}"

    def commit(self, staging: str, final: str) -> None:
        """Sync a staged folder to the disk, then rename it.

        A writer whose build was killed may go on in another process, while the next build sweeps. A folder that was
        swept and then written again by the file lacks what was written first, and `OPEN` with it.

        Raises:
            CubeError: the folder, or a part of it, was removed meanwhile.
        """
        target, begun = self.path(final), self.path(staging).parent
        closed = begun.with_name(_new_name())
        try:
            begun.rename(closed)  # what is written later under the staged name is not in it
            (closed / OPEN).unlink()
            for folder, _, names in os.walk(closed / CONTENT, topdown=False):
                for name in names:
                    sync_path(Path(folder) / name)
                sync_path(Path(folder))
            try:
                (closed / CONTENT).rename(target)
            except OSError:
                if not target.exists():  # else the content is the same by definition
                    raise
        except FileNotFoundError as error:
            raise CubeError(
                f"Another build has removed what this one wrote of {self.uri_of(final)}.",
                "Run `slidecube build` again.",
            ) from error
        finally:
            _remove(closed)
        sync_path(target.parent)

    def sweep(self, prefix: str) -> int:
        """Remove what a killed writer left directly below `prefix`; the number of entries removed.

        A writer that goes on nevertheless is told when it commits.
        """
        doomed = [name for name in self.names(prefix) if name.startswith(STAGING) or is_partial(name)]
        for name in doomed:
            with contextlib.suppress(OSError):  # the next sweep tries again
                self.delete(f"{prefix}/{name}" if prefix else name)
        return len(doomed)

    @contextlib.contextmanager
    def lock(self, key: str, *, wait: bool) -> Iterator[bool]:
        """Hold the lock file of that key; yields True if another holder had to be waited for. A kill frees it.

        Raises:
            BusyError: another holder has it and `wait` is false, or had it for too long.
        """
        with contextlib.ExitStack() as stack:
            try:
                waited = stack.enter_context(held(self.path(key), wait=wait, what=f"the cube {self.uri}"))
            except LockedError:
                raise BusyError(
                    f"Another build is writing the cube {self.uri}.", "Wait until that build has ended."
                ) from None
            yield waited


def _new_name() -> str:
    return f"{STAGING}{uuid.uuid4().hex}"


def _remove(folder: Path) -> None:
    """Remove a folder, in one step for all others; `sweep` removes what is left.

    Where the disk refuses the new name, the mark goes first: what is committed then lacks it, and is told so.
    """
    doomed = folder.with_name(_new_name())
    try:
        folder.rename(doomed)
    except FileNotFoundError:
        return
    except OSError:
        doomed = folder
        with contextlib.suppress(OSError):
            (folder / OPEN).unlink(missing_ok=True)
    shutil.rmtree(doomed, ignore_errors=True)
