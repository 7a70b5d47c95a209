"""NASA's Common Metadata Repository, where ASF lists granules and bursts: searched through asf-search."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import asf_search
import requests
from asf_search.search.search_generator import search_generator
from shapely.geometry import shape

from pipeline.archives.archive import Query
from pipeline.archives.http import http_client
from pipeline.archives.http.sessions import REQUEST_ERRORS, make_bounded
from pipeline.catalogue.granules import kept
from pipeline.errors import ArchiveError
from pipeline.settings import settings

# by default asf-search reports failed searches to ASF, with their parameters
asf_search.REPORT_ERRORS = False

log = logging.getLogger(__name__)

MOST_ITEMS = 50_000
"""More items than any area within the limits can need: a year of every burst over 50,000 km² is 20,000."""
MOST_PAGE_BYTES = 64 * 2**20
"""A page holds 250 items of about 10 kB."""
ROUNDS = 3
"""How often a search is begun whose pages hold too few items: new scenes may be added between two pages."""


class RetryingSession(asf_search.ASFSession):  # type: ignore[misc]
    """asf-search's transport with the retries, limits and messages of every other archive.

    asf-search does not know the errors of this session, so it neither retries a request nor reports the
    errors. Proxies and
    certificates come from the environment; a netrc is not read, because a search needs no login.
    """

    def __init__(self) -> None:
        super().__init__()
        make_bounded(self)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """None: a search is not redirected, and requests would read the whole body of a redirect."""
        return None

    def post(self, url: str, data: Any = None, json: Any = None, **options: Any) -> requests.Response:
        """One page of results, checked to be one.

        Raises:
            ArchiveError: refused, failed, unreachable, too large, or no page of results.
        """
        options |= {"timeout": settings().timeout_s, "stream": True, "allow_redirects": False}

        def once() -> requests.Response:
            with http_client.limit("cmr"):
                try:
                    response: requests.Response = requests.Session.post(self, url, data=data, **options)
                except REQUEST_ERRORS as error:
                    raise http_client.unreachable(url, error) from None
                if http_client.accepted(response, url).status_code != 200:
                    response.close()
                    raise http_client.refused(url, response.status_code)
                # asf-search takes the body from where requests keeps it
                response._content = http_client.read_bounded(response, MOST_PAGE_BYTES)
                if http_client.is_page(response.content):
                    raise http_client.page_instead(url, response.url)
            _check_page(response.content, url)
            return response

        return http_client.retried(once)


def _check_page(body: bytes, url: str) -> None:
    try:
        page = json.loads(body)
        sound = (
            isinstance(page["hits"], int)
            and isinstance(page["items"], list)
            and all(
                isinstance(item["umm"], dict) and isinstance(item["meta"], dict) for item in page["items"]
            )
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise ArchiveError(
            f"{http_client.bare(url)} returned something that is no page of results.",
            "Check HTTPS_PROXY, or try again later.",
        )


def search_granules(query: Query) -> list[dict[str, Any]]:
    """Items of every IW SLC product that meets the geometry's box within the time, on the tracks.

    Raises:
        ArchiveError: refused, failed, malformed, incomplete, or more than `MOST_ITEMS`.
    """
    return search_dataset(query, "SLC granules", dataset="SENTINEL-1", processingLevel="SLC", beamMode="IW")


def search_bursts(query: Query) -> list[dict[str, Any]]:
    """Items of every burst of the query's polarisation that meets the geometry's box within the time.

    Raises:
        ArchiveError: refused, failed, malformed, incomplete, or more than `MOST_ITEMS`.
    """
    polarisation = (query.polarisation or "vv").upper()
    return search_dataset(query, "bursts", dataset="SLC-BURST", polarization=polarisation)


def search_dataset(query: Query, what: str, **options: Any) -> list[dict[str, Any]]:
    """Items of every product that meets the geometry's box within the time, on the tracks, sorted by name.

    Args:
        what: products, as an error names them.
        options: further ones of `asf_search.search`, such as `dataset` and `processingLevel`.

    Raises:
        ArchiveError: refused, failed, malformed, incomplete, or more than `MOST_ITEMS`.
    """
    found: dict[str, dict[str, Any]] = {}
    # one search for each track: asf-search splits a list into searches and reports only for the last one whether it is
    # complete
    for track in query.tracks or (None,):
        options = {**options, "relativeOrbit": track} if track is not None else options
        found |= {item["umm"]["GranuleUR"]: item for item in _whole(query, what, options)}
        if len(found) > MOST_ITEMS:
            raise _too_many(what)
    log.info("%d %s found", len(found), what)
    return [found[name] for name in sorted(found)]


def _whole(query: Query, what: str, options: dict[str, Any]) -> list[dict[str, Any]]:
    """Every result of one search, or an error: never a part."""
    for _ in range(ROUNDS):
        items = _once(query, what, options)
        if items is not None:
            return items
        log.warning("the search of %s ended before all items came; searching again", what)
    raise ArchiveError(
        f"The search of {what} at ASF gave fewer results than it announced, {ROUNDS} times.",
        "Try again later.",
        transient=True,
    )


def _once(query: Query, what: str, options: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Every result; None where the pages hold fewer than announced."""
    items: list[dict[str, Any]] = []
    complete = False
    try:
        for page in _pages(query, options):
            complete = bool(page.searchComplete)
            if not len(page) and not complete:
                return None
            items += [_named(product) for product in page]
            if len(items) > MOST_ITEMS:
                raise _too_many(what)
    except ArchiveError:
        raise
    except Exception as error:  # asf-search raises errors of any type on malformed items
        raise ArchiveError(
            f"The search of {what} at ASF returned something unusable ({type(error).__name__}: "
            f"{http_client.without_secrets(str(error))[:200]}).",
            "Try again later.",
        ) from error
    return items if complete else None


def _pages(query: Query, options: dict[str, Any]) -> Iterator[Any]:
    """The pages of a search by box: asf-search passes a box on unchanged, but may simplify outlines."""
    asked = asf_search.ASFSearchOptions(
        bbox=list(shape(query.geometry).bounds),
        start=query.start,
        # the request has whole seconds
        end=query.end + timedelta(seconds=1) if query.end is not None else None,
        session=RetryingSession(),
        **options,
    )
    pages: Iterator[Any] = search_generator(opts=asked)
    return pages


def _named(product: Any) -> dict[str, Any]:
    item = kept(product.meta, product.umm)
    if not isinstance(item["umm"].get("GranuleUR"), str):
        raise ArchiveError("The search at ASF returned an item without a name.", "Try again later.")
    # half of a surrogate pair is allowed in JSON and cannot be saved
    json.dumps(item, ensure_ascii=False).encode()
    return item


def _too_many(what: str) -> ArchiveError:
    return ArchiveError(
        f"The search at ASF found more than {MOST_ITEMS} {what}.",
        "Narrow the area's time range, geometry or tracks.",
    )
