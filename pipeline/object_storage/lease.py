"""A lock in an object store: an object that its holder renews, and that another takes over once it is not renewed.

Each step is one conditional write, which the store compares and does at once: of two that see the same object only one
replaces it. A kill frees the lock after `LEASE_S`. The holder measures its lease by its own clock from before its last
renewal was sent; who takes over compares the store's time of the last renewal with its own clock, and allows `SKEW_S`
between the two.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from pydantic import ValidationError

from pipeline.errors import BusyError, SlidecubeError
from pipeline.lock import LONGEST_WAIT_S, REPORT_S, LockedError
from pipeline.object_storage.bucket import Bucket, ObjectContent
from pipeline.records import Frozen

log = logging.getLogger(__name__)

LEASE_S = 60.0
"""how long a holder that was killed keeps the lock"""
RENEWALS = 4
"""in the time of a lease"""
SKEW_S = 5.0
"""between the clocks of two machines, or of one and the store"""
POLL_S = 1.0
"""between two looks at a lock that another holds"""


class _Document(Frozen):
    """The content of the lock's object."""

    holder: str
    process: str
    released: bool = False
    renewals: int = 0


class Lease:
    """A lock that this process holds."""

    def __init__(self, bucket: Bucket, key: str, document: _Document, since: float) -> None:
        self._bucket, self._key, self._document, self._since = bucket, key, document, since
        self._ended = threading.Event()
        self._lost = False
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()

    @property
    def valid(self) -> bool:
        """Whether nobody can have taken the lock over yet."""
        return not self._lost and time.monotonic() - self._since < LEASE_S

    def _renew(self) -> None:
        while not self._ended.wait(LEASE_S / RENEWALS):
            began = time.monotonic()
            renewed = self._document.model_copy(update={"renewals": self._document.renewals + 1})
            try:
                seen = self._bucket.get(self._key)
                if not _is_of(seen, self._document) or not self._bucket.put_if(
                    self._key, _bytes(renewed), seen
                ):
                    self._lost = True
                    log.error("the lock %s/%s was taken over by another process", self._bucket.uri, self._key)
                    return
            except SlidecubeError as error:
                log.warning("the lock cannot be renewed: %s", error)
                continue
            self._document, self._since = renewed, began

    def release(self) -> None:
        """Give the lock up; nothing happens where it was taken over."""
        self._ended.set()
        self._thread.join()
        try:
            seen = self._bucket.get(self._key)
            if _is_of(seen, self._document):
                freed = self._document.model_copy(update={"released": True})
                self._bucket.put_if(self._key, _bytes(freed), seen)
        except SlidecubeError as error:
            log.warning("the lock ends by itself in %.0f s: %s", LEASE_S, error)


@contextmanager
def leased(bucket: Bucket, key: str, *, wait: bool, what: str) -> Iterator[tuple[Lease, bool]]:
    """Hold the lock of an object; yields it, and whether another holder had to be waited for.

    Raises:
        LockedError: another holder has it, and `wait` is false.
        BusyError: another holder had it for `LONGEST_WAIT_S`.
        StorageError: the store cannot be reached.
    """
    lease, waited = _acquired(bucket, key, wait, what)
    try:
        yield lease, waited
    finally:
        lease.release()


def _acquired(bucket: Bucket, key: str, wait: bool, what: str) -> tuple[Lease, bool]:
    own = _Document(holder=uuid.uuid4().hex, process=f"process {os.getpid()} of {socket.gethostname()}")
    began = reported = time.monotonic()
    waited = False
    while True:
        seen, sent = bucket.get(key), time.monotonic()
        if _is_free(seen) and bucket.put_if(key, _bytes(own), seen):
            return Lease(bucket, key, own, sent), waited
        holder = _holder(seen)
        if not wait:
            raise LockedError(holder)
        if not waited or time.monotonic() - reported > REPORT_S:
            reported = time.monotonic()
            log.warning("waiting for %s, held by %s", what, holder)
        waited = True
        if time.monotonic() - began > LONGEST_WAIT_S:
            raise BusyError(
                f"{what} is held by {holder}, for more than {LONGEST_WAIT_S / 3600:.3g} hours.",
                "Wait until it ends, or end it, and run this again.",
            )
        time.sleep(POLL_S)


def _is_free(seen: ObjectContent | None) -> bool:
    """Whether nobody holds the lock: it is absent, released, or was not renewed in time."""
    document = _document(seen)
    if seen is None or (document is not None and document.released):
        return True
    return (datetime.now(UTC) - seen.changed).total_seconds() > LEASE_S + SKEW_S


def _is_of(seen: ObjectContent | None, document: _Document) -> bool:
    found = _document(seen)
    return found is not None and found.holder == document.holder


def _document(seen: ObjectContent | None) -> _Document | None:
    try:
        return None if seen is None else _Document.model_validate_json(seen.data)
    except ValidationError:
        return None


def _holder(seen: ObjectContent | None) -> str:
    found = _document(seen)
    return "another process" if found is None else found.process[:200]


def _bytes(document: _Document) -> bytes:
    return json.dumps(document.model_dump(mode="json"), sort_keys=True).encode()
