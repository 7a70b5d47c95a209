"""Schedules of prefect.yaml on the server, turned on and off."""

from __future__ import annotations

from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import DeploymentSchedule

from flows.serving.prefect_file import deployed, shipped
from pipeline.errors import SettingsError

TAG = "watch"
"""of the deployments in prefect.yaml that keep watch"""


def of_watch() -> list[tuple[str, str]]:
    """Name and slug of each schedule that keeps watch: those of the deployments of prefect.yaml with the tag."""
    return [
        (entry["name"], schedule["slug"])
        for entry in shipped()["deployments"]
        if TAG in entry.get("tags", ())
        for schedule in entry.get("schedules", ())
    ]


def is_active(client: SyncPrefectClient, name: str, slug: str) -> bool:
    """Whether a schedule of a deployment, which has the name of its flow, is on.

    Raises:
        SettingsError: the server has no such deployment, or no such schedule of it.
    """
    return bool(_found(client, name, slug)[1].active)


def turn(client: SyncPrefectClient, name: str, slug: str, *, active: bool) -> None:
    """Turn a schedule of a deployment on or off.

    Raises:
        SettingsError: as in `is_active`.
    """
    deployment, found = _found(client, name, slug)
    # Prefect 3.8.8 clears the parameters of a schedule in a change that does not carry them
    client.update_deployment_schedule(deployment, found.id, active=active, parameters=found.parameters)


def _found(client: SyncPrefectClient, name: str, slug: str) -> tuple[UUID, DeploymentSchedule]:
    remedy = "Run `python -m flows.setup`, which makes it."
    if (deployment := deployed(client, name)) is None:
        raise SettingsError(f"The server has no deployment {name}.", remedy)
    schedules = client.read_deployment_schedules(deployment.id)
    found = next((each for each in schedules if each.slug == slug), None)
    if found is None:
        raise SettingsError(f"The deployment {name} has no schedule {slug}.", remedy)
    return deployment.id, found
