"""What becomes of an event in the ledger when a source states a revision of it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal

from pipeline.events.detected_event import DetectedEvent
from pipeline.events.land_mask import km_between
from pipeline.events.ledger import Decision, Entry, State, Tier
from pipeline.events.triggering_rule import TIERS

What = Literal["detected", "revised", "merged", "retracted", "unchanged"]
BUILT: tuple[Tier, ...] = ("build", "priority")
_COMPARED = (
    ("magnitude", "M", "{:.1f}"),
    ("depth_km", "depth in km", "{:.0f}"),
    ("status", "", "{}"),
    ("alert", "alert", "{}"),
)
SAME_TIME = timedelta(minutes=2)
SAME_KM = 150.0
SAME_MAGNITUDE = 1.0
"""Two sources state the same earthquake where time, place and magnitude (if both state one) differ by less. First
automatic solutions of one earthquake differ by tens of km and seconds; an aftershock so near comes minutes later."""


def ids_of(event: DetectedEvent) -> frozenset[str]:
    """Every name of an event, as source:id."""
    return frozenset((f"{event.source}:{event.id}", *event.also))


def ids_of_entry(entry: Entry) -> frozenset[str]:
    """Every name that any revision of an entry states."""
    return frozenset().union(*(ids_of(each) for each in entry.revisions))


def same_event(entries: Iterable[Entry], event: DetectedEvent) -> list[Entry]:
    """The entries of the same event, the best first: those that share an id, else the nearest by place and time.

    Only earthquakes of the USGS and of GDACS are held to be the same by place and time. More than one share an id
    where two sources stated an event far apart before one of them named the other's id.
    """
    known = list(entries)
    wanted = ids_of(event)
    sharing = [entry for entry in known if wanted & ids_of_entry(entry)]
    if sharing:
        return sorted(sharing, key=lambda entry: (not entry.areas, entry.event.source != "usgs", entry.name))
    near = [(apart, entry) for entry in known if (apart := _apart(entry.event, event)) is not None]
    return [min(near, key=lambda pair: pair[0])[1]] if near else []


def _apart(one: DetectedEvent, other: DetectedEvent) -> float | None:
    """How far two statements of different sources are apart, 0 to 2; None where they cannot be the same event."""
    if {one.source, other.source} != {"usgs", "gdacs"} or {one.kind, other.kind} != {"earthquake"}:
        return None
    seconds = abs((one.start - other.start).total_seconds()) / SAME_TIME.total_seconds()
    if seconds >= 1:
        return None
    stated = one.magnitude is not None and other.magnitude is not None
    if stated and abs((one.magnitude or 0.0) - (other.magnitude or 0.0)) >= SAME_MAGNITUDE:
        return None
    km = km_between((one.longitude, one.latitude), (other.longitude, other.latitude)) / SAME_KM
    return None if km >= 1 else seconds + km


def detected(event: DetectedEvent, decision: Decision, at: datetime) -> Entry:
    """The entry of an event that the ledger does not know yet."""
    entry = Entry(revisions=(event,), decision=decision)
    return entry.noted(at, f"detected: {'; '.join(decision.reasons)}")


def revised(entry: Entry, event: DetectedEvent, decision: Decision, at: datetime) -> tuple[Entry, What]:
    """The entry after a source stated an event that it holds already, and what that was.

    A revision that is not newer than the one that is known changes nothing. One of GDACS adds no revision to an event
    of the USGS, only its id.

    Args:
        decision: of the rule for `event`.
    """
    newest = entry.event
    if event.source != newest.source and event.source != "usgs":
        return _merged(entry, event, at)
    if event.source == newest.source:
        if event.status == "retracted" and event.id != newest.id:
            return entry, "unchanged"  # one of its ids was withdrawn, the event was not
        same = event.updated == newest.updated
        if event.updated < newest.updated or (same and not _says_more(event, newest)):
            return entry, "unchanged"
    event = event.model_copy(
        update={
            "also": tuple(sorted((ids_of_entry(entry) | set(event.also)) - {f"{event.source}:{event.id}"})),
            "population": newest.population if event.population is None else event.population,
        }
    )
    if event.status == "retracted":
        return _retracted(entry, event, at)
    changes = differences(newest, event)
    kept = entry.revisions if changes else entry.revisions[:-1]
    after = entry.model_copy(update={"revisions": (*kept, event)})
    if entry.state == "retracted":
        after = after.model_copy(update={"state": state_of(after)}).noted(at, "the source states it again")
    elif not changes:
        return after, "unchanged"
    else:
        after = after.noted(at, f"revised: {'; '.join(changes)}")
    return decided(after, decision, at), "revised"


def decided(entry: Entry, decision: Decision, at: datetime) -> Entry:
    """The entry with a new decision of the rule: a higher tier opens the event, a lower one closes none.

    What was to be built stays so, and the reasons and the history say what the rule would give now.
    """
    before = entry.decision.tier
    if before in BUILT and decision.tier not in BUILT:
        lower = decision.tier
        why = f"it stays {before}: a revision closes nothing that was opened (the rule now gives {lower})"
        kept = Decision(tier=before, reasons=(*decision.reasons, why))
        return entry if kept == entry.decision else entry.model_copy(update={"decision": kept}).noted(at, why)
    if decision == entry.decision:
        return entry
    after = entry.model_copy(update={"decision": decision})
    if decision.tier == before:
        return after
    word = "raised" if TIERS.index(decision.tier) > TIERS.index(before) else "lowered"
    return after.noted(at, f"{word} from {before} to {decision.tier}: {'; '.join(decision.reasons)}")


def _says_more(event: DetectedEvent, known: DetectedEvent) -> bool:
    """Whether the same revision now has products, which could not be read before, or is listed as past."""
    if known.current and not event.current:
        return True
    bare = known.ground_failure is None and known.shaking is None
    return bare and not (event.ground_failure is None and event.shaking is None)


def _retracted(entry: Entry, event: DetectedEvent, at: datetime) -> tuple[Entry, What]:
    if entry.event.status == "retracted":  # said already; only its instant is newer
        return entry.model_copy(update={"revisions": (*entry.revisions[:-1], event)}), "unchanged"
    after = entry.model_copy(update={"revisions": (*entry.revisions, event)})
    if entry.state == "dismissed":
        return after.noted(at, "retracted by the source"), "retracted"
    after = after.model_copy(update={"state": "retracted"})
    return after.noted(at, f"retracted by the source; it was {entry.state}, {entry.tier}"), "retracted"


def state_of(entry: Entry) -> State:
    """The state of an event that is open again."""
    if entry.map_status is not None:
        return "mapped"
    return "waiting" if entry.areas else "detected"


def _merged(entry: Entry, event: DetectedEvent, at: datetime) -> tuple[Entry, What]:
    """The entry with what another source states too, in its newest revision."""
    newest = entry.event
    also = tuple(sorted((ids_of(event) | set(newest.also)) - {f"{newest.source}:{newest.id}"}))
    if set(also) == set(newest.also):
        return entry, "unchanged"
    newest = newest.model_copy(update={"also": also})
    after = entry.model_copy(update={"revisions": (*entry.revisions[:-1], newest)})
    return after.noted(at, f"{event.source} states it too, as {event.id}"), "merged"


def differences(old: DetectedEvent, new: DetectedEvent) -> list[str]:
    """What of a revision differs from the one before, in words; none where only its instant does."""
    lines = []
    if (old.source, old.id) != (new.source, new.id):
        lines.append(f"now {new.source} {new.id}")
    for name, label, form in _COMPARED:
        before, after = (_said(form, getattr(each, name)) for each in (old, new))
        if before != after:
            lines.append(f"{label} {before} -> {after}".strip())
    moved = km_between((old.longitude, old.latitude), (new.longitude, new.latitude))
    if moved >= 0.1:
        lines.append(f"moved by {moved:.1f} km")
    if old.current != new.current:
        lines.append("listed as current again" if new.current else "listed as past by the source")
    if old.start != new.start:
        lines.append(f"start {(new.start - old.start).total_seconds():+.1f} s")
    if old.end != new.end:
        lines.append(f"end {new.end.isoformat(timespec='seconds')}")
    if old.ground_failure != new.ground_failure:
        before, after = (
            _said("{}", each.ground_failure and each.ground_failure.alert) for each in (old, new)
        )
        lines.append("ground failure" if before == after else f"landslide alert {before} -> {after}")
    if old.shaking != new.shaking:
        lines.append("ShakeMap")
    if old.population != new.population:
        lines.append("people exposed")
    return lines


def _said(form: str, value: object) -> str:
    return "none" if value is None else form.format(value)
