"""Zero-Doppler geometry against the geolocation grid of real annotation, computed by ESA's processor."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lxml import etree

from pipeline.catalogue.slc import StateVector
from pipeline.catalogue.state_vectors import read_orbit_file
from pipeline.insar.look.orbit_geometry import (
    LIGHT_M_S,
    Orbit,
    earth_fixed,
    elevation_angle_deg,
    ellipsoidal_incidence_deg,
    looks_right,
)

FILES = (("20230904", "iw1"), ("20230904", "iw2"), ("20230916", "iw1"), ("20230916", "iw2"))


@dataclass
class Annotation:
    """What is used of one swath's annotation."""

    vectors: tuple[StateVector, ...]
    points: dict[str, Any]
    times: list[datetime]


def instant(text: str | None) -> datetime:
    return datetime.fromisoformat(str(text)).replace(tzinfo=UTC)


@pytest.fixture(params=FILES, ids="-".join)
def annotation(request: pytest.FixtureRequest, shared_data: Path) -> Annotation:
    day, swath = request.param
    folder = shared_data / "slc_annotation_pair_morocco"
    (path,) = folder.glob(f"*_{day}T*/annotation/s1a-{swath}-*.xml")
    root = etree.parse(str(path)).getroot()

    def triple(node: Any, tag: str) -> tuple[float, ...]:
        return tuple(float(node.findtext(f"{tag}/{axis}")) for axis in "xyz")

    vectors = tuple(
        StateVector(
            time=instant(node.findtext("time")),
            position_m=triple(node, "position"),
            velocity_m_s=triple(node, "velocity"),
        )
        for node in root.iter("orbit")
    )
    nodes = list(root.iter("geolocationGridPoint"))
    names = ("slantRangeTime", "latitude", "longitude", "height", "incidenceAngle", "elevationAngle")
    points = {name: np.array([float(node.findtext(name)) for node in nodes]) for name in names}
    return Annotation(vectors, points, [instant(node.findtext("azimuthTime")) for node in nodes])


def test_times_and_ranges_of_the_geolocation_grid(annotation: Annotation) -> None:
    orbit, points = Orbit.of(annotation.vectors), annotation.points
    assert len(annotation.times) == 210
    ground = earth_fixed(points["longitude"], points["latitude"], points["height"])
    times, ranges = orbit.zero_doppler(ground)
    stated = np.array([orbit.seconds(time) for time in annotation.times])
    assert np.abs(times - stated).max() < 5e-6  # 3.4e-6 s, the last digits of the stated times
    assert np.abs(ranges - points["slantRangeTime"] * LIGHT_M_S / 2).max() < 5e-4  # 0.24 mm
    assert looks_right(orbit, ground).all()


def test_angles_of_the_geolocation_grid(annotation: Annotation) -> None:
    orbit, points = Orbit.of(annotation.vectors), annotation.points
    places = points["longitude"], points["latitude"], points["height"]
    geocentric = ellipsoidal_incidence_deg(orbit, *places, normal="geocentric")
    assert np.abs(geocentric - points["incidenceAngle"]).max() < 1e-7
    elevation = elevation_angle_deg(orbit, earth_fixed(*places))
    assert np.abs(elevation - points["elevationAngle"]).max() < 1e-7
    # the annotation measures from the geocentric direction, which leans from the vertical by 0.17 degrees at 31 N,
    # most of it along the track
    apart = np.abs(ellipsoidal_incidence_deg(orbit, *places) - points["incidenceAngle"])
    assert 0.02 < apart.max() < 0.04


def test_an_orbit_file_of_the_annotation_gives_the_same_orbit(annotation: Annotation, tmp_path: Path) -> None:
    vectors = annotation.vectors
    rows = []
    for vector in vectors:
        (x, y, z), (u, v, w) = vector.position_m, vector.velocity_m_s
        time = vector.time.replace(tzinfo=None).isoformat(timespec="microseconds")
        rows.append(
            f"<OSV><UTC>UTC={time}</UTC><X unit='m'>{x:.6f}</X><Y unit='m'>{y:.6f}</Y><Z unit='m'>{z:.6f}</Z>"
            f"<VX unit='m/s'>{u:.6f}</VX><VY unit='m/s'>{v:.6f}</VY><VZ unit='m/s'>{w:.6f}</VZ></OSV>"
        )
    begin, end = (vectors[i].time + timedelta(hours=h) for i, h in ((0, -1), (-1, 1)))
    name = f"S1A_OPER_AUX_RESORB_OPOD_20230930T010203_V{begin:%Y%m%dT%H%M%S}_{end:%Y%m%dT%H%M%S}.EOF"
    (tmp_path / name).write_text(
        "<Earth_Explorer_File><Data_Block><List_of_OSVs>"
        + "".join(rows)
        + "</List_of_OSVs></Data_Block></Earth_Explorer_File>"
    )
    read = read_orbit_file(tmp_path / name)
    assert read.kind == "restituted"
    assert read.state_vectors == vectors
