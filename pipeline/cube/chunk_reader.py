"""Windows of a version straight from its inner chunks: for chips, of which a pass has thousands.

zarr-python and xarray take a millisecond for each window of each pass before a byte is decoded; here an index of each
shard and the chunks that were decoded last are kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.cube.addresses import VersionAddress
from pipeline.cube.encoding import arrays
from pipeline.cube.encoding.array_writer import stored_codec
from pipeline.cube.encoding.codecs import ChunkCodec
from pipeline.cube.encoding.shards import index_bytes, read_index
from pipeline.cube.schema import VARIABLES
from pipeline.errors import CubeError

KEPT_BYTES = 256 * 2**20
"""of decoded chunks; a row of chunks over 24 passes of two polarisations of a scene of 50 km takes so much"""


class ChunkReader:
    """Reads windows of the variables of one version; not for several threads at a time.

    Neighbouring windows share chunks, so windows that are asked for chunk by chunk decode each chunk once.

    Args:
        version: one that slidecube built.
        shape: (y, x) of its grid.
        kept_bytes: of decoded chunks, the least recently used of which are dropped.
    """

    def __init__(self, version: VersionAddress, shape: tuple[int, int], kept_bytes: int = KEPT_BYTES) -> None:
        self._version, self._shape, self._kept_bytes = version, shape, kept_bytes
        self._shard, self._chunk = arrays.shard_of(shape), arrays.chunk_of(shape)
        self._codecs: dict[str, ChunkCodec] = {}
        self._indices: dict[str, NDArray[np.uint64]] = {}
        self._chunks: OrderedDict[tuple[str, int, int], NDArray[Any]] = OrderedDict()
        self._held = 0
        self.decoded = 0
        """chunks decoded so far"""

    def read(
        self, variables: Sequence[str], steps: Sequence[int], rows: slice, columns: slice
    ) -> NDArray[Any]:
        """(variable, step, rows, columns) float32 of variables on an axis before (y, x), at positions along it.

        Raises:
            CubeError: a chunk is missing, damaged, or stored with a codec that slidecube does not write.
            ValueError: the window leaves the grid.
        """
        inside = 0 <= rows.start < rows.stop <= self._shape[0] and 0 <= columns.start < columns.stop
        if not inside or columns.stop > self._shape[1]:
            raise ValueError(f"the window {rows}, {columns} leaves the grid of {self._shape}")
        found = np.empty(
            (len(variables), len(steps), rows.stop - rows.start, columns.stop - columns.start), np.float32
        )
        for number, name in enumerate(variables):
            for position, step in enumerate(steps):
                self._fill(found[number, position], f"{name}/c/{step}", rows, columns)
        return found

    def read_static(self, name: str, rows: slice, columns: slice) -> NDArray[Any]:
        """(rows, columns) float32 of a variable that does not depend on time; it raises as `read` does."""
        found = np.empty((rows.stop - rows.start, columns.stop - columns.start), np.float32)
        self._fill(found, f"{name}/c", rows, columns)
        return found

    def _fill(self, target: NDArray[Any], folder: str, rows: slice, columns: slice) -> None:
        height, width = self._chunk
        for row in range(rows.start // height, -(-rows.stop // height)):
            top = row * height
            first, last = max(rows.start, top), min(rows.stop, top + height)
            for column in range(columns.start // width, -(-columns.stop // width)):
                left = column * width
                begin, end = max(columns.start, left), min(columns.stop, left + width)
                target[
                    first - rows.start : last - rows.start, begin - columns.start : end - columns.start
                ] = self._decoded(folder, row, column)[first - top : last - top, begin - left : end - left]

    def _decoded(self, folder: str, row: int, column: int) -> NDArray[Any]:
        key = folder, row, column
        if (kept := self._chunks.get(key)) is not None:
            self._chunks.move_to_end(key)
            return kept
        made = self._read_chunk(folder, row, column)
        self.decoded += 1
        self._chunks[key] = made
        self._held += made.nbytes
        while self._held > self._kept_bytes and len(self._chunks) > 1:
            self._held -= self._chunks.popitem(last=False)[1].nbytes
        return made

    def _read_chunk(self, folder: str, row: int, column: int) -> NDArray[Any]:
        name = folder.partition("/")[0]
        across, down = self._shard[1] // self._chunk[1], self._shard[0] // self._chunk[0]
        shard = f"{self._version.key}/{folder}/{row // down}/{column // across}"
        store = self._version.store
        try:
            if shard not in self._indices:
                size = index_bytes(self._shard, self._chunk)
                table = store.read_part(shard, -size, size)
                self._indices[shard] = read_index(table, self._shard, self._chunk)
            offset, length = (int(n) for n in self._indices[shard][row % down, column % across])
            chunk = np.empty(self._chunk, VARIABLES[name].dtype)
            if not 0 < length <= 2 * chunk.nbytes + 1024:  # no codec makes so much of a chunk
                raise ValueError(f"a chunk of {length} bytes")
            self._codec(name).decode(store.read_part(shard, offset, length), chunk)
        except (ValueError, OverflowError) as error:
            raise CubeError(
                f"{shard} is damaged ({error}).", "Run `slidecube verify` on the cube."
            ) from error
        return chunk

    def _codec(self, name: str) -> ChunkCodec:
        if name not in self._codecs:
            found = stored_codec(self._version.store, f"{self._version.key}/{name}")
            if found is None:
                raise CubeError(
                    f"{self._version.uri} has no {name}, or one of a codec that slidecube does not write.",
                    "Open it with slidecube.open_cube.",
                )
            self._codecs[name] = found
        return self._codecs[name]
