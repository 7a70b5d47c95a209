"""pystac-client's transport, by way of the requests that all archives share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pystac
from pystac_client.stac_api_io import StacApiIO

from pipeline.archives.http import http_client

MOST_PAGE_BYTES = 256 * 2**20


class RetryingStacIO(StacApiIO):  # type: ignore[misc]
    """pystac-client's transport by way of `http_client.request`; `secret` headers go to the host of `url` alone."""

    def __init__(self, url: str, secret: Mapping[str, str]) -> None:
        super().__init__(max_retries=None)
        self._host = http_client.host_of(url)
        self._secret = secret

    def read_text(self, source: Any, *arguments: Any, **options: Any) -> str:
        """The document behind a link or an address, which is always requested: pystac opens a path as a local file.

        Raises:
            ArchiveError: as for `request`; or it is no http address.
        """
        if isinstance(source, pystac.Link):
            return str(super().read_text(source, *arguments, **options))
        return self.request(str(source), *arguments, **options)

    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """The body of the response.

        Raises:
            ArchiveError: refused, failed, unreachable, or larger than any page may be.
        """
        verb = (method or "GET").upper()
        body = {"json": parameters or {}} if verb == "POST" else {"params": parameters or None}
        secret = self._secret if http_client.host_of(href) == self._host else None
        response = http_client.request(verb, href, headers=headers, secret=secret, host_limit="stac", **body)
        page = http_client.read_bounded(response, MOST_PAGE_BYTES)
        if http_client.is_page(page):
            raise http_client.page_instead(href, response.url, "SLIDECUBE_STAC_URL must name a STAC API.")
        return page.decode("utf-8", errors="replace")
