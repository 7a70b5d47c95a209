"""The kind of layer `look`: local incidence angle, layover and shadow of a track."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
from shapely import box

from pipeline.archives.geotiff import rasters
from pipeline.archives.slc import orbit_files
from pipeline.catalogue.dem_items import LOOK_DEM_MARGIN_M, DemTile, lost_within, surroundings, tiles_within
from pipeline.catalogue.state_vectors import read_orbit_file
from pipeline.cube.layers import LayerData, Recipe, Source
from pipeline.cube.manifest import Look, Timepair
from pipeline.cube.schema import LOOK
from pipeline.insar.look import look
from pipeline.insar.look.look_orders import LookOrder, look_orders
from pipeline.layers.former_entries import former_passes
from pipeline.layers.kind import Key, LayerKind, LayerTask, Site, Wanted
from pipeline.layers.plan_inputs import PlanInputs, tile_sources
from pipeline.places import insar_root

NAMELESS = (
    "none (an orbit is asked for by the name of a product, and no pass or granule of the track has one)"
)


class LookTask(LayerTask):
    """The look geometry of one track."""

    order: LookOrder
    tiles: tuple[DemTile, ...]

    @property
    def key(self) -> int:
        """The relative orbit."""
        return self.order.relative_orbit


@dataclass(frozen=True)
class LookGeometry(LayerKind[LookTask]):
    """The look geometry of each track of the area, where the area wants interferometry."""

    name = "look"
    variables = LOOK
    axis = "track"

    def wanted(self, inputs: PlanInputs) -> Wanted:
        """One layer for each track; a layer that cannot be made anew is kept while its track has passes."""
        if inputs.area.interferometry is None:
            return Wanted(kind=self)
        passes = inputs.passes.passes
        tracks = {
            *(one.relative_orbit for one in passes),
            *(pair.relative_orbit for pair in inputs.pairs.pairs),
        }
        found = look_orders(passes, [one for one in inputs.slc_passes.passes if one.relative_orbit in tracks])
        former = set(former_passes(inputs).kept)
        before = inputs.previous.timesteps if inputs.previous else ()
        staying = frozenset(
            [one.relative_orbit for one in passes]
            + [step.relative_orbit for step in before if step.pass_id in former]
        )
        reason = inputs.catalogue.unsearched.get("elevation")
        if lost_within(inputs.dem, surroundings(inputs.area, LOOK_DEM_MARGIN_M)):
            reason = "; ".join((*inputs.dem.left_out, *inputs.dem.notes))
        if reason is not None:
            line = f"look geometry: not made without elevation ({reason})"
            return Wanted(kind=self, missing=(line,), undelivered=(line,), staying=staying)
        near = tiles_within(inputs.area, [*inputs.dem.tiles, *inputs.slc_dem.tiles], LOOK_DEM_MARGIN_M)
        return Wanted(
            kind=self,
            tasks=tuple(self._task(inputs, order, near) for order in found.orders),
            missing=tuple(f"look geometry of track {track}: {NAMELESS}" for track in found.nameless),
            staying=staying,
        )

    def _task(self, inputs: PlanInputs, order: LookOrder, tiles: tuple[DemTile, ...]) -> LookTask:
        overflight = Source(
            id=f"{order.platform}_{order.absolute_orbit:06d}", fingerprint=order.instant.isoformat()
        )
        recipe = Recipe(
            kind=self.name,
            variables=LOOK,
            grid=inputs.grid.digest,
            sources=(overflight, *tile_sources(tiles)),
            parameters={"collection": inputs.area.dem.collection, "margin_m": order.margin_m},
            algorithm=look.ALGORITHM,
        )
        return LookTask(
            kind=self,
            recipe=recipe,
            label=f"look geometry of track {order.relative_orbit}",
            size_bytes=sum(tile.asset.size_bytes or 0 for tile in tiles),
            promised=inputs.grid.share_within(box(*tile.bbox) for tile in tiles),
            order=order,
            tiles=tiles,
        )

    def derive(self, task: LookTask, site: Site) -> LayerData:
        """Local incidence, layover and shadow from the orbit file and the elevation tiles."""
        order = task.order
        start, end = order.orbit_span
        fetched = orbit_files.fetch_orbit(
            order.platform, start, end, insar_root(site.area.name) / "orbits", scene=order.scene
        )
        orbit = read_orbit_file(fetched.path)
        with ExitStack() as stack:
            tiles = [stack.enter_context(rasters.open_asset(tile.asset)) for tile in task.tiles]
            ground = look.read_ground(tiles, site.grid, site.area.dem.collection, orbit, order.instant)
        data = look.derive_look(ground, site.grid, orbit, order.instant)
        coverage = float(np.isfinite(data.arrays["local_incidence_deg"]).mean())
        return replace(data, report={"coverage": coverage, **data.report})

    def entry(self, task: LookTask, layers: dict[str, str]) -> Look:
        """The track."""
        return Look(relative_orbit=task.key, layers=layers)

    def staying(self, wanted: Wanted, pairs: Sequence[Timepair]) -> Collection[Key]:
        """Tracks of passes and of pairs: a pair keeps the look geometry of its track."""
        return wanted.staying | {pair.relative_orbit for pair in pairs}
