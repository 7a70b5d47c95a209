"""What a catalogue means for an area: its passes, its elevation tiles, whether it still describes the area."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.area import AreaOfInterest
from pipeline.catalogue.hrefs import is_local
from pipeline.catalogue.items import POLARISATIONS
from pipeline.catalogue.passes import Asset, Catalogue, DemTile, PassList, group_passes
from pipeline.errors import ArchiveError

DEM_ASSETS = {"nasadem": "elevation", "cop-dem-glo-30": "data"}


def area_digest(area: AreaOfInterest) -> str:
    """Digest of the fields of the area that the search depends on.

    How pairs are made of what was found is no such field; that the area asks for pairs, and of which polarisation, is.
    """
    fields: dict[str, Any] = {
        "footprint": area.footprint.normalize().wkb_hex,
        "start": rfc3339(area.start),
        "end": rfc3339(area.end),
        "tracks": sorted(area.tracks) if area.tracks is not None else None,
        "polarisations": sorted(area.polarisations),
        "rtc_collection": area.rtc_collection,
        "dem": area.dem.collection,
        "inventory": None
        if area.inventory is None
        else [_portable(area.inventory.url), area.inventory.sha256, _portable(area.inventory.extent)],
    }
    if area.interferometry is not None:
        fields["interferometry"] = {"polarisation": area.interferometry.polarisation}
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:32]


def _portable(source: Any) -> Any:
    """A local path without its folders, so that the digest is the same on every machine."""
    return Path(source).name if isinstance(source, str) and is_local(source) else source


def rfc3339(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def content_digest(catalogue: Catalogue) -> str:
    """Digest of the answer without the time of asking: two searches that found the same have the same."""
    # left out where there is none, so that answers of before there was any keep their digest
    without = {"searched_at"} if catalogue.slc is not None else {"searched_at", "slc"}
    substance = catalogue.model_dump(mode="json", exclude=without)
    return hashlib.sha256(json.dumps(substance, sort_keys=True).encode()).hexdigest()[:32]


def passes_of(catalogue: Catalogue, area: AreaOfInterest) -> PassList:
    """Passes over the area as the catalogue knows them, with the sizes and ETags that the servers stated.

    A file that was listed but not there when the servers were asked is no part of its slice.

    Raises:
        ArchiveError: the catalogue belongs to another area, or an item in it cannot be understood.
    """
    check_area(catalogue, area)
    items = (_present(item, catalogue.probes, area) for item in catalogue.rtc_items)
    return group_passes([item for item in items if item is not None], area, catalogue.probes)


def _present(
    item: dict[str, Any], probes: Mapping[str, Asset], area: AreaOfInterest
) -> dict[str, Any] | None:
    """The item without wanted files that no server vouched for; None where nothing is left of it."""
    assets = item.get("assets")
    if not probes or not isinstance(assets, dict):
        return item
    gone = {
        name
        for name, asset in assets.items()
        if str(name).lower() in area.polarisations
        and isinstance(asset, dict)
        and isinstance(asset.get("href"), str)
        and asset["href"] not in probes
    }
    if not gone:
        return item
    kept = {name: asset for name, asset in assets.items() if name not in gone}
    return {**item, "assets": kept} if any(str(name).lower() in POLARISATIONS for name in kept) else None


def dem_tiles_of(catalogue: Catalogue) -> list[DemTile]:
    """Elevation tiles, ordered by id.

    Raises:
        ArchiveError: an item cannot be understood.
    """
    collections = {str(item.get("collection")) for item in catalogue.dem_items}
    if len(collections) > 1:
        raise ArchiveError(
            f"The catalogue mixes elevation collections: {', '.join(sorted(collections))}.",
            "Build without --catalogue.",
        )
    return dem_tiles_in(catalogue.dem_items, next(iter(collections), ""), catalogue.probes)


def slc_dem_tiles_of(catalogue: Catalogue) -> list[DemTile]:
    """Elevation tiles around the bursts, ordered by id.

    Raises:
        ArchiveError: an item cannot be understood.
    """
    items = catalogue.slc.dem_items if catalogue.slc else ()
    return dem_tiles_in(items, str(items[0].get("collection")) if items else "", catalogue.probes)


def dem_tiles_in(
    items: Iterable[Mapping[str, Any]], collection: str, probes: Mapping[str, Asset]
) -> list[DemTile]:
    tiles: dict[str, DemTile] = {}
    for item in items:
        name = item.get("id")

        def refuse(what: str, name: Any = name) -> ArchiveError:
            return ArchiveError(
                f"Elevation item {name!r:.100}: {what}.", "Try again later, or choose another dem."
            )

        key = DEM_ASSETS.get(collection)
        if key is None:
            raise refuse(f"the collection {collection!r} is none of {', '.join(DEM_ASSETS)}")
        assets = item.get("assets")
        asset = assets.get(key) if isinstance(assets, Mapping) else None
        href = asset.get("href") if isinstance(asset, Mapping) else None
        bbox = item.get("bbox")
        if not isinstance(name, str) or not isinstance(href, str):
            raise refuse(f"it has no file {key!r}")
        if (
            not isinstance(bbox, list | tuple)
            or len(bbox) != 4
            or not all(isinstance(v, int | float) and math.isfinite(v) for v in bbox)
            or bbox[0] >= bbox[2]
            or bbox[1] >= bbox[3]
        ):
            raise refuse("its bbox is no west, south, east, north")
        if probes and href not in probes:
            continue
        tiles[name] = DemTile(
            id=name, collection=collection, asset=probes.get(href, Asset(href=href)), bbox=tuple(bbox)
        )
    return [tiles[name] for name in sorted(tiles)]


def check_area(catalogue: Catalogue, area: AreaOfInterest) -> None:
    """Refuse a catalogue of another area.

    Raises:
        ArchiveError: name or digest differ.
    """
    if catalogue.area != area.name:
        raise ArchiveError(
            f"The catalogue is of the area {catalogue.area!r}, not of {area.name!r}.",
            "Give a catalogue of this area, or build without --catalogue.",
        )
    # an answer of before the area asked for pairs still serves for everything else
    plain = area.model_copy(update={"interferometry": None})
    accepted = {area_digest(area)} | ({area_digest(plain)} if catalogue.slc is None else set())
    if catalogue.area_digest not in accepted:
        raise ArchiveError(
            f"The catalogue was made for another definition of {area.name!r}: its geometry, time range, tracks, "
            "polarisations, collections or inventory changed since.",
            "Build without --catalogue, or restore the area file of that time.",
        )
