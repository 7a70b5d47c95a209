"""What a source of events on the web is: its hosts, its addresses, and the state that is kept between two looks."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, ValidationError

from pipeline.archives.http import http_client
from pipeline.archives.http.http_errors import LaterError
from pipeline.catalogue.item_fields import FILE_HEADER, is_true
from pipeline.errors import ArchiveError
from pipeline.events import ledger
from pipeline.events.detected_event import DetectedEvent, Source
from pipeline.files import read_regular, write_whole
from pipeline.records import Frozen, Utc

MOST_FEED_BYTES = 32 * 2**20
"""the feed of a month of M 4.5 and above has about 0.5 MB"""
MOST_STATE_BYTES = 4 * 2**20
MOST_EVENTS = 5000
"""that are read of one answer"""
GONE = (204, 404, 409, 410)
"""statuses by which a source says that it has an event no longer: 409 a deleted one at the USGS, 204 none by FDSN"""
MOST_APART = timedelta(minutes=30)
"""between a source's clock and this machine's; the feeds let caches keep an answer for at most six minutes"""
LONGEST_PAUSE = timedelta(hours=6)
"""a source that asks for a longer pause is asked again after this"""


class SourceState(Frozen):
    """What is kept of a source between two looks, in `<data>/events/.sources/<name>.json`."""

    address: str = Field("", description="of the feed that etag and modified are of")
    etag: str | None = None
    modified: str | None = None
    looked: Utc | None = Field(None, description="the last look that ended well")
    failed: Utc | None = Field(None, description="the last look that failed, if none ended well since")
    failure: str = ""
    not_before: Utc | None = Field(None, description="until when the source asked not to be asked")
    seen: dict[str, str] = Field({}, description="instant of the revision that was looked at, by event id")
    later: dict[str, Utc] = Field(
        {}, description="last look at an event that the feed does not state, by its id"
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of a source."""

    status: Literal["new", "unchanged", "gone"]
    raw: bytes = b""
    etag: str | None = None
    modified: str | None = None
    simulated: bool = False
    """whether the server says that what it serves is simulated"""
    dated: datetime | None = None
    """when the server made it, by the server's clock (`Date`, RFC 9110, 6.6.1); a cache leaves it as it was"""


class FeedSource(ABC):
    """A source of events on the web. It needs no login, and none is ever sent."""

    name: ClassVar[Source]
    title: ClassVar[str]
    hosts: ClassVar[tuple[str, ...]]
    """its own hosts, the only ones that are asked, and whose answers count"""
    has_documents: ClassVar[bool] = False
    """whether it has a document of each event, also of those that have left the feed"""
    has_details: ClassVar[bool] = False
    """whether its documents of events have products that the feed lacks"""

    @abstractmethod
    def feed_address(self, state: SourceState, now: datetime) -> str:
        """The feed that holds every event since the last look that ended well, as far as one does."""

    @abstractmethod
    def events_of(self, answer: Answer) -> list[DetectedEvent]:
        """The events of a feed, as far as each can be read.

        Raises:
            ArchiveError: the answer is no feed.
        """

    @abstractmethod
    def page(self, event_id: str) -> str:
        """The address of an event for people."""

    def detail(self, event_id: str) -> DetectedEvent | None:
        """The newest revision of an event with its products; None where the source has it no longer.

        Raises:
            ArchiveError: refused, failed or unreachable; the answer is no such document; or the source has none.
        """
        raise ArchiveError(
            f"{self.title} has no documents of single events.", "Give the event by place and time."
        )

    def ids_with_products(self, answer: Answer) -> frozenset[str]:
        """The events of a feed for whose products the document of the event is asked, whatever their magnitude."""
        return frozenset()

    def ask(self, url: str, etag: str | None = None, modified: str | None = None) -> Answer:
        """One answer, after retries; with a validator of an earlier answer only what changed is sent (RFC 9110, 13.1).

        Raises:
            ArchiveError: refused, failed, unreachable or too large; or the address is none of the source's.
        """
        if not url.startswith("https://") or http_client.host_of(url) not in self.hosts:
            raise ArchiveError(f"{http_client.bare(url)[:200]} is no address of {self.title}.", "Report it.")
        headers = {"Accept": "application/json"}
        headers |= {"If-None-Match": etag} if etag else {}
        headers |= {"If-Modified-Since": modified} if modified else {}
        return http_client.retried(lambda: self._once(url, headers))

    def _once(self, url: str, headers: dict[str, str]) -> Answer:
        with http_client.limit(http_client.host_of(url)):
            response = http_client.get_once(url, headers=headers)
            dated = _instant(response.headers.get("Date"))
            if response.status_code == 304 or response.status_code in GONE:
                response.close()
                return Answer("unchanged" if response.status_code == 304 else "gone", dated=dated)
            http_client.accepted(response, url)
            if http_client.host_of(response.url) not in self.hosts:
                response.close()
                raise ArchiveError(
                    f"{http_client.bare(url)} leads to {http_client.bare(response.url)[:200]}, which is no address of "
                    f"{self.title}.",
                    "Try again later; a proxy or a portal may answer in its place.",
                )
            simulated = is_true(response.headers.get(FILE_HEADER))
            etag, modified = (response.headers.get(name) for name in ("ETag", "Last-Modified"))
            raw = http_client.read_bounded(response, MOST_FEED_BYTES)
            if http_client.is_page(raw):
                raise http_client.page_instead(url, response.url)
            return Answer("new", raw, _header(etag), _header(modified), simulated, dated)


def clock_remark(title: str, dated: datetime | None, now: datetime) -> str:
    """What is wrong where the clock of a source and this machine's, `now`, differ by much; empty where they agree."""
    if dated is None or abs(now - dated) <= MOST_APART:
        return ""
    hours = abs(now - dated) / timedelta(hours=1)
    side = "ahead of" if now > dated else "behind"
    return (
        f"The answer of {title} is dated {dated:%Y-%m-%d %H:%M} UTC, and the clock of this machine is "
        f"{hours:.1f} hours {side} it: set the clock; if it is right, the answer is an old copy of a proxy."
    )


def _instant(value: str | None) -> datetime | None:
    """The instant of a header; None where it states none."""
    try:
        found = parsedate_to_datetime(value or "")
    except (ValueError, TypeError, OverflowError):
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _header(value: str | None) -> str | None:
    """What is kept of a validator: a longer one is none."""
    return value.strip() if value and len(value) <= 256 else None


def folder() -> Path:
    """The folder of what is kept of the sources."""
    return ledger.folder() / ".sources"


def read_state(source: Source) -> SourceState:
    """What was kept of a source; where it cannot be read, nothing was, and the whole feed is read again."""
    try:
        raw = read_regular(folder() / f"{source}.json", MOST_STATE_BYTES)
        return SourceState.model_validate(json.loads(raw))
    except (OSError, ValueError, RecursionError, ValidationError):
        return SourceState()


def save_state(source: Source, state: SourceState) -> None:
    """Keep what the next look needs, whole.

    Raises:
        DiskError: it cannot be written.
    """
    write_whole(folder() / f"{source}.json", state.model_dump_json(exclude_defaults=True))


def after_failure(state: SourceState, error: ArchiveError, now: datetime) -> SourceState:
    """The state after a look that failed: since when, why, and until when the source asked not to be asked."""
    asked_s = error.wait_s if isinstance(error, LaterError) else None
    pause = None if asked_s is None else min(timedelta(seconds=asked_s), LONGEST_PAUSE)
    return state.model_copy(
        update={
            "failed": state.failed or now, "failure": str(error)[:500],
            "not_before": None if pause is None else now + pause,
        }
    )  # fmt: skip
