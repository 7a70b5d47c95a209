"""Whether pairs can be made at all: a processor that runs, and a login for what it needs."""

from __future__ import annotations

from pipeline.archives.archive import SLC_GRANULES
from pipeline.archives.registry import serving
from pipeline.errors import InterferometryError
from pipeline.insar.backends import backend_named
from pipeline.insar.estimates import FetchMode
from pipeline.settings import settings


def obstacle(mode: FetchMode) -> str | None:
    """What keeps this machine from making pairs, with the way out; None where nothing is known to."""
    try:
        backend_named(settings().insar_backend).ready()
    except InterferometryError as error:
        return str(error)
    note = serving(SLC_GRANULES).login_note(mode)
    return None if note.ok else note.text
