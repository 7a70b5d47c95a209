"""What the archives hold for an area: one search, kept as a dated snapshot that can be replayed."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import re
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from shapely.geometry import mapping

from pipeline.archives import inventories, planetary
from pipeline.archives.http import http_client
from pipeline.archives.http.probes import is_local, probe
from pipeline.archives.slc.slc_search import SLC_DEM_MARGIN_DEG as SLC_DEM_MARGIN_DEG
from pipeline.archives.slc.slc_search import search_slc
from pipeline.archives.slc.slc_search import wants_slc as wants_slc
from pipeline.area import AreaOfInterest
from pipeline.catalogue.dem_margins import DEM_MARGIN_M, LOOK_DEM_MARGIN_M, surroundings, tiles_within
from pipeline.catalogue.items import POLARISATIONS
from pipeline.catalogue.passes import Asset, Catalogue, DemTile, PassList, group_passes
from pipeline.errors import ArchiveError
from pipeline.settings import settings

log = logging.getLogger(__name__)

MOST_SNAPSHOT_BYTES = 512 * 2**20
DEM_ASSETS = {"nasadem": "elevation", "cop-dem-glo-30": "data"}
SNAPSHOT_NAME = re.compile(r"^catalogue-(\d{8}T\d{6}Z)-[0-9a-f]{8}\.json$")


def search_catalogue(area: AreaOfInterest) -> Catalogue:
    """Ask the archives once: items of the radar and elevation collections, the state of each file, the inventory.

    Raises:
        ArchiveError: an archive refused, failed, or answered something that cannot be understood.
    """
    searched_at = datetime.now(UTC)
    endpoint = settings().stac_url
    api = planetary.client(endpoint)
    rtc = planetary.search(
        area.rtc_collection,
        intersects=area.footprint_geojson,
        interval=f"{_rfc3339(area.start)}/{_rfc3339(area.end)}",
        api=api,
    )
    box = surroundings(area, LOOK_DEM_MARGIN_M if area.interferometry else DEM_MARGIN_M)
    dem = planetary.search(area.dem.collection, intersects=mapping(box), api=api)
    found = group_passes(rtc, area)
    tiles = _dem_tiles(dem, area.dem.collection, {})
    wanted = [
        piece.assets[polarisation].href
        for overflight in found.passes
        for piece in overflight.slices
        for polarisation in area.polarisations
        if polarisation in piece.assets
    ]
    slc, slc_notes = search_slc(area, api)
    slc_tiles = _dem_tiles(slc.dem_items, area.dem.collection, {}) if slc else []
    probes, notes = probe([*wanted, *(tile.asset.href for tile in [*tiles, *slc_tiles])])
    notes += slc_notes
    inventory, remarks = inventories.inventory_fingerprint(area.inventory)
    notes += remarks
    if not tiles_within(area, tiles, DEM_MARGIN_M):
        notes.append(f"{area.dem.collection} has no tile here: the cube will have no terrain")
    log.info(
        "%s: %d items, %d passes, %d elevation tiles", area.name, len(rtc), len(found.passes), len(tiles)
    )
    return Catalogue(
        area=area.name,
        area_digest=area_digest(area),
        searched_at=searched_at,
        endpoint=http_client.bare(endpoint),
        rtc_items=tuple(sorted(rtc, key=lambda item: str(item["id"]))),
        dem_items=tuple(sorted(dem, key=lambda item: str(item["id"]))),
        probes=dict(sorted(probes.items())),
        inventory=inventory,
        slc=slc,
        notes=tuple(notes),
    )


def area_digest(area: AreaOfInterest) -> str:
    """Digest of the fields of the area that the search depends on.

    How pairs are made of what was found is no such field; that the area asks for pairs, and of which polarisation, is.
    """
    fields: dict[str, Any] = {
        "footprint": area.footprint.normalize().wkb_hex,
        "start": _rfc3339(area.start),
        "end": _rfc3339(area.end),
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


def _rfc3339(instant: datetime) -> str:
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
    return _dem_tiles(catalogue.dem_items, next(iter(collections), ""), catalogue.probes)


def slc_dem_tiles_of(catalogue: Catalogue) -> list[DemTile]:
    """Elevation tiles around the bursts, ordered by id.

    Raises:
        ArchiveError: an item cannot be understood.
    """
    items = catalogue.slc.dem_items if catalogue.slc else ()
    return _dem_tiles(items, str(items[0].get("collection")) if items else "", catalogue.probes)


def _dem_tiles(
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


def snapshot_name(catalogue: Catalogue) -> str:
    """File name of a snapshot: when it was asked, and the beginning of its content's digest."""
    return f"catalogue-{catalogue.searched_at:%Y%m%dT%H%M%SZ}-{content_digest(catalogue)[:8]}.json"


def save_catalogue(catalogue: Catalogue, folder: Path) -> Path:
    """Write the snapshot into `folder`: whole or not at all; returns its path.

    Raises:
        ArchiveError: the folder cannot be written to.
    """
    path = folder / snapshot_name(catalogue)
    part = folder / f".{path.name}.{os.getpid()}.{threading.get_ident()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("w", encoding="utf-8") as out:
                out.write(catalogue.model_dump_json())
                out.flush()
                os.fsync(out.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        directory = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise ArchiveError(
            f"The catalogue cannot be saved in {folder} ({error.strerror or error}).",
            "Free disk space or set SLIDECUBE_DATA_DIR to a folder that can be written.",
        ) from error
    return path


def load_catalogue(path: Path, area: AreaOfInterest | None = None) -> Catalogue:
    """The snapshot in a file, checked; with `area`, that it belongs to it.

    Raises:
        ArchiveError: it cannot be read, is no catalogue, or belongs to another area.
    """
    remedy = "Give a file that a build saved (catalogue-*.json), or build without --catalogue."
    try:
        if path.stat().st_size > MOST_SNAPSHOT_BYTES:
            raise ArchiveError(f"{path} is larger than {MOST_SNAPSHOT_BYTES / 2**20:.0f} MiB.", remedy)
        catalogue = Catalogue.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ArchiveError(f"{path} cannot be read ({error.strerror or error}).", remedy) from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "it"
        raise ArchiveError(f"{path} is no catalogue: {field}: {first['msg']}.", remedy) from error
    if area is not None:
        try:
            check_area(catalogue, area)
        except ArchiveError as error:
            raise ArchiveError(f"{path}: {error.message}", error.remedy) from error
    return catalogue


def latest_snapshot(folder: Path, area: AreaOfInterest) -> Catalogue | None:
    """The newest saved answer that is younger than `settings().search_interval_s` and still describes the area.

    It keeps builds that follow each other closely from asking the archive anew: too many searches get a user banned
    (microsoft/PlanetaryComputer#427).
    """
    if not folder.is_dir():
        return None
    now = datetime.now(UTC)
    oldest = now - timedelta(seconds=settings().search_interval_s)
    for path in sorted(folder.glob("catalogue-*.json"), reverse=True):
        named = SNAPSHOT_NAME.match(path.name)
        if named is None:
            continue
        if datetime.strptime(named[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) + timedelta(seconds=1) < oldest:
            return None
        try:
            found = load_catalogue(path, area)
        except ArchiveError as error:
            log.info("not replaying %s: %s", path.name, error.message)
            continue
        if found.slc is None and wants_slc(area):
            log.info("not replaying %s: it knows nothing of the pairs that are wanted", path.name)
            continue
        if oldest <= found.searched_at <= now and found.endpoint == http_client.bare(settings().stac_url):
            return found if _inventory_unchanged(found, area) else None
    return None


def _inventory_unchanged(catalogue: Catalogue, area: AreaOfInterest) -> bool:
    """Whether a local inventory is still the file that the catalogue saw; remote ones are not asked again."""
    if area.inventory is None or area.inventory.url is None or not is_local(area.inventory.url):
        return True
    return inventories.inventory_fingerprint(area.inventory)[0] == catalogue.inventory
