"""Draws the timetable of a world: usual delays, and products that are late, missing, reprocessed or duplicated."""

from __future__ import annotations

import copy
import json
import shutil
import zlib
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import rasterio
from pydantic import Field, model_validator

from pipeline.catalogue.item_fields import instant_of
from pipeline.files import write_whole
from pipeline.records import Frozen
from pipeline.sandbox.earth.images import file_md5, stamp, write_cog
from pipeline.sandbox.earth.parameters import SandboxError
from pipeline.sandbox.earth.rtc_passes import REPROCESSED_GAIN
from pipeline.sandbox.publication.timetable import REVISIONS, TIMETABLE, Publication, Replacement, Timetable
from pipeline.sandbox.slc.slc_index import read_index
from pipeline.sandbox.world import World

Item = dict[str, Any]
Hours = tuple[float, float]
_SLICE_MINUTES = 12.0
"""Longest time from the publication of a slice to that of the next one of the same pass."""
_COEXISTING_DAYS = 10.0
"""From the first item of a slice to a second one of it that the world has."""
_DUPLICATE_HOURS = 2.0


class TimetablePlan(Frozen):
    """How the archives publish a world. Passes are named by their absolute orbit.

    RTC of the Planetary Computer usually appears 3 to 20 hours after the overflight, as long as nothing goes wrong
    (threads 372, 449, 472 and 489 of github.com/microsoft/PlanetaryComputer tell of days and of passes that never
    came). ASF usually lists an SLC within some hours (asf.alaska.edu, "Sentinel-1 data latency").
    """

    seed: int = Field(1, ge=0)
    rtc_hours: Hours = Field((3.0, 20.0), description="least and most from the end of a pass to its RTC")
    slc_hours: Hours = Field(
        (1.0, 4.0), description="least and most from the end of a granule to its listing"
    )
    late_days: dict[int, float] = Field(default_factory=dict, description="RTC that many days after the pass")
    missing: tuple[int, ...] = Field((), description="never published as RTC, though ASF lists them")
    reprocessed_days: dict[int, float] = Field(
        default_factory=dict,
        description="that many days after its publication a file has other bytes under the same item",
    )
    duplicated: tuple[int, ...] = Field(
        (), description="a second item of the pass, with another id, soon after"
    )

    @model_validator(mode="after")
    def _sound(self) -> TimetablePlan:
        for name, (least, most) in (("rtc_hours", self.rtc_hours), ("slc_hours", self.slc_hours)):
            if not 0 <= least <= most <= 24 * 3650:
                raise ValueError(f"{name} must be two numbers of hours, the least first")
        if any(not 0 < days <= 3650 for days in (*self.late_days.values(), *self.reprocessed_days.values())):
            raise ValueError("late_days and reprocessed_days must be days above 0")
        if set(self.missing) & {*self.late_days, *self.reprocessed_days, *self.duplicated}:
            raise ValueError("a pass that is missing cannot be late, reprocessed or duplicated")
        return self


def usual_troubles(world: World, seed: int = 1) -> TimetablePlan:
    """A plan in which, of the passes after the event, one is reprocessed, one late, one missing, one duplicated.

    In this order in time, as far as there are passes: the first is reprocessed 7 days after its publication, the
    second 4 days late.
    """
    after = [one["absolute_orbit"] for one in world.document.get("passes", ()) if one["after"]]
    return TimetablePlan(
        seed=seed,
        reprocessed_days=dict.fromkeys(after[:1], 7.0),
        late_days=dict.fromkeys(after[1:2], 4.0),
        missing=tuple(after[2:3]),
        duplicated=tuple(after[3:4]),
    )


def write_timetable(world: World, plan: TimetablePlan | None = None) -> Timetable:
    """Draw the timetable of a world and write it with what it needs into the world's folder; a former one goes.

    Raises:
        SandboxError: the plan names a pass of which the world has no RTC.
    """
    plan = plan or TimetablePlan()
    passes: dict[int, list[Item]] = defaultdict(list)
    for item in {item["id"]: item for item in world.items}.values():
        if item["collection"] == "sentinel-1-rtc":
            passes[item["properties"]["sat:absolute_orbit"]].append(item)
    named = {*plan.late_days, *plan.missing, *plan.reprocessed_days, *plan.duplicated}
    unknown = sorted(named - set(passes))
    if unknown:
        raise SandboxError(
            f"{world.root} has no RTC of orbit {unknown[0]}.", "world.json lists the orbits of its passes."
        )
    (world.root / TIMETABLE).unlink(missing_ok=True)
    shutil.rmtree(world.root / REVISIONS, ignore_errors=True)
    products: list[Publication] = []
    added: list[str] = []
    for orbit, items in sorted(passes.items()):
        drawn = _publications(orbit, items, plan)
        if orbit in plan.reprocessed_days:
            drawn = _reprocessed(world.root, orbit, items, drawn, plan.reprocessed_days[orbit])
        products.extend(drawn)
        if orbit in plan.duplicated:
            products.extend(_duplicated(world.root, orbit, items, drawn))
            added.append(f"duplicate-{orbit}")
    products.extend(_granules(world.root, plan))
    table = Timetable(products=tuple(products), added=tuple(added))
    text = table.model_dump_json(indent=1, exclude_defaults=True)
    write_whole(world.root / TIMETABLE, json.dumps({"format": table.format, **json.loads(text)}, indent=1))
    return table


def _publications(orbit: int, items: list[Item], plan: TimetablePlan) -> list[Publication]:
    """Of the slices of a pass, one after the other."""
    rng = np.random.default_rng([plan.seed, 31, orbit])
    delay_h = float(rng.uniform(*plan.rtc_hours))
    remark = ""
    if orbit in plan.late_days:
        delay_h, remark = plan.late_days[orbit] * 24.0, "late"
    items = sorted(items, key=_order)
    newest = max(_end(item) for item in items)
    found, numbers = [], set()
    for item in items:
        published = newest + timedelta(hours=delay_h)
        delay_h += float(rng.uniform(0.0, _SLICE_MINUTES)) / 60.0
        number = item["properties"].get("s1:slice_number")
        if number in numbers:
            published += timedelta(days=_COEXISTING_DAYS)
        numbers.add(number)
        missing = orbit in plan.missing
        found.append(
            Publication(
                id=item["id"],
                published=None if missing else published.replace(microsecond=0),
                remark="missing" if missing else remark,
            )
        )
    return found


def _order(item: Item) -> tuple[str, str]:
    properties = item["properties"]
    return str(properties.get("start_datetime", "")), str(properties.get("end_datetime", ""))


def _end(item: Item) -> datetime:
    properties = item["properties"]
    return instant_of(properties.get("end_datetime") or properties["datetime"])


def _reprocessed(
    root: Path, orbit: int, items: list[Item], drawn: list[Publication], days: float
) -> list[Publication]:
    """Write the files anew, brighter by `REPROCESSED_GAIN`, and their items.

    As in the archive the item keeps its id and its geometry; checksum, size and the source of the orbit follow the
    file. Recorded items have neither `created` nor `updated`, so these have none.
    """
    folder = f"reprocessed-{orbit}"
    by_id = {item["id"]: copy.deepcopy(item) for item in items}
    found = []
    for one in drawn:
        if one.published is None:  # never, by the plan's own check
            raise SandboxError(f"Orbit {orbit} is never published.", "It cannot be reprocessed.")
        at = one.published + timedelta(days=days)
        item = by_id[one.id]
        item["properties"]["s1:orbit_source"] = "POEORB"
        for asset in item["assets"].values():
            place = _place(asset["href"])
            path = root / REVISIONS / folder / "blobs" / place
            _brighter(root / "blobs" / place, path)
            stamp(path, at)
            asset |= {"file:size": path.stat().st_size, "file:checksum": file_md5(path)}
        _write_item(root, folder, item)
        change = Replacement(at=at, folder=folder)
        found.append(one.model_copy(update={"replaced": (change,), "remark": "reprocessed"}))
    return found


def _brighter(source: Path, target: Path) -> None:
    with rasterio.open(source) as file:
        values, transform, epsg, nodata = file.read(1), file.transform, file.crs.to_epsg(), file.nodata
    values = np.where(values == nodata, values, values * REPROCESSED_GAIN).astype(values.dtype)
    write_cog(target, values, transform, epsg, nodata)


def _duplicated(root: Path, orbit: int, items: list[Item], drawn: list[Publication]) -> list[Publication]:
    """Write a second item of each slice: the end two seconds later, so that the id differs; the files are the same."""
    folder = f"duplicate-{orbit}"
    by_id = {item["id"]: item for item in items}
    found = []
    for one in drawn:
        item = _second(by_id[one.id])
        for name, asset in item["assets"].items():
            target = root / REVISIONS / folder / "blobs" / _place(asset["href"])
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / "blobs" / _place(by_id[one.id]["assets"][name]["href"]), target)
        _write_item(root, folder, item)
        published = one.published and one.published + timedelta(hours=_DUPLICATE_HOURS)
        found.append(Publication(id=item["id"], published=published, remark="duplicate"))
    return found


def _second(item: Item) -> Item:
    """A copy under another id and other addresses."""
    end = _end(item) + timedelta(seconds=2)
    parts = item["id"].removesuffix("_rtc").split("_")
    parts[5] = f"{end:%Y%m%dT%H%M%S}"
    name = "_".join(parts)
    text = json.dumps(item).replace(item["id"], f"{name}_rtc")
    second: Item = json.loads(text)
    for asset in second["assets"].values():
        head, _, tail = asset["href"].partition("/measurement/")
        folder = f"{head.rpartition('/')[0]}/{name}_{zlib.crc32(name.encode()) & 0xFFFF:04X}"
        asset["href"] = f"{folder}/measurement/{tail}"
    second["properties"]["end_datetime"] = end.isoformat(sep=" ", timespec="microseconds")
    return second


def _granules(root: Path, plan: TimetablePlan) -> list[Publication]:
    """Of the SLC, each by itself."""
    found = []
    for granule in read_index(root).granules:
        rng = np.random.default_rng([plan.seed, 32, zlib.crc32(granule.name.encode())])
        listed = granule.end + timedelta(hours=float(rng.uniform(*plan.slc_hours)))
        found.append(Publication(id=granule.name, published=listed.replace(microsecond=0)))
    return found


def _place(href: str) -> str:
    """Path of a file below `blobs`."""
    parts = urlsplit(href)
    return f"{parts.hostname}/{parts.path.strip('/')}"


def _write_item(root: Path, folder: str, item: Item) -> None:
    path = root / REVISIONS / folder / "items" / f"{item['id']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(item, indent=1), encoding="utf-8")
