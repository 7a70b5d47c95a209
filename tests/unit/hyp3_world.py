"""A tiny world with the truth of one pair, from which the sandbox's HyP3 makes products; and the job of that pair."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer

from pipeline.insar.job import MANIFEST, JobAcquisition, JobLimits, JobManifest, folder_of
from tests.unit.slc_world import SlcWorld, make_slc_world

CENTRE = (142.1, 42.28)
EPSG = 32654
SIDE = 200
"""pixels of 10 m"""
PEAK_M = -0.03


def make_hyp3_world(root: Path) -> SlcWorld:
    """Coherence of 0.8 in the west and 0.2 in the east, and ground that moves away by 3 cm in the middle."""
    made = make_slc_world(root)
    x, y = Transformer.from_crs(4326, EPSG, always_xy=True).transform(*CENTRE)
    left, top = round(x / 80) * 80 - 5 * SIDE, round(y / 80) * 80 + 5 * SIDE
    transform = Affine(10, 0, left, 0, -10, top)
    coherence = np.full((SIDE, SIDE), 0.8, np.float32)
    coherence[:, SIDE // 2 :] = 0.2
    row, column = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    moved = (PEAK_M * np.exp(-(row**2 + column**2) / (2 * 40**2))).astype(np.float32)
    (root / "truth").mkdir()
    _write(root / "truth" / "coherence_T046_20180824_20180905.tif", coherence, transform)
    _write(root / "truth" / "displacement_los_m_T046.tif", moved, transform)
    _write(root / "truth" / "elevation.tif", np.full((SIDE, SIDE), 100, np.float32), transform)
    (root / "aoi").mkdir()
    shutil.copy(Path(__file__).parents[2] / "aoi" / "sandbox.yaml", root / "aoi" / "sandbox.yaml")
    return made


def _write(path: Path, values: NDArray[Any], transform: Affine) -> None:
    with rasterio.open(
        path, "w", driver="GTiff", height=SIDE, width=SIDE, count=1, dtype="float32", crs=f"EPSG:{EPSG}",
        transform=transform,
    ) as image:  # fmt: skip
        image.write(values, 1)


def names_of(world: SlcWorld, day: str) -> tuple[str, ...]:
    """The two bursts of track 46 of a day, VV."""
    return tuple(
        burst.id
        for burst in world.bursts
        if f"{burst.start:%Y%m%d}" == day and burst.polarisation == "vv" and burst.full_id.startswith("046")
    )


def manifest_of(reference: tuple[str, ...], secondary: tuple[str, ...], **changes: Any) -> JobManifest:
    """The manifest of a job of these bursts, over the truth."""
    west, south = CENTRE[0] - 0.008, CENTRE[1] - 0.006
    sides = {
        name: JobAcquisition(
            instant=instant, platform="sentinel-1a", absolute_orbit=orbit, layout="names", files=files,
            orbit_file="", orbit_kind="unknown",
        )
        for name, instant, orbit, files in (
            ("reference", "2018-08-24T20:43:01Z", 23021, reference),
            ("secondary", "2018-09-05T20:43:02Z", 23196, secondary),
        )
    }  # fmt: skip
    return JobManifest(
        pair="T046_20180824_20180905", backend="hyp3", relative_orbit=46, polarisation="vv", swaths=(2,),
        bursts=tuple(f"046_{name.split('_')[1]}_IW2" for name in reference), **sides, dem="", geoid="",
        bbox=(west, south, west + 0.016, south + 0.012), esd=True, posting_m=20.0,
        limits=JobLimits(memory_bytes=10**9, scratch_bytes=10**9, time_s=30),
    ).model_copy(update=changes)  # fmt: skip


def prepared(folder: Path, manifest: JobManifest) -> Path:
    """A job's folder with its manifest."""
    for path in folder_of(folder).values():
        path.mkdir(parents=True)
    (folder / MANIFEST).write_text(manifest.model_dump_json())
    return folder
