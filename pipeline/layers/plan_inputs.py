"""What a plan is made from: the area, the catalogue and the latest version, with the passes and pairs they give."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from pipeline.areas.area import AreaOfInterest
from pipeline.catalogue.catalogue import Catalogue, dem_tiles_of, passes_of, slc_dem_tiles_of
from pipeline.catalogue.dem_items import DemTile, DemTiles
from pipeline.catalogue.pairs import PairList, choose_pairs
from pipeline.catalogue.passes import Pass, PassList, group_passes
from pipeline.catalogue.slc import SlcPass, SlcPassList
from pipeline.catalogue.slc_passes import slc_passes, wants_slc
from pipeline.cube.layers import Recipe, Source
from pipeline.cube.manifest import Manifest
from pipeline.cube.schema import BACKSCATTER
from pipeline.grid import Grid


@dataclass(frozen=True)
class PlanInputs:
    """The inputs of the kinds of layer. Passes are grouped and pairs are chosen once for all kinds."""

    area: AreaOfInterest
    catalogue: Catalogue
    grid: Grid
    previous: Manifest | None
    """of the latest version"""
    is_held: Callable[[Recipe], bool]
    """whether the cube has the layer of that recipe"""
    make_pairs: bool = True
    """False: new pairs are left for a later build"""

    @cached_property
    def passes(self) -> PassList:
        """Passes with backscatter, and remarks."""
        return passes_of(self.catalogue, self.area, self.held_items)

    @cached_property
    def dem(self) -> DemTiles:
        """Elevation tiles over the area, and the items that cannot be used."""
        return dem_tiles_of(self.catalogue, self.area)

    @cached_property
    def listed(self) -> PassList:
        """Passes as the archive lists them, whether or not its servers have the files."""
        return group_passes(self.catalogue.rtc_items, self.area, held=self.held_items)

    @cached_property
    def held_items(self) -> frozenset[str]:
        """Ids of the items of which the latest version has backscatter."""
        records = self.previous.records.values() if self.previous is not None else ()
        return frozenset(
            source.id.rpartition("/")[0]
            for record in records
            if not set(BACKSCATTER).isdisjoint(record.recipe.variables)
            for source in record.recipe.sources
        )

    @cached_property
    def listed_dem(self) -> DemTiles:
        """Elevation tiles over the area as the archive lists them, whether or not its servers have the files."""
        return dem_tiles_of(self.catalogue.model_copy(update={"probes": {}}), self.area)

    @cached_property
    def slc_dem(self) -> DemTiles:
        """Elevation tiles around the bursts, which extend beyond the area, and the items that cannot be used."""
        return slc_dem_tiles_of(self.catalogue, self.area)

    @property
    def wants_slc(self) -> bool:
        """Whether the area and the settings ask for single look complex data."""
        return wants_slc(self.area)

    @property
    def has_slc(self) -> bool:
        """Whether the area wants single look complex data and ASF was searched for it."""
        return self.catalogue.slc is not None and self.wants_slc

    @cached_property
    def slc_passes(self) -> SlcPassList:
        """Passes of single look complex data, and remarks; none where the area does not want them."""
        return slc_passes(self.catalogue, self.area) if self.has_slc else SlcPassList(passes=())

    @cached_property
    def pairs(self) -> PairList:
        """The pairs that the area's rule chooses, and the passes of either kind that are in none, with the reason."""
        chosen = choose_pairs(self.area, self.slc_passes.passes)
        if not self.has_slc:
            return chosen
        without_slc = _without_slc(self.passes.passes, self.slc_passes.passes)
        return chosen.model_copy(update={"unpaired": (*chosen.unpaired, *without_slc)})


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


def static_variables(previous: Manifest | None, variables: Iterable[str]) -> frozenset[str]:
    """Those of the static variables that the latest version has."""
    return frozenset(name for name in variables if previous is not None and name in previous.static)


def tile_sources(tiles: tuple[DemTile, ...]) -> tuple[Source, ...]:
    """Elevation tiles as sources of a recipe."""
    return tuple(Source(id=tile.id, fingerprint=tile.asset.fingerprint) for tile in tiles)
