"""How arrays of the cube are stored, and the digest of their values."""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import LocalStore

from pipeline.cube.encoding.codecs import NEW_CODEC, ChunkCodec
from pipeline.cube.schema import CHUNK, SHARD, Variable
from pipeline.cube.store import ZarrStore

PYTHON_CODECS = "zarr.core.codec_pipeline.BatchedCodecPipeline"
FAST_CODECS = "zarrs.ZarrsCodecPipeline"
DIGESTED_BYTES = 2**20
_configuring = threading.Lock()


def create(
    store: ZarrStore,
    variable: Variable,
    shape: tuple[int, ...],
    attributes: dict[str, Any],
    codec: ChunkCodec = NEW_CODEC,
) -> zarr.Array[Any]:
    """An empty array of that variable: shards of 2048 x 2048, inner chunks of 256 x 256, compressed, then crc32c.

    `shape` is that of the variable's dims. Every chunk is written, empty or not, so that a missing shard is an error
    and never reads as "no data".
    """
    leading = (1,) * (len(shape) - 2)
    shard, chunk = shard_of((shape[-2], shape[-1])), chunk_of((shape[-2], shape[-1]))
    with writing():
        return zarr.create_array(
            store=store,
            shape=shape,
            dtype=variable.dtype,
            chunks=(*leading, *chunk),
            shards=(*leading, *shard),
            fill_value=variable.fill,
            compressors=codec.compressors,
            dimension_names=variable.dims,
            attributes={**variable.attributes(), **attributes},
            config={"write_empty_chunks": True, "order": "C"},
            zarr_format=3,
        )


@contextmanager
def writing() -> Iterator[None]:
    """Have zarr-python write the arrays that are created in the block.

    Its shards are the same bytes for the same values, and it leaves no shard out. zarr fixes the choice when it
    creates an array. Its configuration holds for the whole process.
    """
    with _configuring, zarr.config.set({"codec_pipeline.path": PYTHON_CODECS}):
        yield


def open_fast(store: ZarrStore) -> zarr.Array[Any]:
    """An array opened for reading, with the `zarrs` decoder where it can read the store, which is on a local disk.

    It is not used for writing: its shards differ from run to run, and it leaves empty ones out.
    """
    codecs = FAST_CODECS if isinstance(store, LocalStore) else PYTHON_CODECS
    with _configuring, zarr.config.set({"codec_pipeline.path": codecs}):
        return zarr.open_array(store, mode="r")


def _chunk(length: int) -> int:
    return CHUNK if length > CHUNK else length


def _shard(length: int) -> int:
    """A whole number of chunks that holds `length`, at most SHARD."""
    chunk = _chunk(length)
    return min(SHARD, -(-length // chunk) * chunk)


def shard_of(shape: tuple[int, int]) -> tuple[int, int]:
    """Pixels of a shard of a layer of that shape."""
    return _shard(shape[0]), _shard(shape[1])


def chunk_of(shape: tuple[int, int]) -> tuple[int, int]:
    """Pixels of a chunk of a layer of that shape."""
    return _chunk(shape[0]), _chunk(shape[1])


def strips_of(shape: tuple[int, int]) -> list[slice]:
    """The rows of a layer in strips, each a row of shards."""
    step = _shard(shape[0])
    return [slice(top, min(top + step, shape[0])) for top in range(0, shape[0], step)]


def shard_keys(shape: tuple[int, int]) -> Iterator[tuple[str, tuple[slice, slice]]]:
    """Key 'row/column' and (y, x) window of every shard of a layer."""
    height, width = shape
    step_y, step_x = _shard(height), _shard(width)
    for row in range(-(-height // step_y)):
        for column in range(-(-width // step_x)):
            window = (
                slice(row * step_y, min((row + 1) * step_y, height)),
                slice(column * step_x, min((column + 1) * step_x, width)),
            )
            yield f"{row}/{column}", window


def content_digest(values: NDArray[Any]) -> str:
    """Digest of decoded values (little endian, C order); every NaN counts as the same NaN.

    Some rows are copied at a time, not the whole array.
    """
    values = np.atleast_1d(values)
    digest = hashlib.sha256()
    rows = max(1, DIGESTED_BYTES // max(1, values[:1].nbytes))
    for first in range(0, len(values), rows):
        part = values[first : first + rows]
        block = np.ascontiguousarray(part, dtype=part.dtype.newbyteorder("<"))
        if block.dtype.kind == "f":
            invalid = np.isnan(block)
            if invalid.any():
                block = np.where(invalid, block.dtype.type(np.nan), block)
        digest.update(block.data.cast("B"))
    return digest.hexdigest()


def consolidate(store: ZarrStore) -> None:
    """Write consolidated metadata (zarr-python warns that Zarr v3 does not specify it yet)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        zarr.consolidate_metadata(store)
