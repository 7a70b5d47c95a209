"""Items of an elevation collection (STAC) as tiles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from pipeline.catalogue.assets import Asset
from pipeline.catalogue.item_fields import FromArchive, OrNone, refused
from pipeline.errors import ArchiveError
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
    bbox: Annotated[Bbox, AfterValidator(_extended)]
    assets: dict[str, Annotated[_File | None, OrNone]]


def dem_tiles_in(
    items: Iterable[Mapping[str, Any]], collection: str, probes: Mapping[str, Asset]
) -> list[DemTile]:
    """The items as tiles, ordered by id; without files that no server has according to `probes`, if there are any.

    Raises:
        ArchiveError: an item cannot be read, or its collection is not supported.
    """
    tiles: dict[str, DemTile] = {}
    for item in items:
        key = DEM_ASSETS.get(collection)
        if key is None:
            raise ArchiveError(
                f"Elevation item {item.get('id')!r:.100}: the collection {collection!r} is none of "
                f"{', '.join(DEM_ASSETS)}.",
                "Choose another dem.",
            )
        read = _TileItem.read(item, item.get("id"))
        file = read.assets.get(key)
        if file is None:
            raise refused(read.id, f"assets.{key}", "has no address")
        if not probes or file.href in probes:
            asset = probes.get(file.href, Asset(href=file.href))
            tiles[read.id] = DemTile(id=read.id, collection=collection, asset=asset, bbox=read.bbox)
    return [tiles[name] for name in sorted(tiles)]
