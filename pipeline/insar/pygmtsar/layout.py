"""Writes a job's inputs in the form that the processor reads: one folder a burst, orbits by date, heights as netCDF."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from pipeline.catalogue.slc import StateVector
from pipeline.catalogue.state_vectors import read_orbit_file
from pipeline.errors import InterferometryError, SourceDataError
from pipeline.insar.job import JobAcquisition, JobManifest
from pipeline.insar.pygmtsar.burst_annotation import (
    BurstSource,
    cut_annotation,
    sources_in_bursts,
    sources_in_safes,
)

ORBIT_REACH_S = 1400.0
"""Seconds before and after a burst from which the processor uses state vectors (GMTSAR's ext_orb_s1a)."""
LEAST_ORBIT_S = 60.0
"""Least span of state vectors before and after a burst, seconds."""
LINES_AT_ONCE = 256

Box = tuple[float, float, float, float]


def find_bursts(job: Path, acquisition: JobAcquisition, manifest: JobManifest) -> dict[str, BurstSource]:
    """The requested bursts of one acquisition, by full id.

    Raises:
        InterferometryError: `inputs-missing`, `annotation-unreadable`, `bursts-unusable`.
    """
    files = tuple(job / file for file in acquisition.files)
    read = sources_in_safes if acquisition.layout == "safe" else sources_in_bursts
    found = read(files, manifest.relative_orbit, manifest.polarisation)
    lacking = [full_id for full_id in manifest.bursts if full_id not in found]
    if lacking:
        raise InterferometryError(
            "inputs-missing",
            f"The overflight {acquisition.platform} {acquisition.absolute_orbit} lacks the bursts "
            f"{', '.join(lacking)}; it has {', '.join(sorted(found)) or 'none'}.",
            "Fetch the acquisition again, or remove those bursts from the job.",
        )
    return {full_id: found[full_id] for full_id in manifest.bursts}


def write_burst_inputs(
    folder: Path, sources: Sequence[BurstSource], orbits: Sequence[Path], polarisation: str
) -> None:
    """Write one burst of several overflights (a source and an orbit file each) below `folder`.

    Raises:
        InterferometryError: `orbit-unusable`, `orbit-midnight`, `annotation-unreadable`, `image-unreadable`.
    """
    for source, orbit in zip(sources, orbits, strict=True):
        name = burst_name(source, polarisation)
        home = folder / source.full_id
        (home / "annotation").mkdir(parents=True, exist_ok=True)
        (home / "measurement").mkdir(exist_ok=True)
        (home / "annotation" / f"{name}.xml").write_bytes(cut_annotation(source))
        image = home / "measurement" / f"{name}.tiff"
        image.unlink(missing_ok=True)
        if source.whole_swath:
            _cut_image(source, image)
        else:
            image.symlink_to(os.path.relpath(source.image, image.parent))
        write_orbit(folder, source, orbit)


def burst_name(source: BurstSource, polarisation: str) -> str:
    """The processor's name of a burst; its last part has no meaning here."""
    _track, number, swath = source.full_id.split("_")
    return f"S1_{number}_{swath}_{source.start:%Y%m%dT%H%M%S}_{polarisation.upper()}_0000-BURST"


def _cut_image(source: BurstSource, target: Path) -> None:
    """Copy one burst from a swath's TIFF, in blocks of lines."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(source.image, driver="GTiff") as image:
                first = source.index * source.lines
                if image.width != source.samples or image.height < first + source.lines:
                    raise InterferometryError(
                        "image-unreadable",
                        f"{source.image.name} has {image.height} lines of {image.width} samples, and its annotation "
                        f"puts burst {source.index + 1} at {source.lines} lines of {source.samples} from {first} on.",
                        "Fetch the acquisition again.",
                    )
                profile = {
                    "driver": "GTiff", "count": 1, "dtype": "complex_int16",
                    "width": source.samples, "height": source.lines,
                }  # fmt: skip
                with rasterio.open(target, "w", **profile) as burst:
                    for line in range(0, source.lines, LINES_AT_ONCE):
                        count = min(LINES_AT_ONCE, source.lines - line)
                        values = image.read(1, window=Window(0, first + line, source.samples, count))
                        burst.write(values, 1, window=Window(0, line, source.samples, count))
    except (RasterioError, OSError) as error:
        raise InterferometryError(
            "image-unreadable",
            f"{source.image.name} cannot be read ({type(error).__name__}).",
            "Fetch the acquisition again.",
        ) from error


def orbit_vectors(path: Path) -> tuple[StateVector, ...]:
    """State vectors of an orbit file.

    Raises:
        InterferometryError: `orbit-unusable`.
    """
    try:
        return read_orbit_file(path).state_vectors
    except SourceDataError as error:
        raise InterferometryError("orbit-unusable", error.message, error.remedy) from error


def write_orbit(folder: Path, source: BurstSource, orbit: Path) -> None:
    """Write the state vectors around a burst, in a file whose name has the dates that the processor looks for.

    The processor counts seconds of one day, so state vectors before or after midnight are omitted.
    """
    first, last = source.start, source.end
    midnight = datetime(first.year, first.month, first.day, tzinfo=UTC)
    begin = max(first - timedelta(seconds=ORBIT_REACH_S), midnight)
    end = min(last + timedelta(seconds=ORBIT_REACH_S), midnight + timedelta(days=1, microseconds=-1))
    vectors = [vector for vector in orbit_vectors(orbit) if begin <= vector.time <= end]
    margin = timedelta(seconds=LEAST_ORBIT_S)
    if not vectors or vectors[0].time > first - margin or vectors[-1].time < last + margin:
        if first - margin < midnight or last + margin > midnight + timedelta(days=1):
            code, why = "orbit-midnight", "is too close to midnight (UTC) for this processor"
        else:
            code, why = "orbit-unusable", f"is not covered by {orbit.name}"
        raise InterferometryError(
            code,
            f"The overflight of {first.isoformat()} {why}.",
            "Process the pair with SLIDECUBE_INSAR_BACKEND=isce2.",
        )
    listed = "\n".join(vector_element(vector) for vector in vectors)
    yesterday, tomorrow = midnight - timedelta(days=1), midnight + timedelta(days=1)
    name = f"S1A_OPER_AUX_POEORB_OPOD_{tomorrow:%Y%m%d}T000000_V{yesterday:%Y%m%d}T000000_{tomorrow:%Y%m%d}T000000.EOF"
    (folder / name).write_text(
        '<?xml version="1.0"?><Earth_Explorer_File><Data_Block type="xml">'
        f'<List_of_OSVs count="{len(vectors)}">{listed}</List_of_OSVs></Data_Block></Earth_Explorer_File>'
    )


def vector_element(vector: StateVector) -> str:
    """One state vector as an element of an orbit file."""
    position = "".join(f"<{k}>{v!r}</{k}>" for k, v in zip("XYZ", vector.position_m, strict=True))
    velocity = "".join(f"<V{k}>{v!r}</V{k}>" for k, v in zip("XYZ", vector.velocity_m_s, strict=True))
    return f"<OSV><UTC>UTC={vector.time:%Y-%m-%dT%H:%M:%S.%f}</UTC>{position}{velocity}</OSV>"


def write_heights(dem: Path, target: Path) -> None:
    """Write the job's DEM (ellipsoidal heights) as netCDF of heights above EGM96, the processor's form.

    The processor adds its own EGM96 grid, linearly interpolated. The same values are subtracted here, so that it uses
    the job's ellipsoidal heights (to the rounding of a 32-bit float, 0.2 mm), whatever their geoid was.

    Raises:
        InterferometryError: `dem-unusable`.
    """
    from insardev_pygmtsar.utils_satellite import get_geoid

    try:
        with rasterio.open(dem, driver="GTiff") as image:
            heights, transform, crs = image.read(1), image.transform, image.crs
    except (RasterioError, OSError) as error:
        raise _dem(f"cannot be read ({type(error).__name__})") from error
    if (
        crs is None
        or crs.to_epsg() != 4326
        or transform.b
        or transform.d
        or transform.a <= 0
        or transform.e >= 0
    ):
        raise _dem("is not a north-up raster in EPSG:4326")
    if not np.isfinite(heights).all():
        raise _dem("has voids")
    rows, columns = heights.shape
    latitude = (transform.f + transform.e * (np.arange(rows) + 0.5))[::-1]
    longitude = transform.c + transform.a * (np.arange(columns) + 0.5)
    surface = xr.DataArray(
        heights[::-1], coords={"lat": latitude, "lon": longitude}, dims=("lat", "lon"), name="dem"
    )
    undulation = get_geoid(surface)
    if not np.isfinite(undulation.values).all():
        raise _dem("exceeds the processor's geoid grid")
    orthometric: Any = (surface.astype(np.float64) - undulation).astype(np.float32).rename("dem")
    orthometric.to_netcdf(target, engine="netcdf4")


def _dem(why: str) -> InterferometryError:
    return InterferometryError(
        "dem-unusable", f"The job's DEM {why}.", "Delete the job's folder and run the pair again."
    )
