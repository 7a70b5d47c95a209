"""The automations that tell people: a message for each announcement, and for runs that fail, are late or fall silent.

Two channels, each a setting and a secret: `SLIDECUBE_WEBHOOK_URL` gets JSON by Prefect's action call-webhook,
`SLIDECUBE_NOTIFY_URL` a subject and a text by send-notification. The address is in a block of the server, whose secrets
its API hides unless it is asked for them; automations name the block alone.

Set-up makes an automation that the server lacks, makes one anew that nobody edited where another form is wanted, and
leaves one as an operator changed it. A channel that is new joins every automation; one whose setting is gone leaves
them, and an automation without an action left is deleted. One automation is made without any channel too: a run whose
process was killed with its worker would stay "Running" for good, and ends as Crashed instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from apprise import Apprise
from prefect.blocks.core import Block
from prefect.blocks.notifications import SlackWebhook
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ActionTypes, CallWebhook, ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound
from prefect.types import SecretDict
from pydantic import SecretStr

from flows.serving.notifications.announcements import (
    BUILD_FAILED,
    EVENT_DETECTED,
    EVENT_RETRACTED,
    EVENT_REVISED,
    EVENT_WAITING,
    RELEASE_READY,
    SAYS,
    TOLD,
)
from flows.serving.notifications.automation_marks import (
    MADE,
    is_as_made,
    is_former,
    made,
    made_anew,
    sendable,
)
from pipeline.errors import SettingsError
from pipeline.settings import settings

RUNS = {"prefect.resource.id": "prefect.flow-run.*"}
OF_SLIDECUBE = {"prefect.resource.role": "tag", "prefect.resource.id": "prefect.tag.slidecube"}
"""the tag of every deployment in prefect.yaml, which its runs have"""
STALLED_AFTER = timedelta(minutes=60)
"""longest wait for the next run of the watch to complete; its schedule has it every 15 minutes"""
SILENT_AFTER = timedelta(minutes=15)
"""longest silence of a run that sends heartbeats (`PREFECT_FLOWS_HEARTBEAT_FREQUENCY`)"""

_CLEAN = (
    "replace('<', '·') | replace('>', '·') | replace('@', '·') | replace('://', ':· ·') | truncate(600, true)"
)
_LINK = "{% if flow_run %} {{ flow_run | ui_url or '' }}{% endif %}"
ANNOUNCED = f"{{{{ event.resource['{SAYS}'] or event.resource.name }}}}{_LINK}"
"""the text of an announcement, and the page of the run that made it"""
OF_RUN = (
    "{{ flow.name if flow else 'A run' }}, {{ event.resource.name | default('', true) | "
    f"{_CLEAN} }}}}: {{{{ event.resource['prefect.state-name'] }}}}. "
    f"{{{{ event.resource['prefect.state-message'] | default('', true) | {_CLEAN} }}}}{_LINK}"
)
"""the text of a state of a run; its message may quote an archive"""


def _not_of(flow: str) -> dict[str, str]:
    return {"prefect.resource.role": "flow", "prefect.resource.name": f"!{flow}"}


def _of(flow: str) -> dict[str, str]:
    return {"prefect.resource.role": "flow", "prefect.resource.name": flow}


@dataclass(frozen=True)
class Notice:
    """One automation: when it fires, and what it says."""

    name: str
    trigger: EventTrigger
    text: str
    """Jinja, as Prefect's server renders it"""
    kind: str
    """of the message, for a program that reads it"""
    act: ActionTypes | None = None
    """what is done besides telling people"""

    @property
    def payload(self) -> str:
        """The JSON of the webhook, as a template; `text` is what chat servers show."""
        text = f"{{% set text %}}{self.text}{{% endset %}}"
        labels = "{{ event.resource.root | tojson }}" if self.text == ANNOUNCED else "{}"
        return (
            f'{text}{{"text": {{{{ text | string | tojson }}}}, "kind": "{self.kind}", '
            '"occurred": {{ (event.occurred | string if event else none) | tojson }}, '
            f'"labels": {labels}}}'
        )


def _announcement(name: str, resource: str, words: str) -> Notice:
    trigger = EventTrigger(expect={name}, match={"prefect.resource.id": resource}, posture=Posture.Reactive)
    return Notice(f"slidecube: {words}", trigger, ANNOUNCED, name)


def _of_events(name: str, words: str, *others: str) -> Notice:
    """What became of an event, for the events of the tier that people want to be told of."""
    trigger = EventTrigger(
        expect={name, *others},
        match={"prefect.resource.id": "event.*", TOLD: "true"},
        posture=Posture.Reactive,
    )
    return Notice(f"slidecube: {words}", trigger, ANNOUNCED, name)


NOTICES = (
    _announcement(RELEASE_READY, "release.*", "a map is ready"),
    _announcement(BUILD_FAILED, "datacube.*", "a build failed"),
    _of_events(EVENT_DETECTED, "an event was detected", EVENT_REVISED),
    _of_events(EVENT_RETRACTED, "an event was retracted"),
    _announcement(EVENT_WAITING, "event.*", "an event waits for a pass"),
    Notice(
        "slidecube: a run failed",
        EventTrigger(
            expect={"prefect.flow-run.*"},
            match={**RUNS, "prefect.state-type": ["FAILED", "CRASHED"]},
            # a build announces its failure by itself
            match_related=[OF_SLIDECUBE, _not_of("build-datacube")],
        ),
        OF_RUN,
        "run.failed",
    ),
    Notice(
        "slidecube: a run is late",
        EventTrigger(expect={"prefect.flow-run.Late"}, match=RUNS, match_related=[OF_SLIDECUBE]),
        OF_RUN,
        "run.late",
    ),
    Notice(
        "slidecube: the watch has stalled",
        EventTrigger(
            # one run that completes must be followed by another; failed and late runs have messages of their own
            after={"prefect.flow-run.*"},
            expect={"prefect.flow-run.*"},
            match={**RUNS, "prefect.state-type": "COMPLETED"},
            match_related=[_of("watch-events")],
            posture=Posture.Proactive,
            within=STALLED_AFTER,
        ),
        f"No run of watch-events has completed for {STALLED_AFTER.seconds // 60} minutes: nobody looks for events. "
        "Is a worker running, and is the schedule on?",
        "watch.stalled",
    ),
    Notice(
        "slidecube: a run is silent",
        EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.*"},
            match=RUNS,
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            within=SILENT_AFTER,
        ),
        f"A run has sent no sign of life for {SILENT_AFTER.seconds // 60} minutes and counts as crashed, such as where "
        "its worker was killed: {{ labels['prefect.resource.id'] | default('', true) }}. Run it again: it continues.",
        "run.silent",
        ChangeFlowRunState(
            name="Crashed",
            state=StateType.CRASHED,
            message=f"No sign of life for {SILENT_AFTER.seconds // 60} minutes. Run it again: it continues.",
        ),
    ),
)


@dataclass(frozen=True)
class Channel:
    """A way to people: the setting with its address, and the block that keeps the address on the server."""

    variable: str
    block_type: str
    block_name: str
    action: str
    """Prefect's type of the action"""

    def address(self) -> SecretStr | None:
        """The setting's value."""
        return settings().webhook_url if self.action == "call-webhook" else settings().notify_url

    def block(self, address: SecretStr) -> Block:
        """The block with that address.

        Raises:
            SettingsError: it is no address that Apprise knows.
        """
        if self.action == "call-webhook":
            return Webhook(url=address, headers=SecretDict({"Content-Type": "application/json"}))
        if not Apprise().add(address.get_secret_value()):
            raise SettingsError(
                f"{self.variable} is no address that Apprise knows.",
                "Use one as https://appriseit.com lists them, such as a Slack webhook, mailto:// or json://.",
            )
        return SlackWebhook(url=address)  # takes every address of Apprise

    def act(self, notice: Notice, block: UUID) -> ActionTypes:
        """The action of an automation."""
        if self.action == "call-webhook":
            return CallWebhook(block_document_id=block, payload=notice.payload)
        return SendNotification(block_document_id=block, subject=notice.name, body=notice.text)


CHANNELS = (
    Channel("SLIDECUBE_WEBHOOK_URL", "webhook", "slidecube-webhook", "call-webhook"),
    Channel("SLIDECUBE_NOTIFY_URL", "slack-webhook", "slidecube-notify", "send-notification"),
)


def set_up_notices(client: SyncPrefectClient) -> Iterator[str]:
    """Make, keep or remove blocks and automations as the settings say; yields a line for each that it touched.

    Raises:
        SettingsError: an address cannot be used.
    """
    added: list[tuple[Channel, UUID]] = []
    in_use: list[tuple[Channel, UUID]] = []
    for channel in CHANNELS:
        before, address = _block_on(client, channel), channel.address()
        if address is not None:
            block = channel.block(address).save(channel.block_name, overwrite=True)
            assert isinstance(block, UUID)
            in_use.append((channel, block))
            if before is None:
                added.append((channel, block))
            yield f"notices: {channel.variable} {'added' if before is None else 'kept'}"
        elif before is not None:
            yield from _without(client, before)
            client.delete_block_document(before)
            yield f"notices: {channel.variable} is not set any more; its address was removed from the server"
    if not in_use:
        yield "notices: nobody is told; set SLIDECUBE_WEBHOOK_URL or SLIDECUBE_NOTIFY_URL to have people told"
    there = {each.name: each for each in client.read_automations()}
    for notice in NOTICES:
        found, wanted = there.get(notice.name), _automation(notice, in_use)
        if found is None:
            if wanted.actions:
                made(client, wanted)
                yield f"notices: added automation {notice.name!r}"
        elif is_as_made(found) and is_former(found, wanted) and wanted.actions:
            made_anew(client, found, wanted)
            yield f"notices: renewed automation {notice.name!r}, which nobody had edited"
        else:
            if added and not is_as_made(found):
                actions = [channel.act(notice, block) for channel, block in added]
                _change(client, found, [*found.actions, *actions])
            yield f"notices: kept automation {notice.name!r} ({'on' if found.enabled else 'off'})"


def _automation(notice: Notice, channels: list[tuple[Channel, UUID]]) -> AutomationCore:
    return AutomationCore(
        name=notice.name,
        description=MADE,
        trigger=notice.trigger,
        actions=[
            *([] if notice.act is None else [notice.act]),
            *(channel.act(notice, block) for channel, block in channels),
        ],
    )


def _block_on(client: SyncPrefectClient, channel: Channel) -> UUID | None:
    """The block of a channel on the server, or None."""
    try:
        return client.read_block_document_by_name(
            channel.block_name, channel.block_type, include_secrets=False
        ).id
    except ObjectNotFound:
        return None


def _without(client: SyncPrefectClient, block: UUID) -> Iterator[str]:
    """Take the actions that use a block out of every automation; delete an automation of ours that has none left."""
    ours = {notice.name for notice in NOTICES}
    for found in client.read_automations():
        left = [each for each in found.actions if getattr(each, "block_document_id", None) != block]
        if len(left) == len(found.actions):
            continue
        if left and found.name in ours and is_as_made(found):
            made_anew(client, found, sendable(found, actions=left))
            yield f"notices: automation {found.name!r} keeps its other actions"
        elif left:
            _change(client, found, left)
            yield f"notices: automation {found.name!r} keeps its other actions"
        elif found.name in ours:
            client.delete_automation(found.id)
            yield f"notices: removed automation {found.name!r}"
        else:
            client.pause_automation(found.id)
            yield f"notices: turned automation {found.name!r} off, whose address is gone"


def _change(client: SyncPrefectClient, found: Automation, actions: list[Any]) -> None:
    """Give an automation other actions; everything else stays."""
    client.update_automation(found.id, sendable(found, actions=actions))
