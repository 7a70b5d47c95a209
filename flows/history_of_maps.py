"""Lines about maps for the history of an event: one for each map of its areas that the history does not name yet."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from flows import chain
from model.bundle.summaries import ReleaseRecord
from model.origin import read_made
from pipeline.errors import SlidecubeError, number_of
from pipeline.events.ledger import Entry
from pipeline.places import maps_root

log = logging.getLogger(__name__)


def lines_of_maps(entry: Entry) -> list[str]:
    """A line for each map of the event's areas that its history lacks, the oldest version first.

    A map that cannot be read gets none, and stops no other.
    """
    known = [note.words for note in entry.history]
    lines = []
    for area in entry.areas:
        found = sorted(_maps(maps_root() / area.name), key=lambda one: (one[1].cube_version or 0, one[2]))
        for folder, record, written in found:
            head = f"map {area.name}/{folder.name}: "
            if not any(words.startswith(head) for words in known):
                lines.append(f"{head}{words_of_map(record)}; written {written:%Y-%m-%d %H:%M} UTC")
    return lines


def words_of_map(record: ReleaseRecord) -> str:
    """Version, passes and status of a map, what is mapped, and its score where one is known."""
    version = "" if record.cube_version is None else f"version {record.cube_version}, "
    after = record.seen_after
    status = chain.status_after(after) if after else "before the event"
    area = "" if record.mapped_km2 is None else f", {record.mapped_km2:.3g} km²"
    polygons = "" if record.polygons is None else f" in {number_of(record.polygons, 'polygon')}"
    score = "no score: the cube has no labels"
    if record.auprc is not None:
        beside = "" if record.prevalence is None else f" at a prevalence of {record.prevalence:.3f}"
        score = f"average precision {record.auprc:.3f}{beside}"
    passes = number_of(after, "pass")
    return f"{version}{status}, {passes} after the event{area}{polygons}, by the {record.kind}; {score}"


def _maps(root: Path) -> Iterator[tuple[Path, ReleaseRecord, datetime]]:
    """The maps of an area with their records, and when each was written."""
    for folder in root.iterdir() if root.is_dir() else ():
        if folder.is_symlink() or not folder.is_dir() or folder.name.startswith("."):
            continue
        try:
            made = read_made(folder)
            if made is None or made.record is None:
                continue
            record = ReleaseRecord.model_validate(made.record)
            yield folder, record, datetime.fromtimestamp(folder.stat().st_mtime, UTC)
        except (SlidecubeError, ValidationError, OSError) as error:
            log.warning("%s: its record cannot be read (%s)", folder, type(error).__name__)
