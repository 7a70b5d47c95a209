"""Single look complex data of worlds: the `slc/index.json` of each, and the files that it names."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import rasterio
from pydantic import Field, ValidationError
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

from pipeline.catalogue.slc import Burst, Granule
from pipeline.records import Frozen, Utc
from pipeline.sandbox.earth.parameters import SandboxError
from pipeline.sandbox.posing.file_answers import is_simulated, locate, marked_granule
from pipeline.sandbox.posing.umm import Item, burst_item, granule_item

INDEX = "slc/index.json"


class OrbitEntry(Frozen):
    """One orbit file."""

    file: str = Field(description="its name, or its path below the bucket or below `blobs`")
    platform: str = Field(description="such as 'sentinel-1a'")
    start: Utc = Field(description="valid from")
    end: Utc = Field(description="valid until")
    kind: Literal["precise", "restituted"]

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.file.rpartition("/")[2]

    @property
    def key(self) -> str:
        """Key of the file in the bucket."""
        return f"AUX_{'POEORB' if self.kind == 'precise' else 'RESORB'}/{self.name}"


class Index(Frozen):
    """The index of one world; a world without an index has no such data."""

    granules: tuple[Granule, ...] = ()
    bursts: tuple[Burst, ...] = ()
    orbits: tuple[OrbitEntry, ...] = ()


def read_index(root: Path) -> Index:
    """Read a world's index.

    Raises:
        SandboxError: the index is unreadable, or a burst belongs to none of its granules.
    """
    path = root / INDEX
    if not path.exists():
        return Index()
    try:
        index = Index.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise SandboxError(f"{path} cannot be read ({str(error)[:300]}).", "Make the world again.") from error
    names = {granule.name for granule in index.granules}
    orphan = next((burst.id for burst in index.bursts if burst.granule not in names), None)
    if orphan is not None:
        raise SandboxError(f"{path}: {orphan} belongs to no granule.", "Make the world again.")
    return index


@dataclass(frozen=True)
class Holdings:
    """The single look complex data of all served worlds."""

    items: tuple[Item, ...] = ()
    orbits: tuple[OrbitEntry, ...] = ()
    orbit_files: dict[str, Path] = field(default_factory=dict)  # by key
    burst_names: dict[str, str] = field(default_factory=dict)  # by path of the URL, without the suffix

    @classmethod
    def of(cls, roots: tuple[Path, ...]) -> Holdings:
        """Read the indices and check the files.

        Raises:
            SandboxError: an index is malformed or names an absent orbit file.
        """
        items: dict[str, Item] = {}
        orbits: dict[str, OrbitEntry] = {}
        orbit_files: dict[str, Path] = {}
        burst_names: dict[str, str] = {}
        for root in roots:
            index = read_index(root)
            granules = {granule.name: granule for granule in index.granules}
            made: list[Item] = [granule_item(_measured(granule, roots)) for granule in index.granules]
            made += [
                burst_item(burst, granules[burst.granule], _burst_size(burst, roots))
                for burst in index.bursts
            ]
            for item in map(marked_granule, made) if is_simulated(root) else made:
                items.setdefault(item["umm"]["GranuleUR"], item)
            for burst in index.bursts:
                burst_names[urlsplit(burst.tiff_url).path.removesuffix(".tiff")] = burst.id
            files = (
                {path.name: path for path in sorted((root / "blobs").rglob("S1*.EOF"))}
                if index.orbits
                else {}
            )
            for orbit in index.orbits:
                if orbit.name not in files:
                    raise SandboxError(f"{root} lacks the orbit file {orbit.name}.", "Make the world again.")
                orbits.setdefault(orbit.key, orbit)
                orbit_files.setdefault(orbit.key, files[orbit.name])
        return cls(tuple(items.values()), tuple(orbits.values()), orbit_files, burst_names)


def _measured(granule: Granule, roots: tuple[Path, ...]) -> Granule:
    """The granule, with the size of its file if the index does not state it."""
    if granule.size_bytes is not None:
        return granule
    parts = urlsplit(granule.url)
    path = locate(roots, parts.hostname or "", parts.path)
    return granule if path is None else granule.model_copy(update={"size_bytes": path.stat().st_size})


def _burst_size(burst: Burst, roots: tuple[Path, ...]) -> tuple[int, int] | None:
    """Lines and samples of the burst's TIFF; None if it is absent."""
    parts = urlsplit(burst.tiff_url)
    path = locate(roots, parts.hostname or "", parts.path)
    if path is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a burst is in radar geometry
        try:
            with rasterio.open(path) as source:
                return int(source.height), int(source.width)
        except RasterioIOError:
            return None
