"""The Planetary Computer: its key, and the tokens that sign its files' addresses just before they are read."""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import warnings
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import ValidationError

from pipeline.archives.archive import Reachable, Signed
from pipeline.archives.http import http_client
from pipeline.archives.stac import StacArchive
from pipeline.errors import ArchiveError
from pipeline.settings import settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # the SDK's models keep pydantic 1's spelling
    import planetary_computer.sas as sas
    from planetary_computer.settings import Settings as SdkSettings

log = logging.getLogger(__name__)

API_HOST = "planetarycomputer.microsoft.com"
PUBLIC_HOST = "ai4edatasetspublicassets.blob.core.windows.net"
FRESH_S = 60.0
"""The SDK's own margin: a token with less life left is replaced before use."""
TOKENS = {
    "signing of radar files": "sentinel1euwestrtc/sentinel1-grd-rtc",
    "signing of NASADEM": "nasademeuwest/nasadem-cog",
    "signing of Copernicus DEM": "elevationeuwest/copernicus-dem",
}
"""Containers for which `slidecube doctor` requests a token."""

_container_locks: dict[str, threading.Lock] = {}
_container_locks_guard = threading.Lock()


class PlanetaryComputer(StacArchive):
    """Microsoft's Planetary Computer: a STAC API whose files are blobs of Azure storage."""

    name = "planetary-computer"
    title = "the Planetary Computer"
    hosts = (API_HOST, sas.BLOB_STORAGE_DOMAIN)

    def search_headers(self) -> dict[str, str]:
        """The subscription key, where the endpoint is the Planetary Computer's own."""
        return _key_header() if http_client.host_of(self.endpoint) == API_HOST else {}

    def sign(self, href: str, *, anew: bool = False) -> Signed:
        """`href` with a token that does not expire soon; an address of no Azure blob is returned unchanged.

        The token is cached in the SDK's own store, one per container. With `anew` the cached one is dropped first: the
        server has just refused it, whatever its stated expiry (microsoft/PlanetaryComputer#388, #418, #463). The
        SDK's own request has no timeout, so the token is requested here and put into the SDK's cache.

        Raises:
            ArchiveError: no token can be obtained.
        """
        if not needs_signing(href):
            return Signed(href)
        account, container = sas.parse_blob_url(sas.urlparse(href.rstrip("/")))
        address = token_address(f"{account}/{container}")
        with _container_locks_guard:
            lock = _container_locks.setdefault(address, threading.Lock())
        refused = sas.TOKEN_CACHE.get(address) if anew else None
        with lock:
            token = sas.TOKEN_CACHE.get(address)
            if token is None or token is refused or token.ttl() < FRESH_S:
                token = _new_token(address)
                sas.TOKEN_CACHE[address] = token
        return Signed(token.sign(href).href)

    def reachability(self) -> list[Reachable]:
        """The signing of each kind of file, and the key."""
        key = subscription_key()
        return [
            *(_reachable_token(name, container) for name, container in TOKENS.items()),
            Reachable(
                name="subscription key",
                ok=key is not None,
                detail="present"
                if key
                else "none: set PC_SDK_SUBSCRIPTION_KEY, which sentinel-1-rtc requires",
                needed=False,  # some collections can be read without one
            ),
        ]


def subscription_key() -> str | None:
    """The Planetary Computer key: the setting, else the SDK's (`PC_SDK_SUBSCRIPTION_KEY`, also in `.env`)."""
    own = settings().subscription_key
    if own is not None:
        return own.get_secret_value()
    key: str | None = SdkSettings.get().subscription_key
    return (
        key
        or os.environ.get("PC_SDK_SUBSCRIPTION_KEY")
        or dotenv_values(".env").get("PC_SDK_SUBSCRIPTION_KEY")
    )


def _key_header() -> dict[str, str]:
    key = subscription_key()
    return {"Ocp-Apim-Subscription-Key": key} if key else {}


def needs_signing(href: str) -> bool:
    """Whether the SDK would sign this address: a blob of Azure storage that is not signed or public."""
    if re.search(r"[\\\s\x00-\x20\x7f]", href):  # urlsplit drops some of them
        return False
    parts = urlsplit(href)
    if parts.scheme != "https" or not re.fullmatch(r"[A-Za-z0-9.-]+", parts.netloc):
        return False
    if not parts.netloc.endswith(sas.BLOB_STORAGE_DOMAIN):
        return False
    return parts.netloc != PUBLIC_HOST and "sig=" not in parts.query


def token_address(container: str) -> str:
    """The address that returns a token for `<account>/<container>`."""
    return f"{SdkSettings.get().sas_url}/{container}"


def _new_token(address: str) -> sas.SASToken:
    """A new token. Where it arrives nearly expired, one more is requested and used whatever its expiry."""
    for attempt in (1, 2):
        response = http_client.request("GET", address, host_limit="sas", secret=_key_header())
        answer = http_client.read_bounded(response, 2**20)
        if http_client.is_page(answer):
            raise http_client.page_instead(address, response.url)
        try:
            token = sas.SASToken(**json.loads(answer))
            life_s = token.ttl()
        except (ValueError, TypeError, ValidationError):
            raise ArchiveError(
                f"{http_client.bare(address)} returned something that is no token.",
                "Try again later.",
                transient=True,
            ) from None
        if life_s >= FRESH_S or attempt == 2:
            return token
        log.info("%s gave a token with %.0f s left; requesting one more", http_client.bare(address), life_s)
    return token


def _reachable_token(name: str, container: str) -> Reachable:
    address = token_address(container)
    shown = http_client.bare(address)
    try:
        with http_client.accepted(http_client.get_once(address, secret=_key_header()), address) as response:
            document = json.loads(http_client.read_bounded(response, 2**20))
    except ArchiveError as error:
        return Reachable(name=name, ok=False, detail=str(error))
    except ValueError:
        return Reachable(name=name, ok=False, detail=f"{shown} returned no JSON")
    good = isinstance(document, dict) and "token" in document
    return Reachable(name=name, ok=good, detail=shown if good else f"{shown} returned no token")
