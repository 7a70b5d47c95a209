"""A deployment name without its flow, which Prefect itself refuses."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectNotFound
from prefect.plugins import HookContext

import flows
from flows.serving.plugin import setup_environment, with_bare_names, with_parameters_kept


class Server:
    """A client that reads deployments from a list of (flow, deployment) names."""

    def __init__(self, *names: tuple[str, str]) -> None:
        self.flows = {uuid4(): flow for flow, _ in names}
        self.deployments = [
            SimpleNamespace(name=name, flow_id=flow_id)
            for flow_id, (_, name) in zip(self.flows, names, strict=True)
        ]

    async def read_deployments(self, *, deployment_filter, limit):
        return [d for d in self.deployments if d.name in deployment_filter.name.any_][:limit]

    async def read_flow(self, flow_id):
        return SimpleNamespace(name=self.flows[flow_id])


async def prefects_own(client, name):
    return f"prefect read {name}"


def read(server, name):
    return asyncio.run(with_bare_names(prefects_own)(server, name))


def test_a_full_name_goes_to_prefect_as_it_is():
    assert read(Server(("f", "d")), "f/d") == "prefect read f/d"


def test_a_bare_name_finds_its_only_deployment():
    server = Server(("build-datacube", "build-datacube"), ("train-model", "train-model"))
    assert read(server, "train-model") is server.deployments[1]


def test_an_unknown_name_is_not_found_and_says_what_to_do():
    with pytest.raises(ObjectNotFound, match=r"flows\.setup"):
        read(Server(("f", "d")), "build-datacube")


def test_an_ambiguous_name_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="a/d, b/d"):
        read(Server(("b", "d"), ("a", "d")), "d")


@pytest.mark.parametrize(
    ("given", "sent"), [(None, {"aoi": "hokkaido"}), ({}, {}), ({"aoi": "x"}, {"aoi": "x"})]
)
def test_a_schedule_that_is_turned_on_keeps_its_parameters(given, sent):
    class Client:
        async def read_deployment_schedules(self, deployment):
            return [
                SimpleNamespace(id=1, parameters={"aoi": "kaikoura"}),
                SimpleNamespace(id=2, parameters={"aoi": "hokkaido"}),
            ]

    async def update(client, deployment, number, active, parameters):
        assert (deployment, number, active) == ("d", 2, True)
        changes.append(parameters)

    changes = []
    asyncio.run(with_parameters_kept(update)(Client(), "d", 2, active=True, parameters=given))
    assert changes == [sent]


def test_the_hook_wraps_prefects_client_once(monkeypatch):
    monkeypatch.setattr(PrefectClient, "read_deployment_by_name", prefects_own, raising=True)
    context = HookContext(prefect_version="3", api_url=None, logger_factory=lambda name: None)
    setup_environment(ctx=context)
    wrapped = PrefectClient.read_deployment_by_name
    assert wrapped is not prefects_own
    setup_environment(ctx=context)
    assert PrefectClient.read_deployment_by_name is wrapped


def test_the_plugin_is_loaded_by_prefect_itself():
    """The entry point and `[tool.prefect.plugins]` are enough: importing Prefect runs the hook."""
    script = (
        "import prefect\nfrom prefect.client.orchestration import PrefectClient\n"
        "print(PrefectClient.read_deployment_by_name.__wrapped__.__qualname__)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(flows.__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == "DeploymentAsyncClient.read_deployment_by_name"
