"""What ASF has of worlds: the `slc/index.json` and `opera/index.json` of each, and the files that they name."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

from pipeline.catalogue.slc import Burst, Granule
from pipeline.sandbox.earth.parameters import SandboxError
from pipeline.sandbox.opera.opera_index import read_opera_index
from pipeline.sandbox.posing.asf.opera_umm import opera_item
from pipeline.sandbox.posing.asf.umm import Item, burst_item, granule_item
from pipeline.sandbox.posing.file_answers import is_simulated, locate, marked_granule
from pipeline.sandbox.slc.slc_index import OrbitEntry, read_index


@dataclass(frozen=True)
class Holdings:
    """The single look complex data of all served worlds, and their bursts of OPERA RTC-S1."""

    items: tuple[Item, ...] = ()
    orbits: tuple[OrbitEntry, ...] = ()
    orbit_files: dict[str, Path] = field(default_factory=dict)  # by key
    burst_names: dict[str, str] = field(default_factory=dict)  # by path of the URL, without the suffix
    granules: dict[str, str] = field(default_factory=dict)
    """name of the granule that an item, by its GranuleUR, is or is cut from"""

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
        owners: dict[str, str] = {}
        for root in roots:
            index = read_index(root)
            granules = {granule.name: granule for granule in index.granules}
            made: list[Item] = [granule_item(_measured(granule, roots)) for granule in index.granules]
            made += [
                burst_item(burst, granules[burst.granule], _burst_size(burst, roots))
                for burst in index.bursts
            ]
            names = [one.name for one in index.granules] + [burst.granule for burst in index.bursts]
            opera = read_opera_index(root)
            made += [opera_item(burst) for burst in opera]
            names += [burst.name for burst in opera]
            for item, name in zip(made, names, strict=True):
                marked = marked_granule(item) if is_simulated(root) else item
                items.setdefault(item["umm"]["GranuleUR"], marked)
                owners.setdefault(item["umm"]["GranuleUR"], name)
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
        return cls(tuple(items.values()), tuple(orbits.values()), orbit_files, burst_names, owners)


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
