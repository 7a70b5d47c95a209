"""Small jobs for the simulated topsApp: minimal SAFE folders, orbit files, a DEM, a manifest."""

from __future__ import annotations

import json
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.transform import from_origin

from pipeline.insar.job import JobAcquisition, JobLimits, JobManifest

STANDIN = Path(__file__).with_name("standin_topsapp.py")
BBOX = (141.97, 42.68, 142.03, 42.72)
MIB = 2**20

_SAFE = "S1A_IW_SLC__1SDV_{day}T083000_{day}T083027_023000_027F00_{tail}.SAFE"
_ORBIT = "S1A_OPER_AUX_POEORB_OPOD_20181001T120000_V{before}T225942_{after}T005942.EOF"
_DAYS = {
    "reference": ("20180824", "20180823", "20180825", "AAAA"),
    "secondary": ("20180905", "20180904", "20180906", "BBBB"),
}


def make_job(
    folder: Path,
    *,
    esd: bool = True,
    bursts: tuple[str, ...] = ("046_097420_IW1", "046_097421_IW1"),
    **limits: Any,
) -> Path:
    """A job in `folder` for the simulated topsApp; `limits` override those of the manifest."""
    job = folder
    (job / "inputs/orbits").mkdir(parents=True)
    (job / "scratch").mkdir()
    (job / "products").mkdir()
    sides = {}
    for side, (day, before, after, tail) in _DAYS.items():
        safe = job / "inputs" / side / _SAFE.format(day=day, tail=tail)
        _write_safe(safe, day)
        orbit = job / "inputs/orbits" / _ORBIT.format(before=before, after=after)
        orbit.write_text("<Earth_Explorer_File/>", encoding="utf-8")
        sides[side] = JobAcquisition(
            instant=datetime.strptime(f"{day}T083000", "%Y%m%dT%H%M%S").replace(tzinfo=UTC),
            platform="S1A",
            absolute_orbit=23000,
            layout="safe",
            files=(str(safe.relative_to(job)),),
            orbit_file=str(orbit.relative_to(job)),
            orbit_kind="precise",
        )
    _write_dem(job / "inputs/dem.tif")
    manifest = JobManifest(
        pair="T046_20180824_20180905",
        backend="isce2",
        relative_orbit=46,
        polarisation="vv",
        swaths=(1,),
        bursts=bursts,
        reference=sides["reference"],
        secondary=sides["secondary"],
        geoid="EGM96",
        bbox=BBOX,
        esd=esd,
        limits=JobLimits(
            **{"memory_bytes": 1024 * MIB, "scratch_bytes": 64 * MIB, "time_s": 300, "cpus": 1} | limits
        ),
    )
    (job / "manifest.json").write_text(manifest.model_dump_json(), encoding="utf-8")
    return job


def order(job: Path, **what: Any) -> None:
    """Configure a failure of the simulated topsApp: step, how, times."""
    (job / "scratch/standin.json").write_text(json.dumps(what), encoding="utf-8")


def attempts(job: Path) -> list[str]:
    """The steps that the simulated topsApp was started for, in order."""
    file = job / "scratch/attempts.txt"
    return file.read_text("utf-8").split() if file.exists() else []


def install_standin(folder: Path, python: str = sys.executable) -> Path:
    """Install the simulated topsApp in `folder` as an executable topsApp.py."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "topsApp.py"
    shutil.copy(STANDIN, script)
    script.write_text(f"#!{python}\n{STANDIN.read_text('utf-8')}", encoding="utf-8")
    script.chmod(0o755)
    return script


def _write_safe(safe: Path, day: str) -> None:
    name = f"s1a-iw1-slc-vv-{day}t083000-{day}t083025-023000-027f00-004"
    for folder in ("annotation", "measurement"):
        (safe / folder).mkdir(parents=True)
    corners = ((42.65, 141.94), (42.65, 142.06), (42.75, 141.94), (42.75, 142.06))
    grid = "".join(
        f"<geolocationGridPoint><latitude>{latitude}</latitude><longitude>{longitude}</longitude></geolocationGridPoint>"
        for latitude, longitude in corners
    )
    text = (
        "<product><swathTiming><burstList count='2'><burst/><burst/></burstList></swathTiming>"
        f"<geolocationGrid><geolocationGridPointList>{grid}</geolocationGridPointList></geolocationGrid></product>"
    )
    (safe / f"annotation/{name}.xml").write_text(text, encoding="utf-8")
    (safe / f"measurement/{name}.tiff").write_bytes(b"II*\0")
    (safe / "manifest.safe").write_text("<XFDU/>", encoding="utf-8")


def _write_dem(path: Path) -> None:
    step = 1 / 3600
    west, north, width, height = 141.9, 42.8, 720, 720
    rows, columns = np.mgrid[0:height, 0:width]
    heights = (200 + 50 * np.sin(rows / 40) * np.cos(columns / 30)).astype(np.float32)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=width,
        height=height,
        count=1,
        dtype="float32",
        crs="EPSG:4326",
        transform=from_origin(west, north, step, step),
    ) as out:
        out.write(heights, 1)
