"""The codecs of a cube's chunks: what new arrays are written with, and what those of earlier releases have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numcodecs
import numpy as np
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

CHECKSUM_BYTES = 4


@dataclass(frozen=True)
class ChunkCodec:
    """How an inner chunk becomes bytes: little endian, C order, compressed, then its crc32c (4 bytes)."""

    name: str
    zarr: Any
    """the compressor as zarr-python writes it into the metadata"""
    numcodec: Any
    """the same compressor as numcodecs calls it"""

    @property
    def compressors(self) -> list[Any]:
        """What `zarr.create_array` is given."""
        return [self.zarr, Crc32cCodec()]

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """The bytes of one chunk, which is contiguous; the same for the same values."""
        packed = bytes(self.numcodec.encode(chunk))
        return packed + checksum(packed)

    def decode(self, raw: bytes, out: NDArray[Any]) -> None:
        """Fill `out`, which is contiguous, with the values of one chunk.

        Raises:
            ValueError: the bytes are not those that were written.
        """
        packed, stated = raw[:-CHECKSUM_BYTES], raw[-CHECKSUM_BYTES:]
        if checksum(packed) != stated:
            raise ValueError("a chunk does not have its checksum")
        try:
            self.numcodec.decode(packed, out=out)
        except RuntimeError as error:
            raise ValueError(str(error)) from error


def checksum(data: bytes) -> bytes:
    """crc32c of bytes, as Zarr stores it."""
    found: int = google_crc32c.value(data)
    return found.to_bytes(CHECKSUM_BYTES, "little")


BLOSC_LZ4 = ChunkCodec(
    "blosc, lz4 after bitshuffle",
    # typesize: both types of the schema have four bytes
    BloscCodec(typesize=4, cname="lz4", clevel=5, shuffle="bitshuffle", blocksize=0),
    numcodecs.Blosc(cname="lz4", clevel=5, shuffle=numcodecs.Blosc.BITSHUFFLE, blocksize=0),
)
"""Of new arrays. Speckle of float32 takes a third of zstd 1's time to write, half of it to read, and 6 % less room."""
ZSTD = ChunkCodec("zstd", ZstdCodec(level=1), numcodecs.Zstd(level=1))
"""Of cubes of earlier releases; a cube keeps the codec that it has."""
CODECS = (BLOSC_LZ4, ZSTD)
NEW_CODEC = BLOSC_LZ4


def codec_of(metadata: Mapping[str, Any]) -> ChunkCodec | None:
    """The codec that the metadata of a stored array state (a parsed `zarr.json`); None: none of these."""
    return next((one for one in CODECS if _inner(metadata) == _written(one)), None)


def _inner(metadata: Mapping[str, Any]) -> Any:
    """The codecs of a chunk inside shards, as names and settings."""
    for codec in metadata.get("codecs", ()):
        if isinstance(codec, Mapping) and codec.get("name") == "sharding_indexed":
            inner = codec.get("configuration", {}).get("codecs", ())
            return [_plain(one) for one in inner if one.get("name") != "bytes"]
    return None


def _written(codec: ChunkCodec) -> Any:
    return [_plain(one.to_dict()) for one in codec.compressors]


def _plain(codec: Mapping[str, Any]) -> tuple[str, tuple[tuple[str, Any], ...]]:
    settings = codec.get("configuration") or {}
    return str(codec["name"]), tuple(sorted((str(k), v) for k, v in settings.items()))


def contiguous(values: NDArray[Any], shape: tuple[int, int], fill: float | int) -> NDArray[Any]:
    """A part of an array as one block of memory, filled up to `shape` at its lower and right edges."""
    if values.shape == shape:
        return np.ascontiguousarray(values)
    chunk: NDArray[Any] = np.full(shape, fill, values.dtype)
    chunk[: values.shape[0], : values.shape[1]] = values
    return chunk
