"""Schedules of the areas of events: what the ledger says is made, what a person did in Prefect stays."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from flows.serving import prefect_file
from flows.serving.event_schedules import parameters_of, reconcile, rhythm_of, slug_of
from pipeline.events.ledger import EventArea
from tests.unit.flows.serving.test_prefect_file import BUILD, SIX_HOURS
from tests.unit.flows.serving.test_prefect_file import Server as SetUpServer

AREA = EventArea(name="usgs-us2000h8ty")


class Server(SetUpServer):
    """A server whose schedules can be removed too."""

    def delete_deployment_schedule(self, deployment: Any, number: Any) -> None:
        self.schedules[deployment] = [each for each in self.schedules[deployment] if each.id != number]

    @property
    def own(self) -> list[SimpleNamespace]:
        return [each for each in self.schedules[self.deployments[BUILD].id] if each.slug != SIX_HOURS]


def test_a_schedule_is_made_once_by_slug_with_the_area_as_its_parameter():
    server = Server()
    made = reconcile(server, AREA, "on")
    again = reconcile(server, made.area, "on")
    (own,) = server.own
    assert (own.slug, own.active, own.parameters) == (slug_of(AREA.name), True, parameters_of(AREA.name))
    assert own.parameters["aoi"] == AREA.name and own.parameters["pairs"] is False
    assert made.active and made.words and again.active and not again.words
    assert again.area == made.area and made.area.schedule == own.slug


def test_setting_up_again_keeps_it():
    server = Server()
    made = reconcile(server, AREA, "on")
    document = prefect_file.shipped()
    merged, _ = prefect_file.merged(server, document)
    assert not any("schedules" in each for each in merged["deployments"])
    prefect_file.add_schedules(server, document)
    prefect_file.add_schedules(server, document)
    (own,) = server.own
    assert own.active and own.parameters == parameters_of(AREA.name)
    assert reconcile(server, made.area, "on") == made.model_copy(update={"words": ""})


def test_what_a_person_turned_off_stays_off_and_is_said():
    server = Server()
    made = reconcile(server, AREA, "on")
    server.own[0].active = False
    found = reconcile(server, made.area, "on")
    assert not found.active and found.words and not server.own[0].active
    reconcile(server, found.area, "paused")
    assert not reconcile(server, reconcile(server, found.area, "paused").area, "on").active


def test_what_a_person_deleted_is_not_made_again_until_the_event_is_paused_and_resumed():
    server = Server()
    made = reconcile(server, AREA, "on")
    server.delete_deployment_schedule(server.deployments[BUILD].id, server.own[0].id)
    found = reconcile(server, made.area, "on")
    assert not found.active and found.words and server.own == [] and found.area == made.area
    paused = reconcile(server, found.area, "paused")
    assert server.own == []
    assert reconcile(server, paused.area, "on").active and len(server.own) == 1


def test_a_paused_event_turns_its_schedule_off_and_a_resumed_one_on_again():
    server = Server()
    made = reconcile(server, AREA, "on")
    paused = reconcile(server, made.area, "paused")
    assert not server.own[0].active and paused.area.paused_here and not paused.active
    assert reconcile(server, paused.area, "paused").words == ""
    resumed = reconcile(server, paused.area, "on")
    assert server.own[0].active and resumed.active and not resumed.area.paused_here
    assert server.own[0].parameters == parameters_of(AREA.name)


def test_an_event_that_is_over_has_its_schedule_removed_and_another_begin_makes_it():
    server = Server()
    made = reconcile(server, AREA, "on")
    over = reconcile(server, made.area, "none")
    assert server.own == [] and over.words and over.area == AREA
    assert reconcile(server, over.area, "none").words == ""
    assert reconcile(server, over.area, "on").active


def test_a_new_server_gets_the_schedule_again():
    made = reconcile(Server(), AREA, "on")
    other = Server()
    assert reconcile(other, made.area, "on").active and len(other.own) == 1


def test_parameters_that_prefect_dropped_are_set_again():
    server = Server()
    made = reconcile(server, AREA, "on")
    server.own[0].parameters = {}
    reconcile(server, made.area, "on")
    assert server.own[0].parameters == parameters_of(AREA.name) and server.own[0].active


def test_without_the_deployment_nothing_is_made_and_it_is_said():
    server = Server()
    server.deployments = {}
    found = reconcile(server, EventArea(name="a", schedule="event-a", deployment=str(uuid4())), "on")
    assert not found.active and "flows.setup" in found.words
    assert reconcile(server, AREA, "none").words == ""


def test_areas_search_at_minutes_of_their_own():
    assert len({rhythm_of(f"usgs-{number}").cron for number in range(50)}) > 40
