"""Watching: one look at every source, and what became of the ledger by it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Literal

from pipeline.errors import number_of
from pipeline.events import ledger
from pipeline.events.detected_event import DetectedEvent
from pipeline.events.feeds.feed_source import FeedSource, save_state
from pipeline.events.ledger import Decision, Entry, State, Tier
from pipeline.events.revisions import What, decided, detected, revised, same_event
from pipeline.events.source_looks import SOURCES, Look, look
from pipeline.events.triggering_rule import Rules, load_rules
from pipeline.records import Frozen, Utc

log = logging.getLogger(__name__)

MOST_AHEAD = timedelta(days=1)
"""A revision from later than this counts as one of now: else no true one would ever be newer."""


class SourceReport(Frozen):
    """How a look at one source ended."""

    source: str
    title: str
    result: Literal["new", "unchanged", "failed", "paused"]
    stated: int
    """events in its feed"""
    failures: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """How the look ended, in words."""
        if self.result == "unchanged":
            words = "nothing new"
        else:
            words = self.result if self.result != "new" else f"{number_of(self.stated, 'event')} in its feed"
        return f"{words}: {' '.join(self.failures)}" if self.failures else words


class Change(Frozen):
    """What became of one event."""

    name: str
    what: What
    state: State
    event: DetectedEvent
    tier: Tier
    """a person's, else that of the decision"""
    decision: Decision
    before: Tier = "none"
    """the tier until now"""
    opened: bool = False
    """it is built from now on, and was not before"""
    words: str = ""
    """the newest line of its history"""


class WatchReport(Frozen):
    """What one watch saw and decided."""

    at: Utc
    dry_run: bool
    sources: tuple[SourceReport, ...]
    changes: tuple[Change, ...]
    damaged: tuple[str, ...] = ()
    """entries of the ledger that cannot be read"""

    @property
    def failures(self) -> tuple[str, ...]:
        """What failed, in words."""
        return tuple(line for source in self.sources for line in source.failures) + self.damaged


def watch(
    at: datetime | None = None,
    *,
    dry_run: bool = False,
    rules: Rules | None = None,
    sources: Sequence[FeedSource] = SOURCES,
) -> WatchReport:
    """Look at every source once, bring the ledger up to date, and report what changed.

    A source that fails stops no other. Running it again right after changes nothing. A kill at any instant loses
    nothing: what a source stated is kept before it is noted that it was looked at.

    Args:
        at: the instant that counts as now; None for the clock's.
        dry_run: the ledger and the states of the sources stay as they are.

    Raises:
        AreaError: the rule cannot be used.
        DiskError: the ledger cannot be written.
    """
    now = datetime.now(UTC) if at is None else at.astimezone(UTC)
    rules = rules or load_rules()
    snapshot, _ = ledger.read_all()
    looks = [look(source, snapshot, rules, now) for source in sources]
    if at is None:
        for each in looks:
            each.compare_clocks(now)
    with nullcontext() if dry_run else ledger.locked():
        entries, damaged = ledger.read_all()
        book = _Book(entries, rules, now)
        for each in looks:
            for event in each.events:
                book.record(event)
        book.decide_again()
        if not dry_run:
            for entry in book.changed.values():
                ledger.save(entry)
            for each in looks:
                save_state(each.source.name, each.state)
    reports = tuple(_report(each) for each in looks)
    return WatchReport(
        at=now, dry_run=dry_run, sources=reports, changes=tuple(book.changes), damaged=tuple(damaged)
    )


def record(events: Iterable[DetectedEvent], rules: Rules, at: datetime) -> list[Change]:
    """Bring statements about events into the ledger; returns what became of each. The caller holds the lock."""
    entries, _ = ledger.read_all()
    book = _Book(entries, rules, at)
    for event in events:
        book.record(event)
    for entry in book.changed.values():
        ledger.save(entry)
    return book.changes


class _Book:
    """The ledger in memory while statements are brought into it."""

    def __init__(self, entries: Iterable[Entry], rules: Rules, now: datetime) -> None:
        self.entries = {entry.name: entry for entry in entries}
        self.rules, self.now = rules, now
        self.changed: dict[str, Entry] = {}
        self.changes: list[Change] = []

    def record(self, event: DetectedEvent) -> None:
        """Bring one statement into the ledger; an event that the rule does not want gets no entry."""
        if event.updated > self.now + MOST_AHEAD:
            event = event.model_copy(update={"updated": self.now})
        decision = self.rules.decide(event)
        matches = same_event(self.entries.values(), event)
        if not matches:
            if decision.tier != "none" and event.status != "retracted":
                self._put(None, detected(event, decision, self.now), "detected")
            return
        entry, what = revised(matches[0], event, decision, self.now)
        if entry != matches[0]:
            self._put(matches[0], entry, what)
        for twin in matches[1:]:
            if twin.state != "dismissed":
                line = f"it is the same event as {entry.name}, which is kept"
                self._put(
                    twin, twin.model_copy(update={"state": "dismissed"}).noted(self.now, line), "merged"
                )

    def decide_again(self) -> None:
        """Apply the rule as it is now to every entry that is neither closed nor retracted."""
        for entry in list(self.entries.values()):
            if entry.state in ledger.CLOSED or entry.event.source == "manual":
                continue
            after = decided(entry, self.rules.decide(entry.event), self.now)
            if after != entry:
                self._put(entry, after, "revised")

    def _put(self, before: Entry | None, after: Entry, what: What) -> None:
        self.entries[after.name] = self.changed[after.name] = after
        if what == "unchanged":
            return
        words = after.history[-1].words if after.history else ""
        log.info("%s: %s", after.name, words)
        self.changes.append(
            Change(
                name=after.name, what=what, state=after.state, event=after.event, tier=after.tier,
                decision=after.decision, before="none" if before is None else before.tier,
                opened=after.open and (before is None or not before.open), words=words,
            )
        )  # fmt: skip


def _report(each: Look) -> SourceReport:
    return SourceReport(
        source=each.source.name, title=each.source.title, result=each.result, stated=each.stated,
        failures=tuple(dict.fromkeys(each.failures)),
    )  # fmt: skip
