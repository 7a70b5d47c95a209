"""A person's decisions about events: they take precedence over the rule's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from pipeline.errors import LedgerError
from pipeline.events import ledger
from pipeline.events.detected_event import DetectedEvent
from pipeline.events.feeds.feed_fields import one_line
from pipeline.events.ledger import Entry, Tier, read_all
from pipeline.events.revisions import detected, ids_of_entry, revised, same_event, state_of
from pipeline.events.triggering_rule import TIERS, load_rules
from pipeline.places import did_you_mean


def by_urgency(entries: Iterable[Entry]) -> list[Entry]:
    """Entries by tier, the highest first, then the newest event first."""
    return sorted(entries, key=lambda e: (-TIERS.index(e.tier), -e.event.start.timestamp(), e.name))


def named(text: str) -> Entry:
    """The entry of a name of the ledger, or of an id at a source, such as us2000h8ty.

    Raises:
        LedgerError: there is none (the nearest name is offered), or its document is damaged.
    """
    known = ledger.names()
    if text in known:
        return ledger.read(text)
    entries, _ = read_all()
    ids = {name.partition(":")[2].lower(): entry for entry in entries for name in ids_of_entry(entry)}
    if (found := ids.get(text.lower())) is not None:
        return found
    raise LedgerError(
        f"There is no event {one_line(text, 100)!r}.{did_you_mean(text, [*known, *ids])}",
        "`slidecube event list` lists them; `slidecube event add` adds one.",
    )


def reopened(entry: Entry) -> Entry:
    """The entry, open again where a person paused or dismissed it, or a source retracted it."""
    state = entry.state if entry.state not in ("dismissed", "retracted") else state_of(entry)
    return entry.model_copy(update={"paused": False, "state": state})


def added(events: Iterable[DetectedEvent], tier: Tier, at: datetime, *, dry_run: bool = False) -> list[Entry]:
    """The entries of events that a person adds, opened with that tier, and kept unless `dry_run`.

    Raises:
        DiskError: the ledger cannot be written.
    """
    rules = load_rules()

    def entry_of(event: DetectedEvent, entries: list[Entry]) -> Entry:
        decision = rules.decide(event)
        matches = same_event(entries, event)
        entry = revised(matches[0], event, decision, at)[0] if matches else detected(event, decision, at)
        forced = reopened(entry).model_copy(update={"forced": tier})
        return forced.noted(at, f"added by a person, {tier}")

    def all_of() -> list[Entry]:
        entries = {entry.name: entry for entry in read_all()[0]}
        made: dict[str, Entry] = {}
        for event in events:
            entry = entry_of(event, list(entries.values()))
            entries[entry.name] = made[entry.name] = entry
        return list(made.values())

    if dry_run:
        return all_of()
    with ledger.locked():
        made = all_of()
        for entry in made:
            ledger.save(entry)
    return made


def changed(
    text: str, change: Callable[[Entry, datetime], Entry], at: datetime, *, dry_run: bool = False
) -> Entry:
    """An entry after a person's decision about it, kept unless `dry_run`.

    Raises:
        LedgerError: there is no event of that name.
        DiskError: the ledger cannot be written.
    """
    if dry_run:
        return change(named(text), at)
    with ledger.locked():
        entry = change(named(text), at)
        ledger.save(entry)
    return entry
