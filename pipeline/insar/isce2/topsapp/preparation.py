"""Preparation of a run of topsApp: the command, the acquisitions, the DEM, the configuration."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from pipeline.errors import InterferometryError
from pipeline.files import write_whole
from pipeline.insar.isce2.topsapp.configuration import CONFIGURATION, Configuration, write_configuration
from pipeline.insar.isce2.topsapp.files.acquisitions import footprint, region, safe_folders
from pipeline.insar.isce2.topsapp.files.isce_dem import check_cover, write_elevation
from pipeline.insar.job import JobManifest

TOPSAPP = "topsApp.py"
_ESD = '<property name="do ESD">{}</property>'


def find_topsapp() -> tuple[str, ...]:
    """The command: topsApp.py on the PATH, else of an installed package isce (conda does not add it to the PATH).

    Raises InterferometryError `topsapp-absent`.
    """
    found = shutil.which(TOPSAPP)
    if found:
        return (found,)
    spec = find_spec("isce")
    if spec is not None and spec.origin:
        script = Path(spec.origin).parent / "applications" / TOPSAPP
        if script.is_file():
            return (sys.executable, str(script))
    raise InterferometryError(
        "topsapp-absent",
        "no topsApp.py is on the PATH, and this Python has no package isce.",
        "Install ISCE2 2.6.5, or build the image of docker/isce2 for a container engine.",
    )


def prepare(job: Path, manifest: JobManifest, work: Path, logs: Path) -> None:
    """Create `work` with topsApp.xml and the files that it names; files of another run are deleted.

    Raises InterferometryError for unusable acquisitions, orbits or DEM, such as `swath-absent`, `orbit-missing`,
    `dem-not-covering`.
    """
    for folder in (work, logs):
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    acquisitions = {"reference": manifest.reference, "secondary": manifest.secondary}
    for name, acquisition in acquisitions.items():
        if not (job / acquisition.orbit_file).is_file():
            raise InterferometryError(
                "orbit-missing",
                f"the orbit file of the {name} acquisition is not in the job.",
                "Delete the job's folder and run the pair again.",
            )
    safes = {
        name: safe_folders(job, acquisition, name, manifest, work, logs / "safe.log")
        for name, acquisition in acquisitions.items()
    }
    elevation = write_elevation(job / manifest.dem, work / "dem", manifest.posting_m)
    box = region(safes["reference"], manifest)
    for safe in safes["reference"]:
        needed = manifest.bbox if box else footprint(safe, manifest.swaths, manifest.polarisation)
        if needed is not None:
            check_cover(elevation.bounds, needed, f"the reference acquisition {safe.name}")
    write_configuration(
        Configuration(
            reference=tuple(str(safe) for safe in safes["reference"]),
            secondary=tuple(str(safe) for safe in safes["secondary"]),
            orbits=str((job / manifest.reference.orbit_file).parent),
            polarisation=manifest.polarisation,
            swaths=manifest.swaths,
            azimuth_looks=manifest.azimuth_looks,
            range_looks=manifest.range_looks,
            dem=str(elevation.geometry),
            geocoding_dem=str(elevation.geocoding),
            esd=esd_possible(manifest),
            esd_coherence=manifest.esd_coherence,
            region=box,
        ),
        work,
    )


def esd_enabled(work: Path) -> bool:
    """Whether topsApp.xml enables enhanced spectral diversity."""
    return _ESD.format(True) in (work / CONFIGURATION).read_text("utf-8")


def disable_esd(work: Path) -> None:
    """Turn enhanced spectral diversity off in topsApp.xml; finished steps stay valid."""
    path = work / CONFIGURATION
    write_whole(path, path.read_text("utf-8").replace(_ESD.format(True), _ESD.format(False)))


def esd_possible(manifest: JobManifest) -> bool:
    """Whether enhanced spectral diversity is requested and possible.

    It compares neighbouring bursts of one swath, so at least one swath must have two bursts.
    """
    swaths = [part for burst in manifest.bursts for part in burst.upper().split("_") if part.startswith("IW")]
    return manifest.esd and any(swaths.count(swath) >= 2 for swath in swaths)
