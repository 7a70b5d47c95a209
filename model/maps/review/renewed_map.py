"""A map's folder written again with what persons said since: whole or not at all, without its cube."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from model.bundle.summaries import ReleaseRecord
from model.maps.map_rasters import disk_named
from model.maps.map_report import REPORT, rewrite_report
from model.origin import EDITABLE, ORIGIN, Made, changes, describe, read_made
from model.releases.event_facts import awaited, event_facts
from model.releases.kept_map import MAPPED, PICTURES, RELEASE, kept_map
from model.releases.polygon_attributes import reviewed
from model.releases.release_products import POLYGONS, write_products
from model.reviews.verdict import Reviews
from pipeline.errors import ModelError, ReplaceError
from pipeline.files import put_folder, read_regular, scratch_name, writing
from pipeline.object_storage.result_copies import keep

MOST_REPORT_BYTES = 64 * 2**20
KEPT_FILES = {MAPPED, RELEASE, *PICTURES.values(), "quicklook.png"}
"""files that a review does not change, beside the rasters"""


def record_in(folder: Path) -> tuple[Made, ReleaseRecord]:
    """What made a map, and its record, paths below the folder.

    Raises:
        ModelError: it is no map of this release.
    """
    made = read_made(folder)
    if made is None or made.origin.kind != "map" or made.files is None:
        raise ModelError(
            f"{folder} is no map of slidecube.", "Give the folder of a map, or the name of its area."
        )
    try:
        record = ReleaseRecord.model_validate(made.record)
    except ValueError as error:
        raise ModelError(
            f"{folder / ORIGIN} holds no record of a map.", "Map again with --replace; verdicts are kept."
        ) from error
    paths = {name: folder / value for name, value in record if isinstance(value, Path)}
    return made, record.model_copy(update=paths)


def unsaved(folder: Path, made: Made, handed_in: Path | None) -> list[str]:
    """Changes by hand that a renewal would lose, one line each; those in the file that is handed in are not lost.

    A file beside a GeoPackage holds what an editor has not written back to it yet.
    """
    own = handed_in is not None and handed_in.resolve() == (folder / POLYGONS).resolve()
    waiting = folder / f"{POLYGONS}-wal"
    if waiting.is_file() and waiting.stat().st_size > 0:
        return [f"{POLYGONS} is open in another program"]
    edited = [
        line
        for line in changes(folder, made)
        if line.split(" ", 1)[0] in EDITABLE and "was added" not in line
    ]
    return [] if own else edited


def renew(target: Path, reviews: Reviews, handed_in: Path | None = None) -> ReleaseRecord:
    """Write a map's folder again with these verdicts. What a person added to it stays.

    Args:
        handed_in: the file whose changes are among the verdicts.

    Raises:
        ModelError: the folder is no map, or lacks what is kept for this.
        ReplaceError: it holds changes by hand that would be lost.
        DiskError: it cannot be written; it stays as it was.
    """
    target = target.resolve()
    with scratch_name(target) as scratch, writing(target, alone=False):
        made, record = record_in(target)
        if lost := unsaved(target, made, handed_in):
            raise ReplaceError(
                f"{target} holds a person's work that is not handed in: {'; '.join(lost)}.",
                f"Close it there, and hand it in with `slidecube review MAP --from {target / POLYGONS}`.",
            )
        kept = kept_map(target, record)
        event = event_facts(record.area, kept.event.model_dump_json(exclude_defaults=True))
        finished = reviewed(replace(kept, event=event, awaited=awaited(kept.facts)), reviews)
        folder = scratch / target.name
        folder.mkdir(parents=True)
        _carry(target, folder, set(made.files or ()))
        try:
            document = json.loads(read_regular(target / REPORT, MOST_REPORT_BYTES))
            rewrite_report(document, folder, finished.record, finished.warning)
        except (KeyError, ValueError, TypeError) as error:
            raise ModelError(f"{target / REPORT} cannot be used.", "Map again with --replace.") from error
        with disk_named(folder / POLYGONS):
            write_products(replace(finished, folder=folder))
        describe(folder, made.origin, _relative(finished.record, target))
        put_folder(folder, target, replace=True)
    keep(target)
    return finished.record


def _carry(source: Path, folder: Path, made_files: set[str]) -> None:
    """Link what a review does not change, and everything that slidecube did not make, into the new folder."""
    aside = {f"{POLYGONS}{end}" for end in ("-wal", "-shm", "-journal")}
    for path in source.iterdir():
        name = path.name
        if name in aside or (name in made_files and path.suffix != ".tif" and name not in KEPT_FILES):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, folder / name, symlinks=True)
        else:
            _link(path, folder / name)


def _link(source: Path, target: Path) -> None:
    """A hard link; a copy where the file system has none."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def _relative(record: ReleaseRecord, folder: Path) -> dict[str, Any]:
    paths = {name: value.relative_to(folder) for name, value in record if isinstance(value, Path)}
    plain: dict[str, Any] = record.model_copy(update=paths).model_dump(mode="json")
    return plain
