"""Whether the archives can be reached from here, for `slidecube doctor`; nothing secret is shown."""

from __future__ import annotations

import json
from typing import NamedTuple

from pipeline.archives import http_client, planetary
from pipeline.archives.earthdata import earthdata
from pipeline.archives.slc import orbit_files
from pipeline.errors import ArchiveError
from pipeline.settings import Settings


class Reachable(NamedTuple):
    """One endpoint."""

    name: str
    ok: bool
    detail: str


TOKENS = {
    "signing of radar files": "sentinel1euwestrtc/sentinel1-grd-rtc",
    "signing of NASADEM": "nasademeuwest/nasadem-cog",
    "signing of Copernicus DEM": "elevationeuwest/copernicus-dem",
}


def reachability(settings: Settings) -> list[Reachable]:
    """Search and signing endpoints and the key, each asked once, in at most the timeout each."""
    found = [_search(settings.stac_url)]
    found += [_token(name, container) for name, container in TOKENS.items()]
    key = planetary.subscription_key()
    found.append(
        Reachable(
            "subscription key",
            key is not None,
            "present" if key else "none: set PC_SDK_SUBSCRIPTION_KEY, which sentinel-1-rtc asks for",
        )
    )
    return found


def orbit_service() -> Reachable:
    """The service of orbit files, asked for a granule that does not exist: its refusal is the good answer."""
    name, url = "orbit files", f"{orbit_files.SERVICE}/none"
    try:
        with earthdata().ask(url, login=False) as answer:
            status = answer.status_code
    except ArchiveError as error:
        return Reachable(name, False, str(error))
    if status in (200, 400, 404):
        return Reachable(name, True, http_client.bare(orbit_files.SERVICE))
    return Reachable(name, False, str(http_client.refused(url, status)))


def _search(url: str) -> Reachable:
    name = "search (STAC)"
    try:
        answer = http_client.get_once(url)
        with answer:
            if answer.status_code >= 400:
                return Reachable(name, False, str(http_client.refused(url, answer.status_code)))
            document = json.loads(http_client.read_bounded(answer, 2**24))
        conforms = document.get("conformsTo", []) if isinstance(document, dict) else []
        if not any("item-search" in str(c) for c in conforms):
            return Reachable(name, False, f"{http_client.bare(url)} does not offer item search")
    except ArchiveError as error:
        return Reachable(name, False, str(error))
    except ValueError:
        return Reachable(name, False, f"{http_client.bare(url)} answered no JSON")
    return Reachable(name, True, http_client.bare(url))


def _token(name: str, container: str) -> Reachable:
    address = planetary.token_address(container)
    key = planetary.subscription_key()
    try:
        answer = http_client.get_once(address, headers={"Ocp-Apim-Subscription-Key": key} if key else None)
        with answer:
            if answer.status_code >= 400:
                return Reachable(name, False, str(http_client.refused(address, answer.status_code)))
            document = json.loads(http_client.read_bounded(answer, 2**20))
    except ArchiveError as error:
        return Reachable(name, False, str(error))
    except ValueError:
        return Reachable(name, False, f"{http_client.bare(address)} answered no JSON")
    good = isinstance(document, dict) and "token" in document
    return Reachable(
        name, good, http_client.bare(address) if good else f"{http_client.bare(address)} answered no token"
    )
