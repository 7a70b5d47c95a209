"""ASF: searching granules and bursts through asf-search, which asks NASA's Common Metadata Repository."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import asf_search
import requests
from asf_search.search.search_generator import search_generator

from pipeline.archives import http_client
from pipeline.area import AreaOfInterest, Interferometry
from pipeline.catalogue.granules import kept
from pipeline.errors import ArchiveError
from pipeline.settings import settings

# asf-search sends failed searches, with what was searched for, to ASF by default
asf_search.REPORT_ERRORS = False

log = logging.getLogger(__name__)

MOST_ITEMS = 50_000
"""More answers than any area within the limits can need: a year of every burst over 50,000 km² is 20,000."""
MOST_PAGE_BYTES = 64 * 2**20
"""A page holds 250 items of about 10 kB."""
ROUNDS = 3
"""So often a search whose pages do not add up is begun anew: new scenes may come in between two pages."""


class PatientSession(asf_search.ASFSession):  # type: ignore[misc]
    """asf-search's transport with the waiting, limits and messages of every other archive.

    What it raises is no error that asf-search knows, so that it neither tries again by itself nor reports it. Proxies
    and certificates come from the environment; a netrc is not read, because a search needs no login.
    """

    def __init__(self) -> None:
        super().__init__()
        self.headers["User-Agent"] = http_client.user_agent()
        self.auth = _no_login

    def post(self, url: str, data: Any = None, json: Any = None, **options: Any) -> requests.Response:
        """One page of results, checked to be one.

        Raises:
            ArchiveError: refused, failed, unreachable, too large, or no page of results.
        """
        options |= {"timeout": settings().timeout_s, "stream": True, "allow_redirects": False}

        def once() -> requests.Response:
            with http_client.limit("cmr"):
                try:
                    answer: requests.Response = requests.Session.post(self, url, data=data, **options)
                except requests.RequestException as error:
                    raise http_client.unreachable(url, error) from None
                if answer.status_code != 200:
                    wait_s = http_client.retry_after_s(answer.headers.get("Retry-After"))
                    answer.close()
                    raise http_client.refused(url, answer.status_code, wait_s=wait_s)
                # requests keeps a body that was read here, and asf-search reads it from there
                answer._content = http_client.read_bounded(answer, MOST_PAGE_BYTES)
            _check_page(answer.content, url)
            return answer

        return http_client.patiently(once)


def _no_login(request: Any) -> Any:
    return request


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
            f"{http_client.bare(url)} answered something that is no page of results.",
            "Check HTTPS_PROXY, or try again later.",
        )


def search_granules(area: AreaOfInterest) -> list[dict[str, Any]]:
    """Items of every IW SLC product that meets the area's box within its time range, on its tracks.

    Raises:
        ArchiveError: refused, failed, malformed, incomplete, or more than `MOST_ITEMS`.
    """
    return _search(area, "SLC granules", dataset="SENTINEL-1", processingLevel="SLC", beamMode="IW")


def search_bursts(area: AreaOfInterest, wanted: Interferometry) -> list[dict[str, Any]]:
    """Items of every burst of the wanted polarisation that meets the area's box within its time range.

    Raises:
        ArchiveError: refused, failed, malformed, incomplete, or more than `MOST_ITEMS`.
    """
    return _search(area, "bursts", dataset="SLC-BURST", polarization=wanted.polarisation.upper())


def _search(area: AreaOfInterest, what: str, **options: Any) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    # one search for each track: asf-search splits a list into searches and then tells of the last one only whether
    # it is complete
    for track in area.tracks or (None,):
        options = {**options, "relativeOrbit": track} if track is not None else options
        found |= {item["umm"]["GranuleUR"]: item for item in _whole(area, what, options)}
        if len(found) > MOST_ITEMS:
            raise _too_many(what)
    log.info("%s: %d %s", area.name, len(found), what)
    return [found[name] for name in sorted(found)]


def _whole(area: AreaOfInterest, what: str, options: dict[str, Any]) -> list[dict[str, Any]]:
    """Every result of one search, or an error: never a part."""
    for _ in range(ROUNDS):
        items = _once(area, what, options)
        if items is not None:
            return items
        log.warning("the search of %s ended before all was given; asking anew", what)
    raise ArchiveError(
        f"The search of {what} at ASF gave fewer results than it announced, {ROUNDS} times.",
        "Try again later.",
        transient=True,
    )


def _once(area: AreaOfInterest, what: str, options: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Every result; None where the pages hold fewer than announced."""
    items: list[dict[str, Any]] = []
    complete = False
    try:
        for page in _pages(area, options):
            complete = bool(page.searchComplete)
            if not len(page) and not complete:
                return None
            items += [_named(product) for product in page]
            if len(items) > MOST_ITEMS:
                raise _too_many(what)
    except ArchiveError:
        raise
    except Exception as error:  # malformed items raise what they make asf-search raise
        raise ArchiveError(
            f"The search of {what} at ASF answered something unusable ({type(error).__name__}: "
            f"{http_client.without_secrets(str(error))[:200]}).",
            "Try again later.",
        ) from error
    return items if complete else None


def _pages(area: AreaOfInterest, options: dict[str, Any]) -> Iterator[Any]:
    """A box is asked for, which asf-search passes on as it is; outlines it may simplify."""
    asked = asf_search.ASFSearchOptions(
        bbox=list(area.footprint.bounds),
        start=area.start,
        # asked in whole seconds
        end=area.end + timedelta(seconds=1),
        session=PatientSession(),
        **options,
    )
    pages: Iterator[Any] = search_generator(opts=asked)
    return pages


def _named(product: Any) -> dict[str, Any]:
    item = kept(product.meta, product.umm)
    if not isinstance(item["umm"].get("GranuleUR"), str):
        raise ArchiveError("The search at ASF answered an item without a name.", "Try again later.")
    # half of a surrogate pair is allowed in JSON and cannot be saved
    json.dumps(item, ensure_ascii=False).encode()
    return item


def _too_many(what: str) -> ArchiveError:
    return ArchiveError(
        f"The search at ASF found more than {MOST_ITEMS} {what}.",
        "Narrow the area's time range, geometry or tracks.",
    )
