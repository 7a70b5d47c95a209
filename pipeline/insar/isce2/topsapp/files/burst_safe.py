"""Bursts, as the archive serves them one by one, put together into one SAFE by `burst2safe` of ASF.

`burst2safe` stands beside ISCE2 in the image, since it wants GDAL's own Python bindings; it is imported here alone.
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


class BurstPlace(Frozen):
    """Where in which granule the samples of one burst come from."""

    granule: str
    swath: str
    polarisation: str
    index: int


def safe_of_bursts(tiffs: tuple[Path, ...], name: str, manifest: JobManifest, work: Path, log: Path) -> Path:
    """The SAFE folder made below `work` of the bursts of one side, called `name`, each an .xml of its stem beside it.

    Raises InterferometryError `burst2safe-missing`, `inputs-missing`, `annotation-unreadable` or `bursts-unusable`.
    """
    try:
        from burst2safe.local2safe import local2safe  # type: ignore[import-not-found]
    except ImportError as error:
        raise InterferometryError(
            "burst2safe-missing",
            f"the bursts of the {name} acquisition cannot be put together without burst2safe ({error}).",
            "Use the image of docker/isce2, install burst2safe beside ISCE2, or set SLIDECUBE_SLC_FETCH=granules.",
        ) from error
    folder = work / f"{name}_safe"
    folder.mkdir(parents=True, exist_ok=True)
    tree: dict[str, Any] = {}
    annotations: dict[tuple[str, str], Path] = {}
    for tiff in tiffs:
        annotation = tiff.with_suffix(".xml")
        if not annotation.is_file():
            raise InterferometryError(
                "inputs-missing", f"{tiff.name} has no {annotation.name} beside it.", "Fetch the burst again."
            )
        place = place_of(tiff, read_annotation(annotation), manifest.polarisation.upper())
        bursts = tree.setdefault(place.granule, {}).setdefault(place.swath, {})
        # burst2safe takes two annotation files for two granules, and each of these holds that of the whole granule
        shared = annotations.setdefault((place.granule, place.polarisation), annotation)
        bursts.setdefault(place.polarisation, {})[str(place.index)] = {
            "DATA": str(tiff),
            "METADATA": str(shared),
        }
    try:
        with log.open("a", encoding="utf-8") as output, redirect_stdout(output):
            # keep_files: it would delete the job's inputs after use
            return Path(local2safe(tree, all_anns=False, keep_files=True, work_dir=folder))
    except Exception as error:  # whatever it meets inside files from outside
        raise InterferometryError(
            "bursts-unusable",
            f"the bursts of the {name} acquisition do not make a SAFE: {type(error).__name__} {error}.",
            "Fetch the bursts again; they must follow one another and be of one overflight.",
        ) from error


def place_of(tiff: Path, root: ET.Element, polarisation: str) -> BurstPlace:
    """Which burst of its granule a file is, by its name and the granule's annotations beside it.

    The document holds the annotations of the whole granule, and the name, S1_<burst>_<swath>_<start>_<polarisation>_
    <granule's last four>-BURST, says which burst is meant.

    Raises InterferometryError `bursts-unusable` where the two do not agree.
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
                return BurstPlace(
                    granule=_granule(content, named[5]),
                    swath=named[2],
                    polarisation=polarisation,
                    index=index,
                )
    raise InterferometryError(
        "bursts-unusable",
        f"the annotation beside {tiff.name} describes no burst of {polarisation} that goes by this name.",
        "Fetch the burst again.",
    )


def _index(listed: list[ET.Element], number: int, start: datetime) -> int | None:
    """Place in the list of the burst with that number (stated since processor 3.40), else with that start."""
    stated = [entry.findtext("burstId") for entry in listed]
    return index_of_burst([_instant(entry) for entry in listed], stated, start, number)


def _instant(entry: ET.Element) -> datetime | None:
    try:
        return datetime.fromisoformat(entry.findtext("azimuthTime", ""))
    except ValueError:
        return None


def _granule(content: ET.Element, last_four: str) -> str:
    """The granule's name in the parts that burst2safe reads: platform, mode, type, times, orbit and data take."""
    platform, start, stop, orbit, data_take = (
        content.findtext(f"adsHeader/{name}", "")
        for name in ("missionId", "startTime", "stopTime", "absoluteOrbitNumber", "missionDataTakeId")
    )
    times = "_".join(time.replace("-", "").replace(":", "")[:15] for time in (start, stop))
    if not (orbit.isdigit() and data_take.isdigit() and platform.startswith("S1")):
        raise InterferometryError(
            "bursts-unusable", "an annotation names neither platform nor orbit.", "Fetch the burst again."
        )
    return f"{platform}_IW_SLC__1SSV_{times}_{int(orbit):06d}_{int(data_take):06X}_{last_four}"
