"""Answers of feeds: an ETag and Last-Modified, 304 to who has the newest, gzip to who takes it (RFC 9110)."""

from __future__ import annotations

import gzip
import hashlib
from datetime import datetime
from email.utils import format_datetime, parsedate_to_datetime

from starlette.requests import Request
from starlette.responses import Response

from pipeline.catalogue.item_fields import FILE_HEADER

_LEAST_BYTES = 256
"""Smaller bodies are not compressed."""


def feed_answer(
    request: Request,
    body: bytes,
    media_type: str,
    modified: datetime,
    *,
    simulated: bool,
    max_age_s: int = 60,
) -> Response:
    """A feed's answer; `modified` is the instant of its state."""
    packed = len(body) >= _LEAST_BYTES and "gzip" in request.headers.get("accept-encoding", "").lower()
    tag = hashlib.sha256(body).hexdigest()[:20]
    headers = {
        "etag": f'"{tag}-gzip"' if packed else f'"{tag}"',
        "last-modified": format_datetime(modified, usegmt=True),
        "cache-control": f"public, max-age={max_age_s}",
        "vary": "Accept-Encoding",
        "access-control-allow-origin": "*",
        "content-type": media_type,
    }
    if simulated:
        headers[FILE_HEADER.lower()] = "true"
    if _is_known(request, headers["etag"], modified):
        return Response(status_code=304, headers=headers)
    if packed:
        body = gzip.compress(body, mtime=0)
        headers["content-encoding"] = "gzip"
    if request.method == "HEAD":
        return Response(headers={**headers, "content-length": str(len(body))})
    return Response(body, headers=headers)


def _is_known(request: Request, etag: str, modified: datetime) -> bool:
    """Whether the caller has this state; If-None-Match takes precedence."""
    tags = request.headers.get("if-none-match")
    if tags is not None:
        stated = {tag.strip().removeprefix("W/") for tag in tags.split(",")}
        return etag in stated or "*" in stated
    since = request.headers.get("if-modified-since")
    try:
        return since is not None and modified.replace(microsecond=0) <= parsedate_to_datetime(since)
    except (ValueError, TypeError):
        return False
