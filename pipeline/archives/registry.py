"""The archives that slidecube knows: a new one is added to `ARCHIVES`, and found by its hosts and collections."""

from __future__ import annotations

from pipeline.archives.archive import SLC_GRANULES, Archive
from pipeline.archives.asf import Asf
from pipeline.archives.http import http_client
from pipeline.archives.opera import OperaRtc
from pipeline.archives.planetary import PlanetaryComputer
from pipeline.archives.stac import StacArchive
from pipeline.archives.zenodo import Zenodo
from pipeline.areas.area import AreaOfInterest
from pipeline.settings import settings

ARCHIVES: tuple[Archive, ...] = (PlanetaryComputer(), Asf(), OperaRtc(), Zenodo())

OTHER = StacArchive()
"""Any other host: nothing is signed and no login is sent."""


def archive_of(href: str) -> Archive:
    """The archive that owns the host of an address."""
    host = http_client.host_of(href)
    return next((archive for archive in ARCHIVES if archive.owns(host)), OTHER)


def serving(collection: str) -> Archive:
    """The archive that is searched for a collection: the one that names it, else the one at SLIDECUBE_STAC_URL."""
    named = (archive for archive in ARCHIVES if collection in archive.collections)
    return next(named, None) or archive_of(settings().stac_url)


def archives_read(area: AreaOfInterest) -> tuple[Archive, ...]:
    """The archives that a build of the area reads, each name once: those of one name share their limit."""
    collections = [*area.collections, area.dem.collection]
    if area.interferometry is not None:
        collections.append(SLC_GRANULES)
    return tuple({archive.name: archive for archive in map(serving, collections)}.values())
