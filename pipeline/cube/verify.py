"""Checking a version against its manifest: schema, grid, every shard, every file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from pipeline.cube.addresses import VersionAddress, canonical_address, resolve_version
from pipeline.cube.encoding import arrays
from pipeline.cube.foreign.storage import check_storage
from pipeline.cube.layers import LayerRecord
from pipeline.cube.manifest import MANIFEST, Level, Look, Manifest, Timepair, Timestep
from pipeline.cube.schema import VARIABLES, Axis
from pipeline.cube.store import MOST_DOCUMENT_BYTES, Store, digest_of
from pipeline.cube.versions import current_version, read_manifest, recorded_manifests, version_key
from pipeline.errors import CubeError
from pipeline.progress import Progress, no_progress
from pipeline.records import Frozen

Entry = Timestep | Timepair | Look


class Verdict(Frozen):
    """What `verify` found."""

    cube: str
    version: int
    shards: int
    files: int
    problems: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether no problem was found."""
        return not self.problems


def verify_cube(address: str | Path, progress: Progress = no_progress) -> Verdict:
    """Decode every shard of a version and compare it, the coordinates and all other files with the manifest.

    `address` is the path or URI of a cube (its latest version) or of one version. `progress` counts shards.

    Raises:
        CubeError: there is no version with a manifest to compare with, or it is stored with an unknown codec.
    """
    version = resolve_version(canonical_address(address))
    store, number = version.store, version.number
    if number is None:
        raise CubeError(f"{version.uri} is no version of a slidecube cube.", "Only those have a manifest.")
    check_storage(version)
    problems: list[str] = list(_pointer_problems(store, number))
    manifest = read_manifest(store, number)
    incoherent = list(_manifest_problems(manifest))
    if incoherent:  # then it does not say what the version should hold
        found = (*problems, *incoherent)
        return Verdict(cube=store.uri, version=number, shards=0, files=0, problems=found)
    expected = list(_shards(manifest))
    present = set(store.files(version.key))
    problems += _file_problems(version, manifest, present - {key for key, *_ in expected})
    for level in manifest.levels:
        problems += _grid_problems(version, manifest, level)
    opened: dict[str, zarr.Array[Any]] = {}
    for done, shard in enumerate(expected, start=1):
        key = shard[0]
        missing = None if key in present else f"{key}: the shard is missing"
        if problem := missing or _shard_problem(version, opened, shard):
            problems.append(problem)
        progress("shards", done, len(expected))
    return Verdict(
        cube=store.uri,
        version=number,
        shards=len(expected),
        files=len(manifest.files) + 1,
        problems=tuple(problems),
    )


def _pointer_problems(store: Store, number: int) -> Iterator[str]:
    current_version(store)  # raises where the pointer is damaged
    recorded = recorded_manifests(store).get(number)
    raw = store.read(f"{version_key(number)}/{MANIFEST}", MOST_DOCUMENT_BYTES) or b""
    if recorded is not None and recorded != digest_of(raw):
        yield f"{MANIFEST}: is not the one that the pointer names"


def _manifest_problems(manifest: Manifest) -> Iterator[str]:
    """Where a manifest contradicts itself, names what no cube has, or lacks the record of a layer."""
    entries: tuple[tuple[Axis, Sequence[Entry]], ...] = (
        ("timestep", manifest.timesteps),
        ("timepair", manifest.timepairs),
        ("track", manifest.looks),
    )
    used: list[tuple[str, str, Axis | None]] = [(n, digest, None) for n, digest in manifest.static.items()]
    for axis, found in entries:
        if len({frozenset(entry.layers) for entry in found}) > 1:
            yield f"{MANIFEST}: the entries along {axis} differ in their variables"
        used += [(n, digest, axis) for entry in found for n, digest in entry.layers.items()]
    for level in manifest.levels:
        yield from _level_problems(level, list(dict.fromkeys(used)))


def _level_problems(level: Level, used: list[tuple[str, str, Axis | None]]) -> Iterator[str]:
    """Where the records of one resolution are not those of the layers used: variable, digest, leading axis."""
    shards = {key for key, _ in arrays.shard_keys(level.grid.shape)}
    for name, digest, leading in used:
        record = level.records.get(digest)
        if name not in VARIABLES:
            yield f"{MANIFEST}: {name!r:.60} is no variable of a cube"
        elif VARIABLES[name].leading != leading:
            yield f"{MANIFEST}: {name} does not lie along {leading}"
        elif record is None:
            yield f"{MANIFEST}: {name}: there is no record of layer {digest!r:.60}"
        elif not _is_of(record, digest, level):
            yield f"{MANIFEST}: {name}: the record of layer {digest:.60} is of another layer"
        elif set(record.content.get(name, {})) != shards:
            yield f"{MANIFEST}: {name}: the record of layer {digest:.60} does not have the shards of the grid"


def _is_of(record: LayerRecord, digest: str, level: Level) -> bool:
    """Whether a record is that of a layer at this resolution."""
    sources = [source.fingerprint for source in record.recipe.sources]
    same = record.digest == digest if not level.prefix else sources == [digest]
    return same and record.recipe.grid == level.grid.digest


def _shards(manifest: Manifest) -> Iterator[tuple[str, str, tuple[Any, ...], str]]:
    """Key, array, selection and expected digest of every shard of a version."""
    for level in manifest.levels:
        windows = dict(arrays.shard_keys(level.grid.shape))
        for variable, layers in manifest.stacks.items():
            name = f"{level.prefix}{variable}"
            for index, layer in enumerate(layers):
                content = level.records[layer].content[variable]
                for shard, window in windows.items():
                    yield f"{name}/c/{index}/{shard}", name, (index, *window), content.get(shard, "")
        for variable, layer in sorted(manifest.static.items()):
            name = f"{level.prefix}{variable}"
            content = level.records[layer].content[variable]
            for shard, window in windows.items():
                yield f"{name}/c/{shard}", name, window, content.get(shard, "")


def _file_problems(version: VersionAddress, manifest: Manifest, others: set[str]) -> Iterator[str]:
    for key in sorted(others - set(manifest.files) - {MANIFEST}):
        yield f"{key}: is not in the manifest"
    for key, digest in sorted(manifest.files.items()):
        try:
            raw = version.read(key)
        except CubeError as error:
            yield f"{key!r:.100}: {error.message}"
            continue
        if raw is None:
            yield f"{key}: is missing"
        elif digest_of(raw) != digest:
            yield f"{key}: differs from the manifest"


def _grid_problems(version: VersionAddress, manifest: Manifest, level: Level) -> Iterator[str]:
    prefix, grid = level.prefix, level.grid
    for name, wanted in ((f"{prefix}x", grid.x), (f"{prefix}y", grid.y)):
        try:
            stored = _array(version, name)
            # the shape is asked before memory is taken
            same = stored.shape == wanted.shape and np.array_equal(np.asarray(stored[:]), wanted)
        except Exception as error:
            yield f"{name}: cannot be read ({type(error).__name__})"
            continue
        if not same:
            yield f"{name}: is not the manifest's grid"
    counts: dict[str, tuple[int, ...]] = dict.fromkeys(manifest.static, grid.shape)
    counts |= {name: (len(layers), *grid.shape) for name, layers in manifest.stacks.items()}
    for variable, shape in sorted(counts.items()):
        name, schema = f"{prefix}{variable}", VARIABLES[variable]
        try:
            array = _array(version, name)
        except Exception as error:
            yield f"{name}: cannot be opened ({type(error).__name__})"
            continue
        wanted_dims = schema.dims
        if array.shape != shape or str(array.dtype) != schema.dtype:
            yield f"{name}: is {array.dtype} {array.shape}, the schema states {schema.dtype} {shape}"
        found_dims = getattr(array.metadata, "dimension_names", None)
        if found_dims != wanted_dims:
            yield f"{name}: has dimensions {found_dims}, the schema states {wanted_dims}"


def _shard_problem(
    version: VersionAddress, opened: dict[str, zarr.Array[Any]], shard: tuple[str, str, tuple[Any, ...], str]
) -> str | None:
    key, name, selection, digest = shard
    try:
        if name not in opened:
            opened[name] = _array(version, name)
        values = np.asarray(opened[name][selection])
    except Exception as error:
        return f"{key}: cannot be decoded ({type(error).__name__}: {error})"
    return None if arrays.content_digest(values) == digest else f"{key}: its values differ from the manifest"


def _array(version: VersionAddress, name: str) -> zarr.Array[Any]:
    return zarr.open_array(version.store.zarr(f"{version.key}/{name}"), mode="r")
