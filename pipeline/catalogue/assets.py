"""Files of an archive's items: their addresses, and which of them are files of this machine."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import Field

from pipeline.records import Frozen


def is_local(href: str) -> bool:
    """Whether `href` is a path or file URL."""
    try:
        scheme = urlsplit(href).scheme
    except ValueError:  # an address whose host cannot be read
        return False
    return scheme in ("", "file") or (len(href) > 1 and href[1] == ":")


def local_path(href: str) -> Path:
    """The path that `href` names."""
    return Path(unquote(urlsplit(href).path)) if href.startswith("file:") else Path(href)


def local_asset(href: str) -> Asset:
    """Size and modification time of a local file."""
    status = local_path(href).stat()
    return Asset(href=href, size_bytes=status.st_size, etag=f"local-{status.st_size}-{status.st_mtime_ns}")


class Asset(Frozen):
    """One file of an item: one polarisation of one slice."""

    href: str = Field(description="unsigned URL")
    size_bytes: int | None = None
    etag: str | None = Field(None, description="ETag (or Last-Modified) that the server gave at the search")

    @property
    def fingerprint(self) -> str:
        """Identifies the content behind this URL: the server's ETag, else the size."""
        return self.etag or f"size:{self.size_bytes}"
