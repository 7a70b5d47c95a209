"""Checking a version against its manifest: schema, grid, every shard, every file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from pipeline.cube import arrays
from pipeline.cube.manifest import MANIFEST, Manifest
from pipeline.cube.read import resolve_version
from pipeline.cube.schema import VARIABLES
from pipeline.cube.storage import LocalStore, digest_of
from pipeline.cube.versions import POINTER, current_version, read_manifest, version_key
from pipeline.errors import CubeError
from pipeline.records import Frozen

Progress = Callable[[int, int], None]


class Verdict(Frozen):
    """What `verify` found."""

    cube: str
    version: int
    shards: int
    files: int
    problems: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing was wrong."""
        return not self.problems


def verify_cube(path: str | Path, progress: Progress | None = None) -> Verdict:
    """Decode every shard of a version and compare it, the coordinates and all other files with the manifest.

    `path` is a cube's root (its latest version) or one version. `progress(done, all)` is called per shard.

    Raises:
        CubeError: there is no version with a manifest to compare with.
    """
    folder = resolve_version(path).resolve()
    if folder.parent.name != "versions" or not folder.stem.isdigit():
        raise CubeError(f"{folder} is no version of a slidecube cube.", "Only those carry a manifest.")
    store, number = LocalStore(folder.parent.parent), int(folder.stem)
    problems: list[str] = list(_pointer_problems(store, number))
    manifest = read_manifest(store, number)
    expected = list(_shards(manifest))
    present: set[str] = set(store.files(version_key(number)))
    problems += _file_problems(store, number, manifest, present - {key for key, *_ in expected})
    problems += _grid_problems(folder, manifest)
    opened: dict[str, zarr.Array[Any]] = {}
    for done, (key, name, selection, digest) in enumerate(expected, start=1):
        problem = None if key in present else f"{key}: the shard is missing"
        if problem is None:
            problem = _shard_problem(folder, opened, (key, name, selection, digest))
        if problem:
            problems.append(problem)
        if progress:
            progress(done, len(expected))
    return Verdict(
        cube=str(store.root),
        version=number,
        shards=len(expected),
        files=len(manifest.files) + 1,
        problems=tuple(problems),
    )


def _pointer_problems(store: LocalStore, number: int) -> Iterator[str]:
    if current_version(store) != number:
        return
    told = json.loads(store.read(POINTER) or b"{}").get("manifest")
    raw = store.read(f"{version_key(number)}/{MANIFEST}") or b""
    if told != digest_of(raw):
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


def _file_problems(store: LocalStore, number: int, manifest: Manifest, others: set[str]) -> Iterator[str]:
    for key in sorted(others - set(manifest.files) - {MANIFEST}):
        yield f"{key}: is not in the manifest"
    for key, digest in sorted(manifest.files.items()):
        raw = store.read(f"{version_key(number)}/{key}")
        if raw is None:
            yield f"{key}: is missing"
        elif digest_of(raw) != digest:
            yield f"{key}: differs from the manifest"


def _grid_problems(folder: Path, manifest: Manifest) -> Iterator[str]:
    for name, wanted in (("x", manifest.grid.x), ("y", manifest.grid.y)):
        try:
            found = np.asarray(zarr.open_array(str(folder / name), mode="r")[:])
        except Exception as error:
            yield f"{name}: cannot be read ({type(error).__name__})"
            continue
        if found.shape != wanted.shape or not np.array_equal(found, wanted):
            yield f"{name}: is not the manifest's grid"
    counts: dict[str, tuple[int, ...]] = dict.fromkeys(manifest.static, manifest.grid.shape)
    counts |= {name: (len(layers), *manifest.grid.shape) for name, layers in manifest.stacks.items()}
    for name, shape in sorted(counts.items()):
        try:
            array = zarr.open_array(str(folder / name), mode="r")
        except Exception as error:
            yield f"{name}: cannot be opened ({type(error).__name__})"
            continue
        wanted_dims = VARIABLES[name].dims if name in VARIABLES else None
        if array.shape != shape or str(array.dtype) != VARIABLES[name].dtype:
            yield f"{name}: is {array.dtype} {array.shape}, the schema says {VARIABLES[name].dtype} {shape}"
        found_dims = getattr(array.metadata, "dimension_names", None)
        if found_dims != wanted_dims:
            yield f"{name}: has dimensions {found_dims}, the schema says {wanted_dims}"


def _shard_problem(
    folder: Path, opened: dict[str, zarr.Array[Any]], shard: tuple[str, str, tuple[Any, ...], str]
) -> str | None:
    key, name, selection, digest = shard
    try:
        if name not in opened:
            opened[name] = zarr.open_array(str(folder / name), mode="r")
        values = np.asarray(opened[name][selection])
    except Exception as error:
        return f"{key}: cannot be decoded ({type(error).__name__}: {error})"
    return None if arrays.content_digest(values) == digest else f"{key}: its values differ from the manifest"
