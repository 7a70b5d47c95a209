"""What the archives hold at the instant that the clock shows: items and files of the served worlds."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.sandbox.earth.parameters import SandboxError
from pipeline.sandbox.posing.file_answers import locate, marked_item
from pipeline.sandbox.publication.sandbox_clock import SandboxClock
from pipeline.sandbox.publication.timetable import REVISIONS, Publication, Timetable, read_timetable
from pipeline.sandbox.slc.slc_index import read_index
from pipeline.sandbox.world import World

Item = dict[str, Any]


@dataclass(frozen=True)
class Shelved:
    """A file that is published; `since` is the instant of that, None where no timetable names it."""

    path: Path
    since: datetime | None = None


@dataclass
class _Holder:
    """One world with its timetable: products by id, and the product that each file belongs to."""

    world: World
    timetable: Timetable
    products: dict[str, Publication] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    added: tuple[Item, ...] = ()

    @classmethod
    def of(cls, world: World) -> _Holder:
        table = read_timetable(world.root) or Timetable()
        products = {one.id: one for one in table.products}
        added = tuple(item for name in table.added for item in _items_in(world.root / REVISIONS / name))
        holder = cls(world, table, products, {}, added)
        if products:
            holder.owners = {
                _address(asset.get("href", "")): item["id"]
                for item in (*world.items, *added)
                if item["id"] in products
                for asset in item.get("assets", {}).values()
            }
            index = read_index(world.root)
            holder.owners |= {_address(one.url): one.name for one in index.granules}
            for burst in index.bursts:
                holder.owners |= dict.fromkeys(map(_address, (burst.tiff_url, burst.xml_url)), burst.granule)
        return holder

    def find(self, host: str, path: str, now: datetime) -> Shelved | None:
        """The file as it is at `now`."""
        root = self.world.root
        product = self.products.get(self.owners.get(f"{host}/{path.strip('/')}", ""))
        if product is None:
            found = locate((root,), host, path)
            return None if found is None else Shelved(found)
        if product.published is None or product.published > now:
            return None
        states = [(product.published, (root, *(root / REVISIONS / name for name in self.timetable.added)))]
        states += [
            (change.at, (root / REVISIONS / change.folder,))
            for change in product.replaced
            if change.at <= now
        ]
        for since, roots in reversed(states):
            found = locate(roots, host, path)
            if found is not None:
                return Shelved(found, since)
        return None

    def items(self, now: datetime) -> Iterator[Item]:
        """The STAC items that are published at `now`, in the archive's order."""
        for item in (*self.world.items, *self.added):
            product = self.products.get(item["id"])
            if product is None:
                yield item
            elif product.published is not None and product.published <= now:
                yield self._current(item, product, now)

    def _current(self, item: Item, product: Publication, now: datetime) -> Item:
        for change in reversed(product.replaced):
            document = self.world.root / REVISIONS / change.folder / "items" / f"{product.id}.json"
            if change.at <= now and document.is_file():
                return _read(document)
        return item


class Shelf:
    """The worlds that are served, at the instant of the clock."""

    def __init__(self, worlds: list[World], clock: SandboxClock) -> None:
        self.clock = clock
        self.roots = tuple(world.root for world in worlds)
        self._holders = [_Holder.of(world) for world in worlds]
        self._instants = sorted(
            {instant for holder in self._holders for instant in holder.timetable.instants}
        )

    @property
    def state(self) -> int:
        """A number that changes when something is published or replaced."""
        return bisect_right(self._instants, self.clock.now())

    def find(self, host: str, path: str) -> Shelved | None:
        """The file of a host and a path in the first world that has published it."""
        now = self.clock.now()
        found = (holder.find(host, path, now) for holder in self._holders)
        return next((one for one in found if one is not None), None)

    def items(self) -> tuple[Item, ...]:
        """The STAC items that are published, marked where their world is simulated."""
        now = self.clock.now()
        return tuple(
            marked_item(item) if holder.world.simulated else item
            for holder in self._holders
            for item in holder.items(now)
        )

    def is_published(self, name: str) -> bool:
        """Whether a granule or an item is published; one that no timetable names is."""
        now = self.clock.now()
        products = [holder.products[name] for holder in self._holders if name in holder.products]
        return not products or any(one.published is not None and one.published <= now for one in products)


def _address(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname or ''}/{parts.path.strip('/')}"


def _items_in(folder: Path) -> list[Item]:
    return [_read(path) for path in sorted((folder / "items").glob("*.json"))]


def _read(path: Path) -> Item:
    try:
        found: Item = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SandboxError(f"{path} cannot be read ({error}).", "Write the timetable again.") from error
    return found
