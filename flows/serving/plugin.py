"""Prefect plugin: a deployment may be given by its name without the flow, and a schedule keeps its parameters.

Prefect takes deployments as `<flow>/<deployment>`. Here every flow has one deployment of the same name, so that
`prefect deployment run build-datacube` names one deployment as well. And the server of Prefect 3.8.8 clears the
parameters of a schedule in every change that does not carry them: `prefect deployment schedule resume` would leave a
build without its area. The hook wraps two methods of Prefect's client; Prefect is pinned, and tests run the literal
commands.

Enabled by `[tool.prefect.plugins]` in pyproject.toml where the command runs in the project's folder, elsewhere
by `PREFECT_PLUGINS_ENABLED=1`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.plugins import HookContext, SetupResult, register_hook

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

ByName = Callable[["PrefectClient", str], Awaitable["DeploymentResponse"]]
UpdateSchedule = Callable[..., Awaitable[None]]


def with_bare_names(read_by_name: ByName) -> ByName:
    """Make `read_by_name`, which takes `<flow>/<deployment>`, accept a deployment name without the flow too.

    Raises, apart from what the wrapped method raises:
        ObjectNotFound: no deployment has the name.
        ValueError: more than one has it; they are named.
    """

    @wraps(read_by_name)
    async def read(client: PrefectClient, name: str) -> DeploymentResponse:
        if "/" in name:
            return await read_by_name(client, name)
        from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
        from prefect.exceptions import ObjectNotFound

        found = await client.read_deployments(
            deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[name])), limit=10
        )
        if len(found) == 1:
            return found[0]
        if not found:
            text = f"There is no deployment {name!r}; `python -m flows.setup` makes those of prefect.yaml."
            raise ObjectNotFound(LookupError(text), help_message=text)
        full_names = [f"{(await client.read_flow(d.flow_id)).name}/{d.name}" for d in found]
        raise ValueError(
            f"Several deployments are named {name!r}; give one of {', '.join(sorted(full_names))}."
        )

    return read


def with_parameters_kept(update: UpdateSchedule) -> UpdateSchedule:
    """Make `update`, which changes a schedule, send the schedule's own parameters where none are given."""

    @wraps(update)
    async def keep(
        client: PrefectClient,
        deployment_id: UUID,
        schedule_id: UUID,
        active: bool | None = None,
        **changes: Any,
    ) -> None:
        if changes.get("parameters") is None:
            found = await client.read_deployment_schedules(deployment_id)
            changes["parameters"] = next((each.parameters for each in found if each.id == schedule_id), None)
        await update(client, deployment_id, schedule_id, active=active, **changes)

    return keep


@register_hook
def setup_environment(*, ctx: HookContext) -> SetupResult | None:
    """Called by Prefect when it is imported; no environment variable is changed."""
    from prefect.client.orchestration import PrefectClient

    if not hasattr(PrefectClient.read_deployment_by_name, "__wrapped__"):
        PrefectClient.read_deployment_by_name = with_bare_names(  # type: ignore[method-assign, assignment]
            PrefectClient.read_deployment_by_name
        )
        PrefectClient.update_deployment_schedule = with_parameters_kept(  # type: ignore[method-assign, assignment]
            PrefectClient.update_deployment_schedule
        )
    return None
