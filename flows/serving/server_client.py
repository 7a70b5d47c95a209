"""The Prefect server of `PREFECT_API_URL`, with errors that say what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL

from pipeline.errors import SettingsError


@contextmanager
def server_client() -> Iterator[SyncPrefectClient]:
    """A client of the server.

    Raises:
        SettingsError: no server is named, or it does not respond, or refuses, or is no Prefect server.
    """
    if not (address := PREFECT_API_URL.value()):
        raise SettingsError(
            "PREFECT_API_URL is not set, so there is no server to set up.",
            "Start one (`prefect server start`) and `prefect config set PREFECT_API_URL=http://127.0.0.1:4200/api`.",
        )
    try:
        with get_client(sync_client=True) as client:
            yield client
    except httpx.HTTPStatusError as error:
        raise SettingsError(
            f"The server {address} answers with status {error.response.status_code}, not as Prefect's API does.",
            "Correct PREFECT_API_URL, which ends in /api; where the server asks for a key, set PREFECT_API_KEY or "
            "PREFECT_API_AUTH_STRING.",
        ) from error
    except (httpx.DecodingError, ValueError) as error:
        raise SettingsError(
            f"The server {address} answers, but not as Prefect's API does ({type(error).__name__}).",
            "Correct PREFECT_API_URL, which ends in /api.",
        ) from error
    except httpx.TransportError as error:
        raise SettingsError(
            f"The Prefect server {address} does not respond: {error}.",
            "Start it (`prefect server start`) or correct PREFECT_API_URL.",
        ) from error
