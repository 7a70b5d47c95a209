"""Checking a version against its manifest: schema, grid, every shard, every file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from pipeline.cube import arrays
from pipeline.cube.addresses import VersionAddress, canonical_address, resolve_version
from pipeline.cube.manifest import MANIFEST, Manifest
from pipeline.cube.schema import VARIABLES
from pipeline.cube.store import Store, digest_of
from pipeline.cube.versions import POINTER, current_version, read_manifest, version_key
from pipeline.errors import CubeError
from pipeline.progress import Progress, no_progress
from pipeline.records import Frozen


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
        CubeError: there is no version with a manifest to compare with.
    """
    version = resolve_version(canonical_address(address))
    store, number = version.store, version.number
    if number is None:
        raise CubeError(f"{version.uri} is no version of a slidecube cube.", "Only those have a manifest.")
    problems: list[str] = list(_pointer_problems(store, number))
    manifest = read_manifest(store, number)
    expected = list(_shards(manifest))
    present = set(store.files(version.key))
    problems += _file_problems(version, manifest, present - {key for key, *_ in expected})
    problems += _grid_problems(version, manifest)
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
    if current_version(store) != number:
        return
    recorded = json.loads(store.read(POINTER) or b"{}").get("manifest")
    raw = store.read(f"{version_key(number)}/{MANIFEST}") or b""
    if recorded != digest_of(raw):
        yield f"{MANIFEST}: is not the one that the pointer names"


def _shards(manifest: Manifest) -> Iterator[tuple[str, str, tuple[Any, ...], str]]:
    """Key, variable, selection and expected digest of every shard of a version."""
    windows = dict(arrays.shard_keys(manifest.grid.shape))
    for name, layers in manifest.stacks.items():
        for index, layer in enumerate(layers):
            content = manifest.records[layer].content[name]
            for shard, window in windows.items():
                yield f"{name}/c/{index}/{shard}", name, (index, *window), content.get(shard, "")
    for name, layer in sorted(manifest.static.items()):
        content = manifest.records[layer].content[name]
        for shard, window in windows.items():
            yield f"{name}/c/{shard}", name, window, content.get(shard, "")


def _file_problems(version: VersionAddress, manifest: Manifest, others: set[str]) -> Iterator[str]:
    for key in sorted(others - set(manifest.files) - {MANIFEST}):
        yield f"{key}: is not in the manifest"
    for key, digest in sorted(manifest.files.items()):
        raw = version.read(key)
        if raw is None:
            yield f"{key}: is missing"
        elif digest_of(raw) != digest:
            yield f"{key}: differs from the manifest"


def _grid_problems(version: VersionAddress, manifest: Manifest) -> Iterator[str]:
    for name, wanted in (("x", manifest.grid.x), ("y", manifest.grid.y)):
        try:
            found = np.asarray(_array(version, name)[:])
        except Exception as error:
            yield f"{name}: cannot be read ({type(error).__name__})"
            continue
        if found.shape != wanted.shape or not np.array_equal(found, wanted):
            yield f"{name}: is not the manifest's grid"
    counts: dict[str, tuple[int, ...]] = dict.fromkeys(manifest.static, manifest.grid.shape)
    counts |= {name: (len(layers), *manifest.grid.shape) for name, layers in manifest.stacks.items()}
    for name, shape in sorted(counts.items()):
        try:
            array = _array(version, name)
        except Exception as error:
            yield f"{name}: cannot be opened ({type(error).__name__})"
            continue
        wanted_dims = VARIABLES[name].dims if name in VARIABLES else None
        if array.shape != shape or str(array.dtype) != VARIABLES[name].dtype:
            yield f"{name}: is {array.dtype} {array.shape}, the schema states {VARIABLES[name].dtype} {shape}"
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
