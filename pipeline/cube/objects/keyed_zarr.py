"""A Zarr group or array over the keys of a store, for zarr and xarray."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Protocol

from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype


class Keys(Protocol):
    """What is needed of a store of a cube."""

    def uri_of(self, key: str) -> str: ...

    def read(self, key: str) -> bytes | None: ...

    def read_part(self, key: str, offset: int, length: int) -> bytes: ...

    def size(self, key: str) -> int | None: ...

    def exists(self, key: str) -> bool: ...

    def put(self, key: str, data: bytes) -> None: ...

    def delete(self, key: str) -> None: ...

    def names(self, prefix: str) -> list[str]: ...

    def files(self, prefix: str) -> list[str]: ...


class KeyedZarr(Store):
    """The part of a store below `root`; requests run in threads, several at a time."""

    supports_writes = True
    supports_deletes = True
    supports_listing = True

    def __init__(self, keys: Keys, root: str, *, read_only: bool = False) -> None:
        super().__init__(read_only=read_only)
        self._keys, self._root = keys, root

    def with_read_only(self, read_only: bool = False) -> KeyedZarr:
        """The same part, which may be written or not."""
        return KeyedZarr(self._keys, self._root, read_only=read_only)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyedZarr) and str(other) == str(self)

    def __hash__(self) -> int:
        return hash(str(self))

    def __str__(self) -> str:
        return self._keys.uri_of(self._root)

    def __repr__(self) -> str:
        return f"KeyedZarr({str(self)!r})"

    def _key(self, key: str) -> str:
        return f"{self._root}/{key}".strip("/")

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """The bytes of a key or a part of them; None where there are none."""
        data = await asyncio.to_thread(self._read, self._key(key), byte_range)
        return None if data is None else prototype.buffer.from_bytes(data)

    def _read(self, key: str, part: ByteRequest | None) -> bytes | None:
        if part is None:
            return self._keys.read(key)
        size = self._keys.size(key)
        if size is None:
            return None
        if isinstance(part, RangeByteRequest):
            return self._keys.read_part(key, part.start, min(part.end, size) - part.start)
        if isinstance(part, OffsetByteRequest):
            return self._keys.read_part(key, part.offset, size - part.offset)
        if isinstance(part, SuffixByteRequest):
            length = min(part.suffix, size)
            return self._keys.read_part(key, size - length, length)
        raise TypeError(f"unknown part {part!r}")

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Several parts at once."""
        return list(await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges)))

    async def exists(self, key: str) -> bool:
        """Whether there are bytes of that key."""
        return await asyncio.to_thread(self._keys.size, self._key(key)) is not None

    async def set(self, key: str, value: Buffer) -> None:
        """Write the bytes of a key."""
        self._check_writable()
        await asyncio.to_thread(self._keys.put, self._key(key), value.to_bytes())

    async def delete(self, key: str) -> None:
        """Remove the bytes of a key."""
        self._check_writable()
        await asyncio.to_thread(self._keys.delete, self._key(key))

    async def list(self) -> AsyncIterator[str]:
        """All keys."""
        for key in await asyncio.to_thread(self._keys.files, self._root):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """All keys that begin with a text."""
        for key in await asyncio.to_thread(self._keys.files, self._root):
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Names directly below a folder."""
        for name in await asyncio.to_thread(self._keys.names, self._key(prefix.strip("/"))):
            yield name
