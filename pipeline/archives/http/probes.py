"""The state of files: what a server, or the local disk, says of size and content without reading it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from pipeline.archives import http_client, planetary
from pipeline.catalogue.assets import Asset, is_local, local_asset, local_path
from pipeline.settings import settings


def probe(hrefs: Sequence[str]) -> tuple[dict[str, Asset], list[str]]:
    """What the servers say of each file, by href: size and ETag (else Last-Modified); and remarks.

    A file that is gone (404) is left out and named in the remarks: its pass can still be built without it.

    Raises:
        ArchiveError: a server refused or failed for another reason.
    """
    wanted = list(dict.fromkeys(hrefs))
    with ThreadPoolExecutor(max_workers=max(1, min(settings().read_concurrency, len(wanted) or 1))) as pool:
        answers = list(pool.map(_probe_one, wanted))
    found = {href: asset for href, asset in zip(wanted, answers, strict=True) if asset is not None}
    missing = [href for href in wanted if href not in found]
    return found, [f"{http_client.bare(href)} is listed but not there" for href in missing]


def _probe_one(href: str) -> Asset | None:
    if is_local(href):
        return local_asset(href) if local_path(href).is_file() else None
    refusals = 0

    def once() -> Asset | None:
        nonlocal refusals
        for anew in (False, True):
            url = planetary.sign(href, anew=anew or refusals > 0)
            with http_client.limit(urlsplit(url).hostname or "local"):
                answer = http_client.get_once(url, method="HEAD", headers={"Accept-Encoding": "identity"})
                # an empty body that is read leaves the connection for the next question
                answer.content  # noqa: B018
                answer.close()
            if answer.status_code not in (401, 403) or not planetary.needs_signing(href):
                break
            refusals += 1
        if answer.status_code in (404, 410):
            return None
        if answer.status_code >= 400:
            wait_s = http_client.retry_after_s(answer.headers.get("Retry-After"))
            raise http_client.refused(href, answer.status_code, wait_s=wait_s)
        length = answer.headers.get("Content-Length", "")
        return Asset(
            href=href, size_bytes=int(length) if length.isdigit() else None, etag=http_client.tag_of(answer)
        )

    return http_client.patiently(once)
