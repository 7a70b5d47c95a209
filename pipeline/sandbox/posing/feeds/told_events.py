"""The scripted events of the served worlds, as they are at the instant of the clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from pipeline.sandbox.earth.parameters import SandboxError
from pipeline.sandbox.publication.sandbox_clock import SandboxClock
from pipeline.sandbox.seismicity.scripted_events import Revision, ScriptedEvent, read_events
from pipeline.sandbox.world import World


@dataclass(frozen=True)
class Told:
    """One event in its newest revision."""

    event: ScriptedEvent
    revision: Revision
    simulated: bool


class ToldEvents:
    """The events of all worlds; an event of an id that an earlier world has is left out."""

    def __init__(self, worlds: list[World], clock: SandboxClock) -> None:
        self.clock = clock
        self._events: dict[str, tuple[ScriptedEvent, bool]] = {}
        self.simulated = any(world.simulated for world in worlds)
        """Whether a feed of these worlds is marked as a whole."""
        for world in worlds:
            found = read_events(world.root)
            for event in found.events if found else ():
                self._events.setdefault(event.id, (event, world.simulated))
        numbers = [event.gdacs.number for event, _ in self._events.values() if event.gdacs]
        if len(set(numbers)) < len(numbers):
            raise SandboxError(
                "Two worlds state one event of GDACS.", "Change `gdacs.number` in an events.json."
            )

    def now(self, instant: datetime | None = None) -> Iterator[Told]:
        """Every event that was stated until an instant, by default that of the clock; also deleted ones."""
        instant = instant or self.clock.now()
        for event, simulated in self._events.values():
            revision = event.at(instant)
            if revision is not None:
                yield Told(event, revision, simulated)

    def find(self, event_id: str) -> Told | None:
        """The event of an id, or of one of its other ids."""
        return next((one for one in self.now() if event_id in (one.event.id, *one.revision.other_ids)), None)
