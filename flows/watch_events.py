"""The flow `watch-events`: one look at the sources of events, announced as Prefect events."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.states import Completed, Failed

from flows.serving.event_artifacts import show_watch
from flows.serving.notifications import announcements
from flows.serving.run_log import in_pages
from pipeline.errors import number_of
from pipeline.events.triggering_rule import TIERS
from pipeline.events.watching import Change, WatchReport, watch
from pipeline.records import Utc
from pipeline.settings import settings

ANNOUNCED = {
    "detected": announcements.EVENT_DETECTED,
    "revised": announcements.EVENT_REVISED,
    "retracted": announcements.EVENT_RETRACTED,
}
"""name of the Prefect event, by what became of an event"""


@flow(name="watch-events")
@in_pages
def watch_events(at: Utc | None = None) -> State[Any]:
    """Look at the USGS and at GDACS once, and bring the ledger of events up to date.

    Parameters:
        at: the instant that counts as now, with its zone, for replays; without it the clock's.

    The run makes only what is new; its state has the name "Unchanged" if nothing is. A source that fails stops no
    other: then the state is "Incomplete" and names what failed, with what was seen all the same.
    """
    report = watch(at)
    show_watch(report)
    for change in report.changes:
        announce(change)
    return verdict(report)


def announce(change: Change) -> None:
    """Emit what became of an event; merging one into another is told by its history alone."""
    if (name := ANNOUNCED.get(change.what)) is None:
        return
    event = change.event
    emit_event(
        event=name,
        resource={
            "prefect.resource.id": f"event.{change.name}",
            "prefect.resource.name": event.place or change.name,
            "event.name": change.name,
            "event.tier": change.tier,
            "event.state": change.state,
            "event.opened": str(change.opened).lower(),
            announcements.TOLD: str(is_told(change)).lower(),
            announcements.SAYS: announcements.says_of_event(event, change.tier, change.words),
        },
        payload={
            "words": change.words,
            "reasons": list(change.decision.reasons),
            "stated": event.model_dump(mode="json", exclude_none=True),
        },
    )


def is_told(change: Change) -> bool:
    """Whether people are told: of an event of their tier that is new, has risen to it or beyond, or was retracted."""
    least = TIERS.index(settings().notify_tier)
    if TIERS.index(change.tier) < least:
        return False
    return (
        change.what == "retracted" or change.opened or TIERS.index(change.tier) > TIERS.index(change.before)
    )


def verdict(report: WatchReport) -> State[Any]:
    """The state that the run ends in."""
    lines = [f"{change.name}: {change.words}" for change in report.changes]
    seen = f"{number_of(len(lines), 'event')} changed: {'; '.join(lines)}." if lines else "No event changed."
    if report.failures:
        return Failed(name="Incomplete", message=f"{' '.join(report.failures)} {seen}"[:4000])
    if not lines:
        return Completed(name="Unchanged", message=seen)
    return Completed(message=seen[:4000])
