"""Whole files from an archive: streamed to a partial file, resumed, checked, and renamed when they are right."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests
from filelock import FileLock

from pipeline.archives import http_client
from pipeline.archives.earthdata import Earthdata, earthdata
from pipeline.errors import ArchiveError, SourceDataError
from pipeline.settings import settings

log = logging.getLogger(__name__)

CHUNK_BYTES = 2**16
"""Read at once, and so the most that is lost where a stream is cut."""
MOST_FILE_BYTES = 32 * 2**30
"""More than any granule has; a stream without an end is not written until the disk is full."""
DISK_MARGIN_BYTES = 256 * 2**20
"""Left free on the disk."""
LONGEST_CUTTING_S = 600.0
"""How long an archive may answer that the file is still being cut out (202)."""
LONGEST_CUTTING_WAIT_S = 30.0

Progress = Callable[[str, int, int | None], None]
"""Called with the file's name, the bytes at hand and the file's size if it is known."""


@dataclass(frozen=True)
class Wanted:
    """A file to be fetched; at least one of size, MD5 and check must be given, so that a wrong file is noticed."""

    url: str
    path: Path
    size_bytes: int | None = None
    md5: str | None = None
    check: Callable[[Path], None] | None = None
    """raises SourceDataError where the content is not what it should be"""
    login: bool = True


def download(wanted: Wanted, progress: Progress | None = None, archive: Earthdata | None = None) -> Path:
    """Fetch a file to `wanted.path`, or find there that it is right already.

    The bytes go to `<name>.part`, which a later call (of another process, too) goes on with where the archive still
    has the same file by its ETag. Only a whole file that passed its checks gets its name. One that is there is
    checked and not trusted; a wrong one is fetched anew. Two processes at once wait for each other.

    Raises:
        ArchiveError: refused, gone, not reachable, cut again and again, or no room on the disk.
        SourceDataError: it came whole and is wrong, twice.
    """
    if wanted.size_bytes is None and wanted.md5 is None and wanted.check is None:
        raise ValueError("nothing to check the file by")
    with written_to(wanted.path.parent, wanted.path.name), only_one(wanted.path):
        if wanted.path.is_file():
            try:
                _verify(wanted.path, wanted)
                return wanted.path
            except SourceDataError as error:
                log.warning("%s It is fetched anew.", error.message)
                wanted.path.unlink()
        for last in (False, True):
            part = _Part(wanted, archive or earthdata(), progress)
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


def only_one(path: Path) -> FileLock:
    """A lock for making `path`, held by one thread of one process; it ends with its holder."""
    locks = path.parent / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    return FileLock(locks / f"{path.name}.lock")


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
    """The partial file and what is known of the whole."""

    def __init__(self, wanted: Wanted, archive: Earthdata, progress: Progress | None) -> None:
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
        """Bytes at hand."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def complete(self) -> None:
        """Fetch what lacks. A try that brought bytes does not count as one that failed."""
        while True:
            before = self.have
            try:
                http_client.patiently(self._once)
                return
            except ArchiveError as error:
                if not error.transient or self.have <= before:
                    raise
                log.warning("%s Going on from %d bytes.", error.message, self.have)

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
            note = json.loads(self._note.read_text(encoding="utf-8"))
            if note["url"] == http_client.bare(self.wanted.url) and isinstance(note["etag"], str):
                self._etag = note["etag"]
                total = note["total"]
                if self._total is None and isinstance(total, int) and total > 0:
                    self._total = total
                return
        except (OSError, ValueError, KeyError, TypeError):
            pass
        self.discard()  # without its ETag a partial file cannot be gone on with

    def _remember(self, etag: str | None, total: int | None) -> None:
        self._etag = etag
        if etag is None:
            self._note.unlink(missing_ok=True)
            return
        text = json.dumps({"url": http_client.bare(self.wanted.url), "etag": etag, "total": total})
        self._note.write_text(text, encoding="utf-8")

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
            http_client.limit(urlsplit(self.wanted.url).hostname or "local"),
            self._answer(headers) as answer,
        ):
            if answer.status_code == 416:
                self.discard()
                raise ArchiveError(
                    f"{http_client.bare(self.wanted.url)} has become shorter than what was fetched of it.",
                    "Try again.",
                    transient=True,
                )
            self._write(answer, have)

    def _answer(self, headers: dict[str, str]) -> requests.Response:
        """An answer with a body of the file, or 416; waits while the archive is still cutting the file out."""
        began, wait_s = time.monotonic(), settings().backoff_s
        while True:
            answer = self._archive.ask(self.wanted.url, headers, login=self.wanted.login)
            status = answer.status_code
            if status in (200, 206, 416):
                return answer
            asked = http_client.retry_after_s(answer.headers.get("Retry-After"))
            answer.close()
            if status != 202:
                raise http_client.refused(self.wanted.url, status, wait_s=asked)
            pause = min(wait_s if asked is None else asked, LONGEST_CUTTING_WAIT_S)
            if time.monotonic() - began + pause > LONGEST_CUTTING_S:
                raise ArchiveError(
                    f"{http_client.bare(self.wanted.url)} is still being made ready after {LONGEST_CUTTING_S:.0f} s.",
                    "Build again later: the archive goes on with it meanwhile.",
                )
            log.info("%s is being made ready; asking again in %.0f s", self.wanted.path.name, pause)
            time.sleep(pause)
            wait_s = min(2 * wait_s, LONGEST_CUTTING_WAIT_S)

    def _write(self, answer: requests.Response, have: int) -> None:
        url = http_client.bare(self.wanted.url)
        if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise ArchiveError(f"{url} is served in a packed form that was not asked for.", "Report it.")
        begin, total = _extent(answer, have, url)
        if self.wanted.size_bytes is not None and total is not None and total != self.wanted.size_bytes:
            raise ArchiveError(
                f"{url} has {total} bytes, not the {self.wanted.size_bytes} that the catalogue states.",
                "Plan again without --catalogue: the file was replaced.",
            )
        if (total or 0) > MOST_FILE_BYTES:
            raise ArchiveError(f"{url} has {total} bytes, more than any file of this kind.", "Report it.")
        etag = _strong_etag(answer)
        if begin and etag is not None and etag != self._etag:
            self.discard()
            raise ArchiveError(f"{url} changed while it was fetched.", "Try again.", transient=True)
        if not begin:
            self.discard()
            self._remember(etag, total)
        self._total = total if total is not None else self._total
        most = self._total if self._total is not None else MOST_FILE_BYTES
        if self._total is not None:
            ensure_room(self.path.parent, self._total - begin, self.wanted.path.name)
        at = self._append(answer, begin, most)
        if self._total is None:
            self._total = at
        if at < self._total:
            raise ArchiveError(
                f"{url} was cut after {at} of {self._total} bytes.", "Try again later.", transient=True
            )

    def _append(self, answer: requests.Response, at: int, most: int) -> int:
        """Write the body behind the first `at` bytes; the bytes at hand afterwards."""
        name = self.wanted.path.name
        try:
            with self.path.open("r+b" if self.path.is_file() else "wb") as file:
                file.truncate(at)
                file.seek(at)
                for chunk in answer.iter_content(CHUNK_BYTES):
                    at += len(chunk)
                    if at > most:
                        raise ArchiveError(
                            f"{http_client.bare(self.wanted.url)} sends more than {most} bytes.", "Report it."
                        )
                    file.write(chunk)
                    if self._progress is not None:
                        self._progress(name, at, self._total)
        except requests.RequestException as error:
            raise http_client.unreachable(answer.url, error) from None
        return at


def _extent(answer: requests.Response, have: int, url: str) -> tuple[int, int | None]:
    """(first byte of the body within the file, size of the file if it is said)."""
    if answer.status_code == 200:
        return 0, _whole(answer.headers.get("Content-Length", ""))
    unit, _, rest = answer.headers.get("Content-Range", "").partition(" ")
    span, _, total = rest.partition("/")
    size = _whole(total)
    if unit != "bytes" or span.partition("-")[0] != str(have) or (size is None and total != "*"):
        raise ArchiveError(f"{url} answered a range that was not asked for.", "Try again.", transient=True)
    return have, size


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _strong_etag(answer: requests.Response) -> str | None:
    tag = answer.headers.get("ETag", "").strip()
    return tag if tag.startswith('"') and len(tag) <= 256 else None


def ensure_room(folder: Path, needed_bytes: int, name: str) -> None:
    """Refuse before the first byte what cannot fit.

    Raises:
        ArchiveError: less than `needed_bytes` and a margin are free on the folder's disk.
    """
    with suppress(OSError):
        if shutil.disk_usage(folder).free < needed_bytes + DISK_MARGIN_BYTES:
            raise no_room(folder, name, needed_bytes)


@contextmanager
def written_to(folder: Path, name: str) -> Iterator[None]:
    """Tell what the disk refuses, whichever of the files made on the way to `name` it was.

    Raises:
        ArchiveError: no room, no permission, or a disk that fails.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise no_room(folder, name) from None
        raise ArchiveError(
            f"{name} cannot be kept in {folder} ({error.strerror or type(error).__name__}).",
            "Set SLIDECUBE_DATA_DIR to a folder that can be written.",
        ) from error


def no_room(folder: Path, name: str, needed_bytes: int | None = None) -> ArchiveError:
    """The error of a full disk."""
    wants = "" if needed_bytes is None else f": it wants {needed_bytes / 1e9:.2f} GB"
    return ArchiveError(
        f"There is no room for {name} in {folder}{wants}.",
        "Free some, or set SLIDECUBE_DATA_DIR to another disk.",
    )
