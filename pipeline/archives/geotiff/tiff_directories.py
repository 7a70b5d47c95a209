"""Directories of a TIFF: where its blocks lie, how large they are, and whether the file holds them.

Nothing is decoded. GDAL takes a block that lies beyond the end of a file, or that a directory does not list, for zeros
or for nodata; here it is known before anything is decoded. The format is that of TIFF 6.0 and BigTIFF.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_DIRECTORIES = 64
"""An image, its mask, and the overviews of both; a file of these archives has about eight."""
MOST_TAGS = 1000
MOST_DIRECTORY_BYTES = 16 * 2**20
"""Of all directories and what they list; an image of 100,000 x 100,000 in blocks of 512 has 0.6 MB."""
MOST_BLOCK_BYTES = 256 * 2**20
"""Of one block, decoded; the archives have blocks of 512 x 512, an image in one strip is read whole."""
MOST_EDGE = 2**24
"""Rows or columns of an image; the largest of these archives has 50,000."""
_WIDTHS = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_TYPES = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
_UNCOMPRESSED, _YCBCR = 1, 6
_MASK = 4
_LEADER_BYTES = 4
"""GDAL's cloud-optimised files state a block's length before and repeat its end after it."""

Tags = dict[int, NDArray[Any]]
Fetch = Callable[[int, int], bytes]
"""(offset, length): exactly these bytes of the file"""


class TiffError(ValueError):
    """The file is no TIFF, or its directories cannot be what they state."""


@dataclass(frozen=True, slots=True)
class Directory:
    """One image of the file."""

    shape: tuple[int, int]
    """(rows, columns)"""
    block: tuple[int, int]
    """(rows, columns)"""
    planes: int
    """1 where a block holds all bands, else the number of bands"""
    is_mask: bool
    least_bytes: NDArray[np.int64]
    """that each block must have in the file: all of it where it is not compressed"""
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]
    """of each block in the file; offset and length of a block that was left out are 0"""

    @property
    def blocks_across(self) -> int:
        """Blocks side by side."""
        return -(-self.shape[1] // self.block[1])

    @property
    def blocks_down(self) -> int:
        """Blocks one below the other."""
        return -(-self.shape[0] // self.block[0])

    def touched(self, rows: tuple[int, int], columns: tuple[int, int]) -> list[int]:
        """Numbers of the blocks, in every plane, that hold pixels of rows and columns [first, end)."""
        down = range(rows[0] // self.block[0], -(-rows[1] // self.block[0]))
        across = range(columns[0] // self.block[1], -(-columns[1] // self.block[1]))
        plane = self.blocks_across * self.blocks_down
        return [
            p * plane + y * self.blocks_across + x for p in range(self.planes) for y in down for x in across
        ]

    def is_left_out(self, number: int) -> bool:
        """Whether the file holds no bytes of that block, by intent."""
        return bool(self.lengths[number] == 0)


@dataclass(frozen=True)
class Layout:
    """The directories of a file, and the bytes in which they stand."""

    directories: tuple[Directory, ...]
    pieces: dict[int, bytes] = field(repr=False)
    """by offset: the file's header, its directories and the values that they point to"""

    @property
    def image(self) -> Directory:
        """The first image, which GDAL opens."""
        return self.directories[0]

    @property
    def mask(self) -> Directory | None:
        """The mask of the first image within the file."""
        found = (one for one in self.directories[1:] if one.is_mask and one.shape == self.image.shape)
        return next(found, None)

    def ranges(self, directory: Directory, numbers: Iterable[int], size: int) -> list[tuple[int, int]]:
        """(offset, length) of some blocks of a directory in a file of `size` bytes, with what stands around them."""
        found = []
        for number in numbers:
            if directory.is_left_out(number):
                continue
            first = max(0, int(directory.offsets[number]) - _LEADER_BYTES)
            end = min(size, int(directory.offsets[number] + directory.lengths[number]) + _LEADER_BYTES)
            found.append((first, end - first))
        return found


def read_layout(fetch: Fetch, size: int, header: bytes) -> Layout:
    """The directories of a TIFF of `size` bytes that begins with `header`.

    Raises:
        TiffError: it is no TIFF, is cut, or states what cannot be or would take too much memory.
    """
    return _Reader(fetch, size, header).layout()


class _Reader:
    def __init__(self, fetch: Fetch, size: int, header: bytes) -> None:
        self._fetch, self._size, self._read = fetch, size, 0
        self._pieces = {0: header}
        order, version = header[:2], header[2:4]
        self._order = {b"II": "<", b"MM": ">"}.get(order, "")
        if not self._order or len(header) < 16:
            raise TiffError("is no TIFF")
        (number,) = struct.unpack(f"{self._order}H", version)
        if number not in (42, 43):
            raise TiffError("is no TIFF")
        self._big = number == 43
        if self._big and header[4:8] != struct.pack(f"{self._order}HH", 8, 0):
            raise TiffError("is no TIFF")

    def layout(self) -> Layout:
        (at,) = (
            self._numbers("Q", self._pieces[0][8:16])
            if self._big
            else self._numbers("I", self._pieces[0][4:8])
        )
        seen: set[int] = set()
        found: list[Directory] = []
        while at:
            if at in seen or len(seen) >= MOST_DIRECTORIES:
                raise TiffError(f"has directories that do not end ({len(seen)} read)")
            seen.add(at)
            tags, at = self._directory(at)
            if tags:
                found.append(self._image(tags))
        if not found:
            raise TiffError("holds no image")
        for one in found[:1] + [one for one in found[1:] if one.is_mask]:
            self._check_blocks(one)
        return Layout(tuple(found), self._pieces)

    def _bytes(self, offset: int, length: int) -> bytes:
        self._read += length
        if self._read > MOST_DIRECTORY_BYTES:
            raise TiffError(f"has directories of more than {MOST_DIRECTORY_BYTES / 2**20:.0f} MiB")
        if offset + length > self._size:
            raise TiffError(
                f"is cut: it has {self._size} bytes, and its directories reach to {offset + length}"
            )
        data = self._fetch(offset, length)
        self._pieces[offset] = data
        return data

    def _numbers(self, code: str, data: bytes) -> tuple[int, ...]:
        return struct.unpack(f"{self._order}{len(data) // struct.calcsize(code)}{code}", data)

    def _directory(self, at: int) -> tuple[Tags, int]:
        """Values of the tags that hold whole numbers, and the offset of the next directory."""
        code, entry_bytes, pointer = ("Q", 20, "Q") if self._big else ("H", 12, "I")
        count_bytes, pointer_bytes = struct.calcsize(code), struct.calcsize(pointer)
        (count,) = self._numbers(code, self._bytes(at, count_bytes))
        if count > MOST_TAGS:
            raise TiffError(f"has a directory of {count} tags")
        body = self._bytes(at, count_bytes + count * entry_bytes + pointer_bytes)[count_bytes:]
        tags: Tags = {}
        for number in range(count):
            entry = body[number * entry_bytes : (number + 1) * entry_bytes]
            tag, kind = self._numbers("H", entry[:4])
            (values,) = self._numbers(pointer, entry[4 : 4 + pointer_bytes])
            length = values * _WIDTHS.get(kind, 1)
            data = entry[-pointer_bytes:][:length]
            if length > pointer_bytes:
                (offset,) = self._numbers(pointer, entry[-pointer_bytes:])
                data = self._bytes(offset, length)
            if kind in _TYPES:
                tags.setdefault(tag, np.frombuffer(data, np.dtype(self._order + _TYPES[kind])))
        return tags, self._numbers(pointer, body[-pointer_bytes:])[0]

    def _image(self, tags: Tags) -> Directory:
        def one(tag: int, default: int | None = None) -> int:
            values = tags.get(tag)
            if values is None or not len(values):
                if default is None:
                    raise TiffError(f"has a directory without tag {tag}")
                return default
            return int(values[0])

        columns, rows, bands = one(256), one(257), one(277, 1)
        if not (0 < columns <= MOST_EDGE and 0 < rows <= MOST_EDGE and 0 < bands <= 2**16):
            raise TiffError(f"states {rows} rows, {columns} columns and {bands} bands")
        tiled = 322 in tags
        block = (one(323), one(322)) if tiled else (min(one(278, rows), rows), columns)
        bits = int(max(tags.get(258, (1,)), default=1))
        planes = bands if one(284, 1) == 2 else 1
        row_bits = block[1] * bits * (bands if planes == 1 else 1)
        block_bytes = block[0] * -(-row_bits // 8)
        if not (block[0] > 0 and block[1] > 0 and 0 < bits <= 128) or block_bytes > MOST_BLOCK_BYTES:
            raise TiffError(
                f"has blocks of {block[0]} rows, {block[1]} columns and {bits} bits ({block_bytes / 2**20:.0f} MiB)"
            )
        plain = one(259, 1) == _UNCOMPRESSED and one(262, 0) != _YCBCR
        if -(-rows // block[0]) * -(-columns // block[1]) * planes > MOST_DIRECTORY_BYTES:
            raise TiffError(f"states blocks of {block[0]} rows and {block[1]} columns, too many")
        least = np.full(-(-rows // block[0]) * -(-columns // block[1]), block_bytes if plain else 1, np.int64)
        if plain and not tiled:
            least[-1] = (rows - (rows - 1) // block[0] * block[0]) * -(-row_bits // 8)
        offsets = np.asarray(tags.get(324 if tiled else 273, ()), np.uint64)
        lengths = np.asarray(tags.get(325 if tiled else 279, ()), np.uint64)
        if max(offsets.max(initial=0), lengths.max(initial=0)) > 2**62:
            raise TiffError("has a block that lies beyond any file")
        found = Directory(
            shape=(rows, columns),
            block=block,
            planes=planes,
            is_mask=bool(one(254, 0) & _MASK),
            least_bytes=np.tile(least, planes),
            offsets=offsets.astype(np.int64),
            lengths=lengths.astype(np.int64),
        )
        expected = len(found.least_bytes)
        if not len(offsets) == len(lengths) == expected:
            raise TiffError(f"lists {len(offsets)} offsets and {len(lengths)} lengths of {expected} blocks")
        return found

    def _check_blocks(self, one: Directory) -> None:
        """Every block is whole in the file or left out by intent."""
        left_out = (one.offsets == 0) & (one.lengths == 0)
        if (((one.offsets == 0) | (one.lengths == 0)) & ~left_out).any():
            raise TiffError("lists a block without an offset or a length")
        ends = one.offsets + one.lengths
        if (ends > self._size).any():
            raise TiffError(f"is cut: it has {self._size} bytes, and its blocks reach to {int(ends.max())}")
        short = ~left_out & (one.lengths < one.least_bytes)
        if short.any():
            raise TiffError(f"lists a block of {int(one.lengths[short][0])} bytes, too few for its pixels")
        if (one.lengths > MOST_BLOCK_BYTES).any():
            raise TiffError(f"lists a block of {int(one.lengths.max())} bytes")
