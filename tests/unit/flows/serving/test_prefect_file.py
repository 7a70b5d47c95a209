"""What a second set-up keeps of an operator's, and what it adds; on a server of objects in memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.serving import deployments, prefect_file, server_client
from pipeline.errors import SettingsError

BUILD, TRAIN = "build-datacube", "train-model"
SIX_HOURS = "hokkaido-every-six-hours"


def schedule(slug: str | None, when: Any, active: bool, **parameters: Any) -> SimpleNamespace:
    return SimpleNamespace(id=uuid4(), slug=slug, schedule=when, active=active, parameters=parameters)


class Server:
    """A server with two deployments, of which an operator has changed what can be changed."""

    def __init__(self, *schedules: SimpleNamespace) -> None:
        limit = SimpleNamespace(limit=3)
        enqueue = SimpleNamespace(collision_strategy=SimpleNamespace(value="CANCEL_NEW"))
        self.deployments = {
            BUILD: SimpleNamespace(
                id=uuid4(), parameters={}, paused=True, job_variables={"env": {"A": "1"}},
                global_concurrency_limit=None, concurrency_options=None,
            ),
            TRAIN: SimpleNamespace(
                id=uuid4(), parameters={"seed": 3}, paused=False, job_variables={},
                global_concurrency_limit=limit, concurrency_options=enqueue,
            ),
        }  # fmt: skip
        self.schedules = {self.deployments[BUILD].id: list(schedules), self.deployments[TRAIN].id: []}
        self.trigger = SimpleNamespace(name="train on a new version of a cube", enabled=False)

    def read_deployment_by_name(self, name: str) -> SimpleNamespace:
        try:
            return self.deployments[name.split("/")[1]]
        except KeyError:
            raise ObjectNotFound(Exception(name)) from None

    def read_resource_related_automations(self, resource: str) -> list[SimpleNamespace]:
        return [self.trigger] if resource == f"prefect.deployment.{self.deployments[TRAIN].id}" else []

    def read_deployment_schedules(self, deployment: Any) -> list[SimpleNamespace]:
        return list(self.schedules[deployment])

    def create_deployment_schedules(self, deployment: Any, wanted: list[Any]) -> None:
        self.schedules[deployment] += [
            schedule(each.slug, each.schedule, each.active, **each.parameters) for each in wanted
        ]

    def update_deployment_schedule(self, deployment: Any, number: Any, **changes: Any) -> None:
        (found,) = [each for each in self.schedules[deployment] if each.id == number]
        vars(found).update(changes)


def of(document: prefect_file.Entry, name: str) -> prefect_file.Entry:
    return next(entry for entry in document["deployments"] if entry["name"] == name)


def test_what_an_operator_set_outranks_the_shipped_file_and_is_named():
    document = prefect_file.shipped()
    merged, kept = prefect_file.merged(Server(), document)
    assert not any("schedules" in entry for entry in merged["deployments"]), "those on the server stay"
    build, train = of(merged, BUILD), of(merged, TRAIN)
    assert (build["paused"], build["work_pool"]["job_variables"]) == (True, {"env": {"A": "1"}})
    assert train["parameters"] == {"seed": 3}
    assert train["concurrency_limit"] == {"limit": 3, "collision_strategy": "CANCEL_NEW"}
    (trigger,) = train["triggers"]
    assert trigger == of(document, TRAIN)["triggers"][0] | {"enabled": False}
    assert [line.split(":")[0] for line in kept] == [BUILD] * 2 + [TRAIN] * 3


def test_of_a_new_server_the_document_is_the_shipped_one_without_schedules():
    server = Server()
    server.deployments = {}
    document = prefect_file.shipped()
    merged, kept = prefect_file.merged(server, document)
    assert kept == []
    for entry in document["deployments"]:
        entry.pop("schedules", None)
    assert merged == document


def test_schedules_of_an_operator_and_the_states_of_the_shipped_ones_stay():
    theirs = schedule(None, CronSchedule(cron="5 4 * * *", timezone="Asia/Tokyo"), True, aoi="kaikoura")
    named = schedule("mine", RRuleSchedule(rrule="FREQ=DAILY;BYHOUR=3"), False, aoi="talakmau")
    ours = schedule(SIX_HOURS, CronSchedule(cron="0 1 * * *"), True, aoi="puerto-rico", pairs=False)
    server = Server(theirs, named, ours)
    before = [vars(each).copy() for each in (theirs, named, ours)]
    lines = prefect_file.add_schedules(server, prefect_file.shipped())
    assert [vars(each) for each in server.schedules[server.deployments[BUILD].id]] == before
    for name, line in zip(("5 4 * * *", "mine", SIX_HOURS), lines, strict=False):
        assert line.startswith(BUILD) and name in line


@pytest.mark.parametrize("others", [(), (schedule(None, IntervalSchedule(interval=60), True),)])
def test_a_shipped_schedule_that_the_server_lacks_is_added_off_with_its_parameters(others):
    server = Server(*others)
    prefect_file.add_schedules(server, prefect_file.shipped())
    *kept, added = server.schedules[server.deployments[BUILD].id]
    assert tuple(kept) == others
    assert (added.slug, added.active, added.parameters) == (SIX_HOURS, False, {"aoi": "hokkaido"})
    assert added.schedule == CronSchedule(cron="17 */6 * * *", timezone="UTC")
    again = prefect_file.add_schedules(server, prefect_file.shipped())
    assert len(server.schedules[server.deployments[BUILD].id]) == len(others) + 1
    assert not any("added" in line for line in again)


def test_a_schedule_that_lost_its_parameters_has_them_again_and_stays_on():
    lost = schedule(SIX_HOURS, CronSchedule(cron="17 */6 * * *"), True)
    prefect_file.add_schedules(Server(lost), prefect_file.shipped())
    assert (lost.active, lost.parameters) == (True, {"aoi": "hokkaido"})


def test_a_server_that_is_away_is_named_in_one_sentence(monkeypatch, capsys):
    def refuse(**options: Any) -> Any:
        raise httpx.ConnectError("refused")

    monkeypatch.setattr(server_client, "get_client", refuse)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert deployments.main() == SettingsError.exit_code
    out, err = capsys.readouterr()
    assert out == "" and "http://127.0.0.1:9/api" in err and len(err.splitlines()) == 1
