"""The layers that a cube wants: one task a layer, with the recipe that names it; together they are the plan."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

from pydantic import Field
from shapely import unary_union
from shapely.geometry import box, shape

from pipeline.area import AreaOfInterest
from pipeline.catalogue.catalogue import Catalogue
from pipeline.catalogue.dem_items import DemTile
from pipeline.catalogue.dem_margins import LOOK_DEM_MARGIN_M, SLC_DEM_MARGIN_DEG, tiles_within
from pipeline.catalogue.passes import Pass
from pipeline.catalogue.slc import Pair, SlcPass
from pipeline.cube.layers import Recipe, Source
from pipeline.cube.manifest import Manifest
from pipeline.cube.schema import INTERFEROMETRY, LABELS, LOOK, TERRAIN
from pipeline.cube.storage import LocalStore, digest_of
from pipeline.grid import Grid
from pipeline.insar.estimates import FetchMode, bytes_of_all, estimate, fetch_mode
from pipeline.insar.job import Backend
from pipeline.insar.look import look
from pipeline.insar.look.look_orders import LookOrder
from pipeline.insar.process import GROUND_M
from pipeline.insar.products import products
from pipeline.layers import backscatter, labels, terrain
from pipeline.places import cube_root
from pipeline.records import Frozen
from pipeline.settings import settings

Kind = Literal["backscatter", "terrain", "labels", "interferometry", "look"]


class LayerTask(Frozen):
    """One layer that the plan wants."""

    recipe: Recipe
    label: str = Field(description="for people: what it is")
    kind: Kind
    size_bytes: int = Field(description="estimate of what is read from the archive; 0 where held")
    held: bool = Field(description="whether the cube has it already")
    pass_id: str | None = Field(None, description="of backscatter")
    pair_id: str | None = Field(None, description="of interferometry")
    backend: Backend | None = Field(None, description="of interferometry: what makes it")
    track: int | None = Field(None, description="of look geometry")
    look: LookOrder | None = Field(None, description="of look geometry: the overflight that it is made from")


class BuildPlan(Frozen):
    """Recipes wanted minus recipes held."""

    area: str
    cube: str
    grid: Grid
    tasks: tuple[LayerTask, ...]
    passes: tuple[Pass, ...]
    pairs: tuple[Pair, ...] = Field((), description="of SLC passes, by track and time")
    unpaired: tuple[str, ...] = Field((), description="SLC passes that are in no pair, and why")
    interferometry: Literal["none", "kept", "planned"] = Field(
        "none",
        description="none: the area wants none; kept: the pairs that are there stay as they are, since the archive "
        "could not be asked or no processor is chosen",
    )
    postponed: tuple[str, ...] = Field(
        (), description="ids of pairs that are wanted and not made by this build"
    )
    fetch: FetchMode = Field("bursts", description="what is fetched for a pair")
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
        """Estimate for the whole plan; what two pairs share is read once."""
        pairs = {task.pair_id for task in self.wanted if task.pair_id is not None}
        others = sum(task.size_bytes for task in self.wanted if task.pair_id is None)
        return others + bytes_of_all(tuple(pair for pair in self.pairs if pair.id in pairs), self.fetch)


def pairs_in_words(ids: Sequence[str]) -> str:
    """'pair T046_20180812_20180824', or '2 pairs: T046_20180812_20180824, T046_20180824_20180905'."""
    return f"pair {ids[0]}" if len(ids) == 1 else f"{len(ids)} pairs: {', '.join(ids)}"


def store_of(area: AreaOfInterest) -> LocalStore:
    """The store of an area's cube."""
    return LocalStore(cube_root(area.name).resolve())


def pass_tasks(area: AreaOfInterest, grid: Grid, passes: tuple[Pass, ...]) -> list[LayerTask]:
    """One for each pass and each polarisation that any pass has."""
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


def terrain_task(area: AreaOfInterest, grid: Grid, tiles: Sequence[DemTile]) -> LayerTask:
    """Elevation and what is derived from it."""
    recipe = Recipe(
        kind="terrain",
        variables=TERRAIN,
        grid=grid.digest,
        sources=_tile_sources(tiles),
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


def labels_task(area: AreaOfInterest, grid: Grid, catalogue: Catalogue) -> LayerTask:
    """Labels from the inventory, which the area and the catalogue must have."""
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


def pair_tasks(
    area: AreaOfInterest,
    grid: Grid,
    pairs: Iterable[Pair],
    tiles: Sequence[DemTile],
    previous: Manifest | None,
) -> list[LayerTask]:
    """One for each pair: interferogram and coherence in one layer.

    Where the area allows a mix, a pair that the latest version has from another processor stays as it is.
    """
    rule, backend = area.interferometry, settings().insar_backend
    if rule is None or backend == "none":
        return []
    before = {pair.pair_id: pair for pair in previous.timepairs} if previous else {}
    tasks = []
    for pair in pairs:
        made_by, recipe = backend, _pair_recipe(area, grid, pair, tiles, backend)
        old = before.get(pair.id)
        for other in get_args(Backend):
            if rule.allow_mixed_backends and old is not None and old.backend == other != backend:
                same = _pair_recipe(area, grid, pair, tiles, other)
                if same.digest in old.layers.values():
                    made_by, recipe = other, same
        tasks.append(
            LayerTask(
                recipe=recipe,
                label=f"pair {pair.id}",
                kind="interferometry",
                size_bytes=estimate(pair, fetch_mode(area), made_by).bytes_to_fetch,
                held=False,
                pair_id=pair.id,
                backend=made_by,
            )
        )
    return tasks


def _pair_recipe(
    area: AreaOfInterest, grid: Grid, pair: Pair, tiles: Sequence[DemTile], backend: Backend
) -> Recipe:
    rule = area.interferometry
    assert rule is not None
    sources = [
        Source(id=burst.id, fingerprint=_granule_fingerprint(side, burst.granule))
        for side in (pair.reference, pair.secondary)
        for burst in side.bursts
        if burst.full_id in pair.burst_ids
    ]
    return Recipe(
        kind="interferometry",
        variables=INTERFEROMETRY,
        grid=grid.digest,
        sources=(*sources, *_tile_sources(tiles_of_pair(pair, tiles))),
        parameters={
            "backend": backend,
            **products.ESTIMATORS[backend],
            "posting_m": max(GROUND_M[0] * rule.azimuth_looks, GROUND_M[1] * rule.range_looks),
            "polarisation": pair.polarisation,
            "azimuth_looks": rule.azimuth_looks,
            "range_looks": rule.range_looks,
            "esd": rule.esd,
            "collection": area.dem.collection,
        },
        algorithm=products.ALGORITHM,
    )


def _granule_fingerprint(side: SlcPass, name: str) -> str:
    """The granule's name, which ends in a checksum of its own, and its MD5 where the archive tells it."""
    md5 = next((granule.md5 for granule in side.granules if granule.name == name), None)
    return f"{name} {md5}" if md5 else name


def tiles_of_pair(pair: Pair, tiles: Iterable[DemTile]) -> tuple[DemTile, ...]:
    """The elevation tiles around the bursts of a pair.

    Those of other tracks are left out, so that a new track changes no pair that is there.
    """
    footprints = [
        shape(burst.geometry)
        for side in (pair.reference, pair.secondary)
        for burst in side.bursts
        if burst.full_id in pair.burst_ids
    ]
    west, south, east, north = unary_union(footprints).bounds
    margin = SLC_DEM_MARGIN_DEG
    across = margin / math.cos(math.radians(max(abs(south), abs(north))))
    around = box(west - across, south - margin, east + across, north + margin)
    return tuple(tile for tile in tiles if box(*tile.bbox).intersects(around))


def look_tasks(
    area: AreaOfInterest, grid: Grid, orders: Iterable[LookOrder], tiles: Iterable[DemTile]
) -> list[LayerTask]:
    """One for each track: local incidence, layover and shadow in one layer."""
    near = tiles_within(area, tiles, LOOK_DEM_MARGIN_M)
    return [
        LayerTask(
            recipe=Recipe(
                kind="look",
                variables=LOOK,
                grid=grid.digest,
                sources=(
                    Source(
                        id=f"{order.platform}_{order.absolute_orbit:06d}",
                        fingerprint=order.instant.isoformat(),
                    ),
                    *_tile_sources(near),
                ),
                parameters={"collection": area.dem.collection, "margin_m": order.margin_m},
                algorithm=look.ALGORITHM,
            ),
            label=f"look geometry of track {order.relative_orbit}",
            kind="look",
            size_bytes=sum(tile.asset.size_bytes or 0 for tile in near),
            held=False,
            track=order.relative_orbit,
            look=order,
        )
        for order in orders
    ]


def _tile_sources(tiles: Iterable[DemTile]) -> tuple[Source, ...]:
    return tuple(Source(id=tile.id, fingerprint=tile.asset.fingerprint) for tile in tiles)
