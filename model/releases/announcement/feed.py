"""An Atom feed (RFC 4287) of the releases below a data folder, written whole from what lies there."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from lxml import etree
from lxml.builder import ElementMaker
from pydantic import ValidationError

from model.bundle.markdown import one_line
from model.bundle.summaries import ReleaseRecord
from model.origin import ORIGIN, read_made
from model.releases.web_page.page import PAGE
from pipeline.files import write_whole

NAMESPACE = "http://www.w3.org/2005/Atom"
A = ElementMaker(namespace=NAMESPACE, nsmap={None: NAMESPACE})
MOST_ENTRIES = 200
"""the newest ones"""
FAMILY = uuid.uuid5(uuid.NAMESPACE_URL, "https://slidecube/releases")
"""of the identifiers of entries"""


@dataclass(frozen=True)
class _Release:
    folder: Path
    record: ReleaseRecord
    cube: str
    written: datetime


def write_feed(maps: Path, feed: Path) -> int:
    """Write the feed of all releases below `maps` (`<area>/<release>`), the newest first; links are relative to it.

    A folder without a page (of an earlier version of slidecube), a link and what cannot be read are left out.

    Returns:
        Number of entries.

    Raises:
        DiskError: the feed cannot be written.
    """
    found = sorted(_releases(maps), key=lambda one: (one.written, str(one.folder)), reverse=True)[
        :MOST_ENTRIES
    ]
    updated = found[0].written if found else datetime.now(UTC)
    root = A.feed(
        A.id(f"urn:uuid:{uuid.uuid5(FAMILY, 'feed')}"),
        A.title("Landslide maps by slidecube"),
        A.updated(_instant(updated)),
        A.author(A.name("slidecube")),
        *(_entry(one, feed.parent) for one in found),
    )
    write_whole(feed, etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True))
    return len(found)


def _releases(maps: Path) -> Iterable[_Release]:
    for folder in maps.glob("*/*"):
        if folder.is_symlink() or folder.name.startswith(".") or not (folder / PAGE).is_file():
            continue
        made = read_made(folder)
        if made is None or made.origin.kind != "map":
            continue
        try:
            record = ReleaseRecord.model_validate(made.record)
            written = datetime.fromtimestamp((folder / ORIGIN).stat().st_mtime, UTC)
        except (ValidationError, OSError):
            continue
        yield _Release(folder, record, made.origin.cube, written)


def _entry(one: _Release, base: Path) -> etree._Element:
    record = one.record
    simulated = "SIMULATED: " if record.simulated else ""
    summary = (
        f"{simulated}{record.polygons} polygons, {record.mapped_km2 or 0:.3f} km², {record.review_state}; "
        f"{record.track}, {record.days_since_event:.1f} days after the event. {record.expected_words}"
    )
    link = quote((one.folder / PAGE).relative_to(base).as_posix())
    name = one.folder.relative_to(base).as_posix()
    entry: etree._Element = A.entry(
        A.id(f"urn:uuid:{uuid.uuid5(FAMILY, f'{name} {one.cube} {one.written.isoformat()}')}"),
        A.title(one_line(f"{simulated}{record.title or f'Landslides of {record.area}'} ({one.folder.name})")),
        A.updated(_instant(one.written)),
        A.link(rel="alternate", type="text/html", href=link),
        A.category(term=one_line(record.kind)),
        A.summary(one_line(summary).strip()),
    )
    return entry


def _instant(when: datetime) -> str:
    return when.replace(microsecond=0).isoformat().replace("+00:00", "Z")
