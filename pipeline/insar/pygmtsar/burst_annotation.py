"""Extracts the annotation of one burst from that of its swath, since the processor reads one burst a file."""

from __future__ import annotations

import copy
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from lxml import etree
from numpy.polynomial import Polynomial

from pipeline.archives.slc.burst_files import MOST_LINES, MOST_SAMPLES, read_xml
from pipeline.catalogue.bursts import index_of_burst
from pipeline.errors import InterferometryError, SourceDataError

BURST_INTERVAL_S = 2.758273
PREAMBLE_S = 2.299849
ORBIT_S = 12 * 86400 / 175
"""Burst cycle, preamble and orbit: "Sentinel-1 Level 1 Detailed Algorithm Definition", section 9.25, and the burst id
map of ESA. They give every burst a number that is the same in each repeat of the track."""
MIDDLE_TO_IW2_S = {"IW1": 0.832, "IW2": 0.0, "IW3": -1.078}
"""Seconds from the middle of a burst to that of IW2's burst of the same cycle. Bursts of a cycle share a number."""

_FILE = re.compile(r"S1_(\d+)_(IW[123])_(\d{8}T\d{6})_(VV|VH|HH|HV)_[0-9A-F]{4}-BURST")
_TIME = "%Y-%m-%dT%H:%M:%S.%f"
_AGAIN = "Fetch the acquisition again."


@dataclass(frozen=True)
class BurstSource:
    """The files of one burst of one overflight, and values of its annotation."""

    full_id: str
    image: Path
    """TIFF with the burst"""
    product: Any
    """root of the annotation of its swath and polarisation"""
    index: int
    """index of the burst in that annotation"""
    whole_swath: bool
    """whether the image holds all bursts of the swath, one below the other"""
    start: datetime
    """azimuth time of the first line"""
    lines: int
    samples: int

    @property
    def end(self) -> datetime:
        """Azimuth time of the last line."""
        return self.start + timedelta(seconds=(self.lines - 1) * _number(self.product, _LINE_INTERVAL))


_LINE_INTERVAL = "imageAnnotation/imageInformation/azimuthTimeInterval"


def sources_in_bursts(tiffs: tuple[Path, ...], track: int, polarisation: str) -> dict[str, BurstSource]:
    """The bursts of `.tiff` files from the archive's burst service, by full id; each has an `.xml` of the same stem.

    Raises:
        InterferometryError: `inputs-missing`, `annotation-unreadable`, `bursts-unusable`.
    """
    found: dict[str, BurstSource] = {}
    for tiff in tiffs:
        named = _FILE.fullmatch(tiff.stem)
        annotation = tiff.with_suffix(".xml")
        if not tiff.is_file() or not annotation.is_file():
            raise InterferometryError("inputs-missing", f"{tiff.name} or its .xml is missing.", _AGAIN)
        if named is None or named[4] != polarisation.upper():
            raise _unusable(f"{tiff.name} is not the name of a burst of {polarisation.upper()}")
        start = datetime.strptime(named[3], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        full_id = f"{track:03d}_{named[1]}_{named[2]}"
        for product in _products(read_annotation(annotation), named[2], polarisation):
            index = _index_of(product, annotation, start, int(named[1]))
            if index is not None:
                found[full_id] = _source(full_id, tiff, product, index, False, annotation)
                break
        else:
            raise _unusable(f"{annotation.name} has no burst with this name")
    return found


def sources_in_safes(safes: tuple[Path, ...], track: int, polarisation: str) -> dict[str, BurstSource]:
    """The bursts of SAFE folders, by full id.

    Raises:
        InterferometryError: `inputs-missing`, `annotation-unreadable`, `bursts-unusable`.
    """
    found: dict[str, BurstSource] = {}
    for safe in safes:
        annotations = sorted((safe / "annotation").glob(f"s1?-iw[123]-slc-{polarisation}-*.xml"))
        if not annotations:
            raise InterferometryError(
                "inputs-missing",
                f"{safe.name} has no annotation of {polarisation.upper()}.",
                "Request a polarisation that both acquisitions have, or fetch the granule again.",
            )
        for annotation in annotations:
            image = safe / "measurement" / f"{annotation.stem}.tiff"
            product = read_annotation(annotation)
            swath = annotation.stem[4:7].upper()
            for index, node in enumerate(product.findall("swathTiming/burstList/burst")):
                number = burst_number(product, node, swath, track)
                full_id = f"{track:03d}_{number:06d}_{swath}"
                if image.is_file() and full_id not in found:
                    found[full_id] = _source(full_id, image, product, index, True, annotation)
    return found


def burst_number(product: Any, node: Any, swath: str, track: int) -> int:
    """The number of a burst within its track's cycle: stated since processor version 3.40, computed for older versions.

    Raises:
        InterferometryError: `annotation-unreadable`.
    """
    stated = node.findtext("burstId")
    try:
        if stated is not None:
            return int(stated)
        lines = int(product.findtext("swathTiming/linesPerBurst"))
        since_node_s = float(node.findtext("azimuthAnxTime"))
    except (TypeError, ValueError):
        raise InterferometryError(
            "annotation-unreadable", f"a burst of {swath} has neither number nor time.", _AGAIN
        ) from None
    middle_s = since_node_s + lines * _number(product, _LINE_INTERVAL) / 2 + MIDDLE_TO_IW2_S[swath]
    return 1 + math.floor((middle_s + (track - 1) * ORBIT_S - PREAMBLE_S) / BURST_INTERVAL_S)


def cut_annotation(source: BurstSource) -> bytes:
    """The annotation of one burst, UTF-8.

    The processor uses the first burst of the list, the product's first line as its start, and the first FM rate's
    reference time for the polynomials of both Doppler centroid and FM rate. Therefore the list keeps only this burst,
    and of each kind only the polynomial nearest to its middle. The Doppler centroid is expanded about the FM rate's
    reference time.

    Raises:
        InterferometryError: `annotation-unreadable`.
    """
    root = copy.deepcopy(source.product)
    root.tag = "product"
    first, last = source.start.strftime(_TIME), source.end.strftime(_TIME)
    try:
        for path, text in (
            ("adsHeader/startTime", first),
            ("adsHeader/stopTime", last),
            ("imageAnnotation/imageInformation/productFirstLineUtcTime", first),
            ("imageAnnotation/imageInformation/productLastLineUtcTime", last),
            ("imageAnnotation/imageInformation/numberOfLines", str(source.lines)),
            ("imageAnnotation/imageInformation/numberOfSamples", str(source.samples)),
        ):
            root.find(path).text = text
        bursts = root.find("swathTiming/burstList")
        _keep(bursts, [bursts.findall("burst")[source.index]])
        grid = root.find("geolocationGrid/geolocationGridPointList")
        upper, lower = _corners(grid, source)
        _keep(grid, [])
        grid.extend([*upper, *lower])
        grid.set("count", str(len(grid)))
        middle = source.start + (source.end - source.start) / 2
        rate = _nearest(root.find("generalAnnotation/azimuthFmRateList"), middle)
        centroid = _nearest(root.find("dopplerCentroid/dcEstimateList"), middle)
        shift = float(rate.findtext("t0")) - float(centroid.findtext("t0"))
        polynomial = Polynomial([float(v) for v in centroid.findtext("dataDcPolynomial").split()])
        about = polynomial(Polynomial([shift, 1.0]))
        centroid.find("dataDcPolynomial").text = " ".join(repr(float(v)) for v in about.coef)
        centroid.find("t0").text = rate.findtext("t0")
    except (AttributeError, TypeError, ValueError, IndexError, ZeroDivisionError) as error:
        raise InterferometryError(
            "annotation-unreadable",
            f"the annotation of {source.full_id} lacks required values ({error}).",
            _AGAIN,
        ) from error
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8"))


def outline(source: BurstSource) -> tuple[float, float, float, float]:
    """West, south, east, north of a burst from its geolocation grid, degrees.

    Raises:
        InterferometryError: `annotation-unreadable`.
    """
    try:
        upper, lower = _corners(source.product.find("geolocationGrid/geolocationGridPointList"), source)
        longitude, latitude = (
            np.array([float(point.findtext(tag)) for point in (*upper, *lower)])
            for tag in ("longitude", "latitude")
        )
        return (
            float(longitude.min()),
            float(latitude.min()),
            float(longitude.max()),
            float(latitude.max()),
        )
    except (AttributeError, TypeError, ValueError, ZeroDivisionError) as error:
        raise InterferometryError(
            "annotation-unreadable", f"{source.full_id} has no geolocation grid ({error}).", _AGAIN
        ) from error


def read_annotation(path: Path) -> Any:
    """The root of an untrusted annotation.

    Raises:
        InterferometryError: `annotation-unreadable`.
    """
    try:
        return read_xml(path)
    except SourceDataError as error:
        raise InterferometryError("annotation-unreadable", error.message, _AGAIN) from error


def _products(root: Any, swath: str, polarisation: str) -> list[Any]:
    candidates = [root] if root.tag == "product" else root.findall("metadata/product/content")
    wanted = swath, polarisation.upper()
    return [
        p
        for p in candidates
        if (p.findtext("adsHeader/swath"), p.findtext("adsHeader/polarisation")) == wanted
    ]


def _starts(product: Any, path: Path) -> list[datetime]:
    try:
        return [
            _time(node.findtext("azimuthTime")) for node in product.findall("swathTiming/burstList/burst")
        ]
    except (TypeError, ValueError):
        raise InterferometryError(
            "annotation-unreadable", f"{path.name} has no burst times.", _AGAIN
        ) from None


def _index_of(product: Any, path: Path, start: datetime, number: int) -> int | None:
    """Index of the burst that starts within the second of the file's name; of several, the one with its number."""
    nodes = product.findall("swathTiming/burstList/burst")
    return index_of_burst(_starts(product, path), [n.findtext("burstId") for n in nodes], start, number)


def _source(full_id: str, image: Path, product: Any, index: int, whole: bool, path: Path) -> BurstSource:
    try:
        lines, samples = (
            int(product.findtext(f"swathTiming/{tag}")) for tag in ("linesPerBurst", "samplesPerBurst")
        )
    except (TypeError, ValueError):
        lines, samples = 0, 0
    if not (0 < lines <= MOST_LINES and 0 < samples <= MOST_SAMPLES):
        raise InterferometryError(
            "annotation-unreadable",
            f"{path.name} states bursts of {lines} lines of {samples} samples.",
            _AGAIN,
        )
    start = _starts(product, path)[index]
    return BurstSource(full_id, image, product, index, whole, start, lines, samples)


def _corners(points: Any, source: BurstSource) -> tuple[list[Any], list[Any]]:
    """The points of the geolocation grid at the burst's first line, and points at its last line.

    The grid's next line lies at the start of the next burst, which is before the end of this one, since bursts overlap.
    The points of the last line are extrapolated from these two lines.

    Raises ValueError, TypeError or AttributeError if the grid lacks these points.
    """
    first = source.index * source.lines
    by_line: dict[int, list[Any]] = {}
    for point in points.findall("geolocationGridPoint"):
        line = int(point.findtext("line"))
        if first - 1 <= line <= first + source.lines + 1:
            by_line.setdefault(line, []).append(copy.deepcopy(point))
    upper, lower = by_line[min(by_line)], by_line[max(by_line)]
    if len(by_line) < 2 or len(upper) != len(lower) or len(upper) < 2:
        raise ValueError("the geolocation grid has fewer than two lines here")
    for start, end in zip(upper, lower, strict=True):
        begun = _time(start.findtext("azimuthTime"))
        factor = (source.end - begun) / (_time(end.findtext("azimuthTime")) - begun)
        for tag in ("longitude", "latitude"):
            at = float(start.findtext(tag))
            end.find(tag).text = repr(at + factor * (float(end.findtext(tag)) - at))
        start.find("line").text, end.find("line").text = "0", str(source.lines - 1)
        end.find("azimuthTime").text = source.end.strftime(_TIME)
    return upper, lower


def _keep(parent: Any, chosen: list[Any]) -> None:
    for child in list(parent):
        if child not in chosen:
            parent.remove(child)
    parent.set("count", str(len(chosen)))


def _nearest(parent: Any, instant: datetime) -> Any:
    """Keep only the entry of a list that is nearest in time."""
    chosen = min(
        parent, key=lambda entry: abs((_time(entry.findtext("azimuthTime")) - instant).total_seconds())
    )
    _keep(parent, [chosen])
    return chosen


def _time(text: str) -> datetime:
    return datetime.strptime(text.strip(), _TIME).replace(tzinfo=UTC)


def _number(product: Any, path: str) -> float:
    try:
        value = float(product.findtext(path))
    except (TypeError, ValueError):
        value = math.nan
    if not 1e-4 < value < 1e-1:
        raise InterferometryError("annotation-unreadable", f"an annotation states {path} as {value}.", _AGAIN)
    return value


def _unusable(what: str) -> InterferometryError:
    return InterferometryError("bursts-unusable", f"{what}.", _AGAIN)
