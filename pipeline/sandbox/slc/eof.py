"""Orbit files in the form of the Copernicus POD service (file format: GMES-GSEG-EOPG-FS-10-0075)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from pipeline.catalogue.identities import platform_name
from pipeline.catalogue.slc import StateVector
from pipeline.sandbox.earth.overflights import Flight
from pipeline.sandbox.elements import Node, build, listed, serialised, text
from pipeline.sandbox.slc.orbit import Orbit, every

STORE = "s1-orbits.s3.us-west-2.amazonaws.com"
"""Host to which ASF's service of orbit files redirects."""
_STEP_S = 10.0
_REACH = timedelta(minutes=45)
"""Span of state vectors before and after an overflight; real files have a whole day or three hours."""


@dataclass(frozen=True)
class OrbitFacts:
    """A written orbit file; `file` is its path below the world's `blobs`."""

    file: str
    platform: str
    start: datetime
    end: datetime
    kind: Literal["precise", "restituted"]


def write_orbit_file(orbit: Orbit, flight: Flight, restituted: bool, blobs: Path) -> OrbitFacts:
    """Write the orbit file of an overflight."""
    at = orbit.epoch.replace(microsecond=0)
    first = at - _REACH - timedelta(seconds=(at - _REACH).second % 10 - 2)
    vectors = orbit.vectors(every(_STEP_S, first, int(2 * _REACH.total_seconds() / _STEP_S) + 2))
    day = at.replace(hour=0, minute=0, second=0)
    if restituted:
        kind, valid = "RESORB", (vectors[0].time, vectors[-1].time)
        made = valid[1] + timedelta(hours=2)
    else:
        # two tracks may have passes on one day; their files differ in creation time
        kind = "POEORB"
        valid = day - timedelta(hours=1, seconds=18), day + timedelta(days=1, minutes=59, seconds=42)
        made = day + timedelta(days=20, hours=12, seconds=flight.track.relative_orbit)
    name = (
        f"{flight.platform}_OPER_AUX_{kind}_OPOD_{made:%Y%m%dT%H%M%S}"
        f"_V{valid[0]:%Y%m%dT%H%M%S}_{valid[1]:%Y%m%dT%H%M%S}"
    )
    path = blobs / STORE / f"AUX_{kind}" / f"{name}.EOF"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(serialised(build(_document(name, flight, kind, valid, vectors))))
    return OrbitFacts(
        file=path.relative_to(blobs).as_posix(),
        platform=platform_name(flight.platform),
        start=vectors[0].time,
        end=vectors[-1].time,
        kind="restituted" if restituted else "precise",
    )


def _document(
    name: str, flight: Flight, kind: str, valid: tuple[datetime, datetime], vectors: tuple[StateVector, ...]
) -> Node:
    fixed = [
        ("File_Name", name),
        ("File_Description", "Simulated orbit file"),
        ("Mission", f"Sentinel-1{flight.platform[-1]}"),
        ("File_Class", "OPER"),
        ("File_Type", f"AUX_{kind}"),
        (
            "Validity_Period",
            [("Validity_Start", f"UTC={_short(valid[0])}"), ("Validity_Stop", f"UTC={_short(valid[1])}")],
        ),
        ("File_Version", "0001"),
    ]
    variable = [("Ref_Frame", "EARTH_FIXED"), ("Time_Reference", "UTC")]
    return (
        "Earth_Explorer_File",
        [
            ("Earth_Explorer_Header", [("Fixed_Header", fixed), ("Variable_Header", variable)]),
            (
                "Data_Block",
                {"type": "xml"},
                [listed("List_of_OSVs", [_vector(vector, flight.absolute_orbit) for vector in vectors])],
            ),
        ],
    )


def _short(instant: datetime) -> str:
    return f"{instant:%Y-%m-%dT%H:%M:%S}"


def _vector(vector: StateVector, absolute_orbit: int) -> Node:
    # leap seconds are those since 2017; UT1 is not simulated
    return (
        "OSV",
        [
            ("TAI", f"TAI={text(vector.time + timedelta(seconds=37))}"),
            ("UTC", f"UTC={text(vector.time)}"),
            ("UT1", f"UT1={text(vector.time)}"),
            ("Absolute_Orbit", f"+{absolute_orbit:06d}"),
            *[(axis, {"unit": "m"}, f"{v:.6f}") for axis, v in zip("XYZ", vector.position_m, strict=True)],
            *[
                (f"V{axis}", {"unit": "m/s"}, f"{v:.6f}")
                for axis, v in zip("XYZ", vector.velocity_m_s, strict=True)
            ],
            ("Quality", "NOMINAL"),
        ],
    )
