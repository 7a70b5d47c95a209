"""The catalogue of an area: one search of the archives, saved as a dated snapshot that can be replayed."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from shapely.geometry import mapping

from pipeline.archives import inventories
from pipeline.archives.archive import Query
from pipeline.archives.http import http_client
from pipeline.archives.probes import probe
from pipeline.archives.registry import serving
from pipeline.archives.slc.slc_search import search_slc
from pipeline.areas.area import AreaOfInterest
from pipeline.catalogue.assets import is_local
from pipeline.catalogue.catalogue import Catalogue, area_digest, dem_tiles_of, slc_dem_tiles_of
from pipeline.catalogue.dem_items import DEM_MARGIN_M, LOOK_DEM_MARGIN_M, surroundings, tiles_within
from pipeline.catalogue.passes import group_passes
from pipeline.catalogue.slc_passes import wants_slc
from pipeline.catalogue.snapshots import (
    FOLDER,
    SnapshotStore,
    answer_name,
    parse_catalogue,
    save_answer,
    save_catalogue,
)
from pipeline.errors import ArchiveError
from pipeline.settings import settings

log = logging.getLogger(__name__)

SNAPSHOT_NAME, ANSWER_NAME = (
    re.compile(rf"^{kind}-(\d{{8}}T\d{{6}}Z)-[0-9a-f]{{8}}\.json$") for kind in ("catalogue", "answer")
)


def search_catalogue(area: AreaOfInterest, store: SnapshotStore | None = None) -> Catalogue:
    """Search the archives once: radar and elevation items, the state of each file, the inventory.

    With a `store` the items are saved before anything is read from them, and deleted once the catalogue is saved. So
    whatever fails meanwhile, the next search within `settings().search_interval_s` begins with the same answer.

    Raises:
        ArchiveError: the archive of backscatter refused, failed, or returned something that cannot be used; or no
            server gives any of its files. What fails of elevation, of an inventory or of pairs is noted.
    """
    answer = latest_answer(store, area) if store is not None else None
    if answer is None:
        answer = _search(area)
        if store is not None:
            save_answer(answer, store)
    else:
        log.info("reading the saved answer of %s", answer.searched_at.isoformat())
    found = _described(answer, area)
    if store is not None:
        save_catalogue(found, store)
        store.delete(f"{FOLDER}/{answer_name(answer)}")
    return found


def _search(area: AreaOfInterest) -> Catalogue:
    """The items of every archive, as they came: a catalogue without the state of files and the inventory."""
    searched_at = datetime.now(UTC)
    rtc = serving(area.rtc_collection).search(area.rtc_collection, Query.of_area(area))
    box = surroundings(area, LOOK_DEM_MARGIN_M if area.interferometry else DEM_MARGIN_M)
    dem: list[dict[str, Any]] = []
    unsearched: dict[str, str] = {}
    for collection in area.collections[1:]:
        try:
            rtc = [*rtc, *serving(collection).search(collection, Query.of_area(area))]
        except ArchiveError as error:  # the passes of the first source can be built
            log.warning("no %s: %s", collection, error)
            unsearched[collection] = error.message
    try:
        dem = serving(area.dem.collection).search(area.dem.collection, Query(mapping(box)))
    except ArchiveError as error:  # only terrain and look geometry need it
        log.warning("no elevation: %s", error)
        unsearched["elevation"] = error.message
    slc, slc_notes = search_slc(area)
    return Catalogue(
        area=area.name,
        area_digest=area_digest(area),
        searched_at=searched_at,
        endpoint=_endpoint(area),
        rtc_items=tuple(sorted(rtc, key=lambda item: str(item["id"]))),
        dem_items=tuple(sorted(dem, key=lambda item: str(item["id"]))),
        slc=slc,
        unsearched=unsearched,
        notes=(*(f"{part} could not be searched: {why}" for part, why in unsearched.items()), *slc_notes),
    )


def _endpoint(area: AreaOfInterest) -> str:
    """The addresses that are searched for backscatter."""
    found = (http_client.bare(serving(collection).endpoint) for collection in area.collections)
    return " and ".join(dict.fromkeys(found))


def _described(answer: Catalogue, area: AreaOfInterest) -> Catalogue:
    """The same with the state of each file that the area needs, and of the inventory.

    Files of what the area excludes are described too: the field may change while the catalogue is used.
    """
    area = area.model_copy(update={"exclude": ()})
    found = group_passes(answer.rtc_items, area)
    tiles = dem_tiles_of(answer, area).tiles
    pieces = [piece for overflight in found.passes for piece in overflight.slices]
    wanted = [
        piece.assets[polarisation].href
        for piece in (*pieces, *found.others)
        for polarisation in area.polarisations
        if polarisation in piece.assets
    ]
    wanted += [piece.mask.href for piece in (*pieces, *found.others) if piece.mask is not None]
    slc_tiles = slc_dem_tiles_of(answer, area).tiles
    hrefs_of_tiles = [tile.asset.href for tile in [*tiles, *slc_tiles]]
    probes, notes = probe(wanted)
    try:
        of_tiles, remarks = probe(hrefs_of_tiles)
    except ArchiveError as error:  # only what needs elevation is left out
        of_tiles, remarks = {}, [error.message]
    probes |= of_tiles
    notes += remarks
    if not probes and any(is_local(href) for href in (*wanted, *hrefs_of_tiles)):
        raise ArchiveError(
            f"The items at {answer.endpoint} name files of this machine, which are not read.",
            "Check SLIDECUBE_STAC_URL, or report it to the archive.",
        )
    inventory, remarks = inventories.inventory_fingerprint(area.inventory)
    notes += [*answer.notes, *remarks]
    if not tiles_within(area, tiles, DEM_MARGIN_M) and "elevation" not in answer.unsearched:
        notes.append(f"{area.dem.collection} has no tile here: the cube will have no terrain")
    log.info(
        "%s: %d items, %d passes, %d elevation tiles",
        area.name, len(answer.rtc_items), len(found.passes), len(tiles),
    )  # fmt: skip
    return answer.model_copy(
        update={"probes": dict(sorted(probes.items())), "inventory": inventory, "notes": tuple(notes)}
    )


def latest_snapshot(store: SnapshotStore, area: AreaOfInterest) -> Catalogue | None:
    """The newest saved catalogue that is younger than `settings().search_interval_s` and still describes the area.

    It keeps builds that follow each other closely from searching again: an archive may ban a user who searches too
    often (microsoft/PlanetaryComputer#427).
    """
    found = _latest(store, area, SNAPSHOT_NAME)
    return found if found is not None and _inventory_unchanged(found, area) else None


def newest_saved(store: SnapshotStore, area: AreaOfInterest) -> Catalogue | None:
    """The newest saved catalogue that describes the area, however old; None where there is none."""
    for name in reversed(store.names(FOLDER)):
        if SNAPSHOT_NAME.match(name) is None:
            continue
        try:
            return parse_catalogue(store.read(f"{FOLDER}/{name}") or b"", name, area)
        except ArchiveError as error:
            log.info("not reading %s: %s", name, error.message)
    return None


def latest_answer(store: SnapshotStore, area: AreaOfInterest) -> Catalogue | None:
    """The newest saved answer, by the same rules, of a search whose catalogue could not be made."""
    return _latest(store, area, ANSWER_NAME)


def _latest(store: SnapshotStore, area: AreaOfInterest, pattern: re.Pattern[str]) -> Catalogue | None:
    endpoint, now = _endpoint(area), datetime.now(UTC)
    oldest = now - timedelta(seconds=settings().search_interval_s)
    for name in reversed(store.names(FOLDER)):
        named = pattern.match(name)
        if named is None:
            continue
        if datetime.strptime(named[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) + timedelta(seconds=1) < oldest:
            return None
        try:
            found = parse_catalogue(store.read(f"{FOLDER}/{name}") or b"", name, area)
        except ArchiveError as error:
            log.info("not replaying %s: %s", name, error.message)
            continue
        if found.unsearched:
            log.info("not replaying %s: %s could not be searched", name, " and ".join(found.unsearched))
            continue
        if found.slc is None and wants_slc(area):
            log.info("not replaying %s: it holds no search for the pairs that are wanted", name)
            continue
        if oldest <= found.searched_at <= now and found.endpoint == endpoint:
            return found
    return None


def _inventory_unchanged(catalogue: Catalogue, area: AreaOfInterest) -> bool:
    """Whether a local inventory is still the file of the catalogue; remote ones are not examined again."""
    if area.inventory is None or area.inventory.url is None or not is_local(area.inventory.url):
        return True
    return inventories.inventory_fingerprint(area.inventory)[0] == catalogue.inventory
