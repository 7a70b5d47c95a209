"""docker/compose.yaml as a file: what it names exists, each secret is where it belongs, and no service has more than it
needs. No image can be pulled where this runs."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from prefect import settings as prefect_settings

from flows.serving.limits import LEASE_STORAGE, LEASE_VARIABLE
from flows.serving.prefect_file import PROJECT
from pipeline.settings import PREFIX, Settings

DOCKER = PROJECT / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
services = pytest.mark.parametrize("name", SERVICES)
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")

SECRETS = {
    "POSTGRES_PASSWORD": {"database", "server"},
    "PREFECT_SERVER_API_AUTH_STRING": {"server"},
    "PREFECT_API_AUTH_STRING": {"setup", "worker"},
    "SLIDECUBE_WEBHOOK_URL": {"setup"},
    "SLIDECUBE_NOTIFY_URL": {"setup"},
    "PC_SDK_SUBSCRIPTION_KEY": {"worker"},
    "EARTHDATA_TOKEN": {"worker"},
}
"""who may have which"""


def filled(value: Any, given: dict[str, str]) -> Any:
    """A value of the file as compose fills it in."""

    def one(found: re.Match[str]) -> str:
        name, how, more = found.groups()
        if given.get(name):
            return given[name]
        if how == "-":
            return str(more)
        raise KeyError(name)

    if isinstance(value, dict):
        return {key: filled(each, given) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(each, given) for each in value]
    return VARIABLE.sub(one, value) if isinstance(value, str) else value


def received(name: str) -> set[str]:
    """Variables whose values a service gets: those that it passes on, and those within its values."""
    environment = SERVICES[name]["environment"]
    passed = {variable for variable, value in environment.items() if value is None}
    return passed | {found[1] for value in environment.values() for found in VARIABLE.finditer(str(value))}


def test_only_the_password_of_the_database_is_required():
    with pytest.raises(KeyError, match="POSTGRES_PASSWORD"):
        filled(COMPOSE, {})
    assert "$" not in str(filled(SERVICES, {"POSTGRES_PASSWORD": "word"}))


@services
def test_each_secret_reaches_those_who_need_it_and_nobody_else(name):
    assert {secret for secret in SECRETS if name in SECRETS[secret]} == received(name) & set(SECRETS)


@services
def test_what_looks_like_a_secret_is_known_as_one_and_never_written_down(name):
    for variable, value in SERVICES[name]["environment"].items():
        if re.search("PASSWORD|KEY|TOKEN|SECRET|AUTH|WEBHOOK|NOTIFY_URL", variable):
            assert value is None or VARIABLE.fullmatch(value), variable
            assert (variable if value is None else VARIABLE.match(value)[1]) in SECRETS


@services
def test_every_setting_of_slidecube_and_of_prefect_exists(name):
    ours = {f"{PREFIX}{field}".upper() for field in Settings.model_fields}
    for variable in SERVICES[name]["environment"]:
        if variable.startswith(PREFIX):
            assert variable in ours
        if variable.startswith("PREFECT_"):
            assert hasattr(prefect_settings, variable), variable


@services
def test_a_service_has_no_privilege_and_no_root_to_write_to_and_limits(name):
    service = SERVICES[name]
    assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
    assert service["read_only"] is True and "/tmp" in service["tmpfs"]
    assert not {"privileged", "cap_add", "devices", "pid", "ipc", "network_mode", "userns_mode"} & set(
        service
    )
    assert {"mem_limit", "cpus", "pids_limit"} <= set(service)
    assert "docker.sock" not in str(service)


def test_the_database_is_reached_by_the_server_alone_and_reaches_nothing():
    on = {name: set(service["networks"]) for name, service in SERVICES.items()}
    assert set().union(*on.values()) == set(COMPOSE["networks"])
    internal = {name for name, network in COMPOSE["networks"].items() if (network or {}).get("internal")}
    assert on["database"] <= internal and on["setup"] <= internal
    assert {name for name in on if on[name] & on["database"]} == {"database", "server"}
    # the worker meets the server on a network without a way out, and nobody on the one that has it
    assert on["worker"] & on["server"] <= internal
    (outward,) = on["worker"] - internal
    assert [name for name in on if outward in on[name]] == ["worker"]


def test_nothing_but_the_server_has_a_port_and_it_is_reached_from_this_machine_only():
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["server"]
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["server"]["ports"])


@services
def test_a_service_writes_to_declared_volumes_alone(name):
    for volume in filled(SERVICES[name].get("volumes", []), {}):
        source, _, target = volume.partition(":")
        if source in COMPOSE["volumes"]:
            continue
        assert target.endswith(":ro") and (DOCKER / source).is_dir(), volume
    assert {v.split(":")[0] for s in SERVICES.values() for v in s.get("volumes", [])} >= set(
        COMPOSE["volumes"]
    )


def test_a_restart_of_the_server_leaks_no_slots_and_a_killed_run_is_found():
    assert SERVICES["server"]["environment"][LEASE_VARIABLE] == LEASE_STORAGE
    assert SERVICES["server"]["environment"]["PREFECT_HOME"].startswith("/data/")
    assert int(SERVICES["worker"]["environment"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]) >= 30


def test_areas_of_ones_own_are_where_the_worker_looks_for_them():
    folder = SERVICES["worker"]["environment"]["SLIDECUBE_AOI_DIR"]
    assert any(str(volume).endswith(f":{folder}:ro") for volume in SERVICES["worker"]["volumes"])


@services
def test_services_wait_for_services_that_exist(name):
    assert set(SERVICES[name].get("depends_on", {})) <= set(SERVICES)


@services
def test_long_running_services_are_watched(name):
    assert ("healthcheck" in SERVICES[name]) == (name != "setup")


def test_the_example_of_the_settings_names_what_the_file_takes_and_holds_no_secret():
    lines = (DOCKER / "env.example").read_text().splitlines()
    given = dict(line.lstrip("#").split("=", 1) for line in lines if re.match(r"#?[A-Z_]+=", line))
    taken = set().union(*(received(name) for name in SERVICES)) | {
        found[1] for found in VARIABLE.finditer((DOCKER / "compose.yaml").read_text())
    }
    assert set(given) <= taken and set(SECRETS) <= set(given)
    assert not any(given[secret] for secret in SECRETS)
    assert "600" in lines[1]
    # its other values are the defaults of the file
    for name, value in given.items():
        if value:
            assert f"${{{name}:-{value}}}" in (DOCKER / "compose.yaml").read_text(), name
