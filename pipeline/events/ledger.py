"""The ledger of events: one JSON document an event below `<data>/events`, which watching and following share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from pipeline.errors import LedgerError
from pipeline.events.detected_event import DetectedEvent
from pipeline.files import read_regular, write_whole
from pipeline.lock import held
from pipeline.places import is_name
from pipeline.records import Frozen, Utc
from pipeline.settings import settings

Tier = Literal["none", "watch", "build", "priority"]
State = Literal["detected", "waiting", "mapped", "finished", "dismissed", "retracted"]
MapStatus = Literal["first", "provisional", "confirmed"]
MOST_ENTRY_BYTES = 16 * 2**20
CLOSED: tuple[State, ...] = ("finished", "dismissed", "retracted")


class Decision(Frozen):
    """What the rule says of one revision, and why."""

    tier: Tier
    reasons: tuple[str, ...] = ()


class Note(Frozen):
    """One thing that became of an event."""

    at: Utc
    words: str


class EventArea(Frozen):
    """An area of an event, and the schedule that builds it."""

    name: str
    schedule: str | None = Field(None, description="slug of its schedule on build-datacube, once it was made")
    deployment: str | None = Field(None, description="id of the deployment that it was made on")
    paused_here: bool = Field(
        False, description="the schedule is off since the event is paused, not by a person"
    )


class Entry(Frozen):
    """One event in the ledger."""

    revisions: tuple[DetectedEvent, ...] = Field(
        min_length=1, description="in the order of `updated`; those of the USGS after those of GDACS"
    )
    decision: Decision = Decision(tier="none")
    forced: Tier | None = Field(
        None, description="a person's decision, which takes precedence over the rule's"
    )
    state: State = "detected"
    map_status: MapStatus | None = None
    paused: bool = False
    margin_km: float = Field(0.0, ge=0, le=500, description="by which a person widened the areas")
    areas: tuple[EventArea, ...] = ()
    waiting_for: str = Field("", description="the next pass, in words")
    next_look: Utc | None = Field(None, description="no look at the archives before this instant")
    missing: tuple[str, ...] = Field(
        (), description="passes that were expected and the archive lacks, in words"
    )
    history: tuple[Note, ...] = ()

    @property
    def event(self) -> DetectedEvent:
        """The newest revision."""
        return self.revisions[-1]

    @property
    def name(self) -> str:
        """Its name in the ledger, which the first revision gives."""
        return self.revisions[0].name

    @property
    def tier(self) -> Tier:
        """A person's decision, or that of the rule."""
        return self.forced or self.decision.tier

    @property
    def open(self) -> bool:
        """Whether passes are still looked for."""
        return self.state not in CLOSED and not self.paused and self.tier in ("build", "priority")

    def noted(self, at: Utc, words: str) -> Entry:
        """The entry with one more line in its history."""
        return self.model_copy(update={"history": (*self.history, Note(at=at, words=words))})


def folder() -> Path:
    """The folder of the ledger: `<data>/events`."""
    return settings().data_dir / "events"


@contextmanager
def locked() -> Iterator[None]:
    """Hold the ledger's writer lock, waiting for another writer; read, change and save within it."""
    with held(folder() / ".lock"):
        yield


def names() -> list[str]:
    """The names of all events, sorted."""
    return sorted(path.stem for path in folder().glob("*.json")) if folder().is_dir() else []


def read(name: str) -> Entry:
    """The entry of that name.

    Raises:
        LedgerError: there is none, or its document is damaged.
    """
    if not is_name(name):
        raise LedgerError(f"{name!r:.100} cannot name an event.", "`slidecube event list` lists them.")
    path = folder() / f"{name}.json"
    try:
        return Entry.model_validate(json.loads(read_regular(path, MOST_ENTRY_BYTES)))
    except FileNotFoundError:
        raise LedgerError(f"There is no event {name!r}.", "`slidecube event list` lists them.") from None
    except (OSError, ValueError, RecursionError, ValidationError) as error:
        reason = type(error).__name__
        raise LedgerError(
            f"{path} is damaged ({reason}).", "Remove it; the next watch finds the event again."
        ) from error


def read_all() -> tuple[list[Entry], list[str]]:
    """Every entry of the ledger by name, and what is wrong with those that cannot be read."""
    entries, damaged = [], []
    for name in names():
        try:
            entries.append(read(name))
        except LedgerError as error:
            damaged.append(str(error))
    return entries, damaged


def save(entry: Entry) -> Path:
    """Write an entry whole; returns its document. The caller holds the lock."""
    path = folder() / f"{entry.name}.json"
    write_whole(path, entry.model_dump_json(indent=1, exclude_defaults=True).encode())
    return path
