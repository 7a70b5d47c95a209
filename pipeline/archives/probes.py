"""The state of files: size and fingerprint, as the server or the local disk states them; no content is read."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from pipeline.archives.http import http_client
from pipeline.archives.local_files import check_allowed
from pipeline.archives.registry import archive_of
from pipeline.catalogue.assets import Asset, is_local, local_asset, local_path
from pipeline.settings import settings


def probe(hrefs: Sequence[str]) -> tuple[dict[str, Asset], list[str]]:
    """The state of each file as its server states it, by href: size and ETag (else Last-Modified); and remarks.

    A file that is gone (404) is left out and named in the remarks: its pass can still be built without it.

    Raises:
        ArchiveError: a server refused or failed for another reason.
    """
    wanted = list(dict.fromkeys(hrefs))
    with ThreadPoolExecutor(max_workers=max(1, min(settings().read_concurrency, len(wanted) or 1))) as pool:
        assets = list(pool.map(_described, wanted))
    found = {href: asset for href, asset in zip(wanted, assets, strict=True) if asset is not None}
    missing = [href for href in wanted if href not in found]
    return found, [f"{http_client.bare(href)} is listed but not there" for href in missing]


def _described(href: str) -> Asset | None:
    if is_local(href):
        check_allowed(href)
        return local_asset(href) if local_path(href).is_file() else None
    return archive_of(href).describe(href)
