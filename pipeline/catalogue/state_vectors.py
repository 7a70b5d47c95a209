"""Orbit files of Sentinel-1 (EOF, precise or restituted): checked, and read into state vectors."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from lxml import etree
from pydantic import Field

from pipeline.catalogue.identities import platform_name
from pipeline.catalogue.slc import StateVector, on_orbit
from pipeline.errors import SourceDataError
from pipeline.records import Frozen, Utc
from pipeline.xml import read_document

OrbitKind = Literal["precise", "restituted"]

MOST_FILE_BYTES = 32 * 2**20
"""A precise orbit file of a day has 4.4 MB; a larger file is refused."""
WIDEST_GAP_S = 60.0
"""Between two state vectors; the files give one every 10 s."""
_JERK_M_S3 = 0.02
"""More than twice what the Earth's pull changes in a second on this orbit (mean motion times gravity: 0.009)."""
_KINDS: dict[str, OrbitKind] = {"POEORB": "precise", "RESORB": "restituted"}
_NAME = re.compile(
    r"(?P<unit>S1[A-D])_OPER_AUX_(?P<kind>[A-Z]{6})_[A-Z0-9_]{4}_\d{8}T\d{6}"
    r"_V(?P<start>\d{8}T\d{6})_(?P<end>\d{8}T\d{6})(\.EOF)?"
)
_ANOTHER = "Delete it, so that it is fetched again, or give another orbit file."


class OrbitName(Frozen):
    """What the name of an orbit file states."""

    name: str = Field(description="file name without .EOF")
    platform: str = Field(description="as in 'sentinel-1a'")
    kind: OrbitKind
    validity: tuple[Utc, Utc] = Field(description="first and last instant that it covers")

    def covers(self, start: datetime, end: datetime) -> bool:
        """Whether it is valid from `start` to `end`."""
        return self.validity[0] <= start and end <= self.validity[1]


class OrbitFile(OrbitName):
    """One orbit file, read and checked."""

    state_vectors: tuple[StateVector, ...] = Field(min_length=2, description="ascending in time")
    degraded: int = Field(0, ge=0, description="state vectors that the file itself marks as degraded")

    def around(self, start: datetime, end: datetime, margin_s: float = 120.0) -> tuple[StateVector, ...]:
        """The state vectors from `start` to `end` (aware) with a margin on both sides, ascending in time.

        Raises:
            SourceDataError: the file does not reach from `start` to `end`.
        """
        first, last = self.state_vectors[0].time, self.state_vectors[-1].time
        if start < first or end > last:
            raise SourceDataError(
                f"The orbit file {self.name} has state vectors from {first.isoformat()} to {last.isoformat()}, "
                f"not from {start.isoformat()} to {end.isoformat()}.",
                "Give the orbit file of that overflight.",
            )
        # one vector beyond the margin, so that whatever its width both ends lie between two vectors
        margin = timedelta(seconds=margin_s + WIDEST_GAP_S)
        return tuple(v for v in self.state_vectors if start - margin <= v.time <= end + margin)


def read_orbit_name(name: str) -> OrbitName:
    """What a file's name states, as in S1A_OPER_AUX_POEORB_OPOD_20210301T121421_V20210208T225942_20210210T005942.EOF.

    Raises:
        SourceDataError: it is no name of a precise or restituted orbit file of Sentinel-1.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise SourceDataError(
            f"{name[:200]!r} is no name of an orbit file of Sentinel-1.",
            "Keep the archive's own name, S1?_OPER_AUX_POEORB_..._V<start>_<end>.EOF.",
        )
    kind = _KINDS.get(match["kind"])
    if kind is None:
        raise SourceDataError(
            f"The orbit file {name} is of the kind {match['kind']}.",
            "Give a precise (POEORB) or restituted (RESORB) one.",
        )
    try:
        start, end = (
            datetime.strptime(match[key], "%Y%m%dT%H%M%S").replace(tzinfo=UTC) for key in ("start", "end")
        )
    except ValueError as error:
        raise SourceDataError(f"The name of the orbit file {name} holds no valid date.", _ANOTHER) from error
    if end <= start:
        raise SourceDataError(f"The orbit file {name} ends before it begins.", _ANOTHER)
    return OrbitName(
        name=name.removesuffix(".EOF"),
        platform=platform_name(match["unit"]),
        kind=kind,
        validity=(start, end),
    )


def read_orbit_file(path: Path, name: str | None = None) -> OrbitFile:
    """Read and check a whole orbit file (Earth Explorer XML, one state vector every 10 s, earth-fixed, UTC).

    Format: "Sentinels POD Service File Format Specification" (GMES-GSEG-EOPG-FS-10-0075). The name must be the
    archive's, because platform, kind and validity are taken from it; `name` gives it where the file is still partial.

    The checks: the size; that the XML has neither a document type nor entities; frame, time reference and mission
    where the header states them; the stated number of vectors; and of every vector that it is finite, at a
    satellite's height and speed, at most `WIDEST_GAP_S` later than the one before, and consistent with its
    motion.

    Raises:
        SourceDataError: it cannot be read or holds something else; file and fault are named.
    """
    stated = read_orbit_name(name or path.name)
    root = _parse(path)
    _check_header(root, stated)
    nodes = list(root.iter("{*}OSV"))
    for listing in root.iter("{*}List_of_OSVs"):
        if listing.get("count", str(len(nodes))).strip() != str(len(nodes)):
            raise _unusable(path, f"states {listing.get('count')!r:.20} state vectors and holds {len(nodes)}")
    if len(nodes) < 2:
        raise _unusable(path, f"holds {len(nodes)} state vectors")
    vectors = tuple(_vector(node, number, path) for number, node in enumerate(nodes, start=1))
    for number, (before, after) in enumerate(pairwise(vectors), start=2):
        _check_step(before, after, number, path)
    tolerance = timedelta(seconds=WIDEST_GAP_S)
    if vectors[0].time > stated.validity[1] + tolerance or vectors[-1].time < stated.validity[0] - tolerance:
        raise _unusable(path, f"has state vectors of another time (from {vectors[0].time.isoformat()})")
    degraded = sum((node.findtext("{*}Quality") or "").strip() not in {"", "NOMINAL"} for node in nodes)
    return OrbitFile(**stated.model_dump(), state_vectors=vectors, degraded=degraded)


def _unusable(path: Path, fault: str) -> SourceDataError:
    return SourceDataError(f"The orbit file {path.name} {fault}.", _ANOTHER)


def _parse(path: Path) -> Any:
    root = read_document(path, MOST_FILE_BYTES, f"The orbit file {path.name}", _ANOTHER)
    if etree.QName(root).localname != "Earth_Explorer_File":
        raise _unusable(path, f"is a {etree.QName(root).localname[:60]!r}, no Earth_Explorer_File")
    return root


def _check_header(root: Any, stated: OrbitName) -> None:
    """Compare the header, where it is filled, with the name and with what is read here."""
    wanted = {
        "Ref_Frame": "EARTH_FIXED",
        "Time_Reference": "UTC",
        "Mission": f"Sentinel-1{stated.platform[-1].upper()}",
        "File_Name": stated.name,
    }
    for tag, value in wanted.items():
        for node in root.iter(f"{{*}}{tag}"):
            found = (node.text or "").strip()
            if found and found.removesuffix(".EOF") != value:
                raise SourceDataError(
                    f"The orbit file {stated.name} states {tag} {found[:120]!r}, not {value!r}.", _ANOTHER
                )


def _vector(node: Any, number: int, path: Path) -> StateVector:
    def text(tag: str) -> str:
        return (node.findtext(f"{{*}}{tag}") or "").strip()

    try:
        time = datetime.fromisoformat(text("UTC").removeprefix("UTC="))
        x, y, z, vx, vy, vz = (float(text(tag)) for tag in ("X", "Y", "Z", "VX", "VY", "VZ"))
    except ValueError as error:
        reason = " ".join(str(error).split())[:120]
        raise _unusable(
            path, f"has a state vector (number {number}) that cannot be read ({reason})"
        ) from None
    if time.tzinfo is not None:
        raise _unusable(path, f"gives the time of state vector {number} with a zone, {text('UTC')[:60]!r}")
    radius, speed = math.hypot(x, y, z), math.hypot(vx, vy, vz)
    if not on_orbit(radius, speed):
        raise _unusable(
            path,
            f"has a state vector (number {number}) {radius / 1000:.0f} km from the Earth's centre at "
            f"{speed:.0f} m/s, which is not Sentinel-1's orbit",
        )
    return StateVector(time=time.replace(tzinfo=UTC), position_m=(x, y, z), velocity_m_s=(vx, vy, vz))


def _check_step(before: StateVector, after: StateVector, number: int, path: Path) -> None:
    step = (after.time - before.time).total_seconds()
    if not 0 < step <= WIDEST_GAP_S:
        raise _unusable(path, f"has a step of {step:g} s between its state vectors {number - 1} and {number}")
    # the trapezoidal rule errs by step^3 / 12 times the jerk; 1 m more for rounding and manoeuvres
    allowed = 1.0 + step**3 / 12 * _JERK_M_S3
    apart = math.dist(
        after.position_m,
        [
            p + step * (v + w) / 2
            for p, v, w in zip(before.position_m, before.velocity_m_s, after.velocity_m_s, strict=True)
        ],
    )
    if apart > allowed:
        raise _unusable(path, f"jumps by {apart:.0f} m between its state vectors {number - 1} and {number}")
