"""Orbit files from ASF's public store: precise where there is one that covers the overflight, else restituted.

Protocol of the PyPI package `s1-orbits` 0.2.0: `GET https://s1-orbits.asf.alaska.edu/scene/<granule>` redirects to the
best file for that granule; 400 no name of a granule, 404 no file yet. The package itself is not used, because it
writes whatever comes under its last name, without time limit, check or a second try. No login is wanted, and none is
sent.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, urlsplit

from pydantic import Field

from pipeline.archives import http_client
from pipeline.archives.earthdata import Earthdata, earthdata
from pipeline.archives.http.downloads import Wanted, download
from pipeline.catalogue.slc import SlcPass
from pipeline.catalogue.state_vectors import OrbitKind, OrbitName, read_orbit_file, read_orbit_name
from pipeline.errors import ArchiveError, SourceDataError
from pipeline.records import Frozen, Utc

log = logging.getLogger(__name__)

SERVICE = "https://s1-orbits.asf.alaska.edu/scene"
MARGIN = timedelta(seconds=60)
"""State vectors wanted before and after the overflight: what topsApp takes (`extractPreciseOrbit`)."""
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
    """The best of some orbit files for an overflight, by their names alone; None where none will do.

    It must be of the platform and valid from `MARGIN` before `start` to `MARGIN` after `end`. Precise is better than
    restituted; of one kind the one made last counts, of restituted files the one whose middle is nearest.
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
    archive: Earthdata | None = None,
) -> FetchedOrbit:
    """The orbit file for an overflight of `platform` from `start` to `end` (aware), fetched to `folder` or found there.

    `scene` is the name of a granule of the overflight, which is what the service asks for. A precise file at hand is
    used without asking. A restituted one is used without asking while there can be no precise one yet, and where the
    service does not answer.

    Raises:
        ArchiveError: there is no orbit file (yet), or the service fails.
        SourceDataError: the file that came is damaged, of another platform, or does not cover the overflight.
    """
    folder.mkdir(parents=True, exist_ok=True)
    at_hand = _at_hand(folder, platform, start, end)
    if at_hand is not None and (at_hand.kind == "precise" or datetime.now(UTC) - end < PRECISE_AFTER):
        return at_hand
    try:
        fetched = _fetch(platform, start, end, folder, scene, archive or earthdata())
    except ArchiveError as error:
        if at_hand is None:
            raise
        log.warning("%s The restituted orbit file that is at hand is used.", error.message)
        return at_hand
    return fetched


def orbit_of(side: SlcPass, folder: Path, archive: Earthdata | None = None) -> FetchedOrbit:
    """The orbit file for all granules of an overflight; see `fetch_orbit`."""
    start, end = min(g.start for g in side.granules), max(g.end for g in side.granules)
    return fetch_orbit(side.platform, start, end, folder, scene=side.granules[0].name, archive=archive)


def _at_hand(folder: Path, platform: str, start: datetime, end: datetime) -> FetchedOrbit | None:
    names = [path.name for path in folder.glob("S1*.EOF")]
    while (best := choose_orbit(names, platform, start, end)) is not None:
        path = folder / f"{best.name}.EOF"
        try:
            return _checked(path, platform, start, end)
        except SourceDataError as error:
            log.warning("%s", error)
            names.remove(path.name)
    return None


def _fetch(
    platform: str, start: datetime, end: datetime, folder: Path, scene: str, archive: Earthdata
) -> FetchedOrbit:
    url = f"{SERVICE}/{quote(scene, safe='')}"
    final, name = http_client.patiently(lambda: _place(url, scene, archive))

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
    download(Wanted(final, path, check=check, login=False), archive=archive)
    return _checked(path, platform, start, end)


def _place(url: str, scene: str, archive: Earthdata) -> tuple[str, str]:
    """Where the file lies, and its name; the body of the answer is left unread."""
    with archive.ask(url, login=False) as answer:
        status = answer.status_code
        if status == 404:
            raise ArchiveError(
                f"There is no orbit file for {scene} yet.",
                "Restituted orbit files come some hours after the overflight: build again then.",
            )
        if status >= 400:
            raise http_client.refused(
                url, status, wait_s=http_client.retry_after_s(answer.headers.get("Retry-After"))
            )
        name = urlsplit(answer.url).path.rpartition("/")[2]
        if not _NAME.fullmatch(name):
            said = re.search(r'filename="?([\w.-]+)"?', answer.headers.get("Content-Disposition", ""))
            name = said.group(1) if said else ""
        if not _NAME.fullmatch(name):
            raise ArchiveError(
                f"{http_client.bare(url)} answered something that is no orbit file.", "Try again later."
            )
        return answer.url, name


def _checked(
    path: Path, platform: str, start: datetime, end: datetime, name: str | None = None
) -> FetchedOrbit:
    """Read the whole file and see that its vectors cover the overflight; `name` where the file is still partial."""
    stated = read_orbit_name(name or path.name)
    orbit = read_orbit_file(path, name=name)
    if stated.platform != platform:
        raise SourceDataError(
            f"{stated.name} is the orbit of {stated.platform}, not of {platform}.", "Delete it."
        )
    orbit.around(start - MARGIN, end + MARGIN, margin_s=0.0)  # raises where it does not reach
    return FetchedOrbit(path=path, kind=stated.kind, name=stated.name, validity=stated.validity)
