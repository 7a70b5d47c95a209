"""One event of the ledger, followed once: its areas, their schedules, what they wait for, whether it is time to look.

A reconciliation: what is on the disk and on the server decides what is left to do. Each step is written to the ledger
as soon as it is done, so that a kill loses none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import datetime

from prefect.client.orchestration import SyncPrefectClient
from prefect.deployments import run_deployment
from prefect.events import emit_event
from pydantic import Field

from flows import chain
from flows.history_of_maps import lines_of_maps
from flows.serving import event_schedules
from flows.serving.event_schedules import ScheduleState
from flows.serving.notifications import announcements
from pipeline.areas.area import load_area
from pipeline.build.run import writer_lock
from pipeline.cube import addresses
from pipeline.errors import BusyError, SlidecubeError
from pipeline.events import ledger
from pipeline.events.following.area_look import Look, looked
from pipeline.events.following.area_making import areas_of
from pipeline.events.following.pass_account import PassAccount, save_account
from pipeline.events.following.renewed_passes import lines_of_renewed
from pipeline.events.following.waiting import earliest_look
from pipeline.events.ledger import CLOSED, Entry, EventArea, MapStatus
from pipeline.records import Frozen

log = logging.getLogger(__name__)


class Followed(Frozen):
    """An event after it was followed once."""

    entry: Entry
    accounts: tuple[PassAccount, ...] = Field((), description="of its areas")
    begun: tuple[str, ...] = Field((), description="areas whose archives are looked at now")
    problems: tuple[str, ...] = Field((), description="what stands in the way, of one area each")
    remarks: tuple[str, ...] = Field((), description="what a person turned off, of one area each")


def follow(client: SyncPrefectClient, name: str, now: datetime) -> Followed:
    """Follow the event of that name at the instant `now`.

    Raises:
        SlidecubeError: its areas cannot be made, or the ledger cannot be read or written.
    """
    entry = ledger.read(name)
    if not entry.open:
        return _at_rest(client, entry, now)
    made = areas_of(entry, now)
    left = [each for each in entry.areas if each.name not in {one.name for one in made.areas}]
    entry = _changed(name, now, made.notes, areas=made.areas)
    if not entry.open:  # a person or the watch closed it meanwhile
        return _at_rest(client, entry, now)
    removed = _reconciled(client, left, "none")
    states = _reconciled(client, entry.areas, "on")
    areas = tuple(state.area for state in states)
    entry = _changed(name, now, [*_words(removed), *_words(states)], areas=areas)
    return _looked_at(client, entry, states, now)


def _at_rest(client: SyncPrefectClient, entry: Entry, now: datetime) -> Followed:
    """An event that is closed, paused or only watched: its schedules are removed or turned off, its data stay."""
    building = entry.state not in CLOSED and entry.tier in ("build", "priority")
    states = _reconciled(client, entry.areas, "paused" if building else "none")
    notes = [f"{words}; cubes and maps are kept" for words in _words(states)]
    notes += lines_of_results(entry)  # the last map may have been made after the look that closed the event
    waiting = "nothing: a person paused it" if building else ""
    entry = _changed(
        entry.name,
        now,
        notes,
        areas=tuple(state.area for state in states),
        waiting_for=waiting,
        next_look=None,
    )
    return Followed(entry=entry)


def _reconciled(
    client: SyncPrefectClient, areas: Iterable[EventArea], wanted: event_schedules.Wanted
) -> list[ScheduleState]:
    return [event_schedules.reconcile(client, area, wanted) for area in areas]


def _words(states: Iterable[ScheduleState]) -> list[str]:
    """A line for each schedule of which there is something to say."""
    return [f"{state.area.name}: {state.words}" for state in states if state.words]


def _looked_at(
    client: SyncPrefectClient, entry: Entry, states: list[ScheduleState], now: datetime
) -> Followed:
    """Find where each area stands, begin the looks that are due, and write down what is waited for."""
    due = entry.next_look is None or now >= entry.next_look
    looks: dict[str, Look] = {}
    off = [state for state in states if not state.active]
    begun, problems = list[str](), _words(state for state in off if not state.by_person)
    for state in states:
        area = state.area.name
        try:
            look = looks[area] = looked(load_area(area), now, ask_asf=due)
            if due:
                save_account(look.account)
            if state.active and _wants_look(look, due) and _begin(client, area, look.account):
                begun.append(area)
        except SlidecubeError as error:
            log.error("%s: %s", area, error)
            problems.append(f"{area}: {error}")
    if due or entry.next_look is None:
        next_look = earliest_look([look.waiting for look in looks.values()])
    else:
        next_look = entry.next_look
    mapped = map_status({area: look.account for area, look in looks.items()})
    ended = len(looks) == len(states) > 0 and all(_ended(look) for look in looks.values())
    waiting = "; ".join(_by_area(look.account.waiting_for, area, len(looks)) for area, look in looks.items())
    notes = list[str]()
    offsets = {one.words: None for look in looks.values() for one in look.account.told_offsets}
    notes += [words for words in offsets if due]
    notes += lines_of_results(entry)
    if ended:
        lacking = [one.words for look in looks.values() for one in look.account.missing]
        notes.append(f"finished: {waiting}" + (f"; missing: {'; '.join(lacking)}" if lacking else ""))
        states = _reconciled(client, [state.area for state in states], "none")
    before = entry
    missing = {one.words: None for look in looks.values() for one in look.account.missing}
    entry = _changed(
        entry.name,
        now,
        notes,
        areas=tuple(state.area for state in states),
        state="finished" if ended else "mapped" if mapped else "waiting" if looks else entry.state,
        map_status=mapped or entry.map_status,
        waiting_for=waiting,
        next_look=None if ended else next_look,
        missing=tuple(missing) if due else entry.missing,
    )
    if entry.open and waiting and waiting != before.waiting_for:
        announce(entry, [look.account for look in looks.values()])
    return Followed(
        entry=entry,
        accounts=tuple(look.account for look in looks.values()),
        begun=tuple(begun),
        problems=tuple(problems),
        remarks=tuple(_words(state for state in off if state.by_person)),
    )


def lines_of_results(entry: Entry) -> list[str]:
    """What the history lacks of the event's cubes and maps."""
    known = [note.words for note in entry.history]
    renewed = [line for area in entry.areas for line in lines_of_renewed(area.name, known)]
    return [*renewed, *lines_of_maps(entry)]


def _wants_look(look: Look, due: bool) -> bool:
    """Whether the archives are to be looked at: for the stack before the event at once, then when it is time."""
    stack_lacks = look.account.cube_version is None and look.account.found > 0
    return stack_lacks or (due and not _ended(look))


def _ended(look: Look) -> bool:
    """Whether an area needs no further look: its time is over, or its cube has every pass that was waited for."""
    waiting = look.waiting
    return waiting.over or (waiting.complete and look.account.after >= len(waiting.came))


def _by_area(words: str, area: str, areas: int) -> str:
    return words if areas == 1 else f"{area}: {words}"


def _begin(client: SyncPrefectClient, area: str, account: PassAccount) -> bool:
    """Schedule a build of the area, which looks at the archives; False where one is under way."""
    if event_schedules.is_under_way(client, event_schedules.BUILD, "aoi", area, lambda: _is_built(area)):
        return False
    run_deployment(
        f"{event_schedules.BUILD}/{event_schedules.BUILD}",
        parameters=event_schedules.parameters_of(area),
        timeout=0,
        as_subflow=False,
    )
    log.info(
        "%s: %s", area, "the stack before the event" if account.cube_version is None else account.waiting_for
    )
    return True


def _is_built(area: str) -> bool:
    """Whether somebody holds the lock of the area's cube."""
    try:
        with writer_lock(load_area(area), wait=False):
            return False
    except BusyError:
        return True


def map_status(accounts: dict[str, PassAccount]) -> MapStatus | None:
    """The status of an event's map: that of the area that is least far, among those that have a map.

    It counts the passes after the event, as the status of a polygon does: one is first, two are provisional, as many
    as the detector asks for are confirmed.
    """
    counts = [account.after for area, account in accounts.items() if account.after and _is_mapped(area)]
    return chain.status_after(min(counts)) if counts else None


def _is_mapped(area: str) -> bool:
    """Whether the newest version of the area's cube has a map."""
    try:
        found = addresses.latest_version(area)
        return found is not None and chain.standing(chain.version_of(found.uri)).map is not None
    except SlidecubeError as error:
        log.warning("%s: %s", area, error)
        return False


def announce(entry: Entry, accounts: list[PassAccount]) -> None:
    """Emit the event that what is waited for has changed."""
    emit_event(
        event=announcements.EVENT_WAITING,
        resource={
            "prefect.resource.id": f"event.{entry.name}",
            "prefect.resource.name": entry.name,
            "event.state": entry.state,
            announcements.SAYS: announcements.says_of_waiting(entry),
        },
        payload={
            "waiting_for": entry.waiting_for,
            "next": [one.next.model_dump(mode="json") for one in accounts if one.next is not None],
            "missing": list(entry.missing),
            "next_look": entry.next_look.isoformat() if entry.next_look else None,
        },
    )


def _changed(name: str, now: datetime, notes: Iterable[str], **fields: object) -> Entry:
    """Write fields and lines of an entry, read anew under the lock: others may have changed it meanwhile.

    A person's dismissal, and a retraction, are not overwritten.
    """
    with ledger.locked():
        entry = ledger.read(name)
        if not entry.open:
            fields = {key: value for key, value in fields.items() if key not in ("state", "map_status")}
        changed = entry.model_copy(update=fields)
        for words in notes:
            if not _said(changed, words):
                changed = changed.noted(now, words)
        if changed != entry:
            ledger.save(changed)
        return changed


def _said(entry: Entry, words: str) -> bool:
    """Whether a line is the last that the history has of its kind: what stands in the way is said once."""
    return any(note.words == words for note in entry.history[-5:])


def in_order(names: Iterable[str], read: Callable[[str], Entry] = ledger.read) -> list[str]:
    """Names of events, those of priority first, then the newest; those that cannot be read last."""

    def rank(name: str) -> tuple[int, float]:
        try:
            entry = read(name)
        except SlidecubeError:
            return 2, 0.0
        return 0 if entry.tier == "priority" else 1, -entry.event.start.timestamp()

    return sorted(names, key=rank)
