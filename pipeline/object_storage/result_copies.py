"""Bundles and maps in the object store of `SLIDECUBE_DATA_DIR`: copied there once written, fetched where missing.

Commands work on folders of this machine, below `SLIDECUBE_WORK_DIR`. A folder in the store is its document,
`folder.json`, which is replaced last and names each file with its sha256; the files are objects of a set of their own,
so that nobody reads half of an old folder and half of a new one.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationError

from pipeline.errors import ModelError
from pipeline.files import put_folder, read_regular, scratch_name
from pipeline.object_storage.bucket import REQUESTS_AT_ONCE, Bucket
from pipeline.records import Frozen
from pipeline.settings import settings

log = logging.getLogger(__name__)

DOCUMENT = "folder.json"
KINDS = ("models", "maps")
"""folders below the data folder whose results are kept in the store"""
LATEST = "latest"
MOST_BYTES = 2 * 2**30
MOST_DOCUMENT_BYTES = 16 * 2**20
REPLACED_S = 3600.0
"""how long the files of a folder that was replaced can still be read"""


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or str(path) != name:
        raise ValueError("leaves the folder")
    return name


class _File(Frozen):
    sha256: str
    size: int = Field(ge=0, le=MOST_BYTES)


class _Folder(Frozen):
    """The document of a folder."""

    objects: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    files: dict[Annotated[str, AfterValidator(_inside)], _File]


def keep(folder: Path) -> None:
    """Copy a finished bundle or map to the object store; nothing happens where there is none, or for another folder.

    A scratch folder is another one: who renames it calls this again.

    Raises:
        StorageError: the store cannot be reached; the folder itself is whole.
    """
    found = _place_of(folder)
    if found is None:
        return
    bucket, key = found
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    )
    objects = uuid.uuid4().hex

    def put(name: str) -> _File:
        data = read_regular(folder / name, MOST_BYTES)
        bucket.put(f"{key}/{objects}/{name}", data)
        return _File(sha256=hashlib.sha256(data).hexdigest(), size=len(data))

    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        files = dict(zip(names, pool.map(put, names), strict=True))
    bucket.put(f"{key}/{DOCUMENT}", _Folder(objects=objects, files=files).model_dump_json(indent=1).encode())
    long_ago = datetime.now(UTC) - timedelta(seconds=REPLACED_S)
    bucket.delete(
        one.key for one in bucket.states(key)
        if one.changed < long_ago and not one.key.startswith((f"{key}/{objects}/", f"{key}/{DOCUMENT}"))
    )  # fmt: skip
    log.info("kept %s/%s", bucket.uri, key)


def keep_latest(target: Path, pointer: Path) -> None:
    """Record in the object store which map of an area was written last."""
    found, shown = _place_of(pointer), _place_of(target)
    if found is not None and shown is not None and target.absolute().parent == pointer.absolute().parent:
        found[0].put(found[1], target.name.encode())


def fetch(kind: str, area: str) -> None:
    """Fetch the bundles or maps of an area that the object store has and this machine lacks.

    Raises:
        StorageError: the store cannot be reached.
        ModelError: what it holds is damaged.
    """
    address = settings().data_store
    if address is None or PurePosixPath(area).name != area or area in ("", ".", ".."):
        return
    bucket, local = Bucket(address), settings().data_dir / kind / area
    for name in bucket.names(f"{kind}/{area}"):
        target = local / name
        if name == LATEST or name.startswith(".") or target.exists():
            continue
        content = bucket.get(f"{kind}/{area}/{name}/{DOCUMENT}", MOST_DOCUMENT_BYTES)
        if content is not None:
            _fetch(bucket, f"{kind}/{area}/{name}", content.data, target)
    latest, pointer = bucket.get(f"{kind}/{area}/{LATEST}", MOST_DOCUMENT_BYTES), local / LATEST
    if latest is not None and not pointer.is_symlink():
        name = latest.data.decode(errors="replace")
        if PurePosixPath(name).name == name and (local / name).is_dir():
            pointer.symlink_to(name)


def _fetch(bucket: Bucket, key: str, document: bytes, target: Path) -> None:
    where = f"{bucket.uri}/{key}"
    try:
        folder = _Folder.model_validate_json(document)
    except ValidationError:
        raise ModelError(f"{where} is damaged ({DOCUMENT}).", "Remove it, and make it again.") from None
    log.info("fetching %s", where)
    with scratch_name(target) as scratch:
        for name, file in folder.files.items():
            content = bucket.get(f"{key}/{folder.objects}/{name}", file.size)
            if content is None or hashlib.sha256(content.data).hexdigest() != file.sha256:
                raise ModelError(f"{where} is damaged ({name}).", "Remove it, and make it again.")
            path = scratch / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.data)
        with suppress(FileExistsError):  # another command has fetched it meanwhile
            put_folder(scratch, target, replace=False)


def _place_of(path: Path) -> tuple[Bucket, str] | None:
    """The store and the key of a result; None where it belongs to no store."""
    address = settings().data_store
    data, path = settings().data_dir.absolute(), path.absolute()
    if address is None or not any(path.is_relative_to(data / kind) for kind in KINDS):
        return None
    key = path.relative_to(data)
    return None if any(part.startswith(".") for part in key.parts) else (Bucket(address), key.as_posix())
