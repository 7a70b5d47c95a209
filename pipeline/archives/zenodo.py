"""Zenodo: the record of a data set, with the size and MD5 of each of its files; no login is needed.

The address of a record is that of Zenodo's REST API (developers.zenodo.org, "Records"; the software is InvenioRDM). A
guest may send 60 requests a minute and 2000 an hour; more are refused with status 429 and a Retry-After.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from pipeline.archives.archive import Archive, Query
from pipeline.archives.http import http_client
from pipeline.catalogue.item_fields import FILE_HEADER, is_true
from pipeline.errors import ArchiveError
from pipeline.records import Frozen

HOST = "zenodo.org"
MOST_RECORD_BYTES = 16 * 2**20
MOST_FILES = 1000
_KEY = re.compile(r"[^/\\\x00-\x1f\x7f]{1,200}")
_MD5 = re.compile(r"md5:([0-9a-f]{32})", re.IGNORECASE)


class RecordFile(Frozen):
    """One file of a record."""

    key: str
    """its name"""
    url: str
    size_bytes: int
    md5: str


class Record(Frozen):
    """What Zenodo says of a published data set."""

    id: int
    doi: str
    title: str
    creators: tuple[str, ...]
    published: str
    """day of publication, as Zenodo states it"""
    licence: str
    files: tuple[RecordFile, ...]
    simulated: bool
    """whether the server says that what it serves is simulated"""

    @property
    def page(self) -> str:
        """The address of the record for people."""
        return f"https://{HOST}/records/{self.id}"

    @property
    def citation(self) -> str:
        """Authors, year, title, DOI."""
        who = "; ".join(self.creators) or "unknown authors"
        year = f" ({self.published[:4]})" if re.match(r"\d{4}", self.published) else ""
        return f"{who}{year}: {self.title}. Zenodo. https://doi.org/{self.doi}"


class Zenodo(Archive):
    """Zenodo, which has data sets by the number of their record, and no collections to search."""

    name = "zenodo"
    title = "Zenodo"
    hosts = (HOST,)

    @property
    def endpoint(self) -> str:
        """The address of the API."""
        return f"https://{HOST}/api"

    def search(self, collection: str, query: Query) -> list[dict[str, Any]]:
        """
        Raises:
            ArchiveError: Zenodo has no collections of scenes.
        """
        raise ArchiveError(
            f"{self.title} is not searched for {collection!r}.", "Name a record by its number."
        )

    def record(self, number: int) -> Record:
        """What Zenodo says of a record.

        Raises:
            ArchiveError: there is none, it is refused or unreachable, or the answer is no record.
        """
        url = f"{self.endpoint}/records/{number}"

        def once() -> tuple[bytes, bool, str]:
            with http_client.limit(HOST):
                response = self.open(url, {"Accept": "application/json"})
                if response.status_code in (404, 410):
                    response.close()
                    raise ArchiveError(
                        f"{self.title} has no record {number}.", f"See https://{HOST}/records/{number}."
                    )
                marked = is_true(http_client.accepted(response, url).headers.get(FILE_HEADER))
                return http_client.read_bounded(response, MOST_RECORD_BYTES), marked, response.url

        raw, marked, final = http_client.retried(once)
        if http_client.is_page(raw):
            raise http_client.page_instead(url, final)
        return _parsed(raw, number, marked)


def _parsed(raw: bytes, number: int, simulated: bool) -> Record:
    """
    Raises:
        ArchiveError: the answer is no record whose files can be checked.
    """

    def refuse(why: str) -> ArchiveError:
        return ArchiveError(f"The answer for the Zenodo record {number} {why}.", "Try again later.")

    try:
        found = json.loads(raw)
        described = found["metadata"]
        listed = found.get("files") or []
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise refuse("is no record") from None
    if not isinstance(described, dict) or not isinstance(listed, list) or len(listed) > MOST_FILES:
        raise refuse("is no record")
    licence = described.get("license")
    creators = described.get("creators")
    return Record(
        id=number,
        doi=_words(found.get("doi") or described.get("doi")) or f"10.5281/zenodo.{number}",
        title=_words(described.get("title")) or f"Zenodo record {number}",
        creators=tuple(
            _words(one.get("name"))
            for one in (creators if isinstance(creators, list) else [])
            if isinstance(one, dict) and _words(one.get("name"))
        ),
        published=_words(described.get("publication_date")),
        licence=_words(licence.get("id") if isinstance(licence, dict) else licence),
        files=tuple(file for one in listed if (file := _file(one, refuse)) is not None),
        simulated=simulated,
    )


def _file(listed: Any, refuse: Callable[[str], ArchiveError]) -> RecordFile | None:
    """One file of a record's list; None for one that cannot be checked, since it has no MD5."""
    try:
        key, size, checksum, url = (
            listed["key"], listed["size"], str(listed["checksum"]), str(listed["links"]["self"]),
        )  # fmt: skip
    except (KeyError, TypeError):
        raise refuse("lists a file without name, size, checksum or address") from None
    if not isinstance(key, str) or not _KEY.fullmatch(key) or type(size) is not int or size < 0:
        raise refuse(f"lists a file of the name {str(key)[:60]!r} and the size {str(size)[:30]}")
    if not url.startswith("https://") or http_client.host_of(url) != HOST:
        raise refuse(f"lists {key!r} at {http_client.bare(url)[:120]}, which is not Zenodo's")
    md5 = _MD5.fullmatch(checksum)
    return None if md5 is None else RecordFile(key=key, url=url, size_bytes=size, md5=md5[1].lower())


def _words(value: Any) -> str:
    """A text from outside in one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())[:500] if value else ""
