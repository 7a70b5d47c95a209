"""Which automations are as set-up made them: a mark in the description, which no longer holds once a person edits one.

The mark has two digests: of what the server returned after the automation was made, and of what was sent. While the
first holds, nobody edited it; where the second is another one now, this release would make another automation.
"""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.events.schemas.automations import Automation, AutomationCore

from pipeline.records import digest_of_json

MADE = "Made by `python -m flows.setup`, which keeps your changes."
_MARK = re.compile(r" \(as made: ([0-9a-f]{12}), ([0-9a-f]{12})\)$")
_COUNTED = ("trigger", "actions", "actions_on_trigger", "actions_on_resolve")


def form_of(automation: AutomationCore) -> str:
    """A digest of when it fires and what it does, without whether it is on."""
    return digest_of_json(_plain(automation.model_dump(mode="json", include=set(_COUNTED))))[:12]


def made(client: SyncPrefectClient, wanted: AutomationCore) -> None:
    """Make an automation, with its mark."""
    _mark(client, client.create_automation(wanted), wanted)


def made_anew(client: SyncPrefectClient, found: Automation, wanted: AutomationCore) -> None:
    """Give an automation the form that is wanted, with its mark; it stays on or off."""
    client.update_automation(found.id, sendable(wanted, enabled=found.enabled))
    _mark(client, found.id, wanted)


def sendable(automation: AutomationCore, **changes: Any) -> AutomationCore:
    """The automation with changes, without what a server states and does not take: id and owner."""
    whole = automation.model_dump(exclude={"id", "owner_resource"}) | changes
    return AutomationCore.model_validate(whole)


def is_as_made(found: Automation) -> bool:
    """Whether nobody edited it since set-up made it; False also where an earlier release made it, without a mark."""
    mark = _MARK.search(found.description)
    return mark is not None and mark[1] == form_of(found)


def is_former(found: Automation, wanted: AutomationCore) -> bool:
    """Whether set-up would make another one now than it did."""
    mark = _MARK.search(found.description)
    return mark is None or mark[2] != form_of(wanted)


def _mark(client: SyncPrefectClient, automation: UUID, sent: AutomationCore) -> None:
    there = client.read_automation(automation)
    if there is None:  # somebody removed it meanwhile
        return
    words = f"{MADE} (as made: {form_of(there)}, {form_of(sent)})"
    client.update_automation(automation, sendable(there, description=words))


def _plain(value: Any) -> Any:
    """Without the ids that the server gives to triggers, and with sets in one order."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items() if key != "id"}
    if not isinstance(value, list):
        return value
    return sorted(value) if all(isinstance(one, str) for one in value) else [_plain(one) for one in value]
