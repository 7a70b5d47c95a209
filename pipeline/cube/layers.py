"""Layers: the result of one recipe, written once to `layers/<recipe>/`, verified, and never changed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from pydantic import Field, JsonValue, ValidationError

from pipeline.cube.encoding import arrays
from pipeline.cube.schema import VARIABLES
from pipeline.cube.store import MOST_DOCUMENT_BYTES, Store, ZarrStore, digest_of
from pipeline.errors import CubeError, GridError
from pipeline.files import writing
from pipeline.grid import Grid
from pipeline.records import Frozen, digest_of_json

RECORD = "layer.json"


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


def write_layer(store: Store, recipe: Recipe, data: LayerData, grid: Grid) -> LayerRecord:
    """Write, read back, verify and commit one layer; a layer that exists already is not changed.

    Raises:
        GridError: an array is not on the grid, has another type, or the variables are not the recipe's.
        CubeError: the values read back differ from those written.
        DiskError: the store cannot be written; no other layer can be either.
    """
    existing = read_record(store, recipe.digest)
    if existing is not None:
        return existing
    _check(recipe, data, grid)
    with writing(store.uri):
        return _written(store, recipe, data)


def _written(store: Store, recipe: Recipe, data: LayerData) -> LayerRecord:
    staging = store.staging("layers")
    try:
        content = {}
        for name, values in data.arrays.items():
            _write_array(store.zarr(f"{staging}/{name}"), name, values, data.attributes.get(name, {}))
            content[name] = _read_back(store, f"{staging}/{name}", values, recipe)
        for name, raw in data.files.items():
            store.write(f"{staging}/{name}", raw)
        record = LayerRecord(
            recipe=recipe,
            content=content,
            files={name: digest_of(raw) for name, raw in data.files.items()},
            attributes=data.attributes,
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


def _check(recipe: Recipe, data: LayerData, grid: Grid) -> None:
    if set(data.arrays) != set(recipe.variables):
        raise GridError(
            f"A {recipe.kind} layer has the variables {sorted(data.arrays)}, not {sorted(recipe.variables)}."
        )
    for name, values in data.arrays.items():
        if values.shape != grid.shape:
            raise GridError(f"{name} is {values.shape}, the cube's grid is {grid.shape} (y, x).")
        if values.dtype != np.dtype(VARIABLES[name].dtype):
            raise GridError(f"{name} is {values.dtype}, the schema states {VARIABLES[name].dtype}.")
    for name in data.files:
        if "/" in name or name.startswith(".") or name == RECORD or name in VARIABLES:
            raise GridError(f"A layer cannot keep a file named {name!r}.")


def _write_array(target: ZarrStore, name: str, values: NDArray[Any], attributes: dict[str, Any]) -> None:
    """One variable of a layer, (y, x), with an axis of length 1 before it where the variable has one."""
    variable = VARIABLES[name]
    shape = values.shape if variable.leading is None else (1, *values.shape)
    written = arrays.create(target, variable, shape, attributes)
    for _, window in arrays.shard_keys((values.shape[0], values.shape[1])):
        # shard by shard: twice as fast as one assignment, and the bytes repeat
        written[window if variable.leading is None else (0, *window)] = values[window]


def _read_back(store: Store, key: str, values: NDArray[Any], recipe: Recipe) -> dict[str, str]:
    """Decode every stored shard and compare it with the values to be written; returns the digests, by shard."""
    stored = arrays.open_fast(store.zarr(key))
    digests = {}
    for shard, window in arrays.shard_keys((values.shape[0], values.shape[1])):
        selection = window if stored.ndim == 2 else (0, *window)
        found = np.asarray(stored[selection])
        # bit for bit, so that one NaN is not taken for another
        if not np.array_equal(found.view(np.uint32), np.ascontiguousarray(values[window]).view(np.uint32)):
            raise CubeError(
                f"Shard {shard} of the {recipe.kind} layer {recipe.digest} reads back differently.",
                "The disk or the memory is faulty; check both before building again.",
            )
        digests[shard] = arrays.content_digest(found)
    return digests
