"""Serves files of a world over HTTP, whole or in ranges, with Azure's errors on its hosts; marks what is simulated."""

from __future__ import annotations

import hashlib
import json
import mimetypes
import os
import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from email.utils import formatdate
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from pipeline.catalogue.item_fields import FILE_HEADER, GRANULE_ATTRIBUTE, ITEM_PROPERTY
from pipeline.sandbox.publication.timetable import REVISIONS

_CHUNK = 1 << 20
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_TYPES = {".tiff": "image/tiff", ".tif": "image/tiff", ".gpkg": "application/geopackage+sqlite3"}


@dataclass(frozen=True)
class Found:
    """An open file and its HTTP headers."""

    descriptor: int
    size: int
    headers: dict[str, str]

    @classmethod
    def open(cls, path: Path, etag: str | None = None, modified: datetime | None = None) -> Found:
        descriptor = os.open(path, os.O_RDONLY)
        status = os.fstat(descriptor)
        tag = hashlib.sha256(f"{path.name} {status.st_size} {status.st_mtime_ns}".encode()).hexdigest()
        kind = _TYPES.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0]
        return cls(
            descriptor,
            status.st_size,
            {
                "etag": etag or f'"0x8{tag[:14].upper()}"',
                "last-modified": formatdate(
                    modified.timestamp() if modified else status.st_mtime, usegmt=True
                ),
                "accept-ranges": "bytes",
                "content-type": kind or "application/octet-stream",
                **file_headers(path),
            },
        )


def azure_error(status: int, code: str, message: str, detail: str = "") -> Response:
    """An error in the form of Azure's blob storage."""
    more = f"<AuthenticationErrorDetail>{detail}</AuthenticationErrorDetail>" if detail else ""
    content = f"<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>"
    body = f'\ufeff<?xml version="1.0" encoding="utf-8"?>{content}'
    return Response(body, status, {"x-ms-error-code": code}, media_type="application/xml")


def s3_error(status: int, code: str, message: str) -> Response:
    """An error in the form of Amazon's S3."""
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{escape(message)}</Message>'
        f"<RequestId>{secrets.token_hex(8).upper()}</RequestId></Error>"
    )
    return Response(body, status, media_type="application/xml")


def send_file(
    request: Request, path: Path, etag: str | None = None, modified: datetime | None = None
) -> Response:
    """Respond to GET and HEAD of an existing file: 200, 206 for one range (also a suffix), 304, or 416.

    `modified` is sent as Last-Modified instead of the file's own.
    """
    found = Found.open(path, etag, modified)
    if request.headers.get("if-none-match") == found.headers["etag"]:
        os.close(found.descriptor)
        return Response(status_code=304, headers=found.headers)
    first, last, status = 0, found.size - 1, 200
    asked = _RANGE.fullmatch(request.headers.get("range", "").strip())
    if request.headers.get("if-range", found.headers["etag"]) != found.headers["etag"]:
        asked = None  # the file has changed since the caller read a part of it
    if asked and any(asked.groups()):
        begin, end = asked.groups()
        if begin:
            first, last = int(begin), min(int(end) if end else found.size - 1, found.size - 1)
        else:
            first = max(0, found.size - int(end))
        if first > last:
            os.close(found.descriptor)
            refused = azure_error(416, "InvalidRange", "The range specified is invalid for the current size.")
            refused.headers["content-range"] = f"bytes */{found.size}"
            return refused
        status = 206
        found.headers["content-range"] = f"bytes {first}-{last}/{found.size}"
    found.headers["content-length"] = str(last - first + 1)
    if request.method == "HEAD":
        os.close(found.descriptor)
        return Response(status_code=status, headers=found.headers)
    return StreamingResponse(_stream(found.descriptor, first, last), status, found.headers)


async def _stream(descriptor: int, first: int, last: int) -> AsyncIterator[bytes]:
    try:
        while first <= last:
            data = os.pread(descriptor, min(_CHUNK, last - first + 1), first)
            if not data:
                raise OSError("the file became shorter while it was sent")
            yield data
            first += len(data)
    finally:
        os.close(descriptor)


def locate(roots: tuple[Path, ...], host: str, path: str) -> Path | None:
    """The file of a host and a path in the first world that has it; never outside a world's blobs."""
    parts = [part for part in path.split("/") if part]
    if not parts or any(part in {".", ".."} or "\x00" in part for part in parts):
        return None
    for root in roots:
        candidate = root.joinpath("blobs", host, *parts)
        if candidate.is_file():
            return candidate
    return None


@lru_cache(maxsize=64)
def is_simulated(root: Path) -> bool:
    """Whether the world in that folder is simulated; one that does not say so is."""
    try:
        document = json.loads((root / "world.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True
    return bool(document.get("simulated", True))


def marked_item(item: dict[str, Any]) -> dict[str, Any]:
    """The STAC item with the mark among its properties."""
    return {**item, "properties": {**item["properties"], ITEM_PROPERTY: True}}


def marked_granule(item: dict[str, Any]) -> dict[str, Any]:
    """The item of a granule or burst with the mark among its additional attributes."""
    attributes = [*item["umm"]["AdditionalAttributes"], {"Name": GRANULE_ATTRIBUTE, "Values": ["true"]}]
    return {**item, "umm": {**item["umm"], "AdditionalAttributes": attributes}}


def file_headers(path: Path) -> dict[str, str]:
    """The headers of a file of a world: the mark, if the world is simulated."""
    root = next((folder for folder in path.parents if folder.name in ("blobs", "zenodo")), path).parent
    world = root.parent.parent if root.parent.name == REVISIONS else root
    return {FILE_HEADER.lower(): "true"} if is_simulated(world) else {}
