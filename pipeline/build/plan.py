"""The plan of a build: recipes wanted minus recipes held, and the manifest that they would make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.area import AreaOfInterest
from pipeline.build.contents import manifest_of
from pipeline.catalogue.catalogue import Catalogue, dem_tiles_of, passes_of, slc_dem_tiles_of
from pipeline.catalogue.dem_margins import DEM_MARGIN_M, tiles_within
from pipeline.catalogue.pairs import choose_pairs
from pipeline.catalogue.passes import Pass
from pipeline.catalogue.slc import Pair, SlcPass, SlcPassList
from pipeline.catalogue.slc_passes import slc_passes, wants_slc
from pipeline.cube import versions
from pipeline.cube.layers import read_record
from pipeline.cube.manifest import Manifest
from pipeline.errors import ArchiveError, CubeError
from pipeline.grid import Grid
from pipeline.insar.estimates import fetch_mode
from pipeline.insar.look.look_orders import look_orders
from pipeline.insar.readiness import obstacle
from pipeline.layers.tasks import (
    BuildPlan,
    LayerTask,
    labels_task,
    look_tasks,
    pair_tasks,
    pairs_in_words,
    pass_tasks,
    store_of,
    terrain_task,
)

__all__ = ["BuildPlan", "LayerTask", "make_plan", "manifest_of", "store_of"]

NAMELESS = (
    "none (an orbit is asked for by the name of a product, and no pass or granule of the track has one)"
)


def make_plan(area: AreaOfInterest, catalogue: Catalogue, pairs: bool = True) -> BuildPlan:
    """Every layer that the area wants, and which of them the cube holds; without `pairs`, new ones are left for later.

    Raises:
        ArchiveError: the archive has no pass over the area.
        CubeError: the cube on disk has another grid.
    """
    store = store_of(area)
    grid = Grid.of_area(area)
    current = versions.current_version(store)
    previous = versions.read_manifest(store, current) if current is not None else None
    if previous is not None and previous.grid.digest != grid.digest:
        raise CubeError(
            f"The cube at {store.root} has another grid than the area {area.name!r} now asks for.",
            "A changed grid is a new cube: rename the area, or move the old cube away.",
        )
    found = passes_of(catalogue, area)
    if not found.passes:
        raise ArchiveError(
            f"The archive has no pass over {area.name!r} between {area.start:%Y-%m-%d} and {area.end:%Y-%m-%d}.",
            "Widen the time range or the tracks of the area, or wait for the archive.",
        )
    tasks = pass_tasks(area, grid, found.passes)
    missing: list[str] = []
    if tiles := tiles_within(area, dem_tiles_of(catalogue), DEM_MARGIN_M):
        tasks.append(terrain_task(area, grid, tiles))
    else:
        missing.append(_no_terrain(area, catalogue))
    if area.inventory is None or catalogue.inventory is None:
        reason = (
            "the area names none" if area.inventory is None else (area.inventory.note or "no file is at hand")
        )
        missing.append(f"labels: no inventory ({reason})")
    else:
        tasks.append(labels_task(area, grid, catalogue))
    missing += _absent_polarisations(area, found.passes)
    paired = _interferometry(area, grid, catalogue, found.passes, previous)
    tasks = [
        task.model_copy(update={"held": True, "size_bytes": 0})
        if read_record(store, task.recipe.digest) is not None
        else task
        for task in (*tasks, *paired.tasks)
    ]
    tasks, postponed, why = _postponed(area, tasks, previous, pairs)
    missing += [*paired.missing, *why]
    plan = BuildPlan(
        area=area.name,
        cube=str(store.root),
        grid=grid,
        tasks=tuple(tasks),
        passes=found.passes,
        pairs=paired.pairs,
        unpaired=paired.unpaired,
        interferometry=paired.state,
        postponed=postponed,
        fetch=fetch_mode(area),
        missing=tuple(missing),
        notes=(*catalogue.notes, *found.notes, *paired.notes),
        current_version=current,
        changes=True,
    )
    if not plan.wanted and previous is not None:
        changes = manifest_of(area, plan, catalogue, {}).substance != previous.substance
        plan = plan.model_copy(update={"changes": changes})
    return plan


@dataclass(frozen=True)
class _Interferometry:
    """The part of a plan that is made of single look complex data."""

    state: Literal["none", "kept", "planned"]
    tasks: tuple[LayerTask, ...] = ()
    pairs: tuple[Pair, ...] = ()
    unpaired: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _interferometry(
    area: AreaOfInterest,
    grid: Grid,
    catalogue: Catalogue,
    passes: tuple[Pass, ...],
    previous: Manifest | None,
) -> _Interferometry:
    """Pairs and look geometry that are wanted.

    Where the archive could not be asked, or no processor is chosen, the pairs that are there stay as they are: hours
    of work are not thrown away because a server was down.
    """
    if area.interferometry is None:
        return _Interferometry("none")
    asked = catalogue.slc is not None and wants_slc(area)
    found = slc_passes(catalogue, area) if asked else SlcPassList(passes=())
    chosen = choose_pairs(area, found.passes)
    tiles = slc_dem_tiles_of(catalogue) if asked else []
    tracks = {one.relative_orbit for one in passes} | {pair.relative_orbit for pair in chosen.pairs}
    looks = look_orders(passes, [one for one in found.passes if one.relative_orbit in tracks])
    missing = [f"look geometry of track {track}: {NAMELESS}" for track in looks.nameless]
    if not asked:
        reason = (
            "ASF could not be asked" if wants_slc(area) else "SLIDECUBE_INSAR_BACKEND chooses no processor"
        )
        words = "kept as they were" if previous is not None and previous.timepairs else "none"
        missing.append(f"pairs: {words} ({reason})")
    elif not chosen.pairs:
        passes_of_it = "the SLC passes of the area make none" if found.passes else "no SLC pass of the area"
        missing.append(f"pairs: none ({passes_of_it})")
    return _Interferometry(
        "planned" if asked else "kept",
        tasks=(
            *pair_tasks(area, grid, chosen.pairs, tiles, previous),
            *look_tasks(area, grid, looks.orders, [*dem_tiles_of(catalogue), *tiles]),
        ),
        pairs=chosen.pairs,
        unpaired=(*chosen.unpaired, *(_without_slc(passes, found.passes) if asked else ())),
        missing=tuple(missing),
        notes=(*found.notes, *chosen.notes),
    )


def _without_slc(passes: tuple[Pass, ...], slc: tuple[SlcPass, ...]) -> tuple[str, ...]:
    """Passes with backscatter that can be in no pair because ASF lists no SLC of them, in words, by track."""
    listed = {(one.platform, one.absolute_orbit) for one in slc}
    days: dict[int, list[str]] = {}
    for one in passes:
        if (one.platform, one.absolute_orbit) not in listed:
            days.setdefault(one.relative_orbit, []).append(f"{one.instant:%Y-%m-%d}")
    return tuple(
        f"track {track}, {', '.join(found)}: ASF lists no SLC of the area then"
        for track, found in sorted(days.items())
    )


def _postponed(
    area: AreaOfInterest, tasks: list[LayerTask], previous: Manifest | None, pairs: bool
) -> tuple[list[LayerTask], tuple[str, ...], list[str]]:
    """The tasks without pairs that cannot, or shall not, be made now; the ids of these, and the reason in words.

    Found out before anything is fetched: nobody waits for gigabytes that nothing at hand can process.
    """
    wanted = [task.pair_id for task in tasks if task.pair_id is not None and not task.held]
    if not wanted:
        return tasks, (), []
    reason = obstacle(fetch_mode(area)) if pairs else "left for a later build, as asked"
    if reason is None:
        return tasks, (), []
    before = {pair.pair_id for pair in previous.timepairs} if previous else set()
    kept = [pair for pair in wanted if pair in before]
    as_before = f" ({len(kept)} kept as before)" if kept else ""
    left = [task for task in tasks if task.pair_id not in wanted]
    return left, tuple(wanted), [f"{pairs_in_words(wanted)}: not made{as_before}: {reason}"]


def _no_terrain(area: AreaOfInterest, catalogue: Catalogue) -> str:
    collection, listed = area.dem.collection, len(catalogue.dem_items)
    if listed:
        return f"terrain: none of the {listed} tiles that {collection} lists here is there"
    return f"terrain: {collection} has no tile here"


def _absent_polarisations(area: AreaOfInterest, passes: tuple[Pass, ...]) -> list[str]:
    missing = []
    for polarisation in area.polarisations:
        lacking = [o for o in passes if not any(polarisation in s.assets for s in o.slices)]
        if len(lacking) == len(passes):
            missing.append(f"{polarisation}: no pass has it")
        else:
            missing += [f"{polarisation}: pass {o.id} lacks it (NaN, coverage 0)" for o in lacking]
    return missing
