"""The SAFE folders of both acquisitions for topsApp, checked before the first step."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import InterferometryError
from pipeline.insar.isce2.topsapp.files.annotation_xml import read_annotation
from pipeline.insar.isce2.topsapp.files.burst_safe import safe_of_bursts
from pipeline.insar.isce2.topsapp.files.isce_dem import Box
from pipeline.insar.job import JobAcquisition, JobManifest


def safe_folders(
    job: Path, acquisition: JobAcquisition, name: str, manifest: JobManifest, work: Path, log: Path
) -> tuple[Path, ...]:
    """The SAFE folders of one acquisition. A SAFE of bursts is written below `work`.

    Raises InterferometryError `inputs-missing`, `burst2safe-missing`, `bursts-unusable`, `swath-absent` or
    `polarisation-absent`.
    """
    files = tuple(job / file for file in acquisition.files)
    absent = [file.name for file in files if not file.exists()]
    if not files or absent:
        raise InterferometryError(
            "inputs-missing",
            f"the {name} acquisition lacks {', '.join(absent) or 'its files'}.",
            "Delete the job's folder and run the pair again.",
        )
    if acquisition.layout == "bursts":
        files = (safe_of_bursts(files, name, manifest, work, log),)
    for safe in files:
        for swath in manifest.swaths:
            _check_swath(safe, swath, manifest.polarisation, name)
    return files


def footprint(safe: Path, swaths: tuple[int, ...], polarisation: str) -> Box | None:
    """West, south, east, north of a SAFE's swaths from their geolocation grids, degrees; None without grid points."""
    longitudes: list[float] = []
    latitudes: list[float] = []
    for swath in swaths:
        for annotation in _annotations(safe, swath, polarisation):
            root = read_annotation(annotation)
            points = root.findall(".//geolocationGridPoint")
            longitudes += [float(point.findtext("longitude", "nan")) for point in points]
            latitudes += [float(point.findtext("latitude", "nan")) for point in points]
    if not longitudes:
        return None
    return (min(longitudes), min(latitudes), max(longitudes), max(latitudes))


def burst_count(safe: Path, swath: int, polarisation: str) -> int:
    """Number of bursts in a swath of a SAFE, from its annotation."""
    return sum(
        len(read_annotation(annotation).findall("swathTiming/burstList/burst"))
        for annotation in _annotations(safe, swath, polarisation)
    )


def region(safes: tuple[Path, ...], manifest: JobManifest) -> Box | None:
    """The box that limits whole granules to the requested bursts; None if the SAFEs hold no other bursts.

    topsApp keeps every burst that the box touches, often one or two more than requested, so the box is 2 % smaller on
    each edge.
    """
    available = sum(
        burst_count(safe, swath, manifest.polarisation) for safe in safes for swath in manifest.swaths
    )
    if available <= max(len(manifest.bursts), 1):
        return None
    west, south, east, north = manifest.bbox
    margin_x, margin_y = 0.02 * (east - west), 0.02 * (north - south)
    return (west + margin_x, south + margin_y, east - margin_x, north - margin_y)


def _check_swath(safe: Path, swath: int, polarisation: str, name: str) -> None:
    for folder, suffix in (("annotation", "xml"), ("measurement", "tiff")):
        found = list((safe / folder).glob(f"s1?-iw{swath}-slc-*.{suffix}"))
        if not found:
            raise InterferometryError(
                "swath-absent",
                f"the {name} acquisition {safe.name} has no {folder} of swath IW{swath}.",
                "Request swaths that both acquisitions have, or fetch the granule again.",
            )
        if not [file for file in found if f"-slc-{polarisation}-" in file.name]:
            raise InterferometryError(
                "polarisation-absent",
                f"the {name} acquisition {safe.name} has no {folder} of {polarisation.upper()} in IW{swath}.",
                "Request a polarisation that both acquisitions have.",
            )


def _annotations(safe: Path, swath: int, polarisation: str) -> list[Path]:
    return sorted((safe / "annotation").glob(f"s1?-iw{swath}-slc-{polarisation}-*.xml"))
