"""The document that makes a folder of a cube on an object store: where the bytes of each of its files are.

It has the form of kerchunk (fsspec's `ReferenceFileSystem`, version 1), so that other tools open a version by it: small
files stand in the document, each large one is the address of an object. A folder is there once its document is, whole
and in one step; layers and versions share objects without copies.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.cube.store import checked_key
from pipeline.errors import CubeError

DOCUMENT = "references.json"
"""name of the document below the folder that it makes"""
OBJECTS = "objects"
"""the folder of a cube with the objects that documents refer to"""
_TEMPLATE = "{{u}}/"
_TEXT = re.compile(r"[\x09\x0a\x0d\x20-\x7e]*")


@dataclass(frozen=True)
class Reference:
    """An object, by its key below the cube, and its size."""

    key: str
    size: int


Entry = bytes | Reference
"""the bytes of a small file, or where those of a large one are"""


@dataclass(frozen=True)
class FolderDocument:
    """The files of a folder, by their keys relative to it."""

    entries: Mapping[str, Entry]

    @property
    def objects(self) -> set[str]:
        """Keys of the objects that are referred to."""
        return {one.key for one in self.entries.values() if isinstance(one, Reference)}

    def to_bytes(self, cube: str) -> bytes:
        """The document of a cube at that address."""
        refs = {key: _written(entry) for key, entry in sorted(self.entries.items())}
        document = {"version": 1, "templates": {"u": f"{cube}/{OBJECTS}"}, "refs": refs}
        return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def parse_folder(raw: bytes, where: str) -> FolderDocument:
    """The document that was read at `where`. Objects are looked for in the cube that it lies in, so that a copy works.

    Raises:
        CubeError: it is damaged, or refers to something outside the cube.
    """
    try:
        refs = json.loads(raw)["refs"]
        return FolderDocument({str(checked_key(key)): _read(entry) for key, entry in refs.items()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        raise CubeError(
            f"{where} is damaged ({type(error).__name__}).", "Delete its folder and build again."
        ) from error


def _written(entry: Entry) -> str | list[str | int]:
    if isinstance(entry, Reference):
        return [_TEMPLATE + entry.key.removeprefix(f"{OBJECTS}/"), 0, entry.size]
    text = entry.decode("ascii", errors="replace")
    # kerchunk takes `base64:` for encoded bytes, and `{{` for a template
    plain = _TEXT.fullmatch(text) is not None and not text.startswith("base64:") and "{{" not in text
    return text if plain else "base64:" + base64.b64encode(entry).decode()


def _read(entry: object) -> Entry:
    if isinstance(entry, str):
        if entry.startswith("base64:"):
            return base64.b64decode(entry.removeprefix("base64:"), validate=True)
        return entry.encode()
    if not isinstance(entry, list) or len(entry) != 3:
        raise ValueError("neither bytes nor an address")
    address, start, size = entry
    if not (
        isinstance(address, str) and address.startswith(_TEMPLATE) and start == 0 and isinstance(size, int)
    ):
        raise ValueError("an address outside the cube")
    return Reference(f"{OBJECTS}/{checked_key(address.removeprefix(_TEMPLATE))}", size)
