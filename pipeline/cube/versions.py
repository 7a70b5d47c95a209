"""Versions: publishing links layers into a staged folder, commits it, and then replaces the pointer `latest`.

A reader resolves the pointer once and sees one whole version. Appending, inserting in the middle, replacing
and removing a pass, a pair or a track are the same code: another manifest.
"""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

import zarr
from pydantic import Field

from pipeline.cube.coordinates import auxiliary_names, write_coordinates
from pipeline.cube.encoding import arrays
from pipeline.cube.encoding.array_writer import most_common_codec, recoded, stored_codec
from pipeline.cube.encoding.codecs import ChunkCodec
from pipeline.cube.encoding.geozarr import placed, with_overviews
from pipeline.cube.encoding.portable import portable_attributes
from pipeline.cube.layers import canonical_json, folder_of, read_record
from pipeline.cube.manifest import MANIFEST, Level, Manifest, parse_manifest
from pipeline.cube.overviews import make_overviews, write_groups
from pipeline.cube.schema import SCHEMA_VERSION, VARIABLES
from pipeline.cube.store import MOST_DOCUMENT_BYTES, Store, digest_of
from pipeline.errors import CubeError
from pipeline.files import writing
from pipeline.records import Frozen, digest_of_json

POINTER = "latest"
LOCK = "writer.lock"
KEPT_VERSIONS = 2

log = logging.getLogger(__name__)


def version_key(number: int) -> str:
    """Key of a version's folder."""
    return f"versions/{number}.zarr"


def version_numbers(store: Store) -> list[int]:
    """Numbers of the versions that exist, ascending."""
    return sorted(
        int(name.removesuffix(".zarr"))
        for name in store.names("versions")
        if re.fullmatch(r"[1-9][0-9]{0,8}\.zarr", name)
    )


def current_version(store: Store) -> int | None:
    """The number that `latest` points at, or None where nothing was published.

    Raises:
        CubeError: the pointer is damaged or points at a version that does not exist.
    """
    pointer = _read_pointer(store)
    if pointer is None:
        return None
    number = pointer.version
    if not store.exists(version_key(number)):
        raise CubeError(
            f"{store.uri_of(POINTER)} points at version {number}, which does not exist.",
            "Delete the pointer and run `slidecube build` again.",
        )
    return number


class _Pointer(Frozen):
    """The content of `latest`; earlier releases wrote the version, and later its manifest too."""

    version: int
    manifest: str | None = Field(None, description="digest of the version's manifest")
    earlier: dict[int, str] | None = Field(None, description="those of the manifests of versions before it")
    checksum: str | None = Field(None, description="digest of the other fields")

    @property
    def content(self) -> bytes:
        """Its bytes, with the checksum that it should have."""
        fields = self.model_dump(mode="json", exclude={"checksum"})
        return canonical_json({**fields, "checksum": digest_of_json(fields)})


def _read_pointer(store: Store) -> _Pointer | None:
    raw = store.read(POINTER, MOST_DOCUMENT_BYTES)
    if raw is None:
        return None
    try:
        pointer = _Pointer.model_validate_json(raw)
        if (pointer.earlier is not None or pointer.checksum is not None) and raw != pointer.content:
            raise ValueError("it does not have its own checksum")
        return pointer
    except ValueError as error:
        raise CubeError(
            f"The pointer {store.uri_of(POINTER)} is damaged.", "Delete it and run `slidecube build` again."
        ) from error


def recorded_manifests(store: Store) -> dict[int, str]:
    """The digest of each version's manifest, as the pointer records it; earlier releases record the latest only.

    Raises:
        CubeError: the pointer is damaged.
    """
    pointer = _read_pointer(store)
    if pointer is None or pointer.manifest is None:
        return {}
    return {**(pointer.earlier or {}), pointer.version: pointer.manifest}


def pointer_to(number: int, manifests: dict[int, str]) -> bytes:
    """The bytes of the pointer to a version; `manifests` are the digests of the manifests of it and of earlier ones."""
    earlier = {n: digest for n, digest in sorted(manifests.items()) if n < number}
    return _Pointer(version=number, manifest=manifests[number], earlier=earlier).content


def read_manifest(store: Store, number: int) -> Manifest:
    """The manifest of a version.

    Raises:
        CubeError: there is none or it is damaged.
    """
    key = f"{version_key(number)}/{MANIFEST}"
    raw = store.read(key, MOST_DOCUMENT_BYTES)
    if raw is None:
        raise CubeError(f"{store.uri_of(key)} is missing.", "Run `slidecube build` again.")
    return parse_manifest(raw, store.uri_of(version_key(number)))


def publish(store: Store, manifest: Manifest, spare: frozenset[str] = frozenset()) -> tuple[int, bool]:
    """Make `manifest` the latest version; returns (its number, whether it is new). The caller holds the writer's lock.

    Nothing is done when the latest version already has the same substance. Layers that no kept version uses are
    removed, except those of `spare`, which a later build will want.

    Raises:
        CubeError: a layer is missing, or another build moved the pointer.
        DiskError: the store cannot be written.
    """
    with writing(store.uri):
        return _publish(store, manifest, spare)


def _publish(store: Store, manifest: Manifest, spare: frozenset[str]) -> tuple[int, bool]:
    pointer = store.read(POINTER)
    current = current_version(store)
    if current is not None and read_manifest(store, current).substance == manifest.substance:
        return current, False
    number = (current or 0) + 1
    # a killed writer left a version beyond the pointer: it was committed, and the pointer not yet replaced
    # (the next one is removed unseen: a listing of an object store may lag behind)
    for orphan in {*version_numbers(store), number}:
        if orphan >= number:
            store.delete(version_key(orphan))
    manifest = manifest.model_copy(update={"overviews": make_overviews(store, manifest)})
    staging = store.staging("versions")
    try:
        finished = _assemble(store, staging, manifest)
        store.write(f"{staging}/{MANIFEST}", finished)
        store.commit(staging, version_key(number))
    except BaseException:
        store.delete(staging)
        raise
    existing = set(version_numbers(store))
    earlier = {n: digest for n, digest in recorded_manifests(store).items() if n in existing}
    target = pointer_to(number, {**earlier, number: digest_of(finished)})
    if not store.compare_and_swap(POINTER, pointer, target):
        store.delete(version_key(number))
        raise CubeError(
            f"Another build has published the cube {store.uri} meanwhile.", "Run `slidecube build` again."
        )
    log.info("published version %d of %s", number, store.uri)
    sweep(store, spare)
    return number, True


def withdraw(store: Store, number: int) -> None:
    """Remove a damaged latest version: `latest` points at the one before, if any. The caller holds the lock."""
    before = [n for n in version_numbers(store) if n < number]
    if before:
        raw = store.read(f"{version_key(before[-1])}/{MANIFEST}") or b""
        store.write(POINTER, pointer_to(before[-1], {before[-1]: digest_of(raw)} | recorded_manifests(store)))
    else:
        store.delete(POINTER)
    store.delete(version_key(number))


def journal(store: Store, number: int, entry: dict[str, Any]) -> None:
    """Record the times of a version's build in a file of its own, which no comparison reads."""
    entry = {"written": datetime.now(UTC).isoformat(), **entry}
    store.write(f"journal/{number}.json", canonical_json(entry))


def sweep(store: Store, spare: frozenset[str] = frozenset()) -> None:
    """Keep versions, their layers and those of `spare`; remove the rest and what killed writers left.

    Kept are the two newest versions, and the two newest complete ones: builds that fail push no good version out.
    """
    current = current_version(store)
    numbers = sorted({*version_numbers(store), *(() if current is None else (current,))})
    published = [n for n in numbers if current is None or n <= current]
    complete = [n for n in published if is_complete(store, n)]
    kept = {*published[-KEPT_VERSIONS:], *complete[-KEPT_VERSIONS:]}
    for number in numbers:
        if number not in kept:
            store.delete(version_key(number))
    used = {digest for number in kept for digest in read_manifest(store, number).stored}
    for name in store.names("layers"):
        if name not in used | spare and not name.startswith("."):
            store.delete(folder_of(name))
    for prefix in ("layers", "versions", "journal", ""):
        store.sweep(prefix)


def doomed(store: Store, keep: int) -> tuple[list[int], set[str]]:
    """Versions that are not among those to keep, and the layers that they alone use.

    Kept are the `keep` newest versions up to the one that `latest` points at, and the newest complete one.

    Raises:
        CubeError: the pointer, or the manifest of a version that is kept, is damaged: then nothing can be chosen.
    """
    current = current_version(store)
    published = [n for n in version_numbers(store) if current is not None and n <= current]
    complete = [n for n in published if is_complete(store, n)]
    kept = {*published[-max(1, keep) :], *complete[-1:]}
    going = [n for n in published if n not in kept]
    used = {digest for n in kept for digest in read_manifest(store, n).stored}
    theirs: set[str] = set()
    for number in going:
        try:
            theirs |= read_manifest(store, number).stored
        except CubeError:  # its layers stay for the next build to sweep
            continue
    return going, theirs - used


def prune(store: Store, keep: int) -> list[int]:
    """Remove what `doomed` names; the numbers of the versions. The caller holds the writer's lock."""
    going, layers = doomed(store, keep)
    for number in going:
        store.delete(version_key(number))
    for digest in sorted(layers):
        store.delete(folder_of(digest))
    return going


def is_complete(store: Store, number: int) -> bool:
    """Whether a version has everything that the archives listed; False where its manifest cannot be read."""
    try:
        return not read_manifest(store, number).undelivered
    except CubeError:
        return False


def _assemble(store: Store, staging: str, manifest: Manifest) -> bytes:
    """Write links, coordinates and metadata of a version into a staged folder; the finished manifest."""
    zarr.create_group(store=store.zarr(staging), zarr_format=3, attributes=_attributes(manifest))
    for level in manifest.levels:
        _assemble_level(store, staging, manifest, level)
    write_coordinates(store, staging, manifest)
    write_groups(store, staging, manifest)
    arrays.consolidate(store.zarr(staging))
    # after consolidating, which warns of files that are no part of a Zarr hierarchy
    for digest in sorted(set(manifest.static.values())):
        for file in manifest.records[digest].files:
            store.link(f"{folder_of(digest)}/{file}", f"{staging}/{file}")
    shards = _shard_keys(manifest)
    files = {
        key: digest_of(store.read(f"{staging}/{key}") or b"")
        for key in store.files(staging)
        if key not in shards
    }
    return manifest.model_copy(update={"files": files}).to_bytes()


def _assemble_level(store: Store, staging: str, manifest: Manifest, level: Level) -> None:
    """Write the arrays of one resolution into a staged folder, with links to its layers."""
    where, shape, place = f"{staging}/{level.prefix}", level.grid.shape, placed(level.grid)
    for name, layers in manifest.stacks.items():
        stored = [level.records[digest].digest for digest in layers]
        codec = most_common_codec(store, (f"{folder_of(digest)}/{name}" for digest in stored))
        attributes = {**_shared_attributes(manifest, layers, name), **place}
        whole = (len(layers), *shape)
        arrays.create(store.zarr(f"{where}{name}"), VARIABLES[name], whole, attributes, codec)
        for index, digest in enumerate(stored):
            _add_shards(store, (digest, name, "c/0"), f"{where}{name}/c/{index}", shape, codec)
    for name, layer in sorted(manifest.static.items()):
        digest = level.records[layer].digest
        codec = most_common_codec(store, [f"{folder_of(digest)}/{name}"])
        attributes = {**_shared_attributes(manifest, (layer,), name), **place}
        arrays.create(store.zarr(f"{where}{name}"), VARIABLES[name], shape, attributes, codec)
        _add_shards(store, (digest, name, "c"), f"{where}{name}/c", shape, codec)


def _shard_keys(manifest: Manifest) -> set[str]:
    """Keys, relative to the version, of all shards."""
    found = set()
    for level in manifest.levels:
        shards = [shard for shard, _ in arrays.shard_keys(level.grid.shape)]
        for name, layers in manifest.stacks.items():
            keys = (f"{name}/c/{index}/{shard}" for index in range(len(layers)) for shard in shards)
            found |= {f"{level.prefix}{key}" for key in keys}
        found |= {f"{level.prefix}{name}/c/{shard}" for name in manifest.static for shard in shards}
    return found


def _shared_attributes(manifest: Manifest, digests: tuple[str, ...], name: str) -> dict[str, Any]:
    """Attributes that every layer of a variable agrees on."""
    found = [dict(manifest.records[digest].attributes.get(name, {})) for digest in digests]
    shared = (
        {k: v for k, v in found[0].items() if all(other.get(k) == v for other in found[1:])} if found else {}
    )
    return portable_attributes(shared, VARIABLES[name].dtype)


def _add_shards(
    store: Store, source: tuple[str, str, str], target: str, shape: tuple[int, int], codec: ChunkCodec
) -> None:
    """Link the shards of a layer (its digest, the variable, their folder), or encode them for an array of `codec`.

    Layers of one variable have different codecs where a build of an earlier release was killed before it published
    and a later one has ended it. The digests of a manifest are those of values, and stay.
    """
    digest, name, folder = source
    record = read_record(store, digest)
    if record is None:
        raise CubeError(f"Layer {digest} is gone from {store.uri}.", "Run `slidecube build` again.")
    key = f"{folder_of(digest)}/{name}"
    own = stored_codec(store, key)
    for shard in record.content[name]:
        if own == codec or own is None:
            store.link(f"{key}/{folder}/{shard}", f"{target}/{shard}")
        else:
            raw = store.read(f"{key}/{folder}/{shard}") or b""
            store.put(f"{target}/{shard}", recoded(raw, shape, shard, (own, codec), VARIABLES[name]))


def _attributes(manifest: Manifest) -> dict[str, Any]:
    variables = [VARIABLES[name] for name in (*manifest.stacks, *sorted(manifest.static))]
    attributes = {
        "Conventions": "CF-1.11",
        "title": manifest.title or manifest.area,
        "area": manifest.area,
        "event": json.dumps(manifest.event.model_dump(mode="json"), sort_keys=True),
        "schema": SCHEMA_VERSION,
        **with_overviews(manifest.grid, {one.factor: variables for one in manifest.overviews}),
        "missing": list(manifest.missing),
        # xarray takes these for coordinates and not for data
        "coordinates": " ".join(auxiliary_names(manifest)),
        **manifest.attributes,
    }
    return portable_attributes(attributes)
