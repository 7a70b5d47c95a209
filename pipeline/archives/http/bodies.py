"""Bodies of responses: read whole or not at all, at a least rate, with their bytes bounded."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import requests

from pipeline.archives.http.http_errors import NETWORK_ERRORS, bare, unreachable
from pipeline.errors import ArchiveError
from pipeline.settings import settings

CHUNK_BYTES = 2**18
LEAST_BYTES_PER_S = 2048.0
"""A server that sends less than this, over the length of a timeout, is given up: it would hold a build for days."""
LONGEST_BODY_S = 6 * 3600.0
"""Of one response. A whole product of 8 GB comes in that time at 400 kB/s; a download is resumed after it."""
_PAGE = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html)\b",
    re.IGNORECASE | re.DOTALL,
)


def pieces(response: requests.Response, *, decode: bool) -> Iterator[bytes]:
    """The body piece by piece as it arrives, without its content encoding where `decode` is true.

    Raises:
        ArchiveError: the body was cut, or comes slower than `LEAST_BYTES_PER_S` or longer than `LONGEST_BODY_S`.
    """
    began = since = time.monotonic()
    received = 0
    while True:
        try:
            piece: bytes = response.raw.read1(CHUNK_BYTES, decode_content=decode)
        except NETWORK_ERRORS as error:
            raise unreachable(response.url, error) from None
        if not piece:
            return
        yield piece
        received += len(piece)
        now = time.monotonic()
        if now - began > LONGEST_BODY_S:
            raise _too_slow(response, f"takes more than {LONGEST_BODY_S / 3600:.0f} hours")
        if now - since > settings().timeout_s:
            if received < LEAST_BYTES_PER_S * (now - since):
                raise _too_slow(response, f"sends {received / (now - since):.0f} bytes a second")
            since, received = now, 0


def _too_slow(response: requests.Response, problem: str) -> ArchiveError:
    return ArchiveError(
        f"{bare(response.url)} {problem}.", "Try again later, or from a better connection.", transient=True
    )


def body(response: requests.Response, length: int) -> bytes:
    """Exactly `length` bytes of the body, not decoded.

    Raises:
        ArchiveError: the body was cut (transient) or comes too slowly.
    """
    parts: list[bytes] = []
    received = 0
    if length > 0:
        for piece in pieces(response, decode=False):
            parts.append(piece)
            received += len(piece)
            if received >= length:
                break
    if received < length:
        raise ArchiveError(
            f"{bare(response.url)} sent {received} of {length} bytes.", "Try again later.", transient=True
        )
    data = b"".join(parts)
    return data if received == length else data[:length]


def read_bounded(response: requests.Response, most: int) -> bytes:
    """The whole body, of at most `most` bytes, decoded; the response is closed.

    Raises:
        ArchiveError: the body is cut, too large, or comes too slowly.
    """
    data = bytearray()
    with response:
        for piece in pieces(response, decode=True):
            data += piece
            if len(data) > most:
                raise ArchiveError(
                    f"{bare(response.url)} sent more than {most / 2**20:.0f} MiB.",
                    "Ask for less, or report it.",
                )
    check_whole(response)
    return bytes(data)


def stated_bytes(response: requests.Response) -> int | None:
    """The length that a response states of its body; None where it states none, or no number."""
    return whole_number(response.headers.get("Content-Length", ""))


def whole_number(text: str) -> int | None:
    """The number that the digits of a header's text are; None for anything else."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def check_whole(response: requests.Response) -> None:
    """Compare the bytes that came over the wire with the length that the response states, if it states one.

    Raises:
        ArchiveError: the body was cut; transient.
    """
    stated = stated_bytes(response)
    received = response.raw.tell()
    if stated is not None and received != stated:
        raise ArchiveError(
            f"{bare(response.url)} sent {received} of {stated} bytes.", "Try again later.", transient=True
        )


def is_page(head: bytes) -> bool:
    """Whether a file begins as a web page does."""
    return _PAGE.match(head[:4096]) is not None


def page_instead(url: str, final: str, hint: str = "") -> ArchiveError:
    """The error of a web page that came in place of a file; `final` is the address that sent it."""
    by = "" if bare(final) == bare(url) else f" by {bare(final)}"
    return ArchiveError(
        f"{bare(url)} is answered with a web page{by}, not with a file.",
        f"Open the address in a browser: it may ask for a login, or a proxy may ask for one. {hint}".rstrip(),
    )
