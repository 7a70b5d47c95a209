"""Files behind https, read by conditional range requests that are limited and retried."""

from __future__ import annotations

from collections.abc import Sequence

import requests

from pipeline.archives.http import http_client
from pipeline.errors import ArchiveError

HEADER_BYTES = 64 * 1024
"""Bytes read in one request on opening: they contain the directories of any cloud-optimised file of these archives."""
MERGE_GAP_BYTES = 256 * 1024
"""Ranges closer than this are fetched in one request: the gap costs less than another round trip."""
MOST_RANGE_BYTES = 64 * 2**20


class RemoteFile:
    """A file behind https, read by range requests; every response must carry the same ETag and size.

    `archive` makes the requests, with the signature or login that the file needs.

    Raises:
        ArchiveError: the file cannot be read, or a web page came in its place.
    """

    def __init__(self, href: str, archive: http_client.Opener, etag: str | None = None) -> None:
        self.href = href
        self._archive = archive
        self.etag = etag
        self.size = 0
        self.bytes_read = 0
        self._header = self._requested(0, HEADER_BYTES)

    def header(self, length: int) -> bytes:
        """The first bytes, `length` of them, `HEADER_BYTES` or all, whichever is least; no request is made."""
        return self._header[:length]

    def close(self) -> None:
        """Nothing is kept open."""

    def fetch(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`; small ones at the beginning come from the first request.

        Raises:
            ArchiveError: refused, cut, changed, beyond the end; after retries where they may help.
        """
        if offset + length > self.size:
            raise ArchiveError(
                f"{http_client.bare(self.href)} has {self.size} bytes, and {offset + length} are needed.",
                "The file is cut: report it to the archive, or leave the item out.",
            )
        if offset + length <= len(self._header):
            return self._header[offset : offset + length]
        return self._requested(offset, length)

    def _requested(self, offset: int, length: int) -> bytes:
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
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise ArchiveError(
                f"{http_client.bare(self.href)} is served compressed ({response.headers['Content-Encoding'][:20]}), "
                "which was not requested.",
                "A part of a compressed answer is not that part of the file: report it to the archive.",
            )
        size = _total_bytes(response, self.href, offset, length)
        if self.size not in (0, size):
            raise self._changed()
        wanted = min(length, size - offset)
        if response.status_code == 200 and size > max(length, HEADER_BYTES) + MERGE_GAP_BYTES:
            raise ArchiveError(
                f"{http_client.bare(self.href)} does not serve parts of the file.",
                "It must be served with range requests.",
            )
        data = http_client.body(response, wanted)
        if offset == 0 and http_client.is_page(data):
            raise http_client.page_instead(self.href, response.url)
        self.size = size
        self.bytes_read += len(data)
        return data

    def _changed(self) -> ArchiveError:
        return http_client.changed(http_client.bare(self.href))

    def fetch_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[memoryview]:
        """The bytes of several (offset, length), in the order given; neighbouring ranges share one request.

        They are parts of the answers, which are not copied.
        """
        order = sorted(range(len(ranges)), key=lambda i: ranges[i])
        found: dict[int, memoryview] = {}
        group: list[int] = []

        def flush() -> None:
            first = ranges[group[0]][0]
            last = max(ranges[i][0] + ranges[i][1] for i in group)
            data = memoryview(self.fetch(first, last - first))
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


def _total_bytes(response: requests.Response, href: str, offset: int, length: int) -> int:
    """The file's size, from `Content-Range: bytes 0-65535/838784900`, which must be the range that was requested."""
    if response.status_code == 206:
        unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
        span, _, stated = rest.partition("/")
        total = http_client.whole_number(stated)
        if unit == "bytes" and total is not None and span == f"{offset}-{min(offset + length, total) - 1}":
            return total
    elif (
        response.status_code == 200
        and offset == 0
        and (whole := http_client.stated_bytes(response)) is not None
    ):
        return whole
    raise ArchiveError(
        f"{http_client.bare(href)} answered a range request with HTTP {response.status_code} in a way that cannot "
        "be used.",
        "It must be served with range requests.",
        transient=response.status_code == 206,
    )
