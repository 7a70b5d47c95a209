"""Files behind https, read by conditional range requests that are limited and retried."""

from __future__ import annotations

import io
from collections.abc import Sequence

import requests

from pipeline.archives.http import http_client
from pipeline.errors import ArchiveError

HEADER_BYTES = 64 * 1024
"""Bytes read in one request on opening: they contain the directories of any cloud-optimised file of these archives."""
BLOCK_BYTES = 64 * 1024
MERGE_GAP_BYTES = 256 * 1024
"""Ranges closer than this are fetched in one request: the gap costs less than another round trip."""
MOST_RANGE_BYTES = 64 * 2**20


class RemoteFile(io.RawIOBase):
    """A file behind https, read by range requests; every response must carry the same ETag.

    `archive` makes the requests, with the signature or login that the file needs.

    Methods that GDAL calls never raise: the first failure is kept in `failure`, and reads return too few bytes from
    then on.
    """

    def __init__(self, href: str, archive: http_client.Opener, etag: str | None = None) -> None:
        super().__init__()
        self.href = href
        self._archive = archive
        self.etag = etag
        self.size = 0
        self.bytes_read = 0
        self.failure: ArchiveError | None = None
        self._position = 0
        self._header = b""
        self._block: tuple[int, bytes] = (0, b"")
        self._header = self.fetch(0, HEADER_BYTES)

    def fetch(self, offset: int, length: int) -> bytes:
        """Bytes from `offset`, `length` of them or up to the end.

        Raises:
            ArchiveError: refused, cut, changed; after retries where they may help.
        """
        return http_client.retried(lambda: self._request(offset, length))

    def _request(self, offset: int, length: int) -> bytes:
        headers = {"Range": f"bytes={offset}-{offset + length - 1}", "Accept-Encoding": "identity"}
        if self.etag is not None and self.etag.startswith('"'):
            headers["If-Match"] = self.etag
        with (
            http_client.limit(http_client.host_of(self.href)),
            self._archive.open(self.href, headers) as response,
        ):
            return self._checked(response, offset, length)

    def _checked(self, response: requests.Response, offset: int, length: int) -> bytes:
        if response.status_code == 412:
            raise self._changed()
        http_client.accepted(response, self.href)
        tag = http_client.tag_of(response)
        if self.etag is None:
            self.etag = tag
        elif tag is not None and tag != self.etag:
            raise self._changed()
        self.size = _total_bytes(response, self.href, offset)
        wanted = min(length, self.size - offset)
        if response.status_code == 200 and self.size > max(length, HEADER_BYTES) + MERGE_GAP_BYTES:
            raise ArchiveError(
                f"{http_client.bare(self.href)} does not serve parts of the file.",
                "It must be served with range requests.",
            )
        data = http_client.body(response, wanted)
        self.bytes_read += len(data)
        return data

    def _changed(self) -> ArchiveError:
        return http_client.changed(http_client.bare(self.href))

    def fetch_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of several (offset, length), in the order given; neighbouring ranges share one request."""
        order = sorted(range(len(ranges)), key=lambda i: ranges[i])
        found: dict[int, bytes] = {}
        group: list[int] = []

        def flush() -> None:
            first = ranges[group[0]][0]
            last = max(ranges[i][0] + ranges[i][1] for i in group)
            data = self.fetch(first, last - first)
            for i in group:
                offset, length = ranges[i]
                found[i] = data[offset - first : offset - first + length]

        for i in order:
            offset, length = ranges[i]
            if group:
                first = ranges[group[0]][0]
                last = max(ranges[j][0] + ranges[j][1] for j in group)
                if offset - last > MERGE_GAP_BYTES or offset + length - first > MOST_RANGE_BYTES:
                    flush()
                    group = []
            group.append(i)
        if group:
            flush()
        return [found[i] for i in range(len(ranges))]

    # called by GDAL ----------------------------------------------------------------------------------------------

    def read(self, size: int = -1) -> bytes:
        """Bytes from the position on; small reads are served from a block read at once."""
        length = self.size - self._position if size < 0 else min(size, self.size - self._position)
        if length <= 0 or self.failure is not None:
            return b""
        try:
            data = self._cached(self._position, length)
        except ArchiveError as error:
            self.failure = error
            return b""
        self._position += len(data)
        return data

    def _cached(self, offset: int, length: int) -> bytes:
        if offset + length <= len(self._header):
            return self._header[offset : offset + length]
        start, block = self._block
        if not (start <= offset and offset + length <= start + len(block)):
            if length >= BLOCK_BYTES:
                return self.fetch(offset, length)
            start, block = offset, self.fetch(offset, BLOCK_BYTES)
            self._block = (start, block)
        return block[offset - start : offset - start + length]

    def get_byte_ranges(self, offsets: Sequence[int], sizes: Sequence[int]) -> list[bytes]:
        """Several ranges at once; empty ones where a request failed."""
        ranges = [(int(o), int(s)) for o, s in zip(offsets, sizes, strict=True)]
        if self.failure is None:
            try:
                return self.fetch_ranges(ranges)
            except ArchiveError as error:
                self.failure = error
        return [b"" for _ in ranges]

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True


def _total_bytes(response: requests.Response, href: str, offset: int) -> int:
    """The file's size, from `Content-Range: bytes 0-65535/838784900`, which must begin at `offset`."""
    if response.status_code == 206:
        unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
        span, _, total = rest.partition("/")
        if unit == "bytes" and total.isdigit() and span.partition("-")[0] == str(offset):
            return int(total)
    elif response.status_code == 200 and offset == 0 and response.headers.get("Content-Length", "").isdigit():
        return int(response.headers["Content-Length"])
    raise ArchiveError(
        f"{http_client.bare(href)} answered a range request with HTTP {response.status_code} in a way that cannot "
        "be used.",
        "It must be served with range requests.",
    )
