"""Errors of Prefect's server, which may pass: they are no layer's own."""

from __future__ import annotations

import httpx
from prefect.exceptions import FailedRun, ObjectNotFound, PrefectException


def is_of_server(error: object) -> bool:
    """Whether an error comes from a Prefect server that cannot be reached, or that answers with an error.

    The archives' own requests raise `ArchiveError`.
    """
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= 500 or error.response.status_code in (408, 429)
    if isinstance(error, ObjectNotFound | FailedRun):
        return False
    return isinstance(error, httpx.TransportError | PrefectException)
