"""Templates of work pools: variables that Prefect's worker of that type knows, an image that starts, no privileges."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from prefect.client.orchestration import get_client
from prefect.testing.utilities import prefect_test_harness
from prefect.utilities.templating import apply_values, find_placeholders
from prefect.workers.base import BaseJobConfiguration

from flows.serving.deployments import TEMPLATES, make_pool
from flows.serving.prefect_file import PROJECT
from pipeline.settings import Settings

PUBLISHED = json.loads(
    files("prefect.server.api.collections_data.views").joinpath("aggregate-worker-metadata.json").read_text()
)
NAMES = [path.stem for path in sorted(TEMPLATES.glob("*.json"))]
named = pytest.mark.parametrize("name", NAMES)


def template_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((TEMPLATES / f"{name}.json").read_text())
    return found


def filled(name: str) -> dict[str, Any]:
    """The job as a worker makes it, with the defaults of the template."""
    template = template_of(name)
    values = BaseJobConfiguration._get_base_config_defaults(template["variables"]["properties"])
    values |= {"name": "a-run", "command": "prefect flow-run execute", "labels": {}}
    job: dict[str, Any] = apply_values(template["job_configuration"], values, remove_notset=True)
    return job


def test_every_pool_that_the_setting_offers_has_a_template():
    offered = set(Settings.model_fields["work_pool"].annotation.__args__)
    assert offered == {"local", *NAMES}


@named
def test_a_template_has_the_fields_of_the_published_one_and_each_placeholder_is_a_variable(name):
    template, published = (
        template_of(name),
        PUBLISHED[f"prefect-{name}"][name]["default_base_job_configuration"],
    )
    beyond = {"container_create_kwargs"}  # of prefect-docker, whose own template leaves it out
    assert set(template["job_configuration"]) - beyond <= set(published["job_configuration"])
    variables = template["variables"]
    placeholders = {found.name for found in find_placeholders(template["job_configuration"])}
    assert placeholders == set(variables["properties"])
    jsonschema.Draft202012Validator.check_schema(variables)
    defaults = {key: each["default"] for key, each in variables["properties"].items() if "default" in each}
    jsonschema.validate(defaults, variables)
    for key, each in variables["properties"].items():
        known = published["variables"]["properties"].get(key, each)
        assert each["type"] == known["type"] and set(each.get("enum", ())) <= set(
            known.get("enum", each.get("enum", ()))
        ), key


@named
def test_a_job_starts_prefect_and_not_the_images_command_and_has_no_privileges(name):
    job = filled(name)
    assert 'ENTRYPOINT ["slidecube"]' in (PROJECT / "docker" / "Dockerfile").read_text()
    if name == "docker":
        made = job["container_create_kwargs"]
        assert made["entrypoint"] == ["/usr/bin/env"] and job["privileged"] is False
        assert (made["cap_drop"], made["read_only"]) == (["ALL"], True)
        assert job["mem_limit"] and made["pids_limit"]
    else:
        pod = job["job_manifest"]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert container["command"] == ["/usr/bin/env"] and container["args"] == "prefect flow-run execute"
        assert (
            pod["securityContext"]["runAsUser"] == 1000
            and "useradd --create-home --uid 1000" in (PROJECT / "docker" / "Dockerfile").read_text()
        )
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert {each["name"] for each in container["volumeMounts"]} == {
            each["name"] for each in pod["volumes"]
        }
    assert not find_placeholders(job)
    assert not re.search(r"TOKEN|PASSWORD|KEY\b|AUTH", json.dumps(job["env"]))


@pytest.mark.slow
def test_a_server_takes_the_templates_and_checks_what_a_deployment_sets():
    with prefect_test_harness(server_startup_timeout=300), get_client(sync_client=True) as client:
        for name in NAMES:
            assert [make_pool(client, name), make_pool(client, name)] == [True, False]
            pool = client.read_work_pool(name)
            assert (pool.type, pool.base_job_template) == (name, template_of(name))
