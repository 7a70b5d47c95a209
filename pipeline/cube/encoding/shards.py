"""Shards of a layer as bytes: the sharding of Zarr v3, with the index at the end.

zarr-python, which opens and reads what is written here, needs three times as long to write it: its loop makes objects
for each chunk. The bytes of a shard are the same for the same values; no chunk that lies on the grid is left out.

Format: the chunks one after the other, row by row; then for each an offset and a length as unsigned 64-bit numbers,
little endian; then the crc32c of these (Zarr core specification v3, codec `sharding_indexed`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.cube.encoding.codecs import CHECKSUM_BYTES, ChunkCodec, checksum, contiguous

_LEFT_OUT = np.uint64(2**64 - 1)
Shape = tuple[int, int]


def encode_shard(
    values: NDArray[np.generic], shard: Shape, chunk: Shape, codec: ChunkCodec, fill: float | int
) -> bytes:
    """The bytes of one shard.

    Args:
        values: (y, x) of the shard, less than `shard` at the lower and right edges of the grid.
        shard: pixels of a whole shard, a multiple of `chunk`.
        chunk: pixels of an inner chunk.
        codec: of its chunks.
        fill: the value of pixels outside the grid. Chunks wholly outside are left out.
    """
    rows, columns = shard[0] // chunk[0], shard[1] // chunk[1]
    index = np.full((rows, columns, 2), _LEFT_OUT, "<u8")
    parts: list[bytes] = []
    end = 0
    for row, column, window in _chunks(values.shape, chunk):
        encoded = codec.encode(contiguous(values[window], chunk, fill))
        index[row, column] = end, len(encoded)
        end += len(encoded)
        parts.append(encoded)
    table = index.tobytes()
    return b"".join([*parts, table, checksum(table)])


def differs(raw: bytes, values: NDArray[np.generic], shard: Shape, chunk: Shape, codec: ChunkCodec) -> bool:
    """Whether the bytes of a shard do not decode to these values, bit for bit, so that one NaN is not another's."""
    try:
        index = read_index(raw, shard, chunk)
        buffer = np.empty(chunk, values.dtype)
        for row, column, window in _chunks(values.shape, chunk):
            offset, length = (int(n) for n in index[row, column])
            codec.decode(raw[offset : offset + length], buffer)
            wanted = values[window]
            found = buffer[: wanted.shape[0], : wanted.shape[1]]
            if not np.array_equal(found.view(np.uint32), wanted.view(np.uint32)):
                return True
    except ValueError:
        return True
    return False


def decode_shard(
    raw: bytes, shape: Shape, shard: Shape, chunk: Shape, codec: ChunkCodec, dtype: str
) -> NDArray[np.generic]:
    """The values of one shard, of which `shape` lies on the grid.

    Raises:
        ValueError: the bytes are not those of such a shard.
    """
    index = read_index(raw, shard, chunk)
    values: NDArray[np.generic] = np.empty(shape, dtype)
    buffer = np.empty(chunk, dtype)
    for row, column, window in _chunks(shape, chunk):
        offset, length = (int(n) for n in index[row, column])
        codec.decode(raw[offset : offset + length], buffer)
        target = values[window]
        target[...] = buffer[: target.shape[0], : target.shape[1]]
    return values


def index_bytes(shard: Shape, chunk: Shape) -> int:
    """Length of a shard's index with its checksum, at the shard's end."""
    return (shard[0] // chunk[0]) * (shard[1] // chunk[1]) * 16 + CHECKSUM_BYTES


def read_index(raw: bytes, shard: Shape, chunk: Shape) -> NDArray[np.uint64]:
    """Offset and length of each chunk (row, column, 2), from the end of a shard.

    Raises:
        ValueError: the bytes do not end with such an index.
    """
    rows, columns = shard[0] // chunk[0], shard[1] // chunk[1]
    size = index_bytes(shard, chunk) - CHECKSUM_BYTES
    table = raw[-size - CHECKSUM_BYTES : -CHECKSUM_BYTES]
    if len(table) != size or checksum(table) != raw[-CHECKSUM_BYTES:]:
        raise ValueError("a shard does not have its index")
    index: NDArray[np.uint64] = np.frombuffer(table, "<u8").reshape(rows, columns, 2)
    return index


def _chunks(shape: tuple[int, ...], chunk: Shape) -> Iterator[tuple[int, int, tuple[slice, slice]]]:
    """Row, column and window of the chunks that lie on the grid."""
    for row, top in enumerate(range(0, shape[0], chunk[0])):
        for column, left in enumerate(range(0, shape[1], chunk[1])):
            bottom, right = min(top + chunk[0], shape[0]), min(left + chunk[1], shape[1])
            yield row, column, (slice(top, bottom), slice(left, right))
