"""Schedules on `build-datacube` for the areas of events, and runs of it: what the ledger says, made on the server.

A schedule that a person turned off or deleted in Prefect stays so; the area is then not looked at. `flows.setup` keeps
these schedules, as it keeps every schedule that prefect.yaml does not name.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID
from zlib import crc32

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import DeploymentSchedule, StateType
from prefect.client.schemas.schedules import CronSchedule

from flows.serving import prefect_file
from pipeline.events.ledger import EventArea
from pipeline.records import Frozen

BUILD = "build-datacube"
UNFINISHED = (StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED)
SOON = timedelta(minutes=5)
"""A run that is scheduled to begin within this is as good as begun."""
BEGUN = timedelta(minutes=1)
"""So long after its start a build holds the lock of its cube."""
Wanted = Literal["on", "paused", "none"]


class ScheduleState(Frozen):
    """What became of the schedule of an area."""

    area: EventArea
    active: bool = False
    """whether its archives may be looked at"""
    words: str = ""
    """what was done, or what stands in the way; empty where nothing changed"""
    by_person: bool = False
    """whether a person turned it off or deleted it"""


def slug_of(area: str) -> str:
    """Slug of the schedule of an area, by which people find it."""
    return f"event-{area}"


def parameters_of(area: str) -> dict[str, object]:
    """Parameters of the builds of an event's area: pairs take hours, and its area files ask for none."""
    return {"aoi": area, "pairs": False}


def rhythm_of(area: str) -> CronSchedule:
    """Twice a day at a minute of the area's own, so that not all areas search at once.

    This is the rhythm without `follow-events`, which adds looks after each expected pass.
    """
    number = crc32(area.encode())
    return CronSchedule(cron=f"{number % 60} {number // 60 % 12}-23/12 * * *", timezone="UTC")


def reconcile(client: SyncPrefectClient, area: EventArea, wanted: Wanted) -> ScheduleState:
    """Make, turn on or off, or remove the schedule of an area; what a person did in Prefect is respected and said."""
    deployment = prefect_file.deployed(client, BUILD)
    if deployment is None:
        gone = area.model_copy(update={"schedule": None, "deployment": None})
        words = "" if wanted == "none" else f"{BUILD} is not deployed; run `python -m flows.setup`"
        return ScheduleState(area=gone, words=words)
    schedules = client.read_deployment_schedules(deployment.id)
    own = next((each for each in schedules if each.slug == slug_of(area.name)), None)
    if wanted == "none":
        return _removed(client, deployment.id, area, own)
    if own is None:
        return _made(client, deployment.id, area, wanted)
    return _kept(client, deployment.id, area, own, wanted)


def _removed(
    client: SyncPrefectClient, deployment: UUID, area: EventArea, own: DeploymentSchedule | None
) -> ScheduleState:
    if own is not None:
        client.delete_deployment_schedule(deployment, own.id)
    bare = EventArea(name=area.name)
    return ScheduleState(area=bare, words="" if own is None else f"schedule {own.slug} removed")


def _made(client: SyncPrefectClient, deployment: UUID, area: EventArea, wanted: Wanted) -> ScheduleState:
    known = area.schedule is not None and area.deployment == str(deployment)
    if known and wanted == "paused":  # resuming the event makes it anew
        return ScheduleState(area=EventArea(name=area.name))
    if known:
        return ScheduleState(
            area=area,
            words=f"its schedule {area.schedule} was deleted in Prefect and is not made again; pausing and resuming "
            "the event makes it",
            by_person=True,
        )
    if wanted == "paused":
        return ScheduleState(area=area)
    schedule = DeploymentScheduleCreate(
        schedule=rhythm_of(area.name),
        active=True,
        slug=slug_of(area.name),
        parameters=parameters_of(area.name),
    )
    client.create_deployment_schedules(deployment, [schedule])
    made = EventArea(name=area.name, schedule=slug_of(area.name), deployment=str(deployment))
    return ScheduleState(area=made, active=True, words=f"schedule {made.schedule} made on {BUILD}")


def _kept(
    client: SyncPrefectClient, deployment: UUID, area: EventArea, own: DeploymentSchedule, wanted: Wanted
) -> ScheduleState:
    """The schedule exists: it gets its parameters, which Prefect 3.8.8 drops where its pages turn it on or off."""
    given = own.parameters | parameters_of(area.name)
    known = area.model_copy(update={"schedule": own.slug, "deployment": str(deployment)})
    turned: bool | None = None
    if wanted == "paused" and own.active:
        turned, known = False, known.model_copy(update={"paused_here": True})
    if wanted == "on" and not own.active and area.paused_here:
        turned = True
    if wanted == "on":
        known = known.model_copy(update={"paused_here": False})
    if turned is not None or given != own.parameters:
        client.update_deployment_schedule(
            deployment, own.id, active=own.active if turned is None else turned, parameters=given
        )
    active = own.active if turned is None else turned
    words = "" if turned is None else f"schedule {own.slug} turned {'on' if turned else 'off'}"
    off = wanted == "on" and not active
    if off:
        words = f"its schedule {own.slug} is off in Prefect, so that its archives are not looked at"
    return ScheduleState(area=known, active=wanted == "on" and active, words=words, by_person=off)


def is_under_way(
    client: SyncPrefectClient,
    deployment: str,
    parameter: str,
    value: str,
    alive: Callable[[], bool] = lambda: True,
) -> bool:
    """Whether a run of a deployment with that value of a parameter runs, or is to begin within `SOON`.

    Args:
        alive: whether anything works on it. It is asked of runs that began `BEGUN` ago: a kill of the machine leaves
            them as running on the server.
    """
    found = prefect_file.deployed(client, deployment)
    if found is None:
        return False
    runs = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(UNFINISHED))),
            expected_start_time=FlowRunFilterExpectedStartTime(before_=datetime.now(UTC) + SOON),
        ),
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[found.id])),
        limit=200,
    )
    since = datetime.now(UTC) - BEGUN
    same = [run for run in runs if run.parameters.get(parameter) == value]
    old = [run.start_time is not None and run.start_time < since for run in same]
    return bool(same) and (not all(old) or alive())
