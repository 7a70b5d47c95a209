"""An automation that nobody edited is made anew where set-up wants another form; one that a person edited stays."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast
from uuid import UUID, uuid4

from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import DoNothing
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture

from flows.serving.notifications.automation_marks import form_of, is_as_made, is_former, made, made_anew


class Server:
    """Automations as Prefect's server keeps them: it gives ids, and a default that nobody sent."""

    def __init__(self) -> None:
        self.there: dict[UUID, Automation] = {}

    def create_automation(self, sent: AutomationCore) -> UUID:
        number = uuid4()
        self._keep(number, sent)
        return number

    def update_automation(self, number: UUID, sent: AutomationCore) -> None:
        self._keep(number, sent)

    def read_automation(self, number: UUID) -> Automation | None:
        return self.there.get(number)

    def read_automations(self) -> list[Automation]:
        return list(self.there.values())

    def delete_automation(self, number: UUID) -> None:
        del self.there[number]

    def _keep(self, number: UUID, sent: AutomationCore) -> None:
        document = sent.model_dump(mode="json") | {"id": str(number)}
        document["trigger"] |= {
            "id": str(uuid4()),
            "for_each": sorted(document["trigger"].get("for_each", ())),
        }
        self.there[number] = Automation.model_validate(document)


def automation(event: str = "release.ready", **fields: Any) -> AutomationCore:
    trigger = EventTrigger(expect={event}, posture=Posture.Reactive)
    return AutomationCore(name="slidecube: a map is ready", trigger=trigger, actions=[DoNothing()], **fields)


def kept(server: Server) -> Automation:
    (found,) = server.there.values()
    return found


def client(server: Server) -> SyncPrefectClient:
    return cast("SyncPrefectClient", server)


def test_as_made_until_a_person_edits_it() -> None:
    server = Server()
    made(client(server), automation())
    assert is_as_made(kept(server)) and not is_former(kept(server), automation())
    off = kept(server).model_copy(update={"enabled": False})
    assert is_as_made(off), "whether it is on is the operator's"
    sooner = kept(server).trigger.model_copy(update={"within": timedelta(seconds=10)})
    assert not is_as_made(kept(server).model_copy(update={"trigger": sooner}))
    assert not is_as_made(kept(server).model_copy(update={"description": "mine"}))


def test_the_order_of_a_set_is_no_edit() -> None:
    wide = {"prefect.state-type": ["FAILED", "CRASHED"]}
    turned = {"prefect.state-type": ["CRASHED", "FAILED"]}
    one, other = (
        automation().model_copy(update={"trigger": EventTrigger(match=match, posture=Posture.Reactive)})
        for match in (wide, turned)
    )
    assert form_of(one) == form_of(other) != form_of(automation())


def test_another_form_is_seen_and_taken_and_it_stays_off() -> None:
    server = Server()
    made(client(server), automation(enabled=False))
    other = automation("release.revised")
    assert is_former(kept(server), other)
    made_anew(client(server), kept(server), other)
    found = kept(server)
    assert isinstance(found.trigger, EventTrigger)
    assert (found.trigger.expect, found.enabled) == ({"release.revised"}, False)
    assert is_as_made(found) and not is_former(found, other)


def test_one_of_an_earlier_release_without_a_mark_is_nobodys_to_change() -> None:
    server = Server()
    server.create_automation(
        automation(description="Made by `python -m flows.setup`, which keeps your changes.")
    )
    assert not is_as_made(kept(server))
