"""A store in the memory of this process: the second implementation of `Store`, which has no path."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

from zarr.core.buffer import Buffer
from zarr.core.buffer.cpu import Buffer as CpuBuffer
from zarr.storage import MemoryStore as ZarrMemory

from pipeline.cube.local_store import CONTENT, OPEN
from pipeline.cube.store import MOST_BYTES, STAGING, ZarrStore, checked_key, digest_of
from pipeline.errors import BusyError, CubeError

SCHEME = "memory"
_buckets: dict[str, dict[str, Buffer]] = {}
_locks: dict[str, threading.Lock] = {}


class _Below(MutableMapping[str, Buffer]):
    """The part of the bytes below a prefix, with keys relative to it."""

    def __init__(self, everything: dict[str, Buffer], prefix: str) -> None:
        self.everything, self.prefix = everything, f"{prefix}/" if prefix else ""

    def __getitem__(self, key: str) -> Buffer:
        return self.everything[self.prefix + key]

    def __setitem__(self, key: str, value: Buffer) -> None:
        self.everything[self.prefix + key] = value

    def __delitem__(self, key: str) -> None:
        del self.everything[self.prefix + key]

    def __iter__(self) -> Iterator[str]:
        return (key.removeprefix(self.prefix) for key in list(self.everything) if key.startswith(self.prefix))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class MemoryStore:
    """One cube, or a folder of cubes, at `memory://...`; all stores opened at one URI share the same bytes."""

    def __init__(self, uri: str) -> None:
        bucket, _, self._prefix = uri.removeprefix(f"{SCHEME}://").rstrip("/").partition("/")
        self.uri = uri.rstrip("/")
        self._bytes = _buckets.setdefault(bucket, {})

    def _key(self, key: str) -> str:
        return (
            "/".join(part for part in (self._prefix, str(checked_key(key)).removeprefix(".")) if part) or ""
        )

    def _below(self, key: str) -> list[str]:
        prefix = self._key(key)
        return [each for each in self._bytes if not prefix or each.startswith(f"{prefix}/")]

    def uri_of(self, key: str) -> str:
        return f"{self.uri}/{key}" if key else self.uri

    def zarr(self, key: str) -> ZarrStore:
        return ZarrMemory(_Below(self._bytes, self._key(key)))

    def read(self, key: str, most_bytes: int = MOST_BYTES) -> bytes | None:
        found = self._bytes.get(self._key(key))
        return None if found is None else found.to_bytes()

    def read_part(self, key: str, offset: int, length: int) -> bytes:
        found = self.read(key)
        if found is None:
            raise CubeError(f"{key} is missing")
        start = offset if offset >= 0 else max(0, len(found) + offset)
        return found[start : start + length]

    def exists(self, key: str) -> bool:
        return self._key(key) in self._bytes or bool(self._below(key))

    def names(self, prefix: str) -> list[str]:
        return sorted({key.partition("/")[0] for key in self.files(prefix)})

    def files(self, prefix: str) -> list[str]:
        start = len(f"{self._key(prefix)}/") if self._key(prefix) else 0
        return sorted(key[start:] for key in self._below(prefix))

    def irregular(self, prefix: str) -> list[str]:
        return []

    def stamp(self, prefix: str) -> str:
        return digest_of(
            b"".join(self.read(f"{prefix}/{key}" if prefix else key) or b"" for key in self.files(prefix))
        )

    def write(self, key: str, data: bytes) -> None:
        self._bytes[self._key(key)] = CpuBuffer.from_bytes(data)

    put = write

    def compare_and_swap(self, key: str, expected: bytes | None, data: bytes) -> bool:
        if self.read(key) != expected:
            return False
        self.write(key, data)
        return True

    def link(self, source: str, target: str) -> None:
        if self._key(source) not in self._bytes:
            raise CubeError(f"{source} is gone from the cube.")
        self._bytes[self._key(target)] = self._bytes[self._key(source)]

    def delete(self, key: str) -> None:
        folder, _, name = key.rpartition("/")
        key = folder if name == CONTENT and STAGING in folder else key
        for each in (self._key(key), *self._below(key)):
            self._bytes.pop(each, None)

    def staging(self, parent: str) -> str:
        key = f"{parent}/{STAGING}{uuid.uuid4().hex}"
        self.write(f"{key}/{OPEN}", b"")
        return f"{key}/{CONTENT}"

    def commit(self, staging: str, final: str) -> None:
        begun = staging.removesuffix(f"/{CONTENT}")
        if not self.exists(f"{begun}/{OPEN}"):
            raise CubeError(f"What was written of {final} was removed.")
        if not self.exists(final):
            for name in self.files(staging):
                self.link(f"{staging}/{name}", f"{final}/{name}")
        self.delete(begun)

    def sweep(self, prefix: str) -> int:
        left = [name for name in self.names(prefix) if name.startswith(STAGING)]
        for name in left:
            self.delete(f"{prefix}/{name}" if prefix else name)
        return len(left)

    @contextmanager
    def lock(self, key: str, *, wait: bool) -> Iterator[bool]:
        lock = _locks.setdefault(self.uri_of(key), threading.Lock())
        waited = not lock.acquire(blocking=False)
        if waited and not wait:
            raise BusyError(f"Another build is writing the cube {self.uri}.")
        if waited:
            lock.acquire()
        try:
            yield waited
        finally:
            lock.release()
