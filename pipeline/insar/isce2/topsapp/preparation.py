"""What stands before topsApp's first step: the command, the acquisitions, the DEM, the configuration."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from pipeline.errors import InterferometryError
from pipeline.insar.isce2.topsapp.configuration import CONFIGURATION, Configuration, write_configuration
from pipeline.insar.isce2.topsapp.files.acquisitions import footprint, region, safe_folders
from pipeline.insar.isce2.topsapp.files.isce_dem import check_cover, write_elevation
from pipeline.insar.job import JobManifest
from pipeline.insar.job_state import write_text

TOPSAPP = "topsApp.py"
_ESD = '<property name="do ESD">{}</property>'


def find_topsapp() -> tuple[str, ...]:
    """The command: topsApp.py of the PATH, else of an installed package isce, which conda leaves off the PATH.

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
        "there is no topsApp.py on the PATH and no package isce beside this Python.",
        "Install ISCE2 2.6.5, or build the image of docker/isce2 and let a container engine run it.",
    )


def prepare(job: Path, manifest: JobManifest, work: Path, logs: Path) -> None:
    """Make `work` anew with all that topsApp.xml names; what was there of another run is deleted.

    Raises InterferometryError of the acquisitions, the orbits or the DEM, as `swath-absent`, `orbit-missing`,
    `dem-not-covering`.
    """
    for folder in (work, logs):
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    sides = {"reference": manifest.reference, "secondary": manifest.secondary}
    for name, side in sides.items():
        if not (job / side.orbit_file).is_file():
            raise InterferometryError(
                "orbit-missing",
                f"the orbit file of the {name} acquisition is not in the job.",
                "Delete the job's folder and run the pair again.",
            )
    safes = {
        name: safe_folders(job, side, name, manifest, work, logs / "safe.log") for name, side in sides.items()
    }
    elevation = write_elevation(job / manifest.dem, work / "dem", manifest.posting_m)
    box = region(safes["reference"], manifest)
    for safe in safes["reference"]:
        seen = manifest.bbox if box else footprint(safe, manifest.swaths, manifest.polarisation)
        if seen is not None:
            check_cover(elevation.bounds, seen, f"the reference acquisition {safe.name}")
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


def esd_chosen(work: Path) -> bool:
    """Whether topsApp.xml asks for enhanced spectral diversity."""
    return _ESD.format(True) in (work / CONFIGURATION).read_text("utf-8")


def leave_out_esd(work: Path) -> None:
    """Ask for it no more; the steps that are done stay as they are."""
    path = work / CONFIGURATION
    write_text(path, path.read_text("utf-8").replace(_ESD.format(True), _ESD.format(False)))


def esd_possible(manifest: JobManifest) -> bool:
    """Whether enhanced spectral diversity is wanted and can be done.

    It compares neighbouring bursts of one swath, so some swath must hold two.
    """
    swaths = [part for burst in manifest.bursts for part in burst.upper().split("_") if part.startswith("IW")]
    return manifest.esd and any(swaths.count(swath) >= 2 for swath in swaths)
