"""A store: the only access to a cube's bytes, wherever they are kept.

Keys are relative POSIX paths; the empty key is the cube itself. A key is written whole or not at all: no reader sees
half a file. To keep cubes somewhere else, write one class with these methods and name its scheme in
`pipeline.cube.addresses.STORES`.
"""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from pathlib import PurePosixPath
from typing import Protocol

import zarr.abc.store

from pipeline.errors import CubeError

STAGING = ".staging-"
"""Names with this prefix belong to a writer that has not finished; readers ignore them."""

MOST_BYTES = 2 * 2**30
"""of a file that is read whole, such as the polygons beside labels"""
MOST_DOCUMENT_BYTES = 256 * 2**20
"""of a manifest or a record: a hundred times those of the largest cubes"""

ZarrStore = zarr.abc.store.Store
"""What zarr and xarray open: a store whose root is one Zarr group or array."""


class Store(Protocol):
    """All bytes of one cube. Methods other than `lock` may be called from several threads.

    Every method raises CubeError for a key that points outside the cube.
    """

    @property
    def uri(self) -> str:
        """Address of the cube, which `open_store` opens."""
        ...

    def uri_of(self, key: str) -> str:
        """Address of a key; that of a version is one that `open_cube` opens."""
        ...

    def zarr(self, key: str) -> ZarrStore:
        """The Zarr group or array at `key`, for zarr and xarray: its metadata are at the root of what is returned.

        (A path inside a larger Zarr store is not enough: zarr writes groups into all folders above an array.)
        """
        ...

    def read(self, key: str, most_bytes: int = MOST_BYTES) -> bytes | None:
        """The bytes of a key, or None where there are none.

        Raises:
            CubeError: they are more than `most_bytes`, which is found out before they are read.
        """
        ...

    def read_part(self, key: str, offset: int, length: int) -> bytes:
        """Bytes of a key from `offset` on, from its end where that is negative; fewer where it ends before.

        Raises:
            CubeError: there is no such file.
        """
        ...

    def exists(self, key: str) -> bool:
        """Whether there is a file or a folder of that key."""
        ...

    def names(self, prefix: str) -> list[str]:
        """Names directly below `prefix`, sorted; empty where there is no such folder."""
        ...

    def files(self, prefix: str) -> list[str]:
        """Keys of all files below `prefix`, relative to it, sorted."""
        ...

    def irregular(self, prefix: str) -> list[str]:
        """Keys below `prefix` that are neither file nor folder, such as a pipe, whose reading may never end, sorted."""
        ...

    def stamp(self, prefix: str) -> str:
        """Another text once a file below `prefix` has changed; found without reading the files."""
        ...

    def write(self, key: str, data: bytes) -> None:
        """Write or replace a key, durably."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write or replace a key of a staged folder, which `commit` makes durable."""
        ...

    def compare_and_swap(self, key: str, expected: bytes | None, data: bytes) -> bool:
        """Replace the bytes of `key` if they are still `expected` (None: absent); whether it was done.

        Exact at least among writers that hold the writer's lock.
        """
        ...

    def link(self, source: str, target: str) -> None:
        """Make `target` hold the bytes of `source`, without copying where the store can.

        Raises:
            CubeError: `source` is gone.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove a file or a folder; nothing happens where there is none."""
        ...

    def staging(self, parent: str) -> str:
        """Key of a new folder below `parent` that readers ignore; `commit` makes it visible."""
        ...

    def commit(self, staging: str, final: str) -> None:
        """Make a staged folder durable and give it its final key, in one step for every reader.

        Where `final` exists already, it is kept and the staged folder is removed: equal keys hold equal content.

        Raises:
            CubeError: a sweep has removed the staged folder, or a part of it: its writer outlived its build's lock.
        """
        ...

    def sweep(self, prefix: str) -> int:
        """Remove what a killed writer left directly below `prefix`; the number of entries removed.

        The caller must hold the writer's lock. A process that worked for the killed writer may write on, and commits
        nothing of what was removed.
        """
        ...

    def lock(self, key: str, *, wait: bool) -> AbstractContextManager[bool]:
        """Hold the lock of that key; yields True if another holder had to be waited for. A kill frees it.

        Raises:
            BusyError: another holder has it and `wait` is false.
        """
        ...


def checked_key(key: str) -> PurePosixPath:
    """The key as a relative path.

    Raises:
        CubeError: the key points outside the cube.
    """
    pure = PurePosixPath(key)
    if pure.is_absolute() or ".." in pure.parts:
        raise CubeError(
            f"The key {key!r} points outside the cube.", "The manifest is damaged; rebuild the cube."
        )
    return pure


def digest_of(data: bytes) -> str:
    """sha256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
