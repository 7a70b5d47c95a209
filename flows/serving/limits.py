"""Prefect's limits on what is in work at once, over all flow runs of a server: for archives and for machines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency

from pipeline.errors import SettingsError

PLANETARY_COMPUTER = "planetary-computer"
INTERFEROMETRY = "interferometry"

LIMITS = {PLANETARY_COMPUTER: 6, INTERFEROMETRY: 1}
"""Layers read from an archive at once (within a layer the library's own limits hold); pairs processed at once, each of
which may take the memory of a whole machine."""


@contextmanager
def place_at(limit: str) -> Iterator[None]:
    """Hold one of the limit's places; waits for one.

    A limit that does not exist would be no limit: it is refused. A server that is gone for a while does not end the
    work that holds a place.

    Raises:
        SettingsError: nobody made the limit.
    """
    try:
        with concurrency(limit, strict=True, raise_on_lease_renewal_failure=False):
            yield
    except ConcurrencySlotAcquisitionError as error:
        raise SettingsError(
            f"The Prefect server has no limit {limit!r}, so that nothing would protect the archive or the machine.",
            "Make it with `python -m flows.setup`.",
        ) from error
