"""prefect.yaml and the image: what they name exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

from flows.serving.deployments import POOL
from flows.serving.limits import INTERFEROMETRY, LIMITS
from flows.serving.prefect_file import PROJECT
from flows.serving.schedules import of_watch
from pipeline.archives.planetary import PlanetaryComputer

DEPLOYMENTS = yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]
named = pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda d: d["name"])


def flow_names(path: Path) -> dict[str, str]:
    """By function: the name that its `@flow(name=...)` gives."""
    found = {}
    for node in ast.parse(path.read_text()).body:
        for call in getattr(node, "decorator_list", []):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "flow":
                found[node.name] = next(k.value.value for k in call.keywords if k.arg == "name")
    return found


def test_every_flow_is_deployed_once():
    assert sorted(d["name"] for d in DEPLOYMENTS) == [
        "ablate",
        "build-datacube",
        "follow-events",
        "map-landslides",
        "reconcile",
        "train-model",
        "watch-events",
    ]


@named
def test_a_deployment_has_the_name_of_its_flow(deployment):
    module, _, function = deployment["entrypoint"].rpartition(".")
    path = PROJECT / f"{module.replace('.', '/')}.py"
    assert flow_names(path)[function] == deployment["name"]


@named
def test_every_deployment_goes_to_the_pool_that_the_set_up_makes(deployment):
    assert deployment["work_pool"]["name"] == POOL


@named
def test_schedules_are_off_by_default(deployment):
    assert [s["active"] for s in deployment.get("schedules", [])] in ([], [False])


def test_what_the_command_turns_on_is_in_the_file():
    assert ("watch-events", "every-quarter-hour") in of_watch()
    assert {name for name, _ in of_watch()} == {d["name"] for d in DEPLOYMENTS if "watch" in d["tags"]}


def test_building_carries_a_schedule():
    assert next(d for d in DEPLOYMENTS if d["name"] == "build-datacube")["schedules"]


def test_the_limit_that_the_tasks_ask_for_is_made_by_the_set_up():
    assert LIMITS[PlanetaryComputer.name] >= 1
    assert LIMITS[INTERFEROMETRY] == 1


def test_what_the_image_copies_is_in_the_project_and_not_ignored():
    ignore = (PROJECT / "docker" / "Dockerfile.dockerignore").read_text()
    for line in re.findall(r"^COPY (.+)$", (PROJECT / "docker" / "Dockerfile").read_text(), re.MULTILINE):
        for source in line.split()[:-1]:
            assert (PROJECT / source).exists(), source
            assert f"!{source.removeprefix('./')}\n" in ignore, source


def test_the_image_runs_as_an_ordinary_user():
    last = re.findall(r"^USER (\w+)$", (PROJECT / "docker" / "Dockerfile").read_text(), re.MULTILINE)[-1]
    assert last != "root"
