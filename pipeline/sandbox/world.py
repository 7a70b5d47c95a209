"""A world on disk: items, blobs and their description. It is made once and can be served repeatedly."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import yaml
from pydantic import ValidationError
from shapely.geometry import box

from pipeline.areas.area import AreaOfInterest
from pipeline.files import write_whole
from pipeline.places import WORLD_FORMAT
from pipeline.progress import Progress, no_progress
from pipeline.sandbox.earth.dem_files import Bounds, make_tiles
from pipeline.sandbox.earth.images import write_cog
from pipeline.sandbox.earth.inventory import (
    inventory_targets,
    map_slides,
    simulated_inventory,
    write_extent,
    write_inventory,
)
from pipeline.sandbox.earth.parameters import SandboxError, WorldParameters
from pipeline.sandbox.earth.rtc_passes import write_pass
from pipeline.sandbox.earth.scene import Scene, make_scene
from pipeline.sandbox.earth.stac_items import dem_item
from pipeline.sandbox.listed_granules import listed_granules
from pipeline.sandbox.opera.opera_files import bursts_alone, write_opera
from pipeline.sandbox.opera.opera_index import write_opera_index
from pipeline.sandbox.slc.frame import Survey, survey_of
from pipeline.sandbox.slc.lattice_ground import footprint_deg
from pipeline.sandbox.slc.slc_world import write_index, write_orbits, write_slc

FORMAT = WORLD_FORMAT
_DEM_BEYOND_DEG = 0.06
"""Margin of the elevation around the bursts, since processors need one."""


@dataclass(frozen=True)
class World:
    """A finished world: `document` is world.json, `items` are the items of searches in the archive's order.

    An item may be in `items` twice, as in the archive's pages.
    """

    root: Path
    document: dict[str, Any]
    items: tuple[dict[str, Any], ...]

    @classmethod
    def open(cls, root: Path) -> World:
        """Read a finished world.

        Raises:
            SandboxError: the folder has no finished world.
        """
        try:
            document = json.loads((root / "world.json").read_text(encoding="utf-8"))
            if document["format"] != FORMAT:
                raise ValueError(f"format {document['format']!r}")
            items = {
                name: json.loads((root / "items" / f"{name}.json").read_text(encoding="utf-8"))
                for name in document["order"]
            }
        except (OSError, ValueError, KeyError) as error:
            raise SandboxError(
                f"{root} has no finished world ({error}).", "Make one with `slidecube sandbox make`."
            ) from error
        return cls(root, document, tuple(items[name] for name in document["order"]))

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every host of a file of this world or of an item's asset."""
        stored = {folder.name for folder in (self.root / "blobs").iterdir() if folder.is_dir()}
        hrefs = (asset.get("href", "") for item in self.items for asset in item.get("assets", {}).values())
        named = {urlsplit(href).hostname or "" for href in hrefs}
        return tuple(sorted(stored | {host for host in named if host.endswith(".blob.core.windows.net")}))

    @property
    def simulated(self) -> bool:
        """Whether its files are simulated; those of a world of real files are not."""
        return bool(self.document.get("simulated", True))

    @property
    def digest(self) -> str:
        """Digest of every item and file."""
        return str(self.document["digest"])

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on differences from the real archives."""
        return tuple(self.document["notes"])


def make_world(
    area: AreaOfInterest,
    root: Path,
    parameters: WorldParameters | None = None,
    progress: Progress = no_progress,
    workers: int = 2,
) -> World:
    """Simulate the event of an area and write the files and items of the archives; a finished world is reused.

    A folder without `world.json` is an unfinished attempt and is made again.

    Raises:
        SandboxError: the folder has another world or other files.
    """
    parameters = parameters or WorldParameters()
    wanted = {
        "area": area.model_dump(mode="json"),
        "parameters": _as_written(parameters),
        "format": FORMAT,
    }
    existing = _finished(root)
    if existing is not None:
        if _stated(existing, wanted) == wanted:
            return existing
        raise SandboxError(
            f"{root} has a world of another area, seed or parameters.",
            "Give another folder or delete this one.",
        )
    clear(root)
    scene = make_scene(area, parameters)
    survey = survey_of(scene)
    slc_steps = len(survey.flights) * (len(survey.frame.starts_s) + 1) if survey else 0
    steps = _Steps(len(scene.flights) + slc_steps + 2, progress)
    items = _write_passes(scene, root, workers, steps)
    slc_notes = _write_slc(scene, survey, root, workers, steps)
    if parameters.opera is not None:
        write_opera_index(root, write_opera(scene, parameters.opera, root))
    items.extend(_write_dem(scene, root, footprint_deg(survey, _DEM_BEYOND_DEG) if survey else None))
    steps.done("elevation")
    notes = _write_labels(scene, root) + slc_notes
    if scene.grid.resolution_m != area.resolution_m:
        notes.append(
            f"pixels of {scene.grid.resolution_m:g} m instead of {area.resolution_m:g} m, to keep the world small"
        )
    _write_area(scene, root)
    finish(root, wanted | _facts(scene, notes), items, _order(items, parameters))
    steps.done("inventory")
    return World.open(root)


def _stated(world: World, wanted: dict[str, Any]) -> dict[str, Any]:
    """Those fields of a world's document, with the area as this release writes it."""
    found = {key: world.document.get(key) for key in wanted}
    with contextlib.suppress(ValidationError):  # it differs from any area
        found["area"] = AreaOfInterest.model_validate(found["area"]).model_dump(mode="json")
    return found


class _Steps:
    """Counts the finished steps of a world; thread-safe."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._total, self._progress, self._count = total, progress, itertools.count(1)

    def done(self, what: str) -> None:
        self._progress(what, next(self._count), self._total)


def _write_passes(scene: Scene, root: Path, workers: int, steps: _Steps) -> list[dict[str, Any]]:
    """The radar scenes of every pass; returns their items."""
    items: list[dict[str, Any]] = []
    flights = [flight for flight in scene.flights if flight not in bursts_alone(scene)]
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        jobs = [pool.submit(write_pass, scene, flight, root) for flight in flights]
        for flight, job in zip(flights, jobs, strict=True):
            items.extend(job.result())
            steps.done(f"pass of {flight.instant:%Y-%m-%d %H:%M}")
    return items


def _write_slc(scene: Scene, survey: Survey | None, root: Path, workers: int, steps: _Steps) -> list[str]:
    """Write the single look complex products, or only the orbit files; returns the notes."""
    if survey is not None:
        return write_slc(scene, survey, root, steps.done, workers)
    granules = listed_granules(scene) if scene.parameters.list_granules else []
    write_index(root, granules, orbits=write_orbits(scene, None, root))
    return []


def _facts(scene: Scene, notes: list[str]) -> dict[str, Any]:
    """The description of the scene in `world.json`."""
    return {
        "simulated": True,
        "resolution_m": scene.grid.resolution_m,
        "area_grid": scene.area_grid.model_dump(),
        "scene_grid": scene.grid.model_dump(),
        "landslides": len(scene.slides.new),
        "passes": [
            {
                "instant": flight.instant.isoformat(),
                "absolute_orbit": flight.absolute_orbit,
                "relative_orbit": flight.track.relative_orbit,
                "direction": flight.track.direction,
                "after": flight.slid,
                "slices": len(flight.slices),
            }
            for flight in scene.flights
        ],
        "notes": notes,
    }


def _as_written(parameters: WorldParameters) -> dict[str, Any]:
    """The parameters without newer ones at their defaults, so that older worlds stay valid."""
    usual = WorldParameters()
    later = {name for name in ("slc", "landscape") if getattr(parameters, name) == getattr(usual, name)}
    return parameters.model_dump(mode="json", exclude=later or None)


def _finished(root: Path) -> World | None:
    return World.open(root) if (root / "world.json").exists() else None


PARTS = (
    "items",
    "blobs",
    "truth",
    "aoi",
    "slc",
    "opera",
    "zenodo",
    "revisions",
    "timetable.json",
    "events.json",
)
"""folders and documents of a world, beside `world.json`"""
UNFINISHED = ".slidecube-world-unfinished"
"""a file that marks a folder in which a world is being made"""


def clear(root: Path) -> None:
    """Make `root` an empty folder for a world; files of an unfinished attempt are removed.

    An attempt is known by its mark, so that nothing is removed that no attempt made. A symbolic link in the folder is
    removed, and not what it leads to.

    Raises:
        SandboxError: it is no folder, or has files that no unfinished attempt made.
    """
    if root.exists() and not root.is_dir():
        raise SandboxError(f"{root} is no folder.", "Give an empty folder.")
    there = {path.name for path in root.iterdir()} if root.exists() else set()
    others = sorted(there - {*PARTS, UNFINISHED} if UNFINISHED in there else there)
    if others:
        raise SandboxError(f"{root} has other files ({', '.join(others[:3])}).", "Give an empty folder.")
    root.mkdir(parents=True, exist_ok=True)
    (root / UNFINISHED).touch()
    for name in PARTS:
        if (root / name).is_symlink() or (root / name).is_file():
            (root / name).unlink()
        shutil.rmtree(root / name, ignore_errors=True)
    for name in ("items", "blobs"):
        (root / name).mkdir(parents=True)


def finish(root: Path, document: dict[str, Any], items: list[dict[str, Any]], order: list[str]) -> None:
    """Write the items, then `world.json`, which marks the world as finished."""
    for item in items:
        text = json.dumps(item, indent=1)
        (root / "items" / f"{item['id']}.json").write_text(text, encoding="utf-8")
    digest = hashlib.sha256()
    for path in sorted([*(root / "items").rglob("*"), *(root / "blobs").rglob("*")]):
        if path.is_file():
            with path.open("rb") as file:
                digest.update(path.relative_to(root).as_posix().encode())
                digest.update(hashlib.file_digest(file, "sha256").digest())
    text = json.dumps(document | {"order": order, "digest": digest.hexdigest()}, indent=1)
    write_whole(root / "world.json", text)
    (root / UNFINISHED).unlink(missing_ok=True)


def _order(items: list[dict[str, Any]], parameters: WorldParameters) -> list[str]:
    """Names in an order unrelated to time; one of them is first and again last."""
    rng = np.random.default_rng([parameters.seed, 8])
    order = [items[position]["id"] for position in rng.permutation(len(items))]
    if parameters.duplicate_item:
        twice = next((name for name in order if name.endswith("_rtc")), None)
        if twice is not None:
            order = [twice, *(name for name in order if name != twice), twice]
    return order


def _write_dem(scene: Scene, root: Path, reach_deg: Bounds | None) -> list[dict[str, Any]]:
    items = []
    for collection in scene.parameters.dem_collections:
        for tile in make_tiles(scene, collection, reach_deg):
            tile.write(root / "blobs")
            items.append(
                dem_item(
                    tile.id,
                    collection,
                    f"https://{tile.host}/{tile.path}",
                    tile.raster,
                    box(*tile.raster.bounds),
                )
            )
    return items


def _write_area(scene: Scene, root: Path) -> None:
    """Write this world's area file to `aoi/`, with its pixel and inventory, marked as simulated."""
    area = scene.area
    document = area.model_dump(mode="json", exclude_defaults=True) | {
        "title": f"{area.title or area.name} (simulated)",
        "resolution_m": scene.grid.resolution_m,
        "simulated": True,
        "licence": "simulated data, CC0-1.0",
        "references": ["slidecube sandbox"],
        "inventory": simulated_inventory(scene),
    }
    (root / "aoi").mkdir(exist_ok=True)
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    (root / "aoi" / f"{area.name}.yaml").write_text(text, encoding="utf-8")


def _write_labels(scene: Scene, root: Path) -> list[str]:
    """Write the inventory at each URL, and the truth for tests; returns the notes."""
    targets, notes = inventory_targets(scene)
    inventory = scene.area.inventory
    slides = map_slides(scene)
    for host, path in targets:
        write_inventory(slides, root / "blobs" / host / path, inventory.layer if inventory else None)
    if (
        inventory is not None
        and isinstance(inventory.extent, str)
        and inventory.extent.startswith("https://")
    ):
        host, _, path = inventory.extent.removeprefix("https://").partition("/")
        write_extent(scene.area.footprint_geojson, root / "blobs" / host / path)
    grid, truth = scene.grid, root / "truth"
    write_cog(truth / "landslide_id.tif", scene.slides.id_map, grid.affine, grid.epsg, None)
    bodies = scene.slides
    if bodies.shown is not None and bodies.zone_map is not None:
        shown = bodies.shown[bodies.id_map]
        write_cog(truth / "landslide_shown.tif", shown, grid.affine, grid.epsg, None)
        write_cog(truth / "landslide_zone.tif", bodies.zone_map, grid.affine, grid.epsg, None)
    write_cog(truth / "elevation.tif", scene.relief.elevation_m, grid.affine, grid.epsg, None)
    write_cog(truth / "water.tif", scene.relief.water.astype(np.uint8), grid.affine, grid.epsg, None)
    return notes
