"""Layers: the result of one recipe, written once to `layers/<recipe>/`, verified, and never changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import zarr
from numpy.typing import NDArray
from pydantic import Field, JsonValue, ValidationError

from pipeline.cube.encoding import arrays
from pipeline.cube.encoding.array_writer import ArrayWriter, Watch
from pipeline.cube.schema import VARIABLES
from pipeline.cube.store import MOST_DOCUMENT_BYTES, Store, digest_of
from pipeline.errors import CubeError, GridError
from pipeline.files import writing
from pipeline.grid import Grid
from pipeline.records import Frozen, digest_of_json

RECORD = "layer.json"


Strip = dict[str, NDArray[Any]]
"""Some rows of a layer, (rows, x), by variable."""


class LayerValues(Protocol):
    """What is written as a layer, strip by strip: `LayerData`, or a layer that is made while it is written.

    A layer that is made strip by strip is never whole in memory.
    """

    @property
    def attributes(self) -> Mapping[str, dict[str, Any]]:
        """By variable name: JSON-able attributes added to the schema's."""
        ...

    @property
    def report(self) -> dict[str, Any]:
        """JSON-able counts and remarks that go to the manifest; whole after the last strip."""
        ...

    @property
    def files(self) -> Mapping[str, bytes]:
        """Small files kept with the cube, by name, such as landslides.parquet."""
        ...

    def strips(self, rows: Sequence[slice]) -> Iterator[Strip]:
        """The rows, from the top, each strip once; a strip may be changed after the next one was asked for."""
        ...

    def blanked(self, rows: slice) -> NDArray[np.bool_] | None:
        """After the last strip: pixels (rows, x) of an earlier one that are without data after all; None: none are."""
        ...


@dataclass(frozen=True)
class LayerData:
    """A layer in memory, before it is written."""

    arrays: dict[str, NDArray[Any]]
    """by variable name, each (y, x) on the cube's grid; float32 with NaN, or int32"""
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """by variable name: JSON-able attributes added to the schema's"""
    report: dict[str, Any] = field(default_factory=dict)
    """JSON-able counts and remarks that go to the manifest"""
    files: dict[str, bytes] = field(default_factory=dict)
    """small files kept with the cube, by name, such as landslides.parquet"""

    @classmethod
    def of(cls, values: LayerValues, shape: tuple[int, int]) -> LayerData:
        """All strips of a layer of that shape in memory, for who needs them so."""
        whole: Strip = {}
        rows = arrays.strips_of(shape)
        for window, strip in zip(rows, values.strips(rows), strict=True):
            for name, found in strip.items():
                whole.setdefault(name, np.empty(shape, found.dtype))[window] = found
        for window in rows:
            if (pixels := values.blanked(window)) is not None:
                for found in whole.values():
                    found[window][pixels] = np.nan
        return cls(whole, dict(values.attributes), values.report, dict(values.files))

    def strips(self, rows: Sequence[slice]) -> Iterator[Strip]:
        """Parts of the arrays."""
        for window in rows:
            yield {name: values[window] for name, values in self.arrays.items()}

    def blanked(self, rows: slice) -> NDArray[np.bool_] | None:
        """None: the arrays are finished."""
        return None


class Source(Frozen):
    """One input of a layer and the fingerprint of its content."""

    id: str
    fingerprint: str


class Recipe(Frozen):
    """All inputs that determine the values of a layer. Two layers with the same recipe are the same layer."""

    kind: str
    variables: tuple[str, ...]
    grid: str = Field(description="digest of the grid")
    sources: tuple[Source, ...]
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    algorithm: str = Field(description="name and version of the algorithm, raised when its results change")

    @property
    def digest(self) -> str:
        """Name of the layer."""
        return digest_of_json(self.model_dump(mode="json"), compact=True)[:32]


class LayerRecord(Frozen):
    """The record of a finished layer: its recipe, attributes and counts, and the digests of its values and files."""

    recipe: Recipe
    content: dict[str, dict[str, str]] = Field(
        description="by variable, then shard 'row/column': digest of values"
    )
    files: dict[str, str] = Field(default_factory=dict, description="sha256 of the small files, by name")
    attributes: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    report: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Name of the layer: the digest of its recipe."""
        return self.recipe.digest


def folder_of(digest: str) -> str:
    """Key of a layer's folder."""
    return f"layers/{digest}"


def read_record(store: Store, digest: str) -> LayerRecord | None:
    """The record of a finished layer, or None where there is none.

    Raises:
        CubeError: the record is damaged or belongs to another recipe.
    """
    raw = store.read(f"{folder_of(digest)}/{RECORD}", MOST_DOCUMENT_BYTES)
    if raw is None:
        return None
    try:
        record = LayerRecord.model_validate_json(raw)
    except ValidationError as error:
        raise CubeError(
            f"The record of layer {digest} is damaged.", f"Delete layers/{digest} and build again."
        ) from error
    if record.digest != digest:
        raise CubeError(
            f"Layer {digest} holds the record of another recipe.", f"Delete layers/{digest} and build again."
        )
    return record


def write_layer(
    store: Store, recipe: Recipe, data: LayerValues, grid: Grid, watch: Watch | None = None
) -> LayerRecord:
    """Write, read back, verify and commit one layer; a layer that exists already is not changed.

    `watch` is shown every shard that is written, one that is written again too.

    Raises:
        GridError: an array is not on the grid, has another type, or the variables are not the recipe's.
        CubeError: the values read back differ from those written.
        DiskError: the store cannot be written; no other layer can be either.
    """
    existing = read_record(store, recipe.digest)
    if existing is not None:
        return existing
    _check_files(data)
    for name, values in data.arrays.items() if isinstance(data, LayerData) else ():
        if values.shape != grid.shape:
            raise GridError(f"{name} is {values.shape}, the cube's grid is {grid.shape} (y, x).")
    with writing(store.uri):
        return _written(store, recipe, data, grid, watch)


def _written(store: Store, recipe: Recipe, data: LayerValues, grid: Grid, watch: Watch | None) -> LayerRecord:
    staging = store.staging("layers")
    try:
        writers: dict[str, ArrayWriter] = {}
        strips = arrays.strips_of(grid.shape)
        for rows, strip in zip(strips, data.strips(strips), strict=True):
            _check(recipe, strip, (rows.stop - rows.start, grid.width))
            for name, values in strip.items():
                if name not in writers:
                    key, attributes = f"{staging}/{name}", data.attributes.get(name, {})
                    writers[name] = ArrayWriter(store, key, name, grid.shape, attributes, watch)
                writers[name].write(rows, values)
        for rows in strips:
            if (pixels := data.blanked(rows)) is not None:
                for writer in writers.values():
                    writer.blank(rows, pixels)
        for name, raw in data.files.items():
            store.write(f"{staging}/{name}", raw)
        record = LayerRecord(
            recipe=recipe,
            content={name: writer.digests for name, writer in writers.items()},
            files={name: digest_of(raw) for name, raw in data.files.items()},
            attributes=dict(data.attributes),
            report=data.report,
        )
        store.write(f"{staging}/{RECORD}", canonical_json(record.model_dump(mode="json")))
        store.commit(staging, folder_of(recipe.digest))
    except BaseException:
        store.delete(staging)
        raise
    return record


def layer_problems(store: Store, record: LayerRecord) -> list[str]:
    """The faults of a stored layer: shards and files that differ from its record."""
    problems = []
    folder = folder_of(record.digest)
    for name, shards in record.content.items():
        try:
            stored = zarr.open_array(store.zarr(f"{folder}/{name}"), mode="r")
            windows = dict(arrays.shard_keys((stored.shape[-2], stored.shape[-1])))
            for shard, digest in shards.items():
                index = windows[shard] if stored.ndim == 2 else (0, *windows[shard])
                chunk = "c/" + ("" if stored.ndim == 2 else "0/") + shard
                if not store.exists(f"{folder}/{name}/{chunk}"):
                    problems.append(f"{name} {shard}: missing")
                elif arrays.content_digest(np.asarray(stored[index])) != digest:
                    problems.append(f"{name} {shard}: other values")
        except Exception as error:
            problems.append(f"{name}: {type(error).__name__}: {error}")
    for name, digest in record.files.items():
        raw = store.read(f"{folder}/{name}")
        if raw is None or digest_of(raw) != digest:
            problems.append(f"{name}: missing or other bytes")
    return problems


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys: the same value gives the same bytes."""
    return (json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _check(recipe: Recipe, strip: Strip, shape: tuple[int, int]) -> None:
    if set(strip) != set(recipe.variables):
        raise GridError(
            f"A {recipe.kind} layer has the variables {sorted(strip)}, not {sorted(recipe.variables)}."
        )
    for name, values in strip.items():
        if values.shape != shape:
            raise GridError(f"{name} has rows of {values.shape}, and the cube's grid of {shape} (y, x).")
        if values.dtype != np.dtype(VARIABLES[name].dtype):
            raise GridError(f"{name} is {values.dtype}, the schema states {VARIABLES[name].dtype}.")


def _check_files(data: LayerValues) -> None:
    for name in data.files:
        if "/" in name or name.startswith(".") or name == RECORD or name in VARIABLES:
            raise GridError(f"A layer cannot keep a file named {name!r}.")
