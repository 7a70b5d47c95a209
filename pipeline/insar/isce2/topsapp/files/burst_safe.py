"""Combines bursts from the archive's burst service into one SAFE with `burst2safe` of ASF.

Only this module imports `burst2safe`. It is installed in ISCE2's image, since it needs GDAL's own Python bindings.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from contextlib import redirect_stdout
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.catalogue.bursts import index_of_burst
from pipeline.errors import InterferometryError
from pipeline.insar.isce2.topsapp.files.annotation_xml import read_annotation
from pipeline.insar.job import JobManifest
from pipeline.records import Frozen

_NAME = re.compile(r"S1_(\d+)_(IW[123])_(\d{8}T\d{6})_(VV|VH|HH|HV)_([0-9A-F]{4})-BURST")


class BurstPosition(Frozen):
    """The granule of one burst, and the burst's position in it."""

    granule: str
    swath: str
    polarisation: str
    index: int


def safe_of_bursts(tiffs: tuple[Path, ...], name: str, manifest: JobManifest, work: Path, log: Path) -> Path:
    """Write the SAFE folder of the bursts of the acquisition `name` below `work`; returns its path.

    Each of `tiffs` has an annotation file of the same stem with the suffix .xml.

    Raises InterferometryError `burst2safe-missing`, `inputs-missing`, `annotation-unreadable` or `bursts-unusable`.
    """
    try:
        from burst2safe.local2safe import local2safe  # type: ignore[import-not-found]
    except ImportError as error:
        raise InterferometryError(
            "burst2safe-missing",
            f"the bursts of the {name} acquisition cannot be combined without burst2safe ({error}).",
            "Use the image of docker/isce2, install burst2safe with ISCE2, or set SLIDECUBE_SLC_FETCH=granules.",
        ) from error
    folder = work / f"{name}_safe"
    folder.mkdir(parents=True, exist_ok=True)
    tree: dict[str, Any] = {}
    annotations: dict[tuple[str, str], Path] = {}
    for tiff in tiffs:
        annotation = tiff.with_suffix(".xml")
        if not annotation.is_file():
            raise InterferometryError(
                "inputs-missing",
                f"the annotation {annotation.name} of {tiff.name} is missing.",
                "Fetch the burst again.",
            )
        position = position_of(tiff, read_annotation(annotation), manifest.polarisation.upper())
        bursts = tree.setdefault(position.granule, {}).setdefault(position.swath, {})
        # burst2safe assumes one annotation file a granule; each file holds the annotation of the whole granule
        shared = annotations.setdefault((position.granule, position.polarisation), annotation)
        bursts.setdefault(position.polarisation, {})[str(position.index)] = {
            "DATA": str(tiff),
            "METADATA": str(shared),
        }
    try:
        with log.open("a", encoding="utf-8") as output, redirect_stdout(output):
            # without keep_files it would delete the job's inputs
            return Path(local2safe(tree, all_anns=False, keep_files=True, work_dir=folder))
    except Exception as error:  # any exception is possible for untrusted files
        raise InterferometryError(
            "bursts-unusable",
            f"burst2safe failed on the bursts of the {name} acquisition: {type(error).__name__} {error}.",
            "Fetch the bursts again; they must be consecutive and of one overflight.",
        ) from error


def position_of(tiff: Path, root: ET.Element, polarisation: str) -> BurstPosition:
    """The position of a burst file in its granule, from its name and the granule's annotation `root`.

    `root` holds the annotations of the whole granule. The name, S1_<burst>_<swath>_<start>_<polarisation>_
    <granule's last four>-BURST, identifies the burst.

    Raises InterferometryError `bursts-unusable` if the annotation has no such burst.
    """
    named = _NAME.fullmatch(tiff.stem)
    if named is not None and named[4] == polarisation:
        start = datetime.strptime(named[3], "%Y%m%dT%H%M%S")
        for content in root.iterfind("metadata/product/content"):
            if (
                content.findtext("adsHeader/swath") != named[2]
                or content.findtext("adsHeader/polarisation") != polarisation
            ):
                continue
            index = _index(list(content.iterfind("swathTiming/burstList/burst")), int(named[1]), start)
            if index is not None:
                return BurstPosition(
                    granule=_granule(content, named[5]),
                    swath=named[2],
                    polarisation=polarisation,
                    index=index,
                )
    raise InterferometryError(
        "bursts-unusable",
        f"the annotation of {tiff.name} has no burst of {polarisation} with this name.",
        "Fetch the burst again.",
    )


def _index(listed: list[ET.Element], number: int, start: datetime) -> int | None:
    """Index in the list of the burst with that number (stated since processor 3.40), else with that start."""
    stated = [entry.findtext("burstId") for entry in listed]
    return index_of_burst([_instant(entry) for entry in listed], stated, start, number)


def _instant(entry: ET.Element) -> datetime | None:
    try:
        return datetime.fromisoformat(entry.findtext("azimuthTime", ""))
    except ValueError:
        return None


def _granule(content: ET.Element, last_four: str) -> str:
    """The granule's name as far as burst2safe reads it: platform, mode, type, times, orbit and data take."""
    platform, start, stop, orbit, data_take = (
        content.findtext(f"adsHeader/{name}", "")
        for name in ("missionId", "startTime", "stopTime", "absoluteOrbitNumber", "missionDataTakeId")
    )
    times = "_".join(time.replace("-", "").replace(":", "")[:15] for time in (start, stop))
    if not (orbit.isdigit() and data_take.isdigit() and platform.startswith("S1")):
        raise InterferometryError(
            "bursts-unusable",
            "an annotation states no valid platform, orbit or data take.",
            "Fetch the burst again.",
        )
    return f"{platform}_IW_SLC__1SSV_{times}_{int(orbit):06d}_{int(data_take):06X}_{last_four}"
