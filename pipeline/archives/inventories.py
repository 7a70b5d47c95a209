"""Landslide inventories: vector files fetched whole, with a size limit and a checksum, and examined before use."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
import zipfile
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import requests

from pipeline.archives.http import http_client
from pipeline.archives.registry import archive_of
from pipeline.areas.area import Inventory
from pipeline.catalogue.assets import is_local, local_path
from pipeline.catalogue.catalogue import InventoryFile
from pipeline.catalogue.item_fields import FILE_HEADER, is_true
from pipeline.errors import ArchiveError, SourceDataError
from pipeline.files import whole_file
from pipeline.records import digest_of_json
from pipeline.settings import settings

log = logging.getLogger(__name__)

MOST_BYTES = 2 * 2**30
"""Largest inventory that is fetched; national ones are some hundred MB."""
MOST_UNPACKED_BYTES = 2 * 2**30
"""Of all files of a zip: as much memory and more is taken to read them."""
MOST_RATIO = 200
"""Deflate gives about 1000 at most; shapefiles and GeoJSON stay far below this."""
MOST_MEMBERS = 10_000
MOST_DIRECTORY_BYTES = 32 * 2**20
"""Of a zip: a hundred times that of so many members."""
_LONGEST_END_BYTES = 2**16 + 200
"""of a zip's end: its record, the record of large zips, and a comment"""


class LargerError(SourceDataError):
    """A file has more bytes than the caller would fetch."""


def fetch_inventory(inventory: Inventory, cache_dir: Path, most_bytes: int = MOST_BYTES) -> Path:
    """The inventory as a local file, checked; a file fetched before is used again if it is still the same.

    Raises:
        ArchiveError: there is no address, or the server refused.
        SourceDataError: the file is absent, too large, of another checksum, or a zip that cannot be trusted.
        LargerError: a remote file has more than `most_bytes`; nothing of it is kept.
        DiskError: it cannot be kept.
    """
    if inventory.url is None:
        raise ArchiveError(
            f"The inventory {inventory.name!r} has no url.",
            f"Download it from {inventory.page or 'its publisher'} and name its path in the area file's inventory.url.",
        )
    return fetch_file(inventory.url, cache_dir, inventory.sha256, most_bytes)


def fetch_file(url: str, cache_dir: Path, sha256: str | None = None, most_bytes: int = MOST_BYTES) -> Path:
    """The file behind an https address or path; a remote one is kept in `cache_dir` under its address and ETag.

    Raises:
        ArchiveError, SourceDataError: as for `fetch_inventory`.
    """
    if is_local(url):
        path = local_path(url)
        if (problem := _problem(path)) is not None:
            raise SourceDataError(f"{problem}.", "Correct the path in the area file.")
    else:
        path = _download(url, cache_dir, most_bytes)
    if sha256 is not None:
        found = file_sha256(path)
        if found != sha256:
            if not is_local(url):
                path.unlink(missing_ok=True)
            raise SourceDataError(
                f"{http_client.bare(url)} has the SHA-256 {found}, the area file states {sha256}.",
                "The file was replaced or cut: inspect it, then correct inventory.sha256.",
            )
    if path.is_file() and zipfile.is_zipfile(path):
        check_zip(path)
    return path


def kept_words(url: str, path: Path) -> str | None:
    """Where the copy of a remote file is kept and how large it is, for people; None for a local file."""
    if is_local(url):
        return None
    return (
        f"{shown(url)} was fetched ({path.stat().st_size / 1e6:,.1f} MB) and is kept in {path.parent}: a build "
        "reads this copy while the server states the same file"
    )


def _download(url: str, cache_dir: Path, most_bytes: int) -> Path:
    """The file in `cache_dir`, fetched unless a copy exists with the ETag that the server states now.

    Where the server states none, a copy of the same size is used until the next search.
    """

    def once() -> Path:
        with (
            http_client.limit(http_client.host_of(url)),
            archive_of(url).open(url, {"Accept-Encoding": "identity"}) as response,
        ):
            tag = http_client.tag_of(http_client.accepted(response, url))
            state = tag or f"size:{response.headers.get('Content-Length', 'unknown')}"
            key = hashlib.sha256(f"{url} {state}".encode()).hexdigest()[:16]
            path = cache_dir / f"{key}-{_safe_name(url)}"
            if path.is_file() and (tag is not None or _is_recent(path)):
                return path
            with whole_file(path) as partial:
                size = _stream(response, partial, url, most_bytes)
            log.info("fetched %s (%d bytes)", http_client.bare(url), size)
            return path

    return http_client.retried(once)


def _is_recent(path: Path) -> bool:
    return 0 <= time.time() - path.stat().st_mtime <= settings().search_interval_s


def _stream(response: requests.Response, partial: Path, url: str, most_bytes: int) -> int:
    """Write the body to a file, without the compression that a server may add to it; returns its bytes."""
    most_bytes = min(most_bytes, MOST_BYTES)
    if (http_client.stated_bytes(response) or 0) > most_bytes:
        raise _too_large(url, most_bytes)
    size = 0
    with partial.open("wb") as out:
        for piece in http_client.pieces(response, decode=True):
            if size == 0 and http_client.is_page(piece):
                raise http_client.page_instead(url, response.url)
            size += len(piece)
            if size > most_bytes:
                raise _too_large(url, most_bytes)
            out.write(piece)
    http_client.check_whole(response)
    return size


def _too_large(url: str, most_bytes: int) -> LargerError:
    return LargerError(
        f"{http_client.bare(url)} is larger than {most_bytes / 2**30:g} GiB.",
        "Cut the inventory to the area first.",
    )


def _safe_name(url: str) -> str:
    name = PurePosixPath(urlsplit(url).path).name
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[-80:].lstrip(".") or "inventory"


def check_zip(path: Path) -> None:
    """Refuse a zip with paths that lead outside, links, too many members, or far more content than its size.

    Raises:
        SourceDataError: the zip is refused; the file and the reason are named.
    """

    def refuse(why: str) -> SourceDataError:
        return SourceDataError(
            f"{path.name} {why}.", "Unpack and inspect it by hand; give the vector file itself."
        )

    try:
        if (size := _directory_bytes(path)) > MOST_DIRECTORY_BYTES:
            raise refuse(f"has a directory of {size / 2**20:,.0f} MiB")
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise refuse(f"is a damaged zip ({type(error).__name__})") from error
    if len(members) > MOST_MEMBERS:
        raise refuse(f"holds {len(members)} files")
    total = 0
    for member in members:
        inner = PurePosixPath(member.filename.replace("\\", "/"))
        if inner.is_absolute() or ".." in inner.parts or (inner.parts and inner.parts[0].endswith(":")):
            raise refuse(f"holds a path that leads outside ({member.filename[:80]!r})")
        if (member.external_attr >> 16) & 0o170000 == 0o120000:
            raise refuse(f"holds a link ({member.filename[:80]!r})")
        if member.file_size > 2**20 and member.file_size > MOST_RATIO * max(1, member.compress_size):
            raise refuse(f"holds {member.filename[:80]!r}, which grows more than {MOST_RATIO} times")
        total += member.file_size
    if total > MOST_UNPACKED_BYTES:
        raise refuse(f"unpacks to {total / 2**30:.0f} GiB")


def _directory_bytes(path: Path) -> int:
    """Size of a zip's directory as its end record states it (APPNOTE.TXT 4.3.14 and 4.3.16); zipfile reads it whole."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LONGEST_END_BYTES))
        tail = file.read(_LONGEST_END_BYTES)
    end = tail.rfind(b"PK\5\6")
    if end < 0 or len(tail) < end + 16:
        return 0
    found = int.from_bytes(tail[end + 12 : end + 16], "little")
    large = tail.rfind(b"PK\6\6", 0, end)
    if found == 0xFFFFFFFF and large >= 0:
        found = int.from_bytes(tail[large + 40 : large + 48], "little")
    return found if found != 0xFFFFFFFF else 0


def _problem(path: Path) -> str | None:
    """Why a path is neither a file nor a file geodatabase that can be read; None where it is."""
    if path.is_dir():
        return None if path.suffix.lower() == ".gdb" else f"{path} is a folder, not a vector file"
    if not path.exists():
        return f"{path} does not exist"
    if not path.is_file():
        return f"{path} is no regular file"
    if not os.access(path, os.R_OK):
        return f"{path} may not be read"
    size = path.stat().st_size
    return (
        f"{path} is larger than {MOST_BYTES / 2**30:.0f} GiB: cut it to the area"
        if size > MOST_BYTES
        else None
    )


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal; of a folder over the names and checksums of its files."""
    if path.is_dir():
        files = sorted(one for one in path.rglob("*") if one.is_file())
        return digest_of_json([[one.relative_to(path).as_posix(), file_sha256(one)] for one in files])
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def inventory_fingerprint(inventory: Inventory | None) -> tuple[InventoryFile | None, list[str]]:
    """The inventory's state, without fetching it whole; and remarks where it is not available."""
    if inventory is None:
        return None, ["the area names no inventory: the cube will have no labels"]
    if inventory.url is None:
        where = inventory.page or "its publisher"
        return None, [
            f"the inventory {inventory.name!r} must be fetched by hand from {where}: the cube will have no labels"
        ]
    notes: list[str] = []
    found, simulated, problem = _fingerprint(inventory.url, inventory.sha256)
    if found is None:
        return None, [
            f"the inventory {inventory.name!r} is not available ({problem}): the cube will have no labels"
        ]
    extent_url = extent_fingerprint = None
    if isinstance(inventory.extent, str) and inventory.extent != "area":
        extent_url = inventory.extent
        extent_fingerprint, of_extent, problem = _fingerprint(extent_url, None)
        simulated = simulated or of_extent
        if extent_fingerprint is None:
            return None, [
                f"the mapped extent of {inventory.name!r} is not available ({problem}): the cube will have no labels"
            ]
    elif isinstance(inventory.extent, dict):
        extent_url, extent_fingerprint = "inline", digest_of_json(inventory.extent)
    return (
        InventoryFile(
            url=shown(inventory.url),
            fingerprint=found,
            extent_url=shown(extent_url) if extent_url else None,
            extent_fingerprint=extent_fingerprint,
            simulated=simulated,
        ),
        notes,
    )


def shown(url: str) -> str:
    """An address without its query, a path without its folders: what may be recorded."""
    return local_path(url).name if is_local(url) else http_client.bare(url)


def _fingerprint(url: str, sha256: str | None) -> tuple[str | None, bool, str]:
    """The stated SHA-256, that of a local file, or the server's ETag; else None; whether the server says that the file
    is simulated; the reason where there is none."""
    if is_local(url):
        path = local_path(url)
        problem = _problem(path)
        return (None, False, problem) if problem is not None else (file_sha256(path), False, "")
    try:
        found, simulated = http_client.retried(lambda: _remote_fingerprint(url))
    except ArchiveError as error:
        return None, False, error.message
    return sha256 or found, simulated, ""


def _remote_fingerprint(url: str) -> tuple[str, bool]:
    with (
        http_client.limit(http_client.host_of(url)),
        archive_of(url).open(url, {"Accept-Encoding": "identity"}, method="HEAD") as response,
    ):
        http_client.accepted(response, url)
        size = f"size:{response.headers.get('Content-Length', 'unknown')}"
        return http_client.tag_of(response) or size, is_true(response.headers.get(FILE_HEADER))
