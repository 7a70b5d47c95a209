"""The pointer `latest` beside the maps of an area: the map that was written last."""

from __future__ import annotations

import logging
import uuid
from pathlib import Path

from pipeline.files import sync_path, writing
from pipeline.object_storage.result_copies import keep_latest

log = logging.getLogger(__name__)


def point_at(folder: Path, pointer: Path) -> bool:
    """Make `pointer` a relative link to the map's folder, in one step that no reader sees half done.

    Returns:
        False where something else than a link is at `pointer`, which is left as it is.

    Raises:
        DiskError: the link cannot be written.
    """
    if pointer.exists() and not pointer.is_symlink():
        log.warning("%s is no link: it is left as it is, and does not point at the newest map", pointer)
        return False
    partial = pointer.with_name(f".{pointer.name}.{uuid.uuid4().hex}.part")
    with writing(pointer):
        try:
            partial.symlink_to(folder.name)
            partial.replace(pointer)
            sync_path(pointer.parent)
        finally:
            partial.unlink(missing_ok=True)
    keep_latest(folder, pointer)
    return True
