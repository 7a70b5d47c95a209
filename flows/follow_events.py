"""The flow `follow-events`: every open event of the ledger, from its area to its last pass.

It does nothing twice: areas, schedules and looks that exist are found. An event that fails stops no other.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.open_event import Followed, follow, in_order
from flows.serving.event_artifacts import show_events
from flows.serving.run_log import in_pages
from flows.workers.layer_tasks import words_of
from pipeline.errors import number_of
from pipeline.events import ledger
from pipeline.records import Utc


@task(name="follow", task_run_name="{name}", cache_policy=NO_CACHE)
def follow_event(name: str, now: datetime) -> Followed:
    """Follow one event once."""
    with get_client(sync_client=True) as client:
        return follow(client, name, now)


@flow(name="follow-events")
@in_pages
def follow_events(at: Utc | None = None) -> State[Any]:
    """Follow every event that is built: areas, schedules, the next pass, the looks that are due.

    Parameters:
        at: instant that counts as now, as in 2018-09-05T20:00:00Z, for the replay of an event; without it the clock.

    The run fails where an event could not be followed or an area has a problem; it names each, and the others were
    followed. Its artifact `events` lists all events with what they wait for.
    """
    now = at or datetime.now(UTC)
    found: dict[str, Followed] = {}
    failed: dict[str, str] = {}
    for name in in_order(ledger.names()):
        state = follow_event(name, now, return_state=True)
        if state.is_completed():
            found[name] = state.result()
        else:
            failed[name] = words_of(state.result(raise_on_failure=False))
    remarks = {name: "; ".join((*each.problems, *each.remarks)) for name, each in found.items()}
    show_events(now, [each.entry for each in found.values()], failed, remarks)
    return verdict(found, failed)


def problems_of(found: dict[str, Followed]) -> dict[str, str]:
    """What stands in the way of each event that was followed."""
    return {name: "; ".join(each.problems) for name, each in found.items() if each.problems}


def verdict(found: dict[str, Followed], failed: dict[str, str]) -> State[Any]:
    """The state that the run ends in."""
    troubled = failed | problems_of(found)
    if troubled:
        return Failed(
            name="Incomplete",
            message=" ".join(f"{name}: {why}." for name, why in troubled.items()).replace("..", "."),
        )
    followed = [each for each in found.values() if each.entry.open]
    begun = [area for each in found.values() for area in each.begun]
    if not followed and not begun:
        return Completed(
            name="Unchanged", message=f"Nothing to follow: {number_of(len(found), 'event')}, none open."
        )
    looks = f" Looking at the archives for {', '.join(begun)}." if begun else ""
    waits = " ".join(f"{each.entry.name}: {each.entry.waiting_for}." for each in followed)
    return Completed(message=f"{number_of(len(followed), 'event')} followed. {waits}{looks}")
