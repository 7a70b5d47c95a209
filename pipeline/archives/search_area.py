"""What the archives hold for an area: one search, kept as a dated snapshot that can be replayed."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shapely.geometry import mapping

from pipeline.archives import http_client, inventories, planetary
from pipeline.archives.http.probes import probe
from pipeline.archives.slc.slc_search import search_slc
from pipeline.area import AreaOfInterest
from pipeline.catalogue.assets import is_local
from pipeline.catalogue.catalogue import Catalogue, area_digest, rfc3339
from pipeline.catalogue.dem_items import dem_tiles_in
from pipeline.catalogue.dem_margins import DEM_MARGIN_M, LOOK_DEM_MARGIN_M, surroundings, tiles_within
from pipeline.catalogue.passes import group_passes
from pipeline.catalogue.slc_passes import wants_slc
from pipeline.catalogue.snapshots import load_catalogue
from pipeline.errors import ArchiveError
from pipeline.settings import settings

log = logging.getLogger(__name__)

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
        interval=f"{rfc3339(area.start)}/{rfc3339(area.end)}",
        api=api,
    )
    box = surroundings(area, LOOK_DEM_MARGIN_M if area.interferometry else DEM_MARGIN_M)
    dem = planetary.search(area.dem.collection, intersects=mapping(box), api=api)
    found = group_passes(rtc, area)
    tiles = dem_tiles_in(dem, area.dem.collection, {})
    wanted = [
        piece.assets[polarisation].href
        for overflight in found.passes
        for piece in overflight.slices
        for polarisation in area.polarisations
        if polarisation in piece.assets
    ]
    slc, slc_notes = search_slc(area, api)
    slc_tiles = dem_tiles_in(slc.dem_items, area.dem.collection, {}) if slc else []
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
