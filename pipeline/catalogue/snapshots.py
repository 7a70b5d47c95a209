"""Catalogues as files: written whole, dated, and checked on reading."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from pipeline.areas.area import AreaOfInterest
from pipeline.catalogue.catalogue import Catalogue, check_area, content_digest
from pipeline.errors import ArchiveError
from pipeline.files import read_regular, writing

FOLDER = "catalogues"
MOST_SNAPSHOT_BYTES = 512 * 2**20
_REMEDY = "Give a file that a build saved (catalogue-*.json), or build without --catalogue."


class SnapshotStore(Protocol):
    """What snapshots need of a cube's store."""

    def uri_of(self, key: str) -> str:
        """Address of a key."""
        ...

    def names(self, prefix: str) -> list[str]:
        """Names directly below `prefix`, sorted."""
        ...

    def read(self, key: str) -> bytes | None:
        """The bytes of a key, or None where there are none."""
        ...

    def write(self, key: str, data: bytes) -> None:
        """Write a key, whole or not at all."""
        ...

    def delete(self, key: str) -> None:
        """Delete a key; nothing happens where there is none."""
        ...


def snapshot_name(catalogue: Catalogue) -> str:
    """File name of a snapshot: instant of the search and the first digits of its content's digest."""
    return f"catalogue-{catalogue.searched_at:%Y%m%dT%H%M%SZ}-{content_digest(catalogue)[:8]}.json"


def save_catalogue(catalogue: Catalogue, store: SnapshotStore) -> str:
    """Write the snapshot into a cube's store: whole or not at all; returns its path or URI.

    Raises:
        DiskError: the store cannot be written to.
    """
    return _save(catalogue, snapshot_name(catalogue), store)


def answer_name(answer: Catalogue) -> str:
    """File name of a search's items, saved before they are read."""
    return f"answer-{answer.searched_at:%Y%m%dT%H%M%SZ}-{content_digest(answer)[:8]}.json"


def save_answer(answer: Catalogue, store: SnapshotStore) -> str:
    """Write the items of a search into a cube's store, before they are read; returns their path or URI.

    Raises:
        DiskError: the store cannot be written to.
    """
    return _save(answer, answer_name(answer), store)


def _save(catalogue: Catalogue, name: str, store: SnapshotStore) -> str:
    key = f"{FOLDER}/{name}"
    with writing(store.uri_of(FOLDER)):
        store.write(key, catalogue.model_dump_json().encode())
    return store.uri_of(key)


def load_catalogue(path: Path, area: AreaOfInterest | None = None) -> Catalogue:
    """The snapshot in a file, checked; with `area`, that it belongs to it.

    Raises:
        ArchiveError: it cannot be read, is no catalogue, or belongs to another area.
    """
    try:
        raw = read_regular(path, MOST_SNAPSHOT_BYTES)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in its name
        why = getattr(error, "strerror", None) or error
        raise ArchiveError(f"{path} cannot be read ({why}).", _REMEDY) from error
    return parse_catalogue(raw, str(path), area)


def parse_catalogue(raw: bytes, where: str, area: AreaOfInterest | None = None) -> Catalogue:
    """The snapshot in `raw`, checked; with `area`, that it belongs to it. `where` names it in errors.

    Raises:
        ArchiveError: it is no catalogue, or belongs to another area.
    """
    try:
        catalogue = Catalogue.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "it"
        raise ArchiveError(f"{where} is no catalogue: {field}: {first['msg']}.", _REMEDY) from error
    if area is not None:
        try:
            check_area(catalogue, area)
        except ArchiveError as error:
            raise ArchiveError(f"{where}: {error.message}", error.remedy) from error
    return catalogue
