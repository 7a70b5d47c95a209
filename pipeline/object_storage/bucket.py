"""Objects below one address of an object store: S3 and what speaks its protocol, Azure, Google Cloud Storage.

Credentials, region and endpoint come from the clouds' own variables (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`,
`AZURE_STORAGE_ACCOUNT_NAME`, `GOOGLE_APPLICATION_CREDENTIALS`, ...), which the library obstore reads. An address has
none of them, so that it can stand in a manifest; what a server answers is not shown, since it may have a signed one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pipeline.errors import CubeError, SettingsError, StorageError
from pipeline.settings import checked_address

if TYPE_CHECKING:
    import obstore.store

REQUESTS_AT_ONCE = 16
MOST_BYTES = 2 * 2**30
"""of an object that is read whole"""
RETRIES = 6
RETRY_S = 120
"""longest time that one request is tried again"""
TIMEOUT_S = 300
"""of one request: a shard of 16 MB at half a megabit a second"""


@dataclass(frozen=True)
class ObjectState:
    """What a listing says of one object."""

    key: str
    tag: str
    """another text once the object has changed"""
    size: int
    changed: datetime


@dataclass(frozen=True)
class ObjectContent:
    """The bytes of one object and its tag, by which it is replaced only if it is still the same."""

    data: bytes
    tag: str
    version: str | None
    changed: datetime


class Bucket:
    """Objects whose keys begin with a prefix; its methods may be called from several threads.

    Every method raises StorageError where the store cannot be reached, or refuses.
    """

    def __init__(self, address: str) -> None:
        self.uri = checked_address(address)
        self._store = _opened(self.uri)

    def get(self, key: str, most_bytes: int = MOST_BYTES) -> ObjectContent | None:
        """An object, or None where there is none.

        Raises:
            CubeError: it is larger than `most_bytes`, which is found out before it is read.
        """
        import obstore

        with self._errors(key):
            try:
                found = obstore.get(self._store, key)
                meta = found.meta
                if meta["size"] > most_bytes:
                    raise CubeError(
                        f"{self.uri}/{key} is larger than {max(1, most_bytes // 2**20)} MiB.",
                        "Remove it; a cube has no such files.",
                    )
                data = bytes(found.bytes())
            except (FileNotFoundError, obstore.exceptions.NotFoundError):
                return None
            return ObjectContent(data, meta["e_tag"] or "", meta.get("version"), meta["last_modified"])

    def get_part(self, key: str, start: int, length: int) -> bytes | None:
        """Bytes of an object; None where there is no such object."""
        import obstore

        with self._errors(key):
            try:
                return bytes(obstore.get_range(self._store, key, start=start, length=length))
            except (FileNotFoundError, obstore.exceptions.NotFoundError):
                return None

    def state(self, key: str) -> ObjectState | None:
        """Size and tag of an object; None where there is none."""
        import obstore

        with self._errors(key):
            try:
                return _state(obstore.head(self._store, key))
            except (FileNotFoundError, obstore.exceptions.NotFoundError):
                return None

    def put(self, key: str, data: bytes) -> None:
        """Write or replace an object."""
        import obstore

        with self._errors(key):
            obstore.put(self._store, key, data, use_multipart=False)

    def put_if(self, key: str, data: bytes, seen: ObjectContent | None) -> bool:
        """Write an object if it is still the one that was `seen` (None: absent); the server decides, in one step.

        An answer that was lost is found out by reading: bytes that are the wanted ones were written.

        Returns:
            whether the object has these bytes.
        """
        import obstore

        mode: Any = "create"
        if seen is not None:
            mode = (
                {"e_tag": seen.tag} if seen.version is None else {"e_tag": seen.tag, "version": seen.version}
            )
        with self._errors(key):
            try:
                obstore.put(self._store, key, data, mode=mode, use_multipart=False)
                return True
            except (
                obstore.exceptions.AlreadyExistsError,
                obstore.exceptions.PreconditionError,
                FileExistsError,
            ):
                found = self.get(key)
                return found is not None and found.data == data
            except (obstore.exceptions.NotFoundError, FileNotFoundError):
                if seen is None:  # it is the bucket that is not there
                    raise
                return False

    def states(self, prefix: str) -> list[ObjectState]:
        """All objects below a folder, with their whole keys, sorted."""
        import obstore

        with self._errors(prefix):
            pages = obstore.list(self._store, prefix=f"{prefix}/" if prefix else None)
            return sorted((_state(one) for page in pages for one in page), key=lambda one: one.key)

    def names(self, prefix: str) -> list[str]:
        """Names directly below a folder, of objects and of folders, sorted."""
        import obstore

        with self._errors(prefix):
            found = obstore.list_with_delimiter(self._store, prefix=f"{prefix}/" if prefix else None)
        keys = [*found["common_prefixes"], *(one["path"] for one in found["objects"])]
        return sorted({key.rstrip("/").rpartition("/")[2] for key in keys})

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; nothing happens where there is none."""
        import obstore

        wanted = list(keys)

        def one(key: str) -> None:
            with self._errors(key):
                try:
                    obstore.delete(self._store, key)
                except (FileNotFoundError, obstore.exceptions.NotFoundError):
                    return

        if len(wanted) < 2:
            for key in wanted:
                one(key)
            return
        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            list(pool.map(one, wanted))

    def get_all(self, keys: Iterable[str]) -> dict[str, ObjectContent | None]:
        """Several objects, a few at a time."""
        wanted = list(keys)
        if len(wanted) < 2:
            return {key: self.get(key) for key in wanted}
        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            return dict(zip(wanted, pool.map(self.get, wanted), strict=True))

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        """Name the object in place of what the server said, which may hold a signed address."""
        import obstore

        where = f"{self.uri}/{key}" if key else self.uri
        try:
            yield
        except (
            obstore.exceptions.PermissionDeniedError,
            obstore.exceptions.UnauthenticatedError,
            PermissionError,
        ):
            raise StorageError(
                f"The object store refuses access to {where}.",
                "Check the credentials in the cloud's own variables, such as AWS_ACCESS_KEY_ID.",
            ) from None
        except (obstore.exceptions.BaseError, OSError) as error:
            raise StorageError(
                f"The object store does not answer for {where} ({type(error).__name__}).",
                "Check the bucket's name, the network and the cloud's own variables, such as AWS_ENDPOINT_URL and "
                "AWS_REGION; the same command then goes on from what is whole.",
            ) from None


def compares_at_once(bucket: Bucket, rounds: int = 5, writers: int = 8) -> bool:
    """Whether of writers that saw the same object the store lets one write, tried with an object that is removed after.

    A store that compares in one step and writes in another lets two of them write, sooner or later: then its pointer
    and its lock can be held by two. A trial can show that, and cannot exclude it.
    """
    key = f".compare-{uuid4().hex}"
    try:
        with ThreadPoolExecutor(writers) as pool:
            for _ in range(rounds):
                seen, wanted = bucket.get(key), [uuid4().hex.encode() for _ in range(writers)]
                if sum(pool.map(lambda data, seen=seen: bucket.put_if(key, data, seen), wanted)) != 1:
                    return False
        return True
    finally:
        bucket.delete([key])


def _state(meta: Any) -> ObjectState:
    return ObjectState(meta["path"], meta["e_tag"] or "", meta["size"], meta["last_modified"])


def _opened(uri: str) -> obstore.store.ObjectStore:
    if find_spec("obstore") is None:
        raise SettingsError(
            f"{uri} needs the package obstore, which is not installed.",
            "Install the extra: pip install 'slidecube[cloud]'.",
        )
    import obstore.store

    client: Any = {"timeout": timedelta(seconds=TIMEOUT_S)}
    options: dict[str, Any] = {}
    if uri.startswith("s3://"):
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
        if endpoint:
            options["endpoint"] = endpoint
        client["allow_http"] = endpoint.startswith("http://")
    if uri.startswith("az://"):
        client["allow_http"] = os.environ.get("AZURE_STORAGE_ENDPOINT", "").startswith("http://")
    retries: Any = {"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_S)}
    try:
        return obstore.store.from_url(uri, client_options=client, retry_config=retries, **options)
    except Exception as error:  # the text may hold what a variable says
        raise SettingsError(
            f"{uri} cannot be used ({type(error).__name__}).",
            "Check the cloud's own variables, such as AWS_REGION and AWS_ENDPOINT_URL.",
        ) from None
