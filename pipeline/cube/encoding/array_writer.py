"""One variable of a layer, written strip by strip; what was written is read back from the store and compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.cube.encoding import arrays
from pipeline.cube.encoding.codecs import CODECS, NEW_CODEC, ChunkCodec, codec_of
from pipeline.cube.encoding.shards import decode_shard, differs, encode_shard
from pipeline.cube.schema import VARIABLES, Variable
from pipeline.cube.store import MOST_DOCUMENT_BYTES, Store
from pipeline.errors import CubeError

Watch = Callable[[str, tuple[slice, slice], NDArray[Any]], None]
"""Is shown each shard when it was written: the variable, the window (y, x), and the values, which it does not keep."""


class ArrayWriter:
    """Writes the shards of a layer's variable, (y, x) with an axis of length 1 before it where the variable has one.

    Each shard is encoded, written, read back from the store, decoded, and compared bit for bit with the values: a torn
    or wrong write on the disk, and a fault of the codec or of the memory, are found before the layer is committed. The
    digest is that of the values, which are not read for it again.
    """

    def __init__(
        self,
        store: Store,
        key: str,
        name: str,
        shape: tuple[int, int],
        attributes: dict[str, Any],
        watch: Watch | None = None,
    ) -> None:
        variable = VARIABLES[name]
        self._watch = watch
        self.digests: dict[str, str] = {}
        """by shard 'row/column'"""
        self._store, self._name = store, name
        self._fill, self._dtype = variable.fill, variable.dtype
        self._shards = f"{key}/c" if variable.leading is None else f"{key}/c/0"
        self._shape = shape
        self._shard, self._chunk = arrays.shard_of(shape), arrays.chunk_of(shape)
        self._codec = codec_of_cube(store, name)
        whole = shape if variable.leading is None else (1, *shape)
        arrays.create(store.zarr(key), variable, whole, attributes, self._codec)

    def write(self, rows: slice, values: NDArray[Any]) -> None:
        """Write a strip, which is a row of shards: `values` (rows, x).

        Raises:
            CubeError: what was read back is not what was written.
        """
        for shard, columns in self._row(rows):
            self._write_shard(shard, (rows, columns), values[:, columns])

    def blank(self, rows: slice, pixels: NDArray[np.bool_]) -> None:
        """Write those shards of a strip again in which some of these `pixels` (rows, x) are, without data there."""
        for shard, columns in self._row(rows):
            mask = pixels[:, columns]
            if mask.any():
                raw = self._store.read(f"{self._shards}/{shard}") or b""
                values = decode_shard(raw, mask.shape, self._shard, self._chunk, self._codec, self._dtype)
                values[mask] = self._fill
                self._write_shard(shard, (rows, columns), values)

    def _row(self, rows: slice) -> Iterable[tuple[str, slice]]:
        """Key and columns of each shard of a strip."""
        row = rows.start // self._shard[0]
        for column, left in enumerate(range(0, self._shape[1], self._shard[1])):
            yield f"{row}/{column}", slice(left, min(left + self._shard[1], self._shape[1]))

    def _write_shard(self, shard: str, window: tuple[slice, slice], values: NDArray[Any]) -> None:
        key = f"{self._shards}/{shard}"
        self._store.put(key, encode_shard(values, self._shard, self._chunk, self._codec, self._fill))
        raw = self._store.read(key) or b""
        if differs(raw, values, self._shard, self._chunk, self._codec):
            raise CubeError(
                f"Shard {shard} of {self._name} reads back differently than it was written to {self._store.uri}.",
                "The disk or the memory is faulty; check both before building again.",
            )
        self.digests[shard] = arrays.content_digest(values)
        if self._watch is not None:
            self._watch(self._name, window, values)


def stored_codec(store: Store, key: str) -> ChunkCodec | None:
    """The codec of the array at `key`; None where there is no array, or one of a codec that no release wrote."""
    raw = store.read(f"{key}/zarr.json", MOST_DOCUMENT_BYTES)
    try:
        metadata = json.loads(raw or b"{}")
    except (ValueError, RecursionError):
        return None
    return codec_of(metadata) if isinstance(metadata, dict) else None


def codec_of_cube(store: Store, name: str) -> ChunkCodec:
    """The codec in which a cube has a variable already, so that a new layer joins the others; else that of new cubes.

    Arrays of Zarr have one codec: layers of one variable with different ones cannot be linked into one array.
    """
    for digest in store.names("layers"):
        if not digest.startswith(".") and (found := stored_codec(store, f"layers/{digest}/{name}")):
            return found
    return NEW_CODEC


def most_common_codec(store: Store, keys: Iterable[str]) -> ChunkCodec:
    """The codec that most of these arrays have; of several, the newest."""
    found = [stored_codec(store, key) for key in keys]
    return max(reversed(CODECS), key=found.count)


def recoded(
    raw: bytes, shape: tuple[int, int], shard: str, codecs: tuple[ChunkCodec, ChunkCodec], variable: Variable
) -> bytes:
    """A shard 'row/column' of a layer of that shape in the second codec instead of the first.

    Raises:
        CubeError: it cannot be decoded.
    """
    window = dict(arrays.shard_keys(shape))[shard]
    part = window[0].stop - window[0].start, window[1].stop - window[1].start
    sizes = arrays.shard_of(shape), arrays.chunk_of(shape)
    try:
        values = decode_shard(raw, part, *sizes, codecs[0], variable.dtype)
    except ValueError as error:
        raise CubeError(
            f"Shard {shard} of {variable.name}: {error}.", "Run `slidecube build --repair`."
        ) from error
    return encode_shard(values, *sizes, codecs[1], variable.fill)
