"""ASF, NASA's archive of Sentinel-1: its hosts, its login at Earthdata, its search, its service of orbit files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

import requests

from pipeline.archives.archive import (
    SLC_BURSTS,
    SLC_GRANULES,
    Archive,
    LoginNote,
    Query,
    Reachable,
)
from pipeline.archives.credentials import login_note
from pipeline.archives.earthdata import Earthdata, earthdata
from pipeline.archives.http import http_client
from pipeline.errors import ArchiveError
from pipeline.settings import FetchMode, settings

ORBIT_HOST = "s1-orbits.asf.alaska.edu"
"""Public: no login is needed, and none is sent."""


class Asf(Archive):
    """ASF; `login` is Earthdata's, by default that of the process."""

    name = "asf"
    title = "ASF"
    hosts: ClassVar[tuple[str, ...]] = (
        "asf.alaska.edu", ".asf.alaska.edu", ".asf.earthdatacloud.nasa.gov", "cmr.earthdata.nasa.gov",
    )  # fmt: skip
    collections = frozenset({SLC_GRANULES, SLC_BURSTS})

    def __init__(self, login: Earthdata | None = None) -> None:
        self._login = login

    @property
    def endpoint(self) -> str:
        """The address that is searched."""
        return "https://cmr.earthdata.nasa.gov"

    def search(self, collection: str, query: Query) -> list[dict[str, Any]]:
        """Items of every granule or burst that meets the geometry's box within the time, on the tracks.

        Raises:
            ArchiveError: refused, failed, malformed, incomplete, or more items than any area can need.
        """
        from pipeline.archives import cmr  # asf-search takes half a second to import

        return (cmr.search_granules if collection == SLC_GRANULES else cmr.search_bursts)(query)

    def open(
        self,
        href: str,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        public: bool = False,
    ) -> requests.Response:
        """One response at the end of the redirects, after a login where one is needed; see `Earthdata.ask`."""
        login = not public and http_client.host_of(href) != ORBIT_HOST
        return (self._login or earthdata()).ask(href, dict(headers or {}), method=method, login=login)

    def login_note(self, mode: FetchMode) -> LoginNote:
        """Which login the fetching of bursts or granules needs, and whether it is available."""
        return login_note(mode)

    def reachability(self) -> list[Reachable]:
        """The login and the service of orbit files, without which cubes have no pairs."""
        note = self.login_note(settings().slc_fetch)
        login = Reachable(name="Earthdata login", ok=note.ok, detail=note.text, needed=False)
        return [login, self._orbit_service()]

    def _orbit_service(self) -> Reachable:
        """Request the orbit of a granule that does not exist: a refusal shows that the service works."""
        url = orbit_address("none")
        try:
            with self.open(url) as response:
                if response.status_code not in (400, 404):
                    http_client.accepted(response, url)
        except ArchiveError as error:
            return Reachable(name="orbit files", ok=False, detail=str(error), needed=False)
        return Reachable(name="orbit files", ok=True, detail=f"https://{ORBIT_HOST}/scene", needed=False)


def orbit_address(scene: str) -> str:
    """The address of the best orbit file for a granule; it redirects to the file.

    Status 400 means that `scene` names no granule, 404 that there is no file yet. The protocol is that of the PyPI
    package `s1-orbits` 0.2.0.
    """
    return f"https://{ORBIT_HOST}/scene/{quote(scene, safe='')}"
