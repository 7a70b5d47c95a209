"""The state of files: size and fingerprint, as the server or the local disk states them; no content is read."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from pipeline.archives.http import http_client
from pipeline.archives.registry import archive_of
from pipeline.catalogue.assets import Asset, is_local, local_path
from pipeline.errors import ArchiveError
from pipeline.settings import settings


def probe(hrefs: Sequence[str]) -> tuple[dict[str, Asset], list[str]]:
    """The state of each file as its server states it, by href: size and ETag (else Last-Modified); and remarks.

    A file that is gone (404), whose address is not one that is read, or whose server refused or failed, is left out and
    named in the remarks: what needs other files is built without it.

    Raises:
        ArchiveError: servers refused or failed, and no file was found.
    """
    wanted = list(dict.fromkeys(hrefs))
    with ThreadPoolExecutor(max_workers=max(1, min(settings().read_concurrency, len(wanted) or 1))) as pool:
        described = list(pool.map(_described, wanted))
    found = {href: one for href, one in zip(wanted, described, strict=True) if isinstance(one, Asset)}
    errors = [one for one in described if isinstance(one, ArchiveError)]
    if errors and not found:
        raise errors[0]
    remarks = [
        one if isinstance(one, str) else one.message for one in described if not isinstance(one, Asset)
    ]
    return found, list(dict.fromkeys(remarks))


def _described(href: str) -> Asset | str | ArchiveError:
    """The state of a file, a remark where it is not there, or the error of its server."""
    shown = http_client.bare(href)
    if is_local(href):  # a search answers from elsewhere, whatever the user allows a catalogue of their own
        return f"an item of the search names the local file {local_path(href).name!r}, which is not read"
    if not (href.startswith(("http://", "https://")) and http_client.host_of(href)):
        return f"{shown} is listed, and is no http address: it is not read"
    try:
        return archive_of(href).describe(href) or f"{shown} is listed but not there"
    except ArchiveError as error:
        return error
