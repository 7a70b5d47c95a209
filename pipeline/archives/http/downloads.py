"""Whole files from an archive: streamed to a partial file, resumed, checked, and renamed when they are right."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

import requests

from pipeline.archives.http import http_client
from pipeline.errors import ArchiveError, DiskError, SourceDataError
from pipeline.files import read_regular, write_whole, writing
from pipeline.lock import held
from pipeline.progress import Progress, no_progress
from pipeline.settings import settings

log = logging.getLogger(__name__)

MOST_FILE_BYTES = 32 * 2**30
"""More than any granule has; it keeps a stream without an end from filling the disk."""
MOST_NOTE_BYTES = 2**16
"""Of the note beside a partial file."""
DISK_MARGIN_BYTES = 256 * 2**20
"""Left free on the disk."""
LONGEST_PREPARATION_S = 600.0
"""How long an archive may prepare a file, answering 202."""
LONGEST_PREPARATION_WAIT_S = 30.0


@dataclass(frozen=True)
class Wanted:
    """A file to be fetched; at least one of size, MD5 and check must be given, so that a wrong file is rejected."""

    url: str
    path: Path
    size_bytes: int | None = None
    md5: str | None = None
    check: Callable[[Path], None] | None = None
    """raises SourceDataError where the content is not what it should be"""
    public: bool = False
    """the file is requested without a login or signature"""
    most_bytes: int = MOST_FILE_BYTES
    """more than any file of its kind has"""


def download(wanted: Wanted, archive: http_client.Opener, progress: Progress = no_progress) -> Path:
    """Fetch a file to `wanted.path` from its archive, unless the right file exists already.

    The bytes go to `<name>.part`. A later call, also of another process, resumes it where the archive still has the
    same file by its ETag. Only a whole file that passed its checks gets its name. An existing file is checked too, and
    fetched again if it is wrong. Two processes wait for each other. `progress` gets the file's name, the
    bytes fetched and the file's size.

    Raises:
        ArchiveError: refused, gone, unreachable, or cut repeatedly.
        DiskError: there is no room for it, or it cannot be written.
        SourceDataError: it arrived whole and is wrong, twice.
    """
    if wanted.size_bytes is None and wanted.md5 is None and wanted.check is None:
        raise ValueError("nothing to check the file by")
    with writing(wanted.path), locked(wanted.path):
        if wanted.path.is_file():
            try:
                _verify(wanted.path, wanted)
                return wanted.path
            except SourceDataError as error:
                log.warning("%s It is fetched again.", error.message)
                wanted.path.unlink()
        for last in (False, True):
            part = _Part(wanted, archive, progress)
            part.complete()
            try:
                _verify(part.path, wanted)
            except SourceDataError as error:
                part.discard()
                if last:
                    raise
                log.warning("%s It is fetched once more.", error.message)
                continue
            part.finish()
            break
    return wanted.path


def locked(path: Path) -> AbstractContextManager[bool]:
    """Hold the lock for making `path`, waiting for its holder; see `pipeline.lock.held`."""
    return held(path.parent / ".locks" / f"{path.name}.lock")


def _verify(path: Path, wanted: Wanted) -> None:
    size = path.stat().st_size
    if wanted.size_bytes is not None and size != wanted.size_bytes:
        raise SourceDataError(
            f"{wanted.path.name} has {size} bytes, not the {wanted.size_bytes} that the archive states.",
            "Try again later; if it stays, plan again without --catalogue.",
        )
    if wanted.md5 is not None:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if found != wanted.md5.lower():
            raise SourceDataError(
                f"{wanted.path.name} has the MD5 {found}, not {wanted.md5.lower()} as the archive states.",
                "Try again later; if it stays, plan again without --catalogue.",
            )
    if wanted.check is not None:
        wanted.check(path)


class _Part:
    """The partial file, with the ETag and size of the whole one."""

    def __init__(self, wanted: Wanted, archive: http_client.Opener, progress: Progress) -> None:
        self.wanted = wanted
        self.path = wanted.path.with_name(f"{wanted.path.name}.part")
        self._note = wanted.path.with_name(f".{wanted.path.name}.part.json")
        self._archive = archive
        self._progress = progress
        self._etag: str | None = None
        self._total: int | None = wanted.size_bytes
        self._recall()

    @property
    def have(self) -> int:
        """Bytes fetched so far."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def complete(self) -> None:
        """Fetch the missing bytes. A request that brought bytes does not count as a failure."""
        while True:
            before = self.have
            try:
                http_client.retried(self._once)
                return
            except ArchiveError as error:
                if not error.transient or self.have <= before:
                    raise
                log.warning("%s Resuming at %d bytes.", error.message, self.have)

    def finish(self) -> None:
        """Give the file its name."""
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        self.path.replace(self.wanted.path)
        self._note.unlink(missing_ok=True)

    def discard(self) -> None:
        """Start from nothing."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)
        self._etag, self._total = None, self.wanted.size_bytes

    def _recall(self) -> None:
        try:
            note = json.loads(read_regular(self._note, MOST_NOTE_BYTES))
            if note["url"] == http_client.bare(self.wanted.url) and isinstance(note["etag"], str):
                self._etag = note["etag"]
                total = note["total"]
                if self._total is None and isinstance(total, int) and total > 0:
                    self._total = total
                return
        except (OSError, ValueError, KeyError, TypeError):
            pass
        self.discard()  # without its ETag a partial file cannot be resumed

    def _remember(self, etag: str | None, total: int | None) -> None:
        self._etag = etag
        if etag is None:
            self._note.unlink(missing_ok=True)
            return
        text = json.dumps({"url": http_client.bare(self.wanted.url), "etag": etag, "total": total})
        write_whole(self._note, text)

    def _once(self) -> None:
        have = self.have
        if self._total is not None and have == self._total and have > 0:
            return
        if self._total is not None and have > self._total:
            self.discard()
            have = 0
        headers = {"Accept-Encoding": "identity"}
        if have and self._etag:
            headers |= {"Range": f"bytes={have}-", "If-Range": self._etag}
        with (
            http_client.limit(http_client.host_of(self.wanted.url)),
            self._response(headers) as response,
        ):
            if response.status_code == 416:
                self.discard()
                raise ArchiveError(
                    f"{http_client.bare(self.wanted.url)} has become shorter than what was fetched of it.",
                    "Try again.",
                    transient=True,
                )
            self._write(response, have)

    def _response(self, headers: dict[str, str]) -> requests.Response:
        """A response with a body of the file, or 416; waits while the archive prepares the file (202)."""
        began, wait_s = time.monotonic(), settings().backoff_s
        while True:
            response = self._archive.open(self.wanted.url, headers, public=self.wanted.public)
            status = response.status_code
            if status in (200, 206, 416):
                return response
            asked = http_client.retry_after_s(response.headers.get("Retry-After"))
            response.close()
            if status != 202:
                raise http_client.refused(self.wanted.url, status, wait_s=asked)
            pause = min(wait_s if asked is None else asked, LONGEST_PREPARATION_WAIT_S)
            if time.monotonic() - began + pause > LONGEST_PREPARATION_S:
                raise ArchiveError(
                    f"{http_client.bare(self.wanted.url)} is still being prepared after {LONGEST_PREPARATION_S:.0f} s.",
                    "Build again later: the archive continues meanwhile.",
                )
            log.info("%s is being prepared; asking again in %.0f s", self.wanted.path.name, pause)
            time.sleep(pause)
            wait_s = min(2 * wait_s, LONGEST_PREPARATION_WAIT_S)

    def _write(self, response: requests.Response, have: int) -> None:
        url = http_client.bare(self.wanted.url)
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise ArchiveError(f"{url} is served compressed, which was not requested.", "Report it.")
        begin, total = _extent(response, have, url)
        if self.wanted.size_bytes is not None and total is not None and total != self.wanted.size_bytes:
            if response.headers.get("Content-Type", "").strip().lower().startswith("text/html"):
                raise http_client.page_instead(self.wanted.url, response.url)
            raise ArchiveError(
                f"{url} has {total} bytes, not the {self.wanted.size_bytes} that the catalogue states.",
                "Plan again without --catalogue: the file was replaced.",
            )
        if (total or 0) > self.wanted.most_bytes:
            raise ArchiveError(f"{url} has {total} bytes, more than any file of this kind.", "Report it.")
        etag = _strong_etag(response)
        if begin and etag is not None and etag != self._etag:
            self.discard()
            raise ArchiveError(f"{url} changed while it was fetched.", "Try again.", transient=True)
        if not begin:
            self.discard()
            self._remember(etag, total)
        self._total = total if total is not None else self._total
        most = self._total if self._total is not None else self.wanted.most_bytes
        if self._total is not None:
            ensure_room(self.path.parent, self._total - begin, self.wanted.path.name)
        at = self._append(response, begin, most)
        if self._total is None:
            self._total = at
        if at < self._total:
            raise ArchiveError(
                f"{url} was cut after {at} of {self._total} bytes.", "Try again later.", transient=True
            )

    def _append(self, response: requests.Response, at: int, most: int) -> int:
        """Write the body after the first `at` bytes; returns the file's bytes afterwards."""
        name = self.wanted.path.name
        with self.path.open("r+b" if self.path.is_file() else "wb") as file:
            file.truncate(at)
            file.seek(at)
            for chunk in http_client.pieces(response, decode=False):
                if at == 0 and http_client.is_page(chunk):
                    raise http_client.page_instead(self.wanted.url, response.url)
                at += len(chunk)
                if at > most:
                    raise ArchiveError(
                        f"{http_client.bare(self.wanted.url)} sends more than {most} bytes.", "Report it."
                    )
                file.write(chunk)
                self._progress(name, at, self._total)
        return at


def _extent(response: requests.Response, have: int, url: str) -> tuple[int, int | None]:
    """(first byte of the body within the file, size of the file if it is stated)."""
    if response.status_code == 200:
        return 0, http_client.stated_bytes(response)
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    span, _, total = rest.partition("/")
    size = http_client.whole_number(total)
    if unit != "bytes" or span.partition("-")[0] != str(have) or (size is None and total != "*"):
        raise ArchiveError(f"{url} returned a range that was not requested.", "Try again.", transient=True)
    return have, size


def _strong_etag(response: requests.Response) -> str | None:
    tag = response.headers.get("ETag", "").strip()
    return tag if tag.startswith('"') and len(tag) <= 256 else None


def ensure_room(folder: Path, needed_bytes: int, name: str) -> None:
    """Refuse, before the first byte, a file that does not fit.

    Raises:
        DiskError: less than `needed_bytes` and a margin are free on the folder's disk.
    """
    with suppress(OSError):
        if shutil.disk_usage(folder).free < needed_bytes + DISK_MARGIN_BYTES:
            raise DiskError(
                f"There is no room for {name} in {folder}: it needs {needed_bytes / 1e9:.2f} GB.",
                "Free disk space, or set SLIDECUBE_DATA_DIR to another disk; what was fetched is kept.",
                errno.ENOSPC,
            )
