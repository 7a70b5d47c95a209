"""A cube in an object store. A folder is one document, which refers to objects: nothing is copied or renamed.

    objects/<folder>/<id>/<file>            bytes of a layer or a version, written once
    layers/<recipe>/references.json         makes a layer, by one conditional write
    versions/<n>.zarr/references.json       makes a version, which refers to the objects of its layers
    latest, writer.lock, journal/...        objects of their own

Folders that are committed have two parts, as in `layers/<recipe>`. Listings decide only what is removed, and nothing
younger than `GRACE_S`, so that a listing that lags behind removes nothing in use.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pipeline.cube.objects.folder_document import DOCUMENT, OBJECTS, Entry, FolderDocument, Reference
from pipeline.cube.objects.folders import FOLDERS, Folders
from pipeline.cube.objects.keyed_zarr import KeyedZarr
from pipeline.cube.store import MOST_BYTES, STAGING, ZarrStore, checked_key, digest_of
from pipeline.errors import BusyError, CubeError
from pipeline.lock import LockedError
from pipeline.object_storage.bucket import Bucket
from pipeline.object_storage.lease import Lease, leased

INLINE_BYTES = 64 * 1024
"""files up to this size stand in the document of their folder: metadata, coordinates, records"""
GRACE_S = 3600.0
"""objects younger than this are not removed, even if no document is seen that refers to them"""

_leases: dict[str, Lease] = {}
"""the lock of a cube that this process holds, by the cube's address"""


@dataclass
class _Folder:
    """A folder that is being written: small files in memory, and where large ones are."""

    objects: str
    """key below which its objects are"""
    entries: dict[str, Entry] = field(default_factory=dict)


class ObjectStore:
    """A cube, or a folder of cubes, at `s3://bucket/prefix`, `gs://...` or `az://...`."""

    def __init__(self, uri: str) -> None:
        self._bucket = Bucket(uri)
        self._staged: dict[str, _Folder] = {}
        self._guard = threading.Lock()
        self._folders = Folders(self._bucket)

    @property
    def uri(self) -> str:
        """The address of the cube, without a slash at its end."""
        return self._bucket.uri

    def uri_of(self, key: str) -> str:
        """The address of a key; that of a version is one that `open_cube` opens."""
        return f"{self.uri}/{checked_key(key)}" if key else self.uri

    def zarr(self, key: str) -> ZarrStore:
        """The Zarr group or array at `key`, for zarr and xarray."""
        place = self._place(key)
        if place.folder is not None and not place.rest:
            self._folders.pin(place.folder)
        return KeyedZarr(self, _joined(*checked_key(key).parts))

    def read(self, key: str, most_bytes: int = MOST_BYTES) -> bytes | None:
        """The bytes of a key, or None where there are none.

        Raises:
            CubeError: they are more than `most_bytes`.
        """
        place = self._place(key)
        if not self._is_inside(place):
            found = self._bucket.get(place.object, most_bytes) if place.parts else None
            return None if found is None else found.data
        entry = self._entries(place).get(place.rest)
        if isinstance(entry, Reference):
            found = self._bucket.get(entry.key, most_bytes)
            return None if found is None else found.data
        if entry is not None and len(entry) > most_bytes:
            raise CubeError(f"{self.uri_of(key)} is larger than {max(1, most_bytes // 2**20)} MiB.")
        return entry

    def read_part(self, key: str, offset: int, length: int) -> bytes:
        """Bytes of a key from `offset` on, from its end where that is negative; fewer where it ends before.

        Raises:
            CubeError: there is no such file.
        """
        entry = self._entry(key)
        if isinstance(entry, bytes):
            start = offset if offset >= 0 else max(0, len(entry) + offset)
            return entry[start : start + length]
        found = None
        if entry is not None:
            start = offset if offset >= 0 else max(0, entry.size + offset)
            end = min(start + length, entry.size)
            found = self._bucket.get_part(entry.key, start, end - start) if end > start else b""
        if found is None:
            raise CubeError(f"{self.uri_of(key)} cannot be read.", "Run `slidecube verify` on the cube.")
        return found

    def size(self, key: str) -> int | None:
        """Bytes of a key; None where there is no file."""
        entry = self._entry(key)
        return None if entry is None else len(entry) if isinstance(entry, bytes) else entry.size

    def exists(self, key: str) -> bool:
        """Whether there is a file or a folder of that key."""
        place = self._checked(key)
        if self._is_folder(place):
            return not place.rest or any(_is_below(each, place.rest) for each in self._entries(place))
        return self._entry(key) is not None or bool(self._bucket.names(place.object))

    def names(self, prefix: str) -> list[str]:
        """Names directly below `prefix`, sorted; empty where there is no such folder."""
        place = self._place(prefix)
        if place.parts and self._is_folder(place):
            return sorted({key.partition("/")[0] for key in self.files(prefix)})
        return [name for name in self._bucket.names(place.object) if place.parts or name != OBJECTS]

    def files(self, prefix: str) -> list[str]:
        """Keys of all files below `prefix`, relative to it, sorted."""
        place = self._place(prefix)
        if place.parts and self._is_folder(place):
            below = f"{place.rest}/" if place.rest else ""
            keys = self._entries(place)
            return sorted(key.removeprefix(below) for key in keys if key.startswith(below))
        found: list[str] = []
        start = len(f"{place.object}/") if place.parts else 0
        for key in (one.key[start:] for one in self._bucket.states(place.object)):
            folder, _, name = key.rpartition("/")
            if not place.parts and key.startswith(f"{OBJECTS}/"):
                continue
            whole = self._place(_joined(*place.parts, folder))
            if name == DOCUMENT and not whole.rest and self._is_folder(whole):
                found += (f"{folder}/{each}" for each in self._entries(whole))
            else:
                found.append(key)
        return sorted(found)

    def irregular(self, prefix: str) -> list[str]:
        """None: an object store has only objects."""
        checked_key(prefix)
        return []

    def stamp(self, prefix: str) -> str:
        """From the document of a folder, or the tags of all objects below `prefix`."""
        place = self._place(prefix)
        if place.parts and self._is_folder(place):
            entries = self._entries(place)
            return digest_of(repr(sorted((key, str(entry)) for key, entry in entries.items())).encode())
        states = self._bucket.states(place.object)
        return digest_of("\n".join(f"{one.key} {one.size} {one.tag}" for one in states).encode())

    def write(self, key: str, data: bytes) -> None:
        """Write or replace a key, durably."""
        place = self._place(key)
        if place.staged is not None:
            self.put(key, data)
        elif place.folder is not None and self._is_inside(place):
            self._folders.change(
                place.folder, place.rest, self._stored(f"{OBJECTS}/{place.folder}", place.rest, data)
            )
        else:
            self._bucket.put(place.object, data)

    def put(self, key: str, data: bytes) -> None:
        """Write or replace a key of a staged folder, which `commit` makes visible."""
        place = self._place(key)
        if place.staged is None:
            self.write(key, data)
            return
        place.staged.entries[place.rest] = self._stored(place.staged.objects, place.rest, data)

    def _stored(self, objects: str, rest: str, data: bytes) -> Entry:
        """Bytes to stand in a document, or an object that is written for them."""
        if len(data) <= INLINE_BYTES:
            return data
        target = f"{objects}/{rest}"
        self._bucket.put(target, data)
        return Reference(target, len(data))

    def compare_and_swap(self, key: str, expected: bytes | None, data: bytes) -> bool:
        """Replace the bytes of `key` if they are still `expected`, by one conditional write that the server decides.

        Raises:
            BusyError: the writer's lock that this process held has passed to another.
        """
        self._check_lease()
        place = self._place(key)
        seen = self._bucket.get(place.object)
        if (None if seen is None else seen.data) != expected:
            return False
        return self._bucket.put_if(place.object, data, seen)

    def link(self, source: str, target: str) -> None:
        """Make `target` refer to the object of `source`.

        Raises:
            CubeError: `source` is gone.
        """
        entry = self._entry(source)
        if entry is None:
            raise CubeError(f"{source} is gone from the cube.", "Run `slidecube build` again.")
        place = self._place(target)
        if isinstance(entry, Reference) and not entry.key.startswith(f"{OBJECTS}/"):
            entry = self.read(source) or b""
        if place.staged is not None:
            place.staged.entries[place.rest] = entry
        elif place.folder is not None and self._is_inside(place):
            self._folders.change(place.folder, place.rest, entry)
        else:
            self.write(target, self.read(source) or b"")

    def delete(self, key: str) -> None:
        """Remove a file or a folder; nothing happens where there is none. `sweep` removes objects without a folder."""
        place = self._place(key)
        if place.staged is not None:
            name = place.parts[1]
            if place.rest:
                for each in [each for each in place.staged.entries if _is_below(each, place.rest)]:
                    del place.staged.entries[each]
                return
            with self._guard:
                self._staged.pop(name, None)
            self._bucket.delete(one.key for one in self._bucket.states(place.staged.objects))
        elif place.folder is not None and self._is_inside(place):
            for each in [each for each in self._entries(place) if _is_below(each, place.rest)]:
                self._folders.change(place.folder, each, None)
        else:
            below = [one.key for one in self._bucket.states(place.object)]
            # the document first: without it nobody finds the folder
            self._bucket.delete([f"{place.object}/{DOCUMENT}"] if place.parts else [])
            self._bucket.delete([place.object, *below] if place.parts else below)
            self._folders.forget(place.object)

    def staging(self, parent: str) -> str:
        """A new folder below `parent` that only this object sees."""
        name = f"{STAGING}{uuid.uuid4().hex}"
        with self._guard:
            self._staged[name] = _Folder(f"{OBJECTS}/{checked_key(parent)}/{name.removeprefix(STAGING)}")
        return f"{parent}/{name}"

    def commit(self, staging: str, final: str) -> None:
        """Give a staged folder its final key, by one write of its document. The first commit of a key is kept.

        Raises:
            BusyError: the writer's lock that this process held has passed to another.
            CubeError: objects of the folder were removed meanwhile.
        """
        self._check_lease()
        place, target = self._place(staging), self._place(final)
        if place.staged is None or target.folder is None or target.rest:
            raise CubeError(
                f"{final} cannot be a folder of a cube.", "A folder has two parts, as in layers/x."
            )
        own = {
            one.key for one in place.staged.entries.values()
            if isinstance(one, Reference) and one.key.startswith(f"{place.staged.objects}/")
        }  # fmt: skip
        if own:
            listed = {one.key for one in self._bucket.states(place.staged.objects)}
            if any(self._bucket.state(key) is None for key in own - listed):
                raise CubeError(
                    f"Another build has removed what this one wrote of {self.uri_of(final)}.",
                    "Run `slidecube build` again.",
                )
        document = FolderDocument(dict(place.staged.entries))
        if not self._folders.make(final, document):
            self.delete(staging)
        with self._guard:
            self._staged.pop(place.parts[1], None)

    def sweep(self, prefix: str) -> int:
        """Remove objects of `prefix` that no folder refers to and that are older than `GRACE_S`.

        Returns:
            the number of unfinished or removed folders that they were of.
        """
        self._check_lease()
        place = self._place(prefix)
        oldest = datetime.now(UTC) - timedelta(seconds=GRACE_S)
        states = self._bucket.states(f"{OBJECTS}/{place.object}") if place.parts else []
        old = {one.key for one in states if one.changed <= oldest}
        young = {_group(one.key) for one in states if one.changed > oldest}
        unfinished = {key for key in old if _group(key) not in young}
        if not unfinished:
            return 0
        unused = unfinished - self._folders.referred()
        self._bucket.delete(sorted(unused))
        return len({_group(key) for key in unused})

    @contextlib.contextmanager
    def lock(self, key: str, *, wait: bool) -> Iterator[bool]:
        """Hold the lock of that key; yields True if another holder had to be waited for. A kill frees it in a minute.

        Raises:
            BusyError: another holder has it and `wait` is false, or had it for too long.
        """
        with contextlib.ExitStack() as stack:
            try:
                lease, waited = stack.enter_context(
                    leased(self._bucket, str(checked_key(key)), wait=wait, what=f"the cube {self.uri}")
                )
            except LockedError as error:
                raise BusyError(
                    f"Another build is writing the cube {self.uri} ({error}).",
                    "Wait until that build has ended.",
                ) from None
            _leases[self.uri] = lease
            self._folders.forget("")  # another may have written since
            stack.callback(_leases.pop, self.uri, None)
            yield waited

    def _check_lease(self) -> None:
        lease = _leases.get(self.uri)
        if lease is not None and not lease.valid:
            raise BusyError(
                f"The lock of the cube {self.uri} was lost: this process was stopped, or the network was away.",
                "Run `slidecube build` again; layers that are whole are kept.",
            )

    def _place(self, key: str) -> _Place:
        parts = checked_key(key).parts
        staged = None
        if len(parts) >= 2 and parts[1].startswith(STAGING):
            with self._guard:
                staged = self._staged.get(parts[1])
        folder = _joined(*parts[:2]) if len(parts) >= 2 and parts[0] in FOLDERS and staged is None else None
        return _Place(parts, folder, staged)

    def _checked(self, key: str) -> _Place:
        """What a key means; of a folder itself, what was read is compared with the store."""
        place = self._place(key)
        if place.folder is not None and not place.rest:
            self._folders.document(place.folder, check=True)
        return place

    def _is_folder(self, place: _Place) -> bool:
        """Whether the key is a folder that was committed or is staged, or is in one."""
        return place.staged is not None or (
            place.folder is not None and self._folders.document(place.folder) is not None
        )

    def _is_inside(self, place: _Place) -> bool:
        return bool(place.rest) and self._is_folder(place)

    def _entries(self, place: _Place) -> dict[str, Entry]:
        if place.staged is not None:
            return dict(place.staged.entries)
        found = None if place.folder is None else self._folders.document(place.folder)
        return {} if found is None else dict(found.entries)

    def _entry(self, key: str) -> Entry | None:
        """Bytes or object of a file; None where there is none. An object of its own is one that has its own key."""
        place = self._place(key)
        if self._is_inside(place):
            return self._entries(place).get(place.rest)
        state = self._bucket.state(place.object) if place.parts else None
        return None if state is None else Reference(state.key, state.size)


@dataclass(frozen=True)
class _Place:
    """What a key means: a file of a committed folder, of a staged one, or an object of its own."""

    parts: tuple[str, ...]
    folder: str | None
    """the committed folder that it may be in, or may be"""
    staged: _Folder | None

    @property
    def rest(self) -> str:
        return _joined(*self.parts[2:])

    @property
    def object(self) -> str:
        return _joined(*self.parts)


def _joined(*parts: str) -> str:
    return "/".join(part for part in parts if part)


def _is_below(key: str, folder: str) -> bool:
    return key == folder or key.startswith(f"{folder}/")


def _group(key: str) -> str:
    """The folder whose object it was: `objects/layers/<id>`."""
    return "/".join(key.split("/")[:3])
