"""The catalogue of an area: what the archives held at one instant, its digests, its passes and elevation tiles."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pipeline.areas.area import AreaOfInterest
from pipeline.catalogue.assets import Asset, is_local
from pipeline.catalogue.dem_items import DemTiles, dem_tiles_in
from pipeline.catalogue.identities import polarisation_of
from pipeline.catalogue.item_fields import any_simulated
from pipeline.catalogue.items import MASK_ASSET
from pipeline.catalogue.passes import PassList, group_passes
from pipeline.catalogue.slc import SlcHoldings
from pipeline.errors import ArchiveError
from pipeline.records import Frozen, Utc, digest_of_json


class InventoryFile(Frozen):
    """The inventory as the search found it."""

    url: str
    fingerprint: str = Field(description="sha256 of a local file, the stated sha256, or the server's ETag")
    extent_url: str | None = None
    extent_fingerprint: str | None = None
    simulated: bool = Field(False, description="its server says that it is simulated")


class Catalogue(Frozen):
    """What the archives held at one instant: one search, kept with the version and replayable.

    `rtc_items` and `dem_items` are the archive's items (STAC, as JSON), `probes` what its servers stated of each
    file. Passes, tiles and sizes are computed from them, so that replaying uses the same code as searching.
    """

    format: Literal["slidecube-catalogue-1"] = "slidecube-catalogue-1"
    area: str
    area_digest: str = Field(description="of the fields of the area that the search depends on")
    searched_at: Utc
    endpoint: str
    rtc_items: tuple[dict[str, Any], ...]
    dem_items: tuple[dict[str, Any], ...]
    probes: dict[str, Asset] = Field(default_factory=dict, description="by unsigned href")
    inventory: InventoryFile | None = None
    slc: SlcHoldings | None = Field(
        None,
        description="for interferometry; None where it was not wanted or the search failed, which a note explains",
    )
    unsearched: dict[str, str] = Field(
        default_factory=dict, description="parts of which the search failed ('elevation'), and why"
    )
    notes: tuple[str, ...] = Field((), description="what was dropped or looks wrong, in words")


def area_digest(area: AreaOfInterest) -> str:
    """Digest of the fields of the area that the search depends on.

    The rule of pairing is not among them. Whether the area wants pairs, and of which polarisation, is.
    """
    fields: dict[str, Any] = {
        "footprint": area.footprint.normalize().wkb_hex,
        "start": rfc3339(area.start),
        "end": rfc3339(area.end),
        "tracks": sorted(area.tracks) if area.tracks is not None else None,
        "polarisations": sorted(area.polarisations),
        "rtc_collection": area.rtc_collection if len(area.collections) == 1 else list(area.collections),
        "dem": area.dem.collection,
        "inventory": None
        if area.inventory is None
        else [_portable(area.inventory.url), area.inventory.sha256, _portable(area.inventory.extent)],
    }
    if area.interferometry is not None:
        fields["interferometry"] = {"polarisation": area.interferometry.polarisation}
    return digest_of_json(fields)[:32]


def _portable(source: Any) -> Any:
    """A local path without its folders, so that the digest is the same on every machine."""
    return Path(source).name if isinstance(source, str) and is_local(source) else source


def rfc3339(instant: datetime) -> str:
    """The instant in UTC with microseconds, as in 2018-09-05T18:07:59.000000Z."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def content_digest(catalogue: Catalogue) -> str:
    """Digest without the time of the search: two searches that found the same have the same digest."""
    # left out where they are None, empty or false, so that catalogues older than these fields keep their digest
    without = {"searched_at", *(name for name in ("slc", "unsearched") if not getattr(catalogue, name))}
    substance = catalogue.model_dump(mode="json", exclude=without)
    if catalogue.inventory is not None and not catalogue.inventory.simulated:
        del substance["inventory"]["simulated"]
    return digest_of_json(substance)[:32]


def is_simulated(catalogue: Catalogue) -> bool:
    """Whether the archives say of anything in the catalogue that it is simulated."""
    slc = catalogue.slc or SlcHoldings()
    items = (catalogue.rtc_items, catalogue.dem_items, slc.granules, slc.bursts, slc.dem_items)
    return any(any_simulated(those) for those in items) or bool(
        catalogue.inventory and catalogue.inventory.simulated
    )


def passes_of(catalogue: Catalogue, area: AreaOfInterest, held: Collection[str] = ()) -> PassList:
    """The catalogue's passes over the area, with the sizes and ETags that the servers stated.

    `held` are the ids of the items that the cube has, as `group_passes` takes them.

    A file that the archive listed and its server did not have is left out of its slice. What is left out and noted is
    that of all items, since of those that are left out no server was asked for a file.

    Raises:
        ArchiveError: the catalogue belongs to another area.
    """
    check_area(catalogue, area)
    listed = group_passes(catalogue.rtc_items, area, held=held)
    items = (_present(item, catalogue.probes, area) for item in catalogue.rtc_items)
    found = group_passes([item for item in items if item is not None], area, catalogue.probes, held)
    notes = tuple(dict.fromkeys((*listed.notes, *found.notes)))
    return found.model_copy(update={"left_out": listed.left_out, "notes": notes})


def _present(
    item: dict[str, Any], probes: Mapping[str, Asset], area: AreaOfInterest
) -> dict[str, Any] | None:
    """The item without wanted files that no server has; None where no file is left, or its mask is gone."""
    assets = item.get("assets")
    if not probes or not isinstance(assets, dict):
        return item
    mask = assets.get(MASK_ASSET)
    if isinstance(mask, dict) and isinstance(mask.get("href"), str) and mask["href"] not in probes:
        return None
    gone = {
        name
        for name, asset in assets.items()
        if polarisation_of(name) in area.polarisations
        and isinstance(asset, dict)
        and isinstance(asset.get("href"), str)
        and asset["href"] not in probes
    }
    if not gone:
        return item
    kept = {name: asset for name, asset in assets.items() if name not in gone}
    return {**item, "assets": kept} if any(polarisation_of(name) for name in kept) else None


def dem_tiles_of(catalogue: Catalogue, area: AreaOfInterest) -> DemTiles:
    """Elevation tiles around the area, ordered by id, and the items that cannot be used."""
    return dem_tiles_in(catalogue.dem_items, area.dem.collection, catalogue.probes, area.exclude)


def slc_dem_tiles_of(catalogue: Catalogue, area: AreaOfInterest) -> DemTiles:
    """Elevation tiles around the bursts, ordered by id, and the items that cannot be used."""
    items = catalogue.slc.dem_items if catalogue.slc else ()
    return dem_tiles_in(items, area.dem.collection, catalogue.probes, area.exclude)


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
    # a catalogue made before the area wanted pairs is valid for everything else
    plain = area.model_copy(update={"interferometry": None})
    accepted = {area_digest(area)} | ({area_digest(plain)} if catalogue.slc is None else set())
    if catalogue.area_digest not in accepted:
        raise ArchiveError(
            f"The catalogue was made for another definition of {area.name!r}: its geometry, time range, tracks, "
            "polarisations, collections or inventory changed since.",
            "Build without --catalogue, or restore the area file of that time.",
        )
