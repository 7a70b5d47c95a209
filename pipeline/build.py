"""Building a cube is a reconciliation: plan what is missing, fetch it, commit it, publish.

The first build, a resume after a kill, a new pass a week later and a rebuild after reprocessing are the same code with
another plan. Running it twice does nothing the second time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from shapely.geometry import shape

from pipeline import backscatter, labels, terrain
from pipeline.aoi import AreaOfInterest, Frozen
from pipeline.archives import catalogue as archive
from pipeline.archives import inventories, rasters
from pipeline.cube import versions
from pipeline.cube.layers import (
    LayerData,
    LayerRecord,
    Recipe,
    Source,
    folder_of,
    layer_problems,
    read_record,
    write_layer,
)
from pipeline.cube.manifest import Manifest, Timestep
from pipeline.cube.schema import LABELS, TERRAIN
from pipeline.cube.storage import LocalStore, digest_of
from pipeline.cube.verify import verify_cube
from pipeline.errors import ArchiveError, CubeError, SlidecubeError
from pipeline.grid import Grid
from pipeline.passes import Catalogue, DemTile, Pass
from pipeline.settings import settings

log = logging.getLogger(__name__)

Kind = Literal["backscatter", "terrain", "labels"]
Progress = Callable[[str, int, int], None]
"""Called with the label of a finished layer, how many are done and how many there are."""


class LayerTask(Frozen):
    """One layer that the plan wants."""

    recipe: Recipe
    label: str = Field(description="for people: what it is")
    kind: Kind
    size_bytes: int = Field(description="estimate of what is read from the archive; 0 where held")
    held: bool = Field(description="whether the cube has it already")
    pass_id: str | None = None


class BuildPlan(Frozen):
    """Recipes wanted minus recipes held."""

    area: str
    cube: str
    grid: Grid
    tasks: tuple[LayerTask, ...]
    passes: tuple[Pass, ...]
    missing: tuple[str, ...] = Field(description="what is wanted and cannot be built, in words")
    notes: tuple[str, ...] = Field(
        (), description="what was dropped from the archive's answer or looks wrong"
    )
    current_version: int | None
    changes: bool = Field(description="whether a build would publish a new version")

    @property
    def wanted(self) -> tuple[LayerTask, ...]:
        """The tasks that are not held yet; the longest, which are not of a pass, first."""
        return tuple(sorted((t for t in self.tasks if not t.held), key=lambda task: task.pass_id is not None))

    @property
    def bytes_to_read(self) -> int:
        """Estimate for the whole plan."""
        return sum(task.size_bytes for task in self.wanted)


class Published(Frozen):
    """What a build ended with."""

    area: str
    version: int
    uri: str = Field(description="path of the version, which xarray.open_zarr opens")
    new: bool = Field(description="False: the cube was up to date and nothing was done")
    layers_built: int
    missing: tuple[str, ...]
    failed: tuple[str, ...] = Field(
        (), description="layers that could not be built this time, with the reason"
    )


def store_of(area: AreaOfInterest) -> LocalStore:
    """The store of an area's cube."""
    return LocalStore(settings().cube_root(area.name).resolve())


@contextmanager
def writer_lock(area: AreaOfInterest) -> Iterator[bool]:
    """Hold the one writer's place of a cube, waiting for another build; yields whether there was a wait.

    Whoever had to wait plans again, which finds the other's work. A kill frees the place.
    """
    store = store_of(area)
    with store.lock(versions.LOCK, wait=True) as waited:
        for prefix in ("layers", "versions"):
            store.sweep(prefix)
        yield waited


def find_catalogue(area: AreaOfInterest, replay: Path | None = None) -> Catalogue:
    """What the archives hold: `replay` if given, else one search, saved as a dated snapshot beside the cube.

    An answer younger than `SLIDECUBE_SEARCH_INTERVAL_S` is used again instead of searching.

    Raises:
        ArchiveError: the search failed, or the replayed file is not of this area.
    """
    if replay is not None:
        return archive.load_catalogue(replay, area)
    folder = store_of(area).root / "catalogues"
    recent = archive.latest_snapshot(folder, area)
    if recent is not None:
        log.info("replaying the search of %s", recent.searched_at.isoformat())
        return recent
    found = archive.search_catalogue(area)
    archive.save_catalogue(found, folder)
    return found


def make_plan(area: AreaOfInterest, catalogue: Catalogue) -> BuildPlan:
    """Every layer that the area wants, and which of them the cube holds.

    Raises:
        ArchiveError: the archive has no pass over the area.
        CubeError: the cube on disk has another grid.
    """
    store = store_of(area)
    grid = Grid.of_area(area)
    current = versions.current_version(store)
    if current is not None and versions.read_manifest(store, current).grid.digest != grid.digest:
        raise CubeError(
            f"The cube at {store.root} has another grid than the area {area.name!r} now asks for.",
            "A changed grid is a new cube: rename the area, or move the old cube away.",
        )
    found = archive.passes_of(catalogue, area)
    if not found.passes:
        raise ArchiveError(
            f"The archive has no pass over {area.name!r} between {area.start:%Y-%m-%d} and {area.end:%Y-%m-%d}.",
            "Widen the time range or the tracks of the area, or wait for the archive.",
        )
    tasks = _pass_tasks(area, grid, found.passes)
    missing: list[str] = []
    if tiles := archive.dem_tiles_of(catalogue):
        tasks.append(_terrain_task(area, grid, tiles))
    else:
        missing.append(_no_terrain(area, catalogue))
    if area.inventory is None or catalogue.inventory is None:
        reason = (
            "the area names none" if area.inventory is None else (area.inventory.note or "no file is at hand")
        )
        missing.append(f"labels: no inventory ({reason})")
    else:
        tasks.append(_labels_task(area, grid, catalogue))
    missing += _absent_polarisations(area, found.passes)
    tasks = [
        task.model_copy(update={"held": True, "size_bytes": 0})
        if read_record(store, task.recipe.digest) is not None
        else task
        for task in tasks
    ]
    plan = BuildPlan(
        area=area.name,
        cube=str(store.root),
        grid=grid,
        tasks=tuple(tasks),
        passes=found.passes,
        missing=tuple(missing),
        notes=(*catalogue.notes, *found.notes),
        current_version=current,
        changes=True,
    )
    if not plan.wanted and current is not None:
        candidate = _manifest(area, plan, catalogue, {})
        changes = candidate.substance != versions.read_manifest(store, current).substance
        plan = plan.model_copy(update={"changes": changes})
    return plan


def build_layer(area: AreaOfInterest, task: LayerTask, catalogue: Catalogue) -> LayerRecord:
    """Fetch, derive and commit one layer; a layer that is held is returned as it is. Safe in threads.

    Raises:
        ArchiveError: a source cannot be read, or changed since the catalogue was made.
        SourceDataError: a source cannot be used.
    """
    store = store_of(area)
    held = read_record(store, task.recipe.digest)
    if held is not None:
        return held
    grid = Grid.of_area(area)
    match task.kind:
        case "backscatter":
            data = _derive_backscatter(area, task, catalogue, grid)
        case "terrain":
            data = _derive_terrain(area, catalogue, grid)
        case "labels":
            data = _derive_labels(area, catalogue, grid, store)
    return write_layer(store, task.recipe, data, grid)


def publish(
    area: AreaOfInterest,
    plan: BuildPlan,
    catalogue: Catalogue,
    failed: dict[str, str] | None = None,
    started: float | None = None,
) -> Published:
    """Make a version of the plan's layers, or find that the latest one is the same.

    `failed` names, by the digest of the recipe, the layers that could not be built and why. A pass of which a layer
    failed stays as it was in the latest version, or is left out; either way it is named in the version's `missing`.

    Raises:
        CubeError: no pass is left, or somebody else published meanwhile.
    """
    failed = failed or {}
    store = store_of(area)
    manifest = _manifest(area, plan, catalogue, failed)
    if not manifest.timesteps:
        reasons = "; ".join(failed.values())
        raise CubeError(
            f"No pass of {area.name!r} could be built ({reasons}).", "Run `slidecube build` again."
        )
    wanted = frozenset(task.recipe.digest for task in plan.tasks)
    number, new = versions.publish(store, manifest, spare=wanted)
    if new:
        entry: dict[str, Any] = {
            "catalogue": archive.snapshot_name(catalogue),
            "searched_at": catalogue.searched_at.isoformat(),
            "layers_built": len(plan.wanted) - len(failed),
            "failed": sorted(failed.values()),
        }
        if started is not None:
            entry["seconds"] = round(time.monotonic() - started, 1)
        versions.journal(store, number, entry)
    labels_by_digest = {task.recipe.digest: task.label for task in plan.tasks}
    return Published(
        area=area.name,
        version=number,
        uri=str(store.path(versions.version_key(number))),
        new=new,
        layers_built=len(plan.wanted) - len(failed),
        missing=manifest.missing,
        failed=tuple(
            f"{labels_by_digest.get(digest, digest)}: {why}" for digest, why in sorted(failed.items())
        ),
    )


def build(area: AreaOfInterest, replay: Path | None = None, progress: Progress | None = None) -> Published:
    """Search, plan, build every missing layer, publish: all in one process, for the command line.

    Raises:
        ArchiveError, CubeError, SourceDataError: as the steps do. A layer that fails does not stop the others; it is
            named in `failed` of the result.
    """
    started = time.monotonic()
    with writer_lock(area):
        catalogue = find_catalogue(area, replay)
        plan = make_plan(area, catalogue)
        failed: dict[str, str] = {}
        wanted = plan.wanted
        with ThreadPoolExecutor(settings().read_concurrency, thread_name_prefix="layer") as pool:
            futures = {pool.submit(build_layer, area, task, catalogue): task for task in wanted}
            for done, future in enumerate(as_completed(futures), start=1):
                task = futures[future]
                try:
                    future.result()
                except SlidecubeError as error:
                    log.error("%s: %s", task.label, error)
                    failed[task.recipe.digest] = str(error)
                if progress:
                    progress(task.label, done, len(wanted))
        return publish(area, plan, catalogue, failed, started)


def discard_damaged(area: AreaOfInterest) -> tuple[str, ...]:
    """Verify the latest version and remove it and its layers where they are damaged; the problems found.

    The next build makes them again.
    """
    store = store_of(area)
    with writer_lock(area):
        number = versions.current_version(store)
        if number is None:
            return ()
        verdict = verify_cube(store.root)
        if not verdict.sound:
            manifest = versions.read_manifest(store, number)
            for digest, record in manifest.records.items():
                if layer_problems(store, record):
                    store.delete(folder_of(digest))
            versions.withdraw(store, number)
        return verdict.problems


def _pass_tasks(area: AreaOfInterest, grid: Grid, passes: tuple[Pass, ...]) -> list[LayerTask]:
    present = [p for p in area.polarisations if any(p in s.assets for o in passes for s in o.slices)]
    tasks = []
    for overflight in passes:
        for polarisation in present:
            pieces = [piece for piece in overflight.slices if polarisation in piece.assets]
            recipe = Recipe(
                kind="backscatter",
                variables=(polarisation,),
                grid=grid.digest,
                # the order is that of the mosaic
                sources=tuple(
                    Source(
                        id=f"{piece.id}/{polarisation}", fingerprint=piece.assets[polarisation].fingerprint
                    )
                    for piece in pieces
                ),
                parameters={"border_erosion_px": area.border_erosion_px},
                algorithm=backscatter.ALGORITHM,
            )
            size = sum(
                int((piece.assets[polarisation].size_bytes or 0) * _share(area, piece.geometry))
                for piece in pieces
            )
            tasks.append(
                LayerTask(
                    recipe=recipe,
                    label=f"{polarisation} {overflight.instant:%Y-%m-%d %H:%M} track {overflight.relative_orbit}",
                    kind="backscatter",
                    size_bytes=size,
                    held=False,
                    pass_id=overflight.id,
                )
            )
    return tasks


def _share(area: AreaOfInterest, geometry: dict[str, Any]) -> float:
    """Share of a slice's footprint inside the area's box: what part of its file a build reads, roughly."""
    footprint = shape(geometry)
    if footprint.is_empty or footprint.area == 0:
        return 1.0
    return float(min(1.0, area.footprint.envelope.intersection(footprint).area / footprint.area))


def _no_terrain(area: AreaOfInterest, catalogue: Catalogue) -> str:
    collection, listed = area.dem.collection, len(catalogue.dem_items)
    if listed:
        return f"terrain: none of the {listed} tiles that {collection} lists here is there"
    return f"terrain: {collection} has no tile here"


def _terrain_task(area: AreaOfInterest, grid: Grid, tiles: list[DemTile]) -> LayerTask:
    recipe = Recipe(
        kind="terrain",
        variables=TERRAIN,
        grid=grid.digest,
        sources=tuple(Source(id=tile.id, fingerprint=tile.asset.fingerprint) for tile in tiles),
        parameters={"collection": area.dem.collection},
        algorithm=terrain.ALGORITHM,
    )
    size = sum(tile.asset.size_bytes or 0 for tile in tiles)
    return LayerTask(
        recipe=recipe,
        label=f"terrain from {area.dem.collection}",
        kind="terrain",
        size_bytes=size,
        held=False,
    )


def _labels_task(area: AreaOfInterest, grid: Grid, catalogue: Catalogue) -> LayerTask:
    assert area.inventory is not None
    assert catalogue.inventory is not None
    found = catalogue.inventory
    sources = [Source(id=found.url, fingerprint=found.fingerprint)]
    if found.extent_url:
        sources.append(Source(id=found.extent_url, fingerprint=found.extent_fingerprint or ""))
    rules = area.inventory.model_dump(mode="json", exclude={"url", "page", "note"})
    recipe = Recipe(
        kind="labels",
        variables=LABELS,
        grid=grid.digest,
        sources=tuple(sources),
        parameters={**rules, "area": digest_of(area.footprint.wkb)},
        algorithm=labels.ALGORITHM,
    )
    return LayerTask(
        recipe=recipe, label=f"labels from {area.inventory.name}", kind="labels", size_bytes=0, held=False
    )


def _absent_polarisations(area: AreaOfInterest, passes: tuple[Pass, ...]) -> list[str]:
    missing = []
    for polarisation in area.polarisations:
        lacking = [o for o in passes if not any(polarisation in s.assets for s in o.slices)]
        if len(lacking) == len(passes):
            missing.append(f"{polarisation}: no pass has it")
        else:
            missing += [f"{polarisation}: pass {o.id} lacks it (NaN, coverage 0)" for o in lacking]
    return missing


def _derive_backscatter(area: AreaOfInterest, task: LayerTask, catalogue: Catalogue, grid: Grid) -> LayerData:
    overflight = next(o for o in _passes(area, catalogue) if o.id == task.pass_id)
    return backscatter.read_backscatter(
        overflight, task.recipe.variables[0], grid, rasters.open_asset, area.border_erosion_px
    )


_grouped: tuple[Catalogue, AreaOfInterest, tuple[Pass, ...]] | None = None


def _passes(area: AreaOfInterest, catalogue: Catalogue) -> tuple[Pass, ...]:
    """The passes of a catalogue, grouped once and not for every layer."""
    global _grouped
    held = _grouped
    if held is None or held[0] is not catalogue or held[1] != area:
        held = _grouped = (catalogue, area, archive.passes_of(catalogue, area).passes)
    return held[2]


def _derive_terrain(area: AreaOfInterest, catalogue: Catalogue, grid: Grid) -> LayerData:
    with ExitStack() as stack:
        tiles = [stack.enter_context(rasters.open_raster(t.asset)) for t in archive.dem_tiles_of(catalogue)]
        return terrain.derive_terrain(tiles, grid, collection=area.dem.collection)


def _derive_labels(area: AreaOfInterest, catalogue: Catalogue, grid: Grid, store: LocalStore) -> LayerData:
    assert area.inventory is not None
    path = inventories.fetch_inventory(area.inventory, store.root / "downloads")
    frame = labels.read_inventory(path, area.inventory)
    extent = inventories.mapped_extent(area, store.root / "downloads")
    return labels.rasterise_labels(frame, area.inventory, grid, extent)


def _manifest(
    area: AreaOfInterest, plan: BuildPlan, catalogue: Catalogue, failed: dict[str, str]
) -> Manifest:
    """The manifest of the plan's layers, without those that failed."""
    store = store_of(area)
    previous = (
        versions.read_manifest(store, plan.current_version) if plan.current_version is not None else None
    )
    before = {step.pass_id: step for step in previous.timesteps} if previous else {}
    missing = list(plan.missing)
    records: dict[str, LayerRecord] = {}
    steps: list[Timestep] = []
    static: dict[str, str] = {}
    by_pass: dict[str, list[LayerTask]] = {}
    for task in plan.tasks:
        if task.pass_id is not None:
            by_pass.setdefault(task.pass_id, []).append(task)
        elif task.recipe.digest in failed:
            missing.append(f"{task.label}: {failed[task.recipe.digest]}")
            kept = {
                n: d for n, d in (previous.static if previous else {}).items() if n in task.recipe.variables
            }
            static |= kept
            records |= {digest: previous.records[digest] for digest in kept.values()} if previous else {}
        else:
            static |= dict.fromkeys(task.recipe.variables, task.recipe.digest)
            records[task.recipe.digest] = _record(store, task.recipe.digest)
    for overflight in plan.passes:
        tasks = by_pass[overflight.id]
        reasons = [failed[task.recipe.digest] for task in tasks if task.recipe.digest in failed]
        if reasons:
            old = before.get(overflight.id)
            kept_words = f"kept as in version {plan.current_version}" if old else "left out"
            missing.append(f"pass {overflight.id}: {kept_words} ({reasons[0]})")
            if old and previous:
                steps.append(old)
                records |= {digest: previous.records[digest] for digest in old.layers.values()}
            continue
        layers = {task.recipe.variables[0]: task.recipe.digest for task in tasks}
        records |= {digest: _record(store, digest) for digest in layers.values()}
        steps.append(
            Timestep(
                pass_id=overflight.id,
                instant=overflight.instant,
                platform=overflight.platform,
                absolute_orbit=overflight.absolute_orbit,
                relative_orbit=overflight.relative_orbit,
                direction=overflight.direction,
                layers=layers,
            )
        )
    return Manifest(
        area=area.name,
        title=area.title,
        event=area.event,
        grid=plan.grid,
        catalogue=archive.content_digest(catalogue),
        timesteps=tuple(sorted(steps, key=lambda step: (step.instant, step.pass_id))),
        static=static,
        records=records,
        missing=tuple(missing),
        attributes=_cube_attributes(area, catalogue),
    )


def _record(store: LocalStore, digest: str) -> LayerRecord:
    record = read_record(store, digest)
    if record is None:
        raise CubeError(f"Layer {digest} is gone from {store.root}.", "Run `slidecube build` again.")
    return record


def _cube_attributes(area: AreaOfInterest, catalogue: Catalogue) -> dict[str, Any]:
    inventory = area.inventory
    return {
        "sources": [*area.sources, f"backscatter: {area.rtc_collection} at {catalogue.endpoint}"],
        "license": area.licence,
        "inventory": f"{inventory.name}: {inventory.citation} ({inventory.licence})" if inventory else "none",
        "software": f"slidecube {version('slidecube')}",
        "simulated": area.simulated,
    }
