"""How a Zarr group may be stored: codecs that only decode numbers and words, and chunks that fit into memory.

Checked in the metadata before zarr or numcodecs sees them: a Zarr v2 filter `pickle` would run what it decodes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline.cube.addresses import VersionAddress
from pipeline.errors import CubeError
from pipeline.grid import MOST_PIXELS

CODECS = frozenset(
    {
        "adler32", "astype", "bitround", "blosc", "bytes", "bz2", "crc32", "crc32c", "delta", "fixedscaleoffset",
        "fletcher32", "gzip", "jenkins_lookup3", "json2", "lz4", "lzma", "packbits", "quantize", "sharding_indexed",
        "shuffle", "transpose", "vlen-array", "vlen-bytes", "vlen-utf8", "zlib", "zstd",
    }
)  # fmt: skip
"""Compressors, filters and codecs of Zarr v2 and v3 that are decoded; `numcodecs.` before a name is left out."""
METADATA = ("zarr.json", ".zarray", ".zmetadata", ".zgroup", ".zattrs")
MOST_METADATA_BYTES = 64 * 2**20
MOST_LENGTH = 1_000_000
"""along one axis; coordinates of this length are read whole"""
MOST_CHUNK_BYTES = 4 * 2**30
"""A chunk is decoded whole."""

Json = dict[str, Any]


def check_storage(version: VersionAddress) -> None:
    """Refuse a Zarr group with codecs that are not known to be harmless, or with arrays or chunks that no memory holds.

    Raises:
        CubeError: metadata cannot be read, or name such a codec, array or chunk; a pipe or a device is among the files.
    """
    if irregular := version.store.irregular(version.key):
        raise CubeError(f"{version.uri}/{irregular[0]} is no file, and is not read.", "Build the cube again.")
    for key, found in _metadata(version):
        for codec in _codecs(found):
            if codec.removeprefix("numcodecs.") not in CODECS:
                raise CubeError(
                    f"{version.uri} is stored with the codec {codec!r:.60} ({key}), which is not decoded.",
                    "Write the cube again with a common compressor, such as zstd or blosc, and without filters.",
                )
        if (shape := _too_large(found)) is not None:
            raise CubeError(
                f"{version.uri} has an array of {' x '.join(f'{n:,}' for n in shape)} ({key}), of at most "
                f"{MOST_PIXELS:,} pixels and {MOST_LENGTH:,} along an axis.",
                "Divide the cube.",
            )
        size = _chunk_bytes(found)
        if size > MOST_CHUNK_BYTES:
            raise CubeError(
                f"{version.uri} has chunks of {size / 2**30:,.0f} GiB ({key}).",
                "Write the cube again in smaller chunks.",
            )


def _metadata(version: VersionAddress) -> Iterator[tuple[str, Json]]:
    """Every JSON object of the group's metadata that may describe an array, with the key of its file."""
    prefix = f"{version.key}/" if version.key else ""
    keys = {key for key in version.store.files(version.key) if key.rpartition("/")[2] in METADATA}
    for key in sorted(keys):
        raw = version.store.read(f"{prefix}{key}", MOST_METADATA_BYTES) or b""
        try:
            found = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise CubeError(f"{version.uri}: {key} is no JSON.", "Give a Zarr cube.") from error
        yield key, found if isinstance(found, dict) else {}
        inner = (
            found.get("metadata") or found.get("consolidated_metadata") if isinstance(found, dict) else None
        )
        if isinstance(inner, dict) and isinstance(inner.get("metadata"), dict):
            inner = inner["metadata"]
        for name, each in inner.items() if isinstance(inner, dict) else ():
            if isinstance(each, dict):
                yield f"{key}: {str(name)[:60]}", each


def _codecs(metadata: Json) -> Iterator[str]:
    """The names of all codecs of an array, those inside shards too."""
    for field, name in (
        ("compressor", "id"),
        ("filters", "id"),
        ("codecs", "name"),
        ("index_codecs", "name"),
    ):
        listed = metadata.get(field)
        for codec in listed if isinstance(listed, list) else [] if listed is None else [listed]:
            if isinstance(codec, str):
                yield codec
            elif isinstance(codec, dict):
                yield str(codec.get(name))
                inner = codec.get("configuration")
                if isinstance(inner, dict):
                    yield from _codecs({key: inner.get(key) for key in ("codecs", "index_codecs")})
            else:
                yield str(codec)


def _too_large(metadata: Json) -> list[int] | None:
    """The shape of an array that is refused before its coordinates or pixels are read; None: it is not."""
    shape = metadata.get("shape")
    if not isinstance(shape, list) or not all(isinstance(n, int) for n in shape):
        return None
    return shape if max(shape, default=0) > MOST_LENGTH or math.prod(shape[-2:]) > MOST_PIXELS else None


def _chunk_bytes(metadata: Json) -> int:
    """Bytes of one decoded chunk or shard of an array; 0 where the metadata describe none."""
    grid = metadata.get("chunk_grid")
    inner = grid.get("configuration") if isinstance(grid, dict) else None
    shape = inner.get("chunk_shape") if isinstance(inner, dict) else metadata.get("chunks")
    if not isinstance(shape, list) or not all(isinstance(n, int) and n >= 0 for n in shape):
        return 0
    try:
        width = np.dtype(metadata.get("dtype") or metadata.get("data_type")).itemsize
    except (TypeError, ValueError):
        width = 8  # words, of any length
    return math.prod(shape) * max(1, width)
