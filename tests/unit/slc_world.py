"""A tiny world with single look complex data: an index, and small files that stand for products."""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from pipeline.catalogue.slc import Burst, Granule, StateVector
from pipeline.sandbox.slc.slc_index import OrbitEntry
from pipeline.sandbox.world import FORMAT, World

DATAPOOL = "datapool.asf.alaska.edu"
BURSTS = "sentinel1-burst.asf.alaska.edu"
BUCKET = "s1-orbits.s3.us-west-2.amazonaws.com"
INCLINATION = math.radians(98.18)
REVOLUTION_S = 12 * 86400 / 175
RADIUS_M = 7.07e6


@dataclass(frozen=True)
class Overflight:
    """What a granule is made from."""

    unit: str
    relative_orbit: int
    absolute_orbit: int
    start: datetime
    west: float
    ascending: bool = False
    polarisations: tuple[str, ...] = ("vv", "vh")
    precise_orbit: bool = True


FLIGHTS = (
    Overflight("S1A", 46, 23021, datetime(2018, 8, 24, 20, 43, 1, tzinfo=UTC), 142.0),
    Overflight("S1A", 46, 23196, datetime(2018, 9, 5, 20, 43, 2, tzinfo=UTC), 142.0),
    Overflight("S1B", 46, 12300, datetime(2018, 8, 30, 20, 42, 20, tzinfo=UTC), 142.0, polarisations=("vv",)),
    Overflight("S1A", 68, 23043, datetime(2018, 8, 26, 8, 34, 1, tzinfo=UTC), 141.2, ascending=True),
    Overflight("S1A", 46, 23371, datetime(2018, 9, 17, 20, 43, 3, tzinfo=UTC), -20.0, precise_orbit=False),
)


@dataclass(frozen=True)
class SlcWorld:
    """The world, and what its index says."""

    world: World
    granules: tuple[Granule, ...]
    bursts: tuple[Burst, ...]
    orbits: tuple[OrbitEntry, ...]

    def file(self, url: str) -> bytes:
        """The bytes behind an address."""
        return (self.world.root / "blobs" / url.removeprefix("https://")).read_bytes()


def circle(node: datetime, instant: datetime) -> StateVector:
    """A satellite on a circle over an Earth that stands still, `node` being when it last flew north."""
    along = math.tau * (instant - node).total_seconds() / REVOLUTION_S
    speed = math.tau * RADIUS_M / REVOLUTION_S
    c, s, ci, si = math.cos(along), math.sin(along), math.cos(INCLINATION), math.sin(INCLINATION)
    return StateVector(
        time=instant,
        position_m=(RADIUS_M * c, RADIUS_M * s * ci, RADIUS_M * s * si),
        velocity_m_s=(-speed * s, speed * c * ci, speed * c * si),
    )


def make_slc_world(root: Path, flights: tuple[Overflight, ...] = FLIGHTS) -> SlcWorld:
    """Write the world: a granule with two bursts a polarisation and an orbit file for each overflight."""
    for name in ("items", "blobs", "slc"):
        (root / name).mkdir(parents=True)
    granules: list[Granule] = []
    bursts: list[Burst] = []
    orbits: list[OrbitEntry] = []
    for number, flight in enumerate(flights):
        granule = _granule(flight, number)
        content = f"PK zip of {granule.name} ".encode() * 500
        _write(root, granule.url, content)
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        granules.append(granule.model_copy(update={"size_bytes": len(content), "md5": md5}))
        for polarisation in flight.polarisations:
            bursts += [_burst(granule, polarisation, index, root) for index in range(2)]
        orbits.append(_orbit(flight, "precise" if flight.precise_orbit else "restituted", root))
    orbits.append(_orbit(flights[0], "restituted", root))
    index = {
        "granules": [granule.model_dump(mode="json") for granule in granules],
        "bursts": [burst.model_dump(mode="json") for burst in bursts],
        "orbits": [orbit.model_dump(mode="json") for orbit in orbits],
    }
    (root / "slc" / "index.json").write_text(json.dumps(index))
    return SlcWorld(empty_world(root), tuple(granules), tuple(bursts), tuple(orbits))


def empty_world(root: Path) -> World:
    """A finished world without items."""
    for name in ("items", "blobs"):
        (root / name).mkdir(parents=True, exist_ok=True)
    document = {"format": FORMAT, "order": [], "digest": "none", "notes": [], "passes": []}
    (root / "world.json").write_text(json.dumps(document))
    return World.open(root)


def _granule(flight: Overflight, number: int) -> Granule:
    end = flight.start + timedelta(seconds=27)
    mode = "1SDV" if len(flight.polarisations) == 2 else "1SSV"
    name = (
        f"{flight.unit}_IW_SLC__{mode}_{flight.start:%Y%m%dT%H%M%S}_{end:%Y%m%dT%H%M%S}_{flight.absolute_orbit:06d}"
        f"_{flight.absolute_orbit * 8:06X}_A{number:03X}"
    )
    west, south = flight.west, 42.0
    ring = [
        [west, south],
        [west + 1, south - 0.1],
        [west + 1.2, south + 1.4],
        [west + 0.2, south + 1.5],
        [west, south],
    ]
    first = flight.start.replace(microsecond=0)
    node = flight.start - timedelta(seconds=700 if flight.ascending else 2290)
    return Granule(
        name=name,
        platform=f"sentinel-1{flight.unit[2].lower()}",
        absolute_orbit=flight.absolute_orbit,
        relative_orbit=flight.relative_orbit,
        frame=450,
        direction="ascending" if flight.ascending else "descending",
        start=flight.start,
        end=end,
        polarisations=flight.polarisations,  # type: ignore[arg-type]
        geometry={"type": "Polygon", "coordinates": [ring]},
        url=f"https://{DATAPOOL}/SLC/S{flight.unit[2]}/{name}.zip",
        processed=end + timedelta(hours=5),
        state_vectors=tuple(circle(node, first + timedelta(seconds=10 * step)) for step in range(-3, 7)),
    )


def _burst(granule: Granule, polarisation: str, index: int, root: Path) -> Burst:
    start = granule.start + timedelta(seconds=3 + 2.758273 * index)
    unit = granule.name[-4:]
    west, south = granule.geometry["coordinates"][0][0]
    south += 0.2 + 0.18 * index
    ring = [
        [west, south],
        [west + 0.9, south - 0.1],
        [west + 0.9, south + 0.1],
        [west, south + 0.2],
        [west, south],
    ]
    base = f"https://{BURSTS}/{granule.name}/IW2/{polarisation.upper()}/{index}"
    number = 98_000 + granule.relative_orbit * 10 + index
    path = root / "blobs" / BURSTS / granule.name / "IW2" / polarisation.upper()
    path.mkdir(parents=True, exist_ok=True)
    _write(root, f"{base}.xml", f"<burst><manifest/><metadata>{granule.name}</metadata></burst>".encode())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path / f"{index}.tiff", "w", "GTiff", 30, 20, 1, dtype="complex_int16") as raster:
            raster.write(np.full((1, 20, 30), index + 1j, np.complex64))
    return Burst(
        id=f"S1_{number:06d}_IW2_{start:%Y%m%dT%H%M%S}_{polarisation.upper()}_{unit}-BURST",
        full_id=f"{granule.relative_orbit:03d}_{number:06d}_IW2",
        granule=granule.name,
        swath="IW2",
        polarisation=polarisation,  # type: ignore[arg-type]
        index=index,
        start=start,
        geometry={"type": "Polygon", "coordinates": [ring]},
        tiff_url=f"{base}.tiff",
        xml_url=f"{base}.xml",
        size_bytes=20 * 30 * 4,
    )


def _orbit(flight: Overflight, kind: str, root: Path) -> OrbitEntry:
    precise = kind == "precise"
    reach = timedelta(hours=13) if precise else timedelta(hours=1.6)
    start, end = flight.start - reach, flight.start + reach
    made = flight.start + timedelta(days=20 if precise else 0.2)
    word = "POEORB" if precise else "RESORB"
    times = [f"{instant:%Y%m%dT%H%M%S}" for instant in (made, start, end)]
    name = f"{flight.unit}_OPER_AUX_{word}_OPOD_{times[0]}_V{times[1]}_{times[2]}.EOF"
    _write(
        root,
        f"https://{BUCKET}/AUX_{word}/{name}",
        f"<Earth_Explorer_File>{name}</Earth_Explorer_File>".encode(),
    )
    return OrbitEntry(
        file=name,
        platform=f"sentinel-1{flight.unit[2].lower()}",
        start=start,
        end=end,
        kind=kind,  # type: ignore[arg-type]
    )


def _write(root: Path, url: str, content: bytes) -> None:
    path = root / "blobs" / url.removeprefix("https://")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
