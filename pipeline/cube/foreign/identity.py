"""The digest of a cube that slidecube did not build: of every byte, since no manifest names its content."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from pipeline.cube.addresses import VersionAddress, address_of


def bytes_digest(version: VersionAddress) -> str | None:
    """sha256 over the names and bytes of all files; a copy of the cube has the same. None: there is no file.

    Some seconds for a cube of gigabytes; found once in a process, as long as no file changes.
    """
    return _digest(version.uri, version.store.stamp(version.key))


@lru_cache(maxsize=64)
def _digest(uri: str, stamp: str) -> str | None:
    version = address_of(uri)
    names = version.store.files(version.key)
    found = hashlib.sha256()
    for name in names:
        raw = version.read(name) or b""
        found.update(f"{len(name)} {name} {len(raw)} ".encode())
        found.update(raw)
    return found.hexdigest() if names else None
