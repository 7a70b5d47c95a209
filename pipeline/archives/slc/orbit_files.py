"""Orbit files: precise where there is one that covers the overflight, else restituted.

The protocol is that of the PyPI package `s1-orbits` 0.2.0 (`asf.orbit_address`). The package itself is not used: it
writes any response under the final name, without timeout, check or retry. No login is needed, and none is sent.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field

from pipeline.archives.asf import orbit_address
from pipeline.archives.http import http_client
from pipeline.archives.http.downloads import Wanted, download
from pipeline.archives.registry import archive_of
from pipeline.catalogue.slc import SlcPass
from pipeline.catalogue.state_vectors import (
    MOST_FILE_BYTES,
    OrbitKind,
    OrbitName,
    read_orbit_file,
    read_orbit_name,
)
from pipeline.errors import ArchiveError, SourceDataError
from pipeline.files import writing
from pipeline.records import Frozen, Utc

log = logging.getLogger(__name__)

MARGIN = timedelta(seconds=60)
"""State vectors needed before and after the overflight: what topsApp takes (`extractPreciseOrbit`)."""
PRECISE_AFTER = timedelta(days=20)
"""Precise files come about 20 days after the overflight (Copernicus POD service)."""
_NAME = re.compile(r"S1[A-D]_OPER_AUX_(POEORB|RESORB)_[A-Z0-9_]{4}_\d{8}T\d{6}_V\d{8}T\d{6}_\d{8}T\d{6}\.EOF")


class FetchedOrbit(Frozen):
    """An orbit file on the disk, checked."""

    path: Path
    kind: OrbitKind
    name: str = Field(description="the archive's name, without .EOF")
    validity: tuple[Utc, Utc]


def choose_orbit(names: Iterable[str], platform: str, start: datetime, end: datetime) -> OrbitName | None:
    """The best of some orbit files for an overflight, by their names alone; None where none is usable.

    It must be of the platform and valid from `MARGIN` before `start` to `MARGIN` after `end`. A precise file is better
    than a restituted one. The newest precise file is chosen; of restituted files the one whose middle is nearest to
    `start`.
    """
    usable: list[OrbitName] = []
    for name in names:
        try:
            orbit = read_orbit_name(name)
        except SourceDataError:
            continue
        if orbit.platform == platform and orbit.covers(start - MARGIN, end + MARGIN):
            usable.append(orbit)

    def rank(orbit: OrbitName) -> tuple[bool, float, str]:
        middle = orbit.validity[0] + (orbit.validity[1] - orbit.validity[0]) / 2
        off_s = abs((middle - start).total_seconds()) if orbit.kind == "restituted" else 0.0
        return orbit.kind == "precise", -off_s, orbit.name

    return max(usable, key=rank, default=None)


def fetch_orbit(
    platform: str,
    start: datetime,
    end: datetime,
    folder: Path,
    *,
    scene: str,
) -> FetchedOrbit:
    """The orbit file for an overflight of `platform` from `start` to `end` (aware), fetched to `folder` or found there.

    `scene` is the name of a granule of the overflight, which the service needs. An existing precise file is used
    without a request. An existing restituted one is used while there can be no precise one yet, and where the service
    fails.

    Raises:
        ArchiveError: there is no orbit file (yet), or the service fails.
        DiskError: it cannot be written.
        SourceDataError: the fetched file is damaged, of another platform, or does not cover the overflight.
    """
    with writing(folder / "orbit file"):
        folder.mkdir(parents=True, exist_ok=True)
    available = _available(folder, platform, start, end)
    if available is not None and (available.kind == "precise" or datetime.now(UTC) - end < PRECISE_AFTER):
        return available
    try:
        fetched = _fetch(platform, start, end, folder, scene)
    except ArchiveError as error:
        if available is None:
            raise
        log.warning("%s The existing restituted orbit file is used.", error.message)
        return available
    return fetched


def orbit_of(slc_pass: SlcPass, folder: Path) -> FetchedOrbit:
    """The orbit file for all granules of an overflight; see `fetch_orbit`."""
    start, end = min(g.start for g in slc_pass.granules), max(g.end for g in slc_pass.granules)
    return fetch_orbit(slc_pass.platform, start, end, folder, scene=slc_pass.granules[0].name)


def _available(folder: Path, platform: str, start: datetime, end: datetime) -> FetchedOrbit | None:
    names = [path.name for path in folder.glob("S1*.EOF")]
    while (best := choose_orbit(names, platform, start, end)) is not None:
        path = folder / f"{best.name}.EOF"
        try:
            return _checked(path, platform, start, end)
        except SourceDataError as error:
            log.warning("%s", error)
            names.remove(path.name)
    return None


def _fetch(platform: str, start: datetime, end: datetime, folder: Path, scene: str) -> FetchedOrbit:
    url = orbit_address(scene)
    final, name = http_client.retried(lambda: _location(url, scene))

    def check(path: Path) -> None:
        _checked(path, platform, start, end, name)

    path = folder / name
    best = choose_orbit([name], platform, start, end)
    if best is None:
        raise SourceDataError(
            f"The orbit file {name} does not cover the overflight of {platform} at {start.isoformat()} with "
            f"{MARGIN.total_seconds():.0f} s to spare.",
            "Build again later: another file may follow.",
        )
    download(Wanted(final, path, check=check, public=True, most_bytes=MOST_FILE_BYTES), archive_of(url))
    return _checked(path, platform, start, end)


def _location(url: str, scene: str) -> tuple[str, str]:
    """The address of the file, and its name; of the body only the beginning is read."""
    with archive_of(url).open(url, public=True) as response:
        if response.status_code == 404:
            raise ArchiveError(
                f"There is no orbit file for {scene} yet.",
                "Restituted orbit files come some hours after the overflight: build again then.",
            )
        http_client.accepted(response, url)
        if http_client.is_page(next(http_client.pieces(response, decode=True), b"")):
            raise http_client.page_instead(url, response.url)
        name = urlsplit(response.url).path.rpartition("/")[2]
        if not _NAME.fullmatch(name):
            named = re.search(r'filename="?([\w.-]+)"?', response.headers.get("Content-Disposition", ""))
            name = named.group(1) if named else ""
        if not _NAME.fullmatch(name):
            raise ArchiveError(
                f"{http_client.bare(url)} returned something that is no orbit file.", "Try again later."
            )
        return response.url, name


def _checked(
    path: Path, platform: str, start: datetime, end: datetime, name: str | None = None
) -> FetchedOrbit:
    """Read the whole file and check that its vectors cover the overflight; `name` while the file is partial."""
    stated = read_orbit_name(name or path.name)
    orbit = read_orbit_file(path, name=name)
    if stated.platform != platform:
        raise SourceDataError(
            f"{stated.name} is the orbit of {stated.platform}, not of {platform}.", "Delete it."
        )
    orbit.around(start - MARGIN, end + MARGIN, margin_s=0.0)  # raises where it does not reach
    return FetchedOrbit(path=path, kind=stated.kind, name=stated.name, validity=stated.validity)
