"""The folders of a cube in an object store: their documents, as this process has read them."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from pipeline.cube.objects.folder_document import DOCUMENT, Entry, FolderDocument, parse_folder
from pipeline.cube.store import MOST_DOCUMENT_BYTES
from pipeline.errors import CubeError
from pipeline.object_storage.bucket import Bucket, ObjectContent

FOLDERS = ("layers", "versions")
"""whose folders are documents"""


@dataclass(frozen=True)
class _Read:
    """A document as it was read."""

    content: ObjectContent
    document: FolderDocument


_read: dict[str, dict[str, _Read]] = {}
"""what this process has read of each cube, by its address and the folder; a writer begins without it"""
_guard = threading.Lock()


class Folders:
    """The documents of one cube. Those that were read are shared by all stores of the cube in this process."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        with _guard:
            self._known = _read.setdefault(bucket.uri, {})
            self._pinned: dict[str, FolderDocument] = {}

    def document(self, folder: str, *, check: bool = False) -> FolderDocument | None:
        """The document of a folder, None where there is none. One that was read is not read again, but if it is to be
        checked and has changed: a repair removes folders, and makes others of the same key.

        Raises:
            CubeError: it is damaged.
        """
        with _guard:
            known = self._known.get(folder)
            pinned = self._pinned.get(folder)
        if pinned is not None and not check:
            return pinned
        if known is not None and check:
            state = self._bucket.state(f"{folder}/{DOCUMENT}")
            if state is None or state.tag != known.content.tag:
                self.forget(folder)
                known = None
        if known is not None:
            return known.document
        content = self._bucket.get(f"{folder}/{DOCUMENT}", MOST_DOCUMENT_BYTES)
        if content is None:
            return None
        made = _Read(content, parse_folder(content.data, self._where(folder)))
        with _guard:
            self._known[folder] = made
        return made.document

    def pin(self, folder: str) -> None:
        """Read a folder from now on as it is now: an opened version stays the same, whatever is published."""
        document = self.document(folder, check=True)
        with _guard:
            self._pinned.pop(folder, None)
            if document is not None:
                self._pinned[folder] = document

    def forget(self, below: str = "") -> None:
        """Read the documents below a key again when they are wanted."""
        with _guard:
            for held in (self._known, self._pinned):
                for each in [each for each in held if not below or f"{each}/".startswith(f"{below}/")]:
                    del held[each]

    def make(self, folder: str, document: FolderDocument) -> bool:
        """Make a folder by one write; False where it exists, which is kept."""
        made = self._bucket.put_if(f"{folder}/{DOCUMENT}", document.to_bytes(self._bucket.uri), None)
        self.forget(folder)
        return made

    def change(self, folder: str, file: str, entry: Entry | None) -> None:
        """Replace or remove one file of a folder.

        Raises:
            CubeError: the folder is gone, or another process changed it meanwhile.
        """
        content = self._bucket.get(f"{folder}/{DOCUMENT}", MOST_DOCUMENT_BYTES)
        if content is None:
            raise CubeError(f"{self._where(folder)} is gone.", "Run `slidecube build` again.")
        entries = dict(parse_folder(content.data, self._where(folder)).entries)
        entries.pop(file, None)
        if entry is not None:
            entries[file] = entry
        raw = FolderDocument(entries).to_bytes(self._bucket.uri)
        if not self._bucket.put_if(f"{folder}/{DOCUMENT}", raw, content):
            raise CubeError(f"{self._where(folder)} was changed by another process.", "Run this again.")
        self.forget(folder)

    def referred(self) -> set[str]:
        """Keys of the objects that the documents of all folders refer to; those that are known are not read again.

        Raises:
            CubeError: a document is damaged, so that nothing can be said of the objects.
        """
        listed = {
            one.key.removesuffix(f"/{DOCUMENT}"): one.tag
            for folder in FOLDERS
            for one in self._bucket.states(folder)
            if one.key.endswith(f"/{DOCUMENT}")
        }
        with _guard:
            # a listing that lags behind lacks what is known, and what is known may be gone: both are asked for
            known = {key: one for key, one in self._known.items() if listed.get(key) == one.content.tag}
            wanted = {*listed, *self._known} - set(known)
        for key, content in self._bucket.get_all(f"{key}/{DOCUMENT}" for key in sorted(wanted)).items():
            if content is not None:
                folder = key.removesuffix(f"/{DOCUMENT}")
                known[folder] = _Read(content, parse_folder(content.data, self._where(folder)))
        with _guard:
            self._known.update(known)
        return {key for one in known.values() for key in one.document.objects}

    def _where(self, folder: str) -> str:
        return f"{self._bucket.uri}/{folder}"
