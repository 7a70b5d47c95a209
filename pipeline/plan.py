"""The plan of a build: recipes wanted minus recipes held, and the manifest that they would make."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Literal

from pydantic import Field
from shapely.geometry import shape

from pipeline import backscatter, labels, terrain
from pipeline.aoi import AreaOfInterest
from pipeline.archives import catalogue as archive
from pipeline.cube import versions
from pipeline.cube.layers import LayerRecord, Recipe, Source, read_record
from pipeline.cube.manifest import Manifest, Timestep
from pipeline.cube.schema import LABELS, TERRAIN
from pipeline.cube.storage import LocalStore, digest_of
from pipeline.errors import ArchiveError, CubeError
from pipeline.grid import Grid
from pipeline.pairs import choose_pairs, slc_passes
from pipeline.passes import Catalogue, DemTile, Pass
from pipeline.records import Frozen
from pipeline.settings import settings
from pipeline.slc import Pair

Kind = Literal["backscatter", "terrain", "labels"]


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
    pairs: tuple[Pair, ...] = Field((), description="of SLC passes, by track and time")
    unpaired: tuple[str, ...] = Field((), description="SLC passes that are in no pair, and why")
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


def store_of(area: AreaOfInterest) -> LocalStore:
    """The store of an area's cube."""
    return LocalStore(settings().cube_root(area.name).resolve())


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
    pairs, unpaired, remarks = _pairs(area, catalogue)
    plan = BuildPlan(
        area=area.name,
        cube=str(store.root),
        grid=grid,
        tasks=tuple(tasks),
        passes=found.passes,
        pairs=pairs,
        unpaired=unpaired,
        missing=tuple(missing),
        notes=(*catalogue.notes, *found.notes, *remarks),
        current_version=current,
        changes=True,
    )
    if not plan.wanted and current is not None:
        candidate = manifest_of(area, plan, catalogue, {})
        changes = candidate.substance != versions.read_manifest(store, current).substance
        plan = plan.model_copy(update={"changes": changes})
    return plan


def _pairs(
    area: AreaOfInterest, catalogue: Catalogue
) -> tuple[tuple[Pair, ...], tuple[str, ...], tuple[str, ...]]:
    """The pairs, the passes without one, and remarks; nothing where no processor is chosen."""
    if catalogue.slc is None or not archive.wants_slc(area):
        return (), (), ()
    found = slc_passes(catalogue, area)
    chosen = choose_pairs(area, found.passes)
    return chosen.pairs, chosen.unpaired, (*found.notes, *chosen.notes)


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


def manifest_of(
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
