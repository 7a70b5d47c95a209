"""Prefect's limits on concurrent work over all flow runs of a server, for archives and for machines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency

from flows.serving.server_errors import is_of_server
from pipeline.archives.registry import ARCHIVES, OTHER, archives_read
from pipeline.area import AreaOfInterest
from pipeline.errors import SettingsError

INTERFEROMETRY = "interferometry"

LIMITS = {archive.name: archive.slots for archive in (*ARCHIVES, OTHER)} | {INTERFEROMETRY: 1}
"""Layers read from an archive at once (within a layer the library's own limits hold); pairs processed at once, each of
which may take the memory of a whole machine."""


def archive_limits(area: AreaOfInterest) -> list[str]:
    """The limits of the archives that a build of the area reads."""
    return [archive.name for archive in archives_read(area)]


@contextmanager
def slot_of(*limits: str) -> Iterator[None]:
    """Hold a slot of each limit, waiting until each is free.

    A limit that does not exist would be no limit: it is refused by name. Prefect refuses one only where it is asked for
    alone, so each is taken by itself, and by name, so that two runs never wait for each other. Work that holds a slot
    continues while the server is away.

    Raises:
        SettingsError: one of the limits was not made.
        httpx.HTTPError: the server cannot be reached, or answers with an error.
    """
    with ExitStack() as slots:
        for limit in sorted(limits):
            try:
                slots.enter_context(concurrency(limit, strict=True, raise_on_lease_renewal_failure=False))
            except ConcurrencySlotAcquisitionError as error:
                if error.__cause__ is not None and is_of_server(error.__cause__):
                    raise error.__cause__ from None  # the limit may exist: nobody could be asked
                raise SettingsError(
                    f"The Prefect server has no limit {limit!r}: nothing would protect the archive or the machine.",
                    "Make it with `python -m flows.setup`.",
                ) from error
        yield
