"""Bursts as the archive serves them: a GeoTIFF, and one XML document with the annotation of its granule.

The archive states no MD5 of a burst, and has been seen to return the file of another one (burst2safe, `download.py`);
so the annotation is checked against the burst that was requested, and the TIFF against the annotation.
"""

from __future__ import annotations

import threading
import warnings
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from pydantic import Field
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from pipeline.archives.geotiff.local_copies import GDAL_OPTIONS
from pipeline.archives.geotiff.tiff_directories import TiffError, read_layout
from pipeline.archives.http.ranges import HEADER_BYTES
from pipeline.archives.local_files import LocalFile
from pipeline.catalogue.bursts import START_TOLERANCE_S
from pipeline.catalogue.slc import Burst
from pipeline.errors import SourceDataError
from pipeline.records import Frozen, Utc
from pipeline.xml import read_document

MOST_XML_BYTES = 128 * 2**20
"""The documents have 5 to 15 MB."""
MOST_TIFF_BYTES = 2**30
"""A burst has 120 to 170 MB."""
MOST_LINES, MOST_SAMPLES = 4000, 60_000
"""A burst of IW has about 1500 lines of 20,000 to 27,000 samples."""
MOST_EMPTY_LINES = 0.01
"""Share of the valid lines that may be zero throughout: lines lost in the downlink."""
_LINES_AT_ONCE = 256
_opening = threading.Lock()
_AGAIN = "It is fetched again by the next build; if that file is wrong too, set SLIDECUBE_SLC_FETCH=granules."


class BurstAnnotation(Frozen):
    """The annotation of one burst."""

    swath: str
    polarisation: str
    start: Utc = Field(description="azimuth time of the first line")
    lines: int
    samples: int
    valid_lines: tuple[int, int] = Field(description="first and last line with a valid sample")
    valid_samples: tuple[tuple[int, int], ...] = Field(
        description="of every line the first and last valid sample, (-1, -1) for none"
    )


def read_xml(path: Path) -> Any:
    """Root of the archive's document.

    Raises:
        SourceDataError: it cannot be read; see `read_document`.
    """
    return read_document(path, MOST_XML_BYTES, path.name, _AGAIN)


def read_burst_annotation(path: Path, burst: Burst) -> BurstAnnotation:
    """The annotation of `burst` out of the archive's XML document (`burst/metadata/product/content`).

    Raises:
        SourceDataError: it cannot be read, or belongs to another burst.
    """
    root = read_xml(path)
    product = _product(root, burst)
    if product is None:
        raise _wrong(path, f"holds no annotation of {burst.swath} {burst.polarisation.upper()}")
    try:
        lines, samples = (
            int(product.findtext(f"swathTiming/{tag}")) for tag in ("linesPerBurst", "samplesPerBurst")
        )
        listed = product.findall("swathTiming/burstList/burst")
        node = listed[burst.index]
        start = datetime.fromisoformat(node.findtext("azimuthTime")).replace(tzinfo=UTC)
        first, last = (
            [int(v) for v in node.findtext(f"{end}ValidSample").split()] for end in ("first", "last")
        )
    except IndexError:
        raise _wrong(path, f"lists {len(listed)} bursts, and number {burst.index} was wanted") from None
    except (TypeError, ValueError, AttributeError):
        raise _wrong(path, "has a burst that cannot be read") from None
    if not (0 < lines <= MOST_LINES and 0 < samples <= MOST_SAMPLES and len(first) == len(last) == lines):
        raise _wrong(
            path, f"describes a burst of {lines} lines of {samples} samples with {len(first)} valid ranges"
        )
    if abs(start - burst.start) > timedelta(seconds=START_TOLERANCE_S):
        raise _wrong(path, f"describes a burst of {start.isoformat()}, not of {burst.start.isoformat()}")
    pairs = tuple((a, b) if 0 <= a <= b < samples else (-1, -1) for a, b in zip(first, last, strict=True))
    valid = [number for number, (a, _b) in enumerate(pairs) if a >= 0]
    if not valid:
        raise _wrong(path, "describes a burst without a valid line")
    return BurstAnnotation(
        swath=burst.swath,
        polarisation=burst.polarisation,
        start=start,
        lines=lines,
        samples=samples,
        valid_lines=(valid[0], valid[-1]),
        valid_samples=pairs,
    )


def _product(root: Any, burst: Burst) -> Any:
    """The `product` of the burst's swath and polarisation; None where there is none."""
    if root.tag == "product":
        candidates = [root]
    else:
        candidates = [p.find("content") for p in root.findall("metadata/product")]
    for product in candidates:
        if product is None:
            continue
        swath, polarisation = product.findtext("adsHeader/swath"), product.findtext("adsHeader/polarisation")
        if (swath or "").strip() == burst.swath and (
            polarisation or ""
        ).strip().lower() == burst.polarisation:
            return product
    return None


def check_burst_tiff(path: Path, annotation: BurstAnnotation) -> None:
    """Compare a burst's TIFF with its annotation: form, samples, bytes on the disk, and that its lines hold a signal.

    Raises:
        SourceDataError: it differs, is cut, or is empty.
    """
    wanted = annotation.lines, annotation.samples
    _check_blocks(path)
    try:
        with _opened(path) as image:
            if (image.height, image.width) != wanted:
                raise _wrong(
                    path,
                    f"has {image.height} lines of {image.width} samples, the annotation {wanted[0]} of {wanted[1]}",
                )
            if image.count != 1 or image.dtypes[0] != "complex_int16":
                raise _wrong(
                    path, f"holds {image.count} bands of {image.dtypes[0]}, not one of complex_int16"
                )
            empty = _empty_lines(image, annotation)
    except RasterioError as error:
        raise _wrong(path, f"cannot be read to its end ({type(error).__name__})") from None
    first, last = annotation.valid_lines
    if empty > MOST_EMPTY_LINES * (last - first + 1):
        raise _wrong(path, f"is zero in {empty} of its {last - first + 1} valid lines")


def _check_blocks(path: Path) -> None:
    """Every block of samples is whole in the file: GDAL would read what is missing as zeros."""
    with closing(LocalFile(path)) as file:
        try:
            image = read_layout(file.fetch, file.size, file.header(HEADER_BYTES)).image
        except TiffError as error:
            raise _wrong(path, str(error)) from None
    if (image.lengths == 0).any():
        raise _wrong(path, "leaves out some of its samples")


def _opened(path: Path) -> Any:
    # some bursts have no ground control points, of which rasterio warns; the annotation locates them
    with _opening, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.Env(**GDAL_OPTIONS):
            return rasterio.open(path, driver="GTiff", sharing=False)


def _empty_lines(image: Any, annotation: BurstAnnotation) -> int:
    """Valid lines whose valid samples are all zero."""
    first, last = annotation.valid_lines
    empty = 0
    for begin in range(first, last + 1, _LINES_AT_ONCE):
        count = min(_LINES_AT_ONCE, last + 1 - begin)
        signal = image.read(1, window=Window(0, begin, annotation.samples, count)) != 0
        for line in range(count):
            left, right = annotation.valid_samples[begin + line]
            empty += left >= 0 and not np.any(signal[line, left : right + 1])
    return empty


def _wrong(path: Path, why: str) -> SourceDataError:
    return SourceDataError(f"{path.name} {why}.", _AGAIN)
