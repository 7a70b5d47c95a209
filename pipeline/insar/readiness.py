"""Whether this machine can process pairs: an installed processor, and a login for its inputs."""

from __future__ import annotations

from pipeline.archives.archive import SLC_GRANULES
from pipeline.archives.registry import serving
from pipeline.errors import InterferometryError
from pipeline.insar.backends import backend_named
from pipeline.insar.estimates import FetchMode
from pipeline.settings import settings


def obstacle(mode: FetchMode) -> str | None:
    """Why this machine cannot process pairs, with the remedy; None if no obstacle is known."""
    try:
        backend_named(settings().insar_backend).ready()
    except InterferometryError as error:
        return str(error)
    note = serving(SLC_GRANULES).login_note(mode)
    return None if note.ok else note.text
