"""Items of an elevation collection (STAC) as tiles, and how far around an area elevation is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import shapely
from pydantic import AfterValidator, Field

from pipeline.areas.area import AreaOfInterest
from pipeline.catalogue.assets import Asset
from pipeline.catalogue.identities import collection_name
from pipeline.catalogue.item_fields import FromArchive, OrNone, refused
from pipeline.catalogue.left_out import Exclusion, LeftOut, describe, readable
from pipeline.grid import Grid
from pipeline.records import Frozen, Number

DEM_ASSETS = {"nasadem": "elevation", "cop-dem-glo-30": "data"}
"""The file of an item that holds its elevation, by collection."""

Bbox = tuple[Number, Number, Number, Number]


class DemTile(Frozen):
    """One elevation tile."""

    id: str
    collection: str
    asset: Asset
    bbox: tuple[float, float, float, float] = Field(description="west, south, east, north, degrees")


class DemTiles(Frozen):
    """The tiles of a search, ordered by id, and the items that cannot be used."""

    tiles: tuple[DemTile, ...] = ()
    left_out: tuple[str, ...] = Field((), description="items that cannot be used, and why")
    lost: tuple[tuple[float, float, float, float] | None, ...] = Field(
        (), description="box of each of these items, degrees; None where it states none that is sound"
    )
    notes: tuple[str, ...] = ()


def _extended(bbox: Bbox) -> Bbox:
    if bbox[0] >= bbox[2] or bbox[1] >= bbox[3]:
        raise ValueError(f"is {bbox}, not west, south, east, north")
    return bbox


class _File(FromArchive):
    """One file of an item."""

    href: str


class _TileItem(FromArchive):
    """An item as the archive gives it; files other than the elevation's may be anything."""

    id: str
    collection: Annotated[str | None, OrNone] = None
    bbox: Annotated[Bbox, AfterValidator(_extended)]
    assets: dict[str, Annotated[_File | None, OrNone]]


class _Place(FromArchive):
    """Where an item lies, if it says so."""

    id: Annotated[str | None, OrNone] = None
    bbox: Annotated[Annotated[Bbox, AfterValidator(_extended)] | None, OrNone] = None


def dem_tiles_in(
    items: Iterable[Mapping[str, Any]],
    collection: str,
    probes: Mapping[str, Asset],
    exclude: Iterable[str] = (),
) -> DemTiles:
    """The items as tiles of `collection`; without files that no server has according to `probes`, if there are any.

    An item that cannot be read, or that is of another collection, is left out and named. So that a tile that is left
    out is not taken for open sea, `lost` has its box. `exclude` are ids that the area excludes.
    """
    excluded, unusable = Exclusion(exclude), list[LeftOut]()
    tiles: dict[str, DemTile] = {}
    lost: list[tuple[float, float, float, float] | None] = []
    for item in items:
        place = _Place.model_validate(item) if isinstance(item, Mapping) else _Place()
        if place.id in excluded:
            lost.append(place.bbox)
            continue
        found = readable([item], lambda one: _read_tile(one, collection), unusable)
        lost += [] if found else [place.bbox]
        for tile in found:
            if not probes or tile.asset.href in probes:
                tiles[tile.id] = tile.model_copy(update={"asset": probes.get(tile.asset.href, tile.asset)})
    return DemTiles(
        tiles=tuple(tiles[name] for name in sorted(tiles)),
        left_out=describe(unusable, ("elevation item", "elevation items")),
        lost=tuple(lost),
        notes=tuple(excluded.notes()),
    )


def _read_tile(item: Any, collection: str) -> DemTile:
    read = _TileItem.read(item, item.get("id") if isinstance(item, Mapping) else None)
    if read.collection is not None and collection_name(read.collection) != collection_name(collection):
        raise refused(read.id, "collection", f"is {read.collection!r:.80}, not {collection!r:.80}")
    key = DEM_ASSETS[collection]
    file = read.assets.get(key)
    if file is None:
        raise refused(read.id, f"assets.{key}", "has no address")
    return DemTile(id=read.id, collection=collection, asset=Asset(href=file.href), bbox=read.bbox)


SLC_DEM_MARGIN_DEG = 0.1
"""Elevation is read this far around the bursts, because their outlines refer to the ellipsoid: high terrain lies
nearer to the radar by up to its height divided by the tangent of the incidence angle, 9 km for 5 km in near range."""


_SEAM_DEG = 1e-4
"""Boxes of neighbouring tiles may lie this far apart: 11 m, less than half a sample."""
DEM_MARGIN_M = 2500.0
"""Elevation is read this far around the grid, for the spline and for filling voids at its edge."""
LOOK_DEM_MARGIN_M = 9000.0
"""The same where the look geometry is computed: terrain as far away as this may shadow the grid."""


def surroundings(area: AreaOfInterest, margin_m: float) -> shapely.Polygon:
    """The box around the area's grid with a margin, in degrees.

    The grid's edges are no meridians and parallels, and it reaches beyond the area.
    """
    west, south, east, north = Grid.of_area(area).bounds_deg(margin_m)
    if west > east:  # only the margin can cross the antimeridian: stay on the area's side
        west, east = (west, 180.0) if area.footprint.centroid.x > 0 else (-180.0, east)
    return shapely.box(west, south, east, north)


def tiles_within(area: AreaOfInterest, tiles: Iterable[DemTile], margin_m: float) -> tuple[DemTile, ...]:
    """The tiles at most `margin_m` from the area's grid, each once, ordered by id."""
    around = surroundings(area, margin_m)
    near = {tile.id: tile for tile in tiles if shapely.box(*tile.bbox).intersects(around)}
    return tuple(near[name] for name in sorted(near))


def lost_within(found: DemTiles, around: shapely.Geometry) -> bool:
    """Whether an item that cannot be used may have held elevation in `around` (degrees) that no other tile has.

    Where it may have, the gap is not sea: elevation must not be made from the other tiles.
    """
    if not found.lost:
        return False
    covered = shapely.union_all([shapely.box(*tile.bbox) for tile in found.tiles]).buffer(_SEAM_DEG)
    gaps = around.difference(covered)
    return (
        any(box is None or bool(gaps.intersects(shapely.box(*box))) for box in found.lost)
        and not gaps.is_empty
    )
