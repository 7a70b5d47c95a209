"""Versions: a published cube is made of hard links to its layers, renamed into place, then pointed at.

A reader resolves the pointer `latest` once and sees one whole version. Appending, inserting in the middle, replacing
and removing a pass, a pair or a track are the same code: another manifest.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

import zarr

from pipeline.cube import arrays
from pipeline.cube.coordinates import auxiliary_names, write_coordinates
from pipeline.cube.layers import canonical_json, folder_of, read_record
from pipeline.cube.manifest import MANIFEST, Manifest, parse_manifest
from pipeline.cube.schema import SCHEMA_VERSION, VARIABLES
from pipeline.cube.storage import LocalStore, digest_of
from pipeline.errors import CubeError

POINTER = "latest"
LOCK = "writer.lock"
KEPT_VERSIONS = 2

log = logging.getLogger(__name__)


def version_key(number: int) -> str:
    """Key of a version's folder."""
    return f"versions/{number}.zarr"


def version_numbers(store: LocalStore) -> list[int]:
    """Numbers of the versions that are there, ascending."""
    return sorted(
        int(name.removesuffix(".zarr"))
        for name in store.names("versions")
        if name.endswith(".zarr") and name.removesuffix(".zarr").isdigit()
    )


def current_version(store: LocalStore) -> int | None:
    """The number that `latest` points at, or None where nothing was published.

    Raises:
        CubeError: the pointer is damaged or points at nothing.
    """
    raw = store.read(POINTER)
    if raw is None:
        return None
    try:
        number = int(json.loads(raw)["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise CubeError(
            f"The pointer {store.root / POINTER} is damaged.", "Delete it and run `slidecube build` again."
        ) from error
    if not store.exists(version_key(number)):
        raise CubeError(
            f"{store.root / POINTER} points at version {number}, which is not there.",
            "Delete the pointer and run `slidecube build` again.",
        )
    return number


def read_manifest(store: LocalStore, number: int) -> Manifest:
    """The manifest of a version.

    Raises:
        CubeError: there is none or it is damaged.
    """
    key = f"{version_key(number)}/{MANIFEST}"
    raw = store.read(key)
    if raw is None:
        raise CubeError(f"{store.root / key} is missing.", "Run `slidecube build` again.")
    return parse_manifest(raw, store.root / version_key(number))


def publish(store: LocalStore, manifest: Manifest, spare: frozenset[str] = frozenset()) -> tuple[int, bool]:
    """Make `manifest` the latest version; (its number, whether it is new). Only under the writer's lock.

    Nothing is done when the latest version already has the same substance. Layers that no kept version uses are
    removed, but for those of `spare`: a later build will want them.

    Raises:
        CubeError: a layer is missing, or somebody else moved the pointer.
    """
    pointer = store.read(POINTER)
    current = current_version(store)
    if current is not None and read_manifest(store, current).substance == manifest.substance:
        return current, False
    number = (current or 0) + 1
    # a version beyond the pointer is what a killed writer left between rename and pointer
    for orphan in version_numbers(store):
        if orphan >= number:
            store.delete(version_key(orphan))
    staging = store.staging("versions")
    try:
        finished = _assemble(store, staging, manifest)
        store.put_new(f"{staging}/{MANIFEST}", finished)
        store.commit(staging, version_key(number))
    except BaseException:
        store.delete(staging)
        raise
    target = canonical_json({"version": number, "manifest": digest_of(finished)})
    if not store.compare_and_swap(POINTER, pointer, target):
        store.delete(version_key(number))
        raise CubeError(
            f"Somebody else published the cube {store.root} meanwhile.", "Run `slidecube build` again."
        )
    log.info("published version %d of %s", number, store.root)
    sweep(store, spare)
    return number, True


def withdraw(store: LocalStore, number: int) -> None:
    """Take a damaged latest version away: `latest` goes back to the one before, if it is there. Under the lock."""
    before = [n for n in version_numbers(store) if n < number]
    if before:
        raw = store.read(f"{version_key(before[-1])}/{MANIFEST}") or b""
        store.put_new(POINTER, canonical_json({"version": before[-1], "manifest": digest_of(raw)}))
    else:
        store.delete(POINTER)
    store.delete(version_key(number))


def journal(store: LocalStore, number: int, entry: dict[str, Any]) -> None:
    """Note beside the version what happened when; no comparison reads it."""
    entry = {"written": datetime.now(UTC).isoformat(), **entry}
    store.put_new(f"journal/{number}.json", canonical_json(entry))


def sweep(store: LocalStore, spare: frozenset[str] = frozenset()) -> None:
    """Keep two versions, their layers and those of `spare`; remove the rest and what killed writers left."""
    numbers = version_numbers(store)
    current = current_version(store)
    kept = [n for n in numbers if current is None or n <= current][-KEPT_VERSIONS:]
    for number in numbers:
        if number not in kept:
            store.delete(version_key(number))
    used = {digest for number in kept for digest in read_manifest(store, number).records}
    for name in store.names("layers"):
        if name not in used | spare and not name.startswith("."):
            store.delete(folder_of(name))
    for prefix in ("layers", "versions", "journal", ""):
        store.sweep(prefix or ".")


def _assemble(store: LocalStore, staging: str, manifest: Manifest) -> bytes:
    """Links, coordinates and metadata of a version in a staged folder; the finished manifest."""
    root = store.path(staging)
    zarr.create_group(store=str(root), zarr_format=3, attributes=_attributes(manifest))
    shape = manifest.grid.shape
    stacks = manifest.stacks
    for name, layers in stacks.items():
        attributes = _shared_attributes(manifest, layers, name)
        arrays.create(root / name, VARIABLES[name], (len(layers), *shape), attributes)
        for index, digest in enumerate(layers):
            _link_shards(store, digest, name, f"{staging}/{name}/c/{index}", f"{name}/c/0")
    for name, digest in sorted(manifest.static.items()):
        arrays.create(root / name, VARIABLES[name], shape, _shared_attributes(manifest, (digest,), name))
        _link_shards(store, digest, name, f"{staging}/{name}/c", f"{name}/c")
    write_coordinates(root, manifest)
    arrays.consolidate(root)
    # after consolidating, which warns of files that are no part of a Zarr hierarchy
    for digest in sorted(set(manifest.static.values())):
        for file in manifest.records[digest].files:
            store.link(f"{folder_of(digest)}/{file}", f"{staging}/{file}")
    shards = {
        f"{name}/c/{index}/{shard}"
        for name, layers in stacks.items()
        for index in range(len(layers))
        for shard, _ in arrays.shard_keys(shape)
    } | {f"{name}/c/{shard}" for name in manifest.static for shard, _ in arrays.shard_keys(shape)}
    files = {
        key: digest_of(store.path(f"{staging}/{key}").read_bytes())
        for key in store.files(staging)
        if key not in shards
    }
    return manifest.model_copy(update={"files": files}).to_bytes()


def _shared_attributes(manifest: Manifest, digests: tuple[str, ...], name: str) -> dict[str, Any]:
    """Attributes that every layer of a variable agrees on."""
    found = [dict(manifest.records[digest].attributes.get(name, {})) for digest in digests]
    return (
        {k: v for k, v in found[0].items() if all(other.get(k) == v for other in found[1:])} if found else {}
    )


def _link_shards(store: LocalStore, digest: str, name: str, target: str, source: str) -> None:
    record = read_record(store, digest)
    if record is None:
        raise CubeError(f"Layer {digest} is gone from {store.root}.", "Run `slidecube build` again.")
    for shard in record.content[name]:
        store.link(f"{folder_of(digest)}/{source}/{shard}", f"{target}/{shard}")


def _attributes(manifest: Manifest) -> dict[str, Any]:
    grid = manifest.grid
    left, bottom, right, top = grid.bounds
    return {
        "Conventions": "CF-1.11",
        "title": manifest.title or manifest.area,
        "area": manifest.area,
        "event": json.dumps(manifest.event.model_dump(mode="json"), sort_keys=True),
        "schema": SCHEMA_VERSION,
        "proj:code": f"EPSG:{grid.epsg}",
        "spatial:dimensions": ["y", "x"],
        "spatial:transform": [grid.resolution_m, 0.0, grid.left, 0.0, -grid.resolution_m, grid.top],
        "spatial:shape": list(grid.shape),
        "spatial:bbox": [left, bottom, right, top],
        "spatial:registration": "pixel",
        "missing": list(manifest.missing),
        # xarray takes these for coordinates and not for data
        "coordinates": " ".join(auxiliary_names(manifest)),
        **manifest.attributes,
    }
