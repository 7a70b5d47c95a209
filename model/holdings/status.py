"""The state of everything below the data folder: events, areas, versions, maps, what failed, the disk.

A thing that is damaged is named among the problems, and the others are still told.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from model.bundle.markdown import one_line
from model.bundle.summaries import ReleaseRecord
from model.holdings.disk_use import own_folders, tree
from model.origin import changes, read_made
from model.reviews.review_store import read_reviews
from pipeline.cube.addresses import built_areas, store_of_area
from pipeline.cube.versions import current_version, read_manifest, version_numbers
from pipeline.errors import SlidecubeError
from pipeline.events import ledger
from pipeline.files import read_regular
from pipeline.places import cubes_root, maps_root
from pipeline.records import Frozen, Utc
from pipeline.settings import settings

KINDS = ("cubes", "insar", "models", "maps", "events")
"""folders of the data folder; all others count as `other`"""
MOST_REFUSAL_BYTES = 1 << 20


class EventStatus(Frozen):
    """One event of the ledger."""

    name: str
    state: str
    map_status: str | None = None
    tier: str
    paused: bool = False
    start: Utc
    magnitude: float | None = None
    place: str = Field("", description="text from outside")
    areas: tuple[str, ...] = ()
    next_pass: str = ""
    next_look: Utc | None = None
    missing: tuple[str, ...] = Field((), description="passes that were expected and the archive lacks")


class MapStatus(Frozen):
    """One map of an area."""

    name: str
    kind: str
    cube_version: int | None
    polygons: int | None
    mapped_km2: float | None
    review: str = Field(description="unreviewed, partly reviewed, reviewed")
    simulated: bool
    written: Utc
    newest: bool = Field(description="`latest` points at it")
    edited: bool = Field(False, description="it holds changes by hand that were not handed in")


class AreaStatus(Frozen):
    """What there is of one area."""

    name: str
    version: int | None = Field(None, description="the current one; None: no cube that was built here")
    versions: tuple[int, ...] = ()
    passes: int | None = None
    missing: tuple[str, ...] = Field((), description="what the current version lacks")
    bundles: tuple[str, ...] = ()
    maps: tuple[MapStatus, ...] = ()
    verdicts: int = Field(0, description="of persons, all that were ever given")
    refused: tuple[str, ...] = Field((), description="why a version got no bundle or no map")
    events: tuple[str, ...] = ()


class DiskUse(Frozen):
    """Bytes on the disk of one kind; what has several names counts once."""

    kind: str
    size_bytes: int


class Status(Frozen):
    """Everything below the data folder at one instant."""

    at: Utc
    data_dir: Path
    events: tuple[EventStatus, ...] = ()
    areas: tuple[AreaStatus, ...] = ()
    disk: tuple[DiskUse, ...] = ()
    free_bytes: int | None = None
    problems: tuple[str, ...] = Field((), description="what is damaged or cannot be read")


def status() -> Status:
    """The state of everything below the data folder; it changes nothing."""
    problems: list[str] = []
    data = settings().data_dir
    events = _events(problems)
    names = {each.name for root in ("cubes", "maps", "models") for each in own_folders(data / root)}
    if settings().data_store is not None:
        with _told(problems, "the cubes in the object store"):
            names |= set(built_areas())
    names = {name for name in names if not name.startswith(".")} | {
        area for one in events for area in one.areas
    }
    return Status(
        at=datetime.now(UTC),
        data_dir=data.absolute(),
        events=tuple(events),
        areas=tuple(_area(name, events, problems) for name in sorted(names)),
        disk=tuple(_disk(data, problems)),
        free_bytes=shutil.disk_usage(data).free if data.is_dir() else None,
        problems=tuple(problems),
    )


@contextmanager
def _told(problems: list[str], what: str) -> Iterator[None]:
    """Name what is damaged instead of ending."""
    try:
        yield
    except SlidecubeError as error:
        problems.append(one_line(f"{what}: {error}"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        problems.append(one_line(f"{what}: it cannot be read ({type(error).__name__})"))


def _events(problems: list[str]) -> list[EventStatus]:
    found = []
    names: list[str] = []
    with _told(problems, "the ledger of events"):
        names = ledger.names()
    for name in names:
        with _told(problems, f"event {name}"):
            entry = ledger.read(name)
            event = entry.event
            found.append(
                EventStatus(
                    name=name,
                    state=entry.state,
                    map_status=entry.map_status,
                    tier=entry.tier,
                    paused=entry.paused,
                    start=event.start,
                    magnitude=event.magnitude,
                    place=one_line(event.place),
                    areas=tuple(one.name for one in entry.areas),
                    next_pass=one_line(entry.waiting_for),
                    next_look=entry.next_look,
                    missing=tuple(one_line(words) for words in entry.missing),
                )
            )
    return sorted(found, key=lambda one: one.start, reverse=True)


def _area(name: str, events: list[EventStatus], problems: list[str]) -> AreaStatus:
    found: dict[str, Any] = {"name": name, "events": tuple(one.name for one in events if name in one.areas)}
    root = cubes_root() / name
    if settings().data_store is not None or (root.is_dir() and not root.is_symlink()):
        with _told(problems, f"cube {name}"):
            store = store_of_area(name)
            found["versions"] = tuple(version_numbers(store))
            found["version"] = current_version(store)
            if found["version"] is not None:
                manifest = read_manifest(store, found["version"])
                found["passes"], found["missing"] = len(manifest.timesteps), manifest.missing
    models = settings().data_dir / "models" / name
    found["bundles"] = tuple(each.name for each in own_folders(models) if not each.name.startswith("."))
    found["refused"] = tuple(_refusals(models, problems))
    found["maps"] = tuple(_maps(maps_root() / name, problems))
    with _told(problems, f"verdicts on {name}"):
        found["verdicts"] = len(read_reviews(name).verdicts)
    return AreaStatus.model_validate(found)


def _refusals(models: Path, problems: list[str]) -> Iterator[str]:
    """Why versions got no bundle or no map, one line each."""
    for file in sorted(models.glob("*.refused.json")) if models.is_dir() and not models.is_symlink() else ():
        with _told(problems, str(file)):
            document = json.loads(read_regular(file, MOST_REFUSAL_BYTES))
            for what, why in document.items():
                yield one_line(f"{file.name.partition('.')[0]}, {what}: {why}")


def _maps(root: Path, problems: list[str]) -> list[MapStatus]:
    found = []
    newest = (root / "latest").resolve() if (root / "latest").is_symlink() else None
    for folder in own_folders(root):
        if folder.name.startswith("."):
            continue
        with _told(problems, f"map {root.name}/{folder.name}"):
            made = read_made(folder)
            if made is None or made.record is None:
                raise ValueError("no record")
            try:
                record = ReleaseRecord.model_validate(made.record)
            except ValidationError as error:
                raise ValueError("no record") from error
            found.append(
                MapStatus(
                    name=folder.name,
                    kind=record.kind,
                    cube_version=record.cube_version,
                    polygons=record.polygons,
                    mapped_km2=record.mapped_km2,
                    review=record.review_state,
                    simulated=record.simulated,
                    written=datetime.fromtimestamp(folder.stat().st_mtime, UTC),
                    newest=newest is not None and folder.resolve() == newest,
                    edited=bool(made.files) and bool(changes(folder, made)),
                )
            )
    return sorted(found, key=lambda one: (one.cube_version or 0, one.written))


def _disk(data: Path, problems: list[str]) -> list[DiskUse]:
    found, other = [], []
    for path in sorted(data.iterdir()) if data.is_dir() else ():
        if path.name in KINDS:
            below = tree(path)
            found.append(DiskUse(kind=path.name, size_bytes=below.size_bytes))
            problems += [f"{one}: of another file system, not counted" for one in below.elsewhere]
            problems += [f"{one}: it cannot be read" for one in below.unread]
        else:
            other.append(path)
    if other:
        found.append(DiskUse(kind="other", size_bytes=tree(*other).size_bytes))
    return found
