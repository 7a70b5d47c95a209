"""One look at one source: what it states that is new, and what it has retracted."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from pipeline.errors import ArchiveError
from pipeline.events.detected_event import DetectedEvent
from pipeline.events.feeds.feed_source import (
    Answer,
    FeedSource,
    SourceState,
    after_failure,
    clock_remark,
    read_state,
)
from pipeline.events.feeds.gdacs_feed import GdacsFeed
from pipeline.events.feeds.usgs_feed import UsgsFeed
from pipeline.events.ledger import Entry
from pipeline.events.revisions import BUILT, ids_of, ids_of_entry, same_event
from pipeline.events.triggering_rule import Rules

log = logging.getLogger(__name__)
SOURCES: tuple[FeedSource, ...] = (UsgsFeed(), GdacsFeed())
"""in the order in which they are looked at: the first names an event that both state"""
MOST_DETAILS = 300
"""documents of single events that one look asks for; what is left is asked for by the next one"""
IN_FEED = timedelta(days=6, hours=12)
"""age up to which an event is in the feed of a week"""
LATER_LOOKS = timedelta(days=60)
"""age up to which an open event that has left the feed is looked at, once a day"""
DAY = timedelta(hours=24)


@dataclass(slots=True)
class Look:
    """What a look at a source gave."""

    source: FeedSource
    state: SourceState
    """to be kept once the events are in the ledger"""
    result: Literal["new", "unchanged", "failed", "paused"]
    stated: int = 0
    """events in the feed"""
    events: list[DetectedEvent] = field(default_factory=list)
    """revisions that were not looked at before, with their products where the source has documents of single events"""
    failures: list[str] = field(default_factory=list)
    dated: datetime | None = None
    """when the source made its answer, by its own clock"""

    def compare_clocks(self, now: datetime) -> None:
        """Say among the failures where the source's clock and this machine's, which shows `now`, differ by much."""
        if remark := clock_remark(self.source.title, self.dated, now):
            log.warning("%s", remark)
            self.failures.append(remark)


def look(source: FeedSource, entries: Iterable[Entry], rules: Rules, now: datetime) -> Look:
    """Ask a source for what changed since the last look; a failure is in the result, not raised.

    The state keeps the feed's validators only where every event was read, so that a look that failed in part is
    repeated; revisions that were read are not read again.
    """
    before = read_state(source.name)
    if before.not_before is not None and now < before.not_before:
        until = before.not_before.isoformat(timespec="seconds")
        return Look(
            source, before, "paused", failures=[f"{source.title} asked not to be asked before {until}."]
        )
    address = source.feed_address(before, now)
    known = before.address == address
    try:
        answer = source.ask(address, before.etag if known else None, before.modified if known else None)
        if answer.status == "gone":
            raise ArchiveError(f"{source.title} has no feed at {address}.", "Report it.")
        events = source.events_of(answer) if answer.status == "new" else []
    except ArchiveError as error:
        log.warning("%s", error)
        return Look(source, after_failure(before, error, now), "failed", failures=[str(error)])
    reading = _Reading(source, before, [e for e in entries if e.event.source == source.name], rules, now)
    if answer.status == "new":
        reading.read_feed(answer, events)
    if source.has_documents:
        reading.read_absent(events, fresh=answer.status == "new")
    found = reading.look(address, answer, len(events))
    found.dated = answer.dated
    return found


def _mark(event: DetectedEvent) -> str:
    """What differs between two statements that are to be looked at both."""
    return event.key.updated if event.current else f"{event.key.updated} past"


class _Reading:
    """The reading of one answer of a source: which events are looked at closer, and what failed."""

    def __init__(
        self, source: FeedSource, before: SourceState, entries: list[Entry], rules: Rules, now: datetime
    ) -> None:
        self.source, self.before, self.entries, self.rules, self.now = source, before, entries, rules, now
        self.events: list[DetectedEvent] = []
        self.failures: list[str] = []
        self.seen: dict[str, str] = {}
        self.later = dict(before.later)
        self.state = before
        self.details = 0

    def read_feed(self, answer: Answer, events: list[DetectedEvent]) -> None:
        """Take every revision that was not looked at before, with its products where they may matter."""
        with_products = self.source.ids_with_products(answer)
        for event in events:
            if self.before.seen.get(event.id) == _mark(event):
                self.seen[event.id] = _mark(event)
                continue
            entry = next(iter(same_event(self.entries, event)), None)
            wanted = entry is not None or event.id in with_products or self.rules.decide(event).tier != "none"
            if wanted and self.source.has_details and event.status != "retracted":
                self._closer(event, entry)
            else:
                self.events.append(event)
                self.seen[event.id] = _mark(event)

    def _closer(self, event: DetectedEvent, entry: Entry | None) -> None:
        """Take an event with its products; without them where its document cannot be had, and look again later."""
        try:
            self.events.append(self._detail(event))
        except ArchiveError as error:
            self._fail(error)
            if entry is not None:  # products that are known already stay
                products = {
                    "ground_failure": entry.event.ground_failure, "shaking": entry.event.shaking,
                }  # fmt: skip
                event = event.model_copy(update=products)
            self.events.append(event)
        else:
            self.seen[event.id] = _mark(event)

    def _detail(self, event: DetectedEvent) -> DetectedEvent:
        """The event with its products, or as retracted where the source has it no longer.

        Raises:
            ArchiveError: its document cannot be had now.
        """
        self.details += 1
        if self.details > MOST_DETAILS:
            raise ArchiveError(
                f"{self.source.title} states more than {MOST_DETAILS} events at once.", "Look again."
            )
        found = self.source.detail(event.id)
        return found or event.model_copy(
            update={"status": "retracted", "updated": max(self.now, event.updated)}
        )

    def read_absent(self, events: list[DetectedEvent], *, fresh: bool) -> None:
        """Look at events of the ledger that the feed does not state: they vanished from it, or are too old for it."""
        stated = frozenset().union(*(ids_of(event) for event in events))
        for entry in self.entries:
            age = self.now - entry.event.start
            if entry.state in ("retracted", "dismissed") or age > LATER_LOOKS or stated & ids_of_entry(entry):
                continue
            last = self.later.get(entry.event.id)
            due = last is None or self.now - last >= DAY
            vanished = fresh and age <= IN_FEED
            followed = age > IN_FEED and entry.tier in BUILT and entry.state != "finished"
            if not due or not (vanished or followed):
                continue
            try:
                self.events.append(self._detail(entry.event))
                self.later[entry.event.id] = self.now
            except ArchiveError as error:
                self._fail(error)

    def _fail(self, error: ArchiveError) -> None:
        log.warning("%s", error)
        self.failures.append(str(error))
        self.state = after_failure(self.state, error, self.now)

    def look(self, address: str, answer: Answer, stated: int) -> Look:
        """The result, with the state that the next look begins from."""
        changes: dict[str, object] = {"looked": self.now}
        if answer.status == "new":
            kept = not self.failures
            changes |= {
                "seen": self.seen, "address": address if kept else "",
                "etag": answer.etag if kept else None, "modified": answer.modified if kept else None,
            }  # fmt: skip
        if not self.failures:
            changes |= {"failed": None, "failure": "", "not_before": None}
        known = {entry.event.id for entry in self.entries}
        changes["later"] = {key: at for key, at in self.later.items() if key in known}
        state = self.state.model_copy(update=changes)
        result: Literal["new", "unchanged"] = "new" if answer.status == "new" else "unchanged"
        return Look(self.source, state, result, stated, self.events, self.failures)
