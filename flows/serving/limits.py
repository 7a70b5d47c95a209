"""Prefect's limits on concurrent work over all flow runs of a server, for archives and for machines."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.concurrency.asyncio import (
    AcquireConcurrencySlotTimeoutError,
    ConcurrencySlotAcquisitionError,
)
from prefect.concurrency.sync import concurrency
from prefect.exceptions import MissingContextError, ObjectNotFound

from pipeline.archives.registry import ARCHIVES, OTHER, archives_read
from pipeline.areas.area import AreaOfInterest
from pipeline.errors import BusyError, SettingsError, number_of

INTERFEROMETRY = "interferometry"

LIMITS = {archive.name: archive.slots for archive in (*ARCHIVES, OTHER)} | {INTERFEROMETRY: 1}
"""Layers read from an archive at once (within a layer the library's own limits hold); pairs processed at once, each of
which may take the memory of a whole machine."""

LEASE_VARIABLE = "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"
LEASE_STORAGE = "prefect.server.concurrency.lease_storage.filesystem"
"""Where a server keeps who holds a slot, in PREFECT_HOME: it survives a restart, and slots whose holder ended are freed
when their lease expires. Prefect's default is the server's memory."""
REPORT_S = 600.0
"""how often a wait is logged"""
PAUSE_S = (1.0, 5.0)
"""least and longest pause between two requests for a slot"""
GRANT_S = 60.0
"""longest wait for a slot that was free a moment ago"""
BUSY_STATES = (StateType.RUNNING, StateType.CANCELLING)


def archive_limits(area: AreaOfInterest) -> list[str]:
    """The limits of the archives that a build of the area reads."""
    return [archive.name for archive in archives_read(area)]


def longest_wait_s(limit: str) -> float:
    """Longest wait for a slot, seconds: layers take minutes, pairs hours, and a queue of them days."""
    return (7 * 24 if limit == INTERFEROMETRY else 6) * 3600.0


@contextmanager
def slot_of(*limits: str) -> Iterator[None]:
    """Hold a slot of each limit, waiting until each is free.

    A limit that does not exist would be no limit: it is refused by name. Prefect refuses one only where it is asked for
    alone, so each is taken by itself, and by name, so that two runs never wait for each other. Work that holds a slot
    continues while the server is away. A wait is logged when it begins and every `REPORT_S` seconds.

    Raises:
        SettingsError: one of the limits was not made.
        BusyError: no slot came free within `longest_wait_s`, or the server was away for so long.
    """
    with ExitStack() as slots:
        for limit in sorted(limits):
            _take(slots, limit)
        yield


def _take(slots: ExitStack, limit: str) -> None:
    began = time.monotonic()
    reported_s = -REPORT_S
    while (obstacle := _try(slots, limit)) is not None:
        waited_s = time.monotonic() - began
        if waited_s >= longest_wait_s(limit):
            raise BusyError(
                f"No slot of the Prefect limit {limit!r} for {waited_s / 3600:.3g} hours: {obstacle}.",
                "Look at the runs that hold them. While no run is running, `python -m flows.setup` frees all slots.",
            )
        if waited_s - reported_s >= REPORT_S:
            reported_s = waited_s
            _log().warning("waiting for a slot of the limit %s: %s", limit, obstacle)
        time.sleep(random.uniform(*PAUSE_S))


def _try(slots: ExitStack, limit: str) -> str | None:
    """Take a slot if there is one; else why not, where another try may help.

    Prefect's own wait is silent, so it is asked for a slot only where one is free.

    Raises:
        SettingsError: the limit does not exist.
        ConcurrencySlotAcquisitionError, httpx.HTTPStatusError: the server refused for another reason.
    """
    try:
        with get_client(sync_client=True) as client:
            found = client.read_global_concurrency_limit_by_name(limit)
        if found.active and found.active_slots >= found.limit:
            return f"{found.active_slots} of {found.limit} are in use"
        slots.enter_context(
            concurrency(limit, strict=True, timeout_seconds=GRANT_S, raise_on_lease_renewal_failure=False)
        )
    except ObjectNotFound as error:
        raise SettingsError(
            f"The Prefect server has no limit {limit!r}: nothing would protect the archive or the machine.",
            "Make it with `python -m flows.setup`.",
        ) from error
    except AcquireConcurrencySlotTimeoutError:
        return "other runs were faster"
    except (ConcurrencySlotAcquisitionError, httpx.HTTPError) as error:
        cause = error.__cause__ if isinstance(error, ConcurrencySlotAcquisitionError) else error
        if isinstance(cause, httpx.TransportError):
            return f"the Prefect server does not respond ({type(cause).__name__})"
        if isinstance(cause, httpx.HTTPStatusError) and cause.response.is_server_error:
            return f"the Prefect server answers with status {cause.response.status_code}"
        raise
    return None


def _log() -> logging.Logger | logging.LoggerAdapter[logging.Logger]:
    """The log of the run, which Prefect's pages show; outside a run that of this module."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger(__name__)


def free_slots(client: SyncPrefectClient) -> list[str]:
    """Free the slots that nobody holds: all of them while no flow run is running; returns a line for each limit.

    A server with its leases in memory (Prefect's default) forgets them at a restart, and then never frees their slots.
    While runs are running, their slots cannot be distinguished from forgotten ones.
    """
    active = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[*BUSY_STATES])))
    running = len(client.read_flow_runs(flow_run_filter=active, limit=200))
    lines = []
    for name in LIMITS:
        found = client.read_global_concurrency_limit_by_name(name)
        if not found.active_slots:
            continue
        if running:
            used = f"{found.active_slots} of {found.limit} slots in use"
            lines.append(f"limit {name}: {used}, {number_of(running, 'run')} running")
            continue
        client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(active_slots=0))
        lines.append(f"limit {name}: {number_of(found.active_slots, 'slot')} that no run holds, freed")
    return lines


def lease_warning(client: SyncPrefectClient) -> str | None:
    """A line for a server that forgets at a restart who holds a slot; None for one that does not, or does not say."""
    with suppress(httpx.HTTPError, KeyError, TypeError, ValueError):
        storage = client.request("GET", "/admin/settings").json()["server"]["concurrency"]["lease_storage"]
        if storage == "prefect.server.concurrency.lease_storage.memory":
            return f"WARNING: this server leaks slots at a restart; start it with {LEASE_VARIABLE}={LEASE_STORAGE}"
    return None
