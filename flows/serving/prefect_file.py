"""prefect.yaml, merged with what an operator has set on the server.

`prefect deploy` alone gives each deployment the schedules of prefect.yaml: it deletes those that an operator made, and
turns the others on or off as the file says. Here the file is deployed without its schedules, which leaves those on the
server as they are; a schedule of the file is added where the server has none of its slug.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

PROJECT = Path(__file__).resolve().parents[2]
"""the folder of prefect.yaml"""

Entry = dict[str, Any]
"""one item of a list in prefect.yaml"""
OF_SCHEDULE = ("active", "slug", "parameters")
"""keys of a schedule in prefect.yaml that are not part of its cron, interval or rrule"""


def shipped() -> Entry:
    """The content of prefect.yaml."""
    document: Entry = yaml.safe_load((PROJECT / "prefect.yaml").read_text(encoding="utf-8"))
    return document


def deployed(client: SyncPrefectClient, name: str) -> DeploymentResponse | None:
    """The deployment on the server, or None. A deployment has the name of its flow."""
    try:
        return client.read_deployment_by_name(f"{name}/{name}")
    except ObjectNotFound:
        return None


def merged(client: SyncPrefectClient, document: Entry) -> tuple[Entry, list[str]]:
    """The document that `prefect deploy` gets, and a line for each setting of an operator that it keeps.

    It has no schedules (see `add_schedules`). Of a deployment that exists it has the server's parameters, job
    variables, concurrency limit and pause, and each trigger is on or off as on the server.
    """
    document, kept = copy.deepcopy(document), []
    for entry in document["deployments"]:
        entry.pop("schedules", None)
        if (found := deployed(client, entry["name"])) is not None:
            kept += [f"{entry['name']}: kept {what}" for what in _keep(client, entry, found)]
    return document, kept


def _keep(client: SyncPrefectClient, entry: Entry, found: DeploymentResponse) -> list[str]:
    """Write the settings of a deployment on the server into its entry; returns what differs from prefect.yaml."""
    kept = []
    pool = entry["work_pool"]
    for home, key, there in (
        (entry, "parameters", found.parameters),
        (pool, "job_variables", found.job_variables),
    ):
        ours = home.get(key, {})
        if there and there != ours:
            home[key] = ours | there
            kept.append(f"{key.replace('_', ' ')} {', '.join(sorted(there))}")
    if found.paused:
        entry["paused"] = True
        kept.append("its pause")
    if (limit := found.global_concurrency_limit) is not None:
        ours = entry.setdefault("concurrency_limit", {})
        if limit.limit != ours.get("limit"):
            kept.append(f"its concurrency limit of {limit.limit}")
        ours["limit"] = limit.limit
        if found.concurrency_options is not None:
            ours["collision_strategy"] = found.concurrency_options.collision_strategy.value
    automations = client.read_resource_related_automations(f"prefect.deployment.{found.id}")
    for trigger in entry.get("triggers", []):
        states = [automation.enabled for automation in automations if automation.name == trigger["name"]]
        if states and any(states) != trigger.get("enabled", True):
            trigger["enabled"] = any(states)
            kept.append(f"the trigger {trigger['name']!r} {_on(any(states))}")
    return kept


def add_schedules(client: SyncPrefectClient, document: Entry) -> list[str]:
    """Add the schedules that the server lacks; returns a line for each schedule.

    A schedule of prefect.yaml whose slug exists stays as it is. Only parameters that it lacks are set: Prefect 3.8.8
    drops the parameters of a schedule that its pages or its command turn on or off.
    """
    lines = []
    for entry in document["deployments"]:
        found = deployed(client, entry["name"])
        if found is None:
            continue
        existing = client.read_deployment_schedules(found.id)
        by_slug = {schedule.slug: schedule for schedule in existing}
        for wanted in (_schedule(each) for each in entry.get("schedules", [])):
            if (same := by_slug.get(wanted.slug)) is None:
                client.create_deployment_schedules(found.id, [wanted])
                lines.append(f"{entry['name']}: added schedule {wanted.slug} ({_on(wanted.active)})")
            elif lost := sorted(wanted.parameters.keys() - same.parameters.keys()):
                parameters = wanted.parameters | same.parameters
                client.update_deployment_schedule(found.id, same.id, parameters=parameters)
                lines.append(
                    f"{entry['name']}: schedule {same.slug} has its parameters again: {', '.join(lost)}"
                )
        lines += [f"{entry['name']}: kept schedule {_name(each)} ({_on(each.active)})" for each in existing]
    return lines


def _schedule(entry: Entry) -> DeploymentScheduleCreate:
    """A schedule as prefect.yaml writes it, as the server takes it."""
    when = {key: value for key, value in entry.items() if key not in OF_SCHEDULE}
    given = {key: entry[key] for key in OF_SCHEDULE if key in entry}
    return DeploymentScheduleCreate.model_validate({"schedule": when, **given})


def _name(schedule: DeploymentSchedule) -> str:
    if schedule.slug:
        return schedule.slug
    when = schedule.schedule.model_dump(mode="json")
    return str(next(when[key] for key in ("cron", "rrule", "interval") if key in when))


def _on(active: bool) -> str:
    return "on" if active else "off"
