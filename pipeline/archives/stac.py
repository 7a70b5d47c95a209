"""STAC APIs: searching one through pystac-client, with the retries, limits and messages of every other request."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipeline.archives.archive import Archive, Query, Reachable
from pipeline.archives.http import http_client
from pipeline.catalogue.catalogue import rfc3339
from pipeline.errors import ArchiveError
from pipeline.settings import settings

if TYPE_CHECKING:  # imported when something is searched
    import pystac_client

log = logging.getLogger(__name__)

PAGE_ITEMS = 250
MOST_ITEMS = 20_000
"""More items than any area within the limits can need: ten years of every pass over 50,000 km²."""
MOST_IDLE_PAGES = 3
"""Pages in a row that may bring nothing new. One is usual: the last may hold only what a page border repeats."""


class StacArchive(Archive):
    """A STAC API, by default the one at SLIDECUBE_STAC_URL, whose files need no signature."""

    name = "stac"
    title = "the STAC API at SLIDECUBE_STAC_URL"

    @property
    def endpoint(self) -> str:
        """The address that is searched."""
        return settings().stac_url

    def search_headers(self) -> dict[str, str]:
        """Headers that a search sends with the query, such as a key; they go to the endpoint's host alone."""
        return {}

    def search(self, collection: str, query: Query) -> list[dict[str, Any]]:
        """Items of a collection that touch the geometry within the time, of any track.

        Raises:
            ArchiveError: refused, failed, malformed, more than `MOST_ITEMS`, or paging that does not end.
        """
        return search(opened(self.endpoint, self.search_headers()), collection, query)

    def reachability(self) -> list[Reachable]:
        """The endpoint, unless it is that of SLIDECUBE_STAC_URL, which is examined once for all archives."""
        if self.endpoint == settings().stac_url:
            return []
        return [reachable(self.endpoint, f"search {self.name}", self.search_headers())]


def opened(url: str, headers: Mapping[str, str] | None = None) -> pystac_client.Client:
    """The STAC API at `url`.

    Raises:
        ArchiveError: it cannot be reached, is no STAC API, or cannot be searched.
    """
    import pystac_client

    from pipeline.archives.http.stac_transport import RetryingStacIO

    with warnings.catch_warnings():
        # the causes of its warnings (no conformance, no search link) are checked below
        warnings.simplefilter("ignore")
        try:
            client = pystac_client.Client.open(url, stac_io=RetryingStacIO(url, headers or {}))
            searchable = client.conforms_to("ITEM_SEARCH") and client.get_search_link() is not None
        except ArchiveError:
            raise
        except Exception as error:  # pystac raises errors of any type on a malformed document
            raise ArchiveError(
                f"{http_client.bare(url)} is no STAC API ({type(error).__name__}).",
                _remedy(url),
            ) from error
    if not searchable:
        raise ArchiveError(
            f"{http_client.bare(url)} does not offer item search.",
            _remedy(url),
        )
    return client


def _remedy(url: str) -> str:
    own = url == settings().stac_url
    return "Set SLIDECUBE_STAC_URL to a STAC API with item search." if own else "Try again later."


def search(
    api: pystac_client.Client, collection: str, query: Query, *, most: int | None = None
) -> list[dict[str, Any]]:
    """Items of a collection that touch a geometry within a time, unsigned, each id once.

    Paging may repeat items at page borders (microsoft/PlanetaryComputer#163); the last copy of an id counts.

    Raises:
        ArchiveError: refused, failed, malformed, more than `most` items, or paging that does not end.
    """
    most = MOST_ITEMS if most is None else most
    found: dict[str, dict[str, Any]] = {}
    repeated = idle = 0
    try:
        for items in _pages(api, collection, query):
            before = len(found)
            repeated += sum(item["id"] in found for item in items)
            found |= {item["id"]: item for item in items}
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
    except Exception as error:  # pystac-client raises errors of any type on a malformed page
        raise ArchiveError(
            f"The search of {collection} returned something unusable ({type(error).__name__}: "
            f"{http_client.without_secrets(str(error))[:200]}).",
            "Try again later, or check SLIDECUBE_STAC_URL.",
        ) from error
    if repeated:
        log.info("search of %s: %d items came more than once", collection, repeated)
    return list(found.values())


def _pages(api: pystac_client.Client, collection: str, query: Query) -> Iterator[list[dict[str, Any]]]:
    """The items of each page, checked to be items."""
    interval = None
    if query.start is not None and query.end is not None:
        interval = f"{rfc3339(query.start)}/{rfc3339(query.end)}"
    asked = api.search(
        method="POST",
        collections=[collection],
        intersects=dict(query.geometry),
        datetime=interval,
        limit=PAGE_ITEMS,
        max_items=None,
    )
    for page in asked.pages_as_dicts():
        items = page.get("features")
        if not isinstance(items, list):
            raise ArchiveError(
                f"The search of {collection} returned a page without items.", "Try again later."
            )
        if not all(_is_item(item) for item in items):
            raise ArchiveError(
                f"The search of {collection} returned something that is no STAC item.", "Try again later."
            )
        yield items


def _is_item(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("id"), str) and item.get("type") == "Feature"


def reachable(url: str, name: str = "search (STAC)", headers: Mapping[str, str] | None = None) -> Reachable:
    """Whether a STAC API can be reached and searched."""

    def finding(ok: bool, detail: str) -> Reachable:
        return Reachable(name=name, ok=ok, detail=detail)

    shown = http_client.bare(url)
    try:
        with http_client.accepted(http_client.get_once(url, secret=headers), url) as response:
            document = json.loads(http_client.read_bounded(response, 2**24))
    except ArchiveError as error:
        return finding(False, str(error))
    except ValueError:
        return finding(False, f"{shown} returned no JSON")
    conforms = document.get("conformsTo", []) if isinstance(document, dict) else []
    offered = any("item-search" in str(one) for one in conforms)
    return finding(offered, shown if offered else f"{shown} does not offer item search")
