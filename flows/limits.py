"""Prefect's limits on how much is asked of an archive at once, over all flow runs of a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency

from pipeline.errors import SettingsError

PLANETARY_COMPUTER = "planetary-computer"

ARCHIVE_LIMITS = {PLANETARY_COMPUTER: 6}
"""By archive: layers read from it at once. Within a layer the library's own limits hold."""


@contextmanager
def place_at(archive: str) -> Iterator[None]:
    """Hold one of the archive's places; waits for one.

    A limit that does not exist would be no limit: it is refused. A server that is gone for a while does not end the
    work that holds a place.

    Raises:
        SettingsError: nobody made the limit.
    """
    try:
        with concurrency(archive, strict=True, raise_on_lease_renewal_failure=False):
            yield
    except ConcurrencySlotAcquisitionError as error:
        raise SettingsError(
            f"The Prefect server has no limit {archive!r}, so that nothing would protect the archive.",
            "Make it with `python -m flows.setup`.",
        ) from error
