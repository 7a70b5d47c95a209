"""The Planetary Computer: searching its STAC API, and signing its files' addresses just before they are read."""

from __future__ import annotations

import json
import logging
import os
import threading
import warnings
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pystac_client
from dotenv import dotenv_values
from pydantic import ValidationError
from pystac_client.stac_api_io import StacApiIO

from pipeline.archives import http_client
from pipeline.errors import ArchiveError
from pipeline.settings import settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # the SDK's models keep pydantic 1's spelling
    import planetary_computer.sas as sas
    from planetary_computer.settings import Settings as SdkSettings

log = logging.getLogger(__name__)

PAGE_ITEMS = 250
MOST_ITEMS = 20_000
"""More answers than any area within the limits can need: ten years of every pass over 50,000 km²."""
MOST_IDLE_PAGES = 3
"""Pages in a row that may bring nothing new. One is usual: the last may hold only what a page border repeats."""
MOST_PAGE_BYTES = 256 * 2**20
FRESH_S = 60.0
"""The SDK's own margin: a token with less life left is replaced before use."""


class PatientStacIO(StacApiIO):  # type: ignore[misc]
    """pystac-client's transport by way of `http.request`: the same waiting, limits and messages as everything else."""

    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """The body of the answer.

        Raises:
            ArchiveError: refused, failed, unreachable, or larger than any page may be.
        """
        verb = (method or "GET").upper()
        body = {"json": parameters or {}} if verb == "POST" else {"params": parameters or None}
        answer = http_client.request(verb, href, headers=headers, host_limit="stac", **body)
        return http_client.read_bounded(answer, MOST_PAGE_BYTES).decode("utf-8", errors="replace")


def client(url: str | None = None) -> pystac_client.Client:
    """The STAC API at `url` (default: the setting), opened.

    Raises:
        ArchiveError: it cannot be reached, is no STAC API, or cannot be searched.
    """
    url = url or settings().stac_url
    key = subscription_key()
    headers = {"Ocp-Apim-Subscription-Key": key} if key and _is_planetary(url) else None
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # what its warnings say (no conformance, no search link) is checked below
        try:
            opened = pystac_client.Client.open(
                url, headers=headers, stac_io=PatientStacIO(headers=headers, max_retries=None)
            )
            searchable = opened.conforms_to("ITEM_SEARCH") and opened.get_search_link() is not None
        except ArchiveError:
            raise
        except Exception as error:  # pystac raises what the malformed document makes it raise
            raise ArchiveError(
                f"{http_client.bare(url)} is no STAC API ({type(error).__name__}).",
                "Check SLIDECUBE_STAC_URL.",
            ) from error
    if not searchable:
        raise ArchiveError(
            f"{http_client.bare(url)} does not offer item search.",
            "Set SLIDECUBE_STAC_URL to a STAC API that does.",
        )
    return opened


def search(
    collection: str,
    *,
    intersects: Mapping[str, Any],
    interval: str | None = None,
    api: pystac_client.Client | None = None,
    most: int = MOST_ITEMS,
) -> list[dict[str, Any]]:
    """Items of a collection that touch a GeoJSON geometry within an RFC 3339 interval, unsigned, each id once.

    Paging may repeat items at page borders (microsoft/PlanetaryComputer#163); the last copy of an id counts.

    Raises:
        ArchiveError: refused, failed, malformed, more than `most` items, or paging that does not end.
    """
    api = api or client()
    found: dict[str, dict[str, Any]] = {}
    repeated = idle = 0
    try:
        asked = api.search(
            method="POST",
            collections=[collection],
            intersects=dict(intersects),
            datetime=interval,
            limit=PAGE_ITEMS,
            max_items=None,
        )
        for page in asked.pages_as_dicts():
            before = len(found)
            features = page.get("features")
            if not isinstance(features, list):
                raise ArchiveError(
                    f"The search of {collection} answered a page without items.", "Try again later."
                )
            for item in features:
                item_id = item.get("id") if isinstance(item, dict) else None
                if not isinstance(item_id, str) or item.get("type") != "Feature":
                    raise ArchiveError(
                        f"The search of {collection} answered something that is no STAC item.",
                        "Try again later.",
                    )
                repeated += item_id in found
                found[item_id] = item
            if len(found) > most:
                raise ArchiveError(
                    f"The search of {collection} found more than {most} items.",
                    "Narrow the area's time range or geometry.",
                )
            idle = idle + 1 if len(found) == before else 0
            if idle > MOST_IDLE_PAGES:
                raise ArchiveError(
                    f"The paging of {collection} repeats a page without end.",
                    "Try again later.",
                    transient=True,
                )
    except ArchiveError:
        raise
    except Exception as error:  # malformed pages raise what they make pystac-client raise
        raise ArchiveError(
            f"The search of {collection} answered something unusable ({type(error).__name__}: "
            f"{http_client.without_secrets(str(error))[:200]}).",
            "Try again later; see SLIDECUBE_STAC_URL.",
        ) from error
    if repeated:
        log.info("search of %s: %d items came more than once", collection, repeated)
    return list(found.values())


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


def _is_planetary(url: str) -> bool:
    return urlsplit(url).hostname == "planetarycomputer.microsoft.com"


_container_locks: dict[str, threading.Lock] = {}
_container_locks_guard = threading.Lock()


def needs_signing(href: str) -> bool:
    """Whether the SDK would sign this address: a blob of Azure storage that is not signed or public."""
    parts = urlsplit(href)
    if parts.scheme != "https" or not parts.netloc.endswith(sas.BLOB_STORAGE_DOMAIN):
        return False
    return parts.netloc != "ai4edatasetspublicassets.blob.core.windows.net" and "sig=" not in parts.query


def token_address(container: str) -> str:
    """Where a token for `<account>/<container>` is asked for."""
    return f"{SdkSettings.get().sas_url}/{container}"


def sign(href: str, *, anew: bool = False) -> str:
    """`href` with a token that is still good for a while; anything that is no Azure blob comes back unchanged.

    The token is kept in the SDK's own cache, one per container. With `anew` the kept one is dropped first: the server
    has just refused it, whatever its stated expiry (microsoft/PlanetaryComputer#388, #418, #463). The SDK's own
    request has no timeout, so the token is asked for here and put where the SDK keeps it.

    Raises:
        ArchiveError: no token was to be had.
    """
    if not needs_signing(href):
        return href
    account, container = sas.parse_blob_url(sas.urlparse(href.rstrip("/")))
    address = token_address(f"{account}/{container}")
    with _container_locks_guard:
        lock = _container_locks.setdefault(address, threading.Lock())
    refused = sas.TOKEN_CACHE.get(address) if anew else None
    with lock:
        token = sas.TOKEN_CACHE.get(address)
        if token is None or token is refused or token.ttl() < FRESH_S:
            token = _ask_for_token(address)
            sas.TOKEN_CACHE[address] = token
    signed: str = token.sign(href).href
    return signed


def _ask_for_token(address: str) -> sas.SASToken:
    """A new token; asked for twice where the first arrives nearly expired, and then taken as it is."""
    key = subscription_key()
    for attempt in (1, 2):
        answer = http_client.request(
            "GET", address, host_limit="sas", headers={"Ocp-Apim-Subscription-Key": key} if key else None
        )
        try:
            token = sas.SASToken(**json.loads(http_client.read_bounded(answer, 2**20)))
            life_s = token.ttl()
        except (ValueError, TypeError, ValidationError):
            raise ArchiveError(
                f"{http_client.bare(address)} answered something that is no token.",
                "Try again later.",
                transient=True,
            ) from None
        if life_s >= FRESH_S or attempt == 2:
            return token
        log.info("%s gave a token with %.0f s left; asking once more", http_client.bare(address), life_s)
    return token
