"""What an archive is: its hosts, its collections, how its files are opened and how many readers it allows."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

import requests
from pydantic import Field

from pipeline.archives.http import http_client
from pipeline.areas.area import AreaOfInterest
from pipeline.catalogue.assets import Asset
from pipeline.records import Frozen
from pipeline.settings import FetchMode

SLC_GRANULES, SLC_BURSTS = "sentinel-1-slc", "sentinel-1-slc-bursts"
"""Collections of single look complex data: whole granules, and their bursts one by one."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is searched for within a collection."""

    geometry: Mapping[str, Any]
    """GeoJSON, degrees WGS 84"""
    start: datetime | None = None
    """UTC; None for any time, and then `end` is None too"""
    end: datetime | None = None
    tracks: tuple[int, ...] = ()
    """relative orbits; none for all"""
    polarisation: str | None = None

    @classmethod
    def of_area(cls, area: AreaOfInterest) -> Query:
        """An area's footprint, time range and tracks, and the polarisation of its pairs."""
        polarisation = area.interferometry.polarisation if area.interferometry is not None else None
        return cls(area.footprint_geojson, area.start, area.end, tuple(area.tracks or ()), polarisation)


@dataclass(frozen=True, slots=True)
class Signed:
    """An address with the signature, in it or in headers, that gives the right to read it.

    The headers go to the address's own host, over https, and follow no redirect.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class Reachable(Frozen):
    """One service, key or login that `slidecube doctor` examines; it holds no secret."""

    name: str
    ok: bool
    detail: str
    needed: bool = Field(True, description="whether no cube can be built without it")


class LoginNote(Frozen):
    """Which login an archive needs, and whether it is available; it holds no secret."""

    ok: bool
    text: str


class Archive(ABC):
    """An archive of files behind https, with the search of its collections; one object serves all threads."""

    name: ClassVar[str]
    """names the archive's limit in Prefect"""
    title: ClassVar[str]
    """names the archive in messages"""
    slots: ClassVar[int] = 6
    """layers that may be read from it at once, over all flow runs of a Prefect server"""
    hosts: ClassVar[tuple[str, ...]] = ()
    """its own hosts; a name that begins with a dot matches all hosts below it"""
    collections: ClassVar[frozenset[str]] = frozenset()
    """collections that are searched here whatever SLIDECUBE_STAC_URL names; all others are searched there"""

    def owns(self, host: str) -> bool:
        """Whether files of this host are the archive's."""
        return any(host == own or (own.startswith(".") and host.endswith(own)) for own in self.hosts)

    @property
    @abstractmethod
    def endpoint(self) -> str:
        """The address that is searched."""

    @abstractmethod
    def search(self, collection: str, query: Query) -> list[dict[str, Any]]:
        """Items of a collection, each once, unsigned.

        Raises:
            ArchiveError: refused, failed, malformed, incomplete, or more items than any area can need.
        """

    def sign(self, href: str, *, anew: bool = False) -> Signed:
        """The address with its signature; an address that needs none comes back unchanged.

        With `anew` a cached signature is dropped first, because the server has just refused it.

        Raises:
            ArchiveError: no signature can be obtained.
        """
        return Signed(href)

    def open(
        self,
        href: str,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        public: bool = False,
    ) -> requests.Response:
        """One response, whatever its status; the caller reads and closes the body.

        A signature that the server refuses (401, 403) is replaced once. A `public` file is requested without one.

        Raises:
            ArchiveError: no response came, or no signature can be obtained.
        """
        asked = dict(headers or {})
        if public:
            return http_client.get_once(href, method=method, headers=asked)
        signed = self.sign(href)
        response = http_client.get_once(signed.url, method=method, headers=asked, secret=signed.headers)
        if response.status_code not in (401, 403) or signed == Signed(href):
            return response
        response.close()
        signed = self.sign(href, anew=True)
        return http_client.get_once(signed.url, method=method, headers=asked, secret=signed.headers)

    def describe(self, href: str) -> Asset | None:
        """Size and ETag (else Last-Modified) of a file as the server states them; None where it is gone.

        Raises:
            ArchiveError: the server refused or failed for another reason.
        """

        def once() -> Asset | None:
            with http_client.limit(http_client.host_of(href)):
                return self._stated(href, "HEAD") or self._stated(href, "GET")

        return http_client.retried(once)

    def _stated(self, href: str, method: str) -> Asset | None:
        """What the response to a request states of a file; None where it says that there is none.

        A server may refuse HEAD and still serve the file, so that only GET decides; its body is not read.
        """
        asked = {"Accept-Encoding": "identity"} | ({"Range": "bytes=0-0"} if method == "GET" else {})
        with self.open(href, asked, method=method) as response:
            if response.status_code in (404, 410) or (
                method == "HEAD" and response.status_code in (405, 501)
            ):
                return None
            http_client.accepted(response, href)
            length = response.headers.get("Content-Length", "")
            if response.status_code == 206:
                length = response.headers.get("Content-Range", "").rpartition("/")[2]
            if method == "HEAD":
                http_client.body(response, 0)  # frees the connection for the next request
            size = int(length) if re.fullmatch("[0-9]{1,18}", length) else None
            return Asset(href=href, size_bytes=size, etag=http_client.tag_of(response))

    def login_note(self, mode: FetchMode) -> LoginNote:
        """Which login the fetching of single look complex data needs, and whether it is available."""
        return LoginNote(ok=True, text=f"{self.title} needs no login")

    def reachability(self) -> list[Reachable]:
        """The archive's services, keys and logins; each gets one request, limited by the timeout."""
        return []
