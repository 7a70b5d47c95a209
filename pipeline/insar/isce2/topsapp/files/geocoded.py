"""Converts topsApp's geocoded files to the job contract's GeoTIFFs and checks every value.

`topophase.cor.geo` has two bands interleaved by line: amplitude, then coherence. `phsig.cor` is a phase statistic and
is not used. `topophase.flat.geo` is the flattened, wrapped interferogram, `los.rdr.geo`
incidence and azimuth of the line of sight. topsApp writes 0 for no data.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.transform import Affine
from rasterio.windows import Window

from pipeline.errors import InterferometryError
from pipeline.files import whole_file
from pipeline.insar.isce2.topsapp.files.isce_dem import METRES_PER_DEGREE, Box
from pipeline.insar.isce2.topsapp.files.isce_files import IsceImage, open_bands, read_header
from pipeline.insar.job import LEAST_VALID_FRACTION, PRODUCTS, Product
from pipeline.records import Frozen

_MARGIN_M = 500.0
_ROWS = 512
_TOLERANCE = 1e-3


class Written(Frozen):
    """The records of the products, and statistics of the coherence."""

    products: dict[str, Product]
    valid_fraction: float
    coherence_mean: float


def write_products(work: Path, folder: Path, bbox: Box) -> Written:
    """Convert the geocoded files below `work` to GeoTIFFs in `folder`, cropped to `bbox` and a small margin.

    Raises InterferometryError `header-unreadable`, `product-truncated`, `product-grid`, `product-elsewhere`,
    `product-range`, `product-empty`, `disk-full`.
    """
    sources = {name: work / f"merged/{name}.geo" for name in ("topophase.cor", "topophase.flat", "los.rdr")}
    images = {name: read_header(path) for name, path in sources.items()}
    _check_layout(images)
    image = images["topophase.cor"]
    window = _window(image, bbox)
    bands = {name: open_bands(path, images[name]) for name, path in sources.items()}
    tally = _Tally(image, bbox)
    with ExitStack() as stack:
        partial = {name: stack.enter_context(whole_file(folder / f"{name}.tif")) for name in PRODUCTS}
        checks = dict.fromkeys(PRODUCTS, 0)
        with ExitStack() as writers:
            outputs = {
                name: writers.enter_context(_create(path, name, image, window))
                for name, path in partial.items()
            }
            for first, rows in _blocks(window):
                block = _block(bands, window, first, rows)
                tally.add(block["coherence"], window.row_off + first, window.col_off)
                for name, values in block.items():
                    outputs[name].write(values, 1, window=Window(0, first, window.width, rows))
                    checks[name] = zlib.crc32(values.tobytes(), checks[name])
        valid_fraction, coherence_mean = tally.result()
        for name, path in partial.items():
            _check_readable(path, f"{name}.tif", window, checks[name])
        products = {name: _product(path, f"{name}.tif") for name, path in partial.items()}
    return Written(products=products, valid_fraction=valid_fraction, coherence_mean=coherence_mean)


def _check_layout(images: dict[str, IsceImage]) -> None:
    wanted = {"topophase.cor": (2, "FLOAT"), "topophase.flat": (1, "CFLOAT"), "los.rdr": (2, "FLOAT")}
    grids = {
        (
            image.width,
            image.length,
            round(image.first_longitude, 9),
            round(image.first_latitude, 9),
            image.delta_longitude,
            image.delta_latitude,
        )
        for image in images.values()
    }
    shapes = {name: (image.bands, image.data_type) for name, image in images.items()}
    image = images["topophase.cor"]
    plausible_step = image.delta_longitude > 0 > image.delta_latitude and abs(image.delta_latitude) < 0.1
    plausible_origin = abs(image.first_longitude) <= 360 and abs(image.first_latitude) <= 90
    if len(grids) != 1 or shapes != wanted or not (plausible_step and plausible_origin):
        raise InterferometryError(
            "product-grid",
            f"topsApp's geocoded files are not on one grid in degrees: {shapes}, {sorted(grids)}.",
            "Delete the job's scratch folder and run the pair again.",
        )


def _window(image: IsceImage, bbox: Box) -> Window:
    """The window of the image with the requested box and a margin, in whole pixels."""
    west, south, east, north = bbox
    left, top = image.corner
    margin_y = _MARGIN_M / METRES_PER_DEGREE
    margin_x = margin_y / math.cos(math.radians((south + north) / 2))
    columns = (
        math.floor((west - margin_x - left) / image.delta_longitude),
        math.ceil((east + margin_x - left) / image.delta_longitude),
    )
    rows = (
        math.floor((north + margin_y - top) / image.delta_latitude),
        math.ceil((south - margin_y - top) / image.delta_latitude),
    )
    first_column, last_column = max(0, columns[0]), min(image.width, columns[1])
    first_row, last_row = max(0, rows[0]), min(image.length, rows[1])
    if first_column >= last_column or first_row >= last_row:
        raise InterferometryError(
            "product-elsewhere",
            f"topsApp's product begins at {left:.3f}, {top:.3f} degrees and lies outside the requested box {bbox}.",
            "Check that the bursts lie in the requested box, and that the DEM covers them.",
        )
    return Window(first_column, first_row, last_column - first_column, last_row - first_row)


def _blocks(window: Window) -> Iterator[tuple[int, int]]:
    for first in range(0, window.height, _ROWS):
        yield first, min(_ROWS, window.height - first)


def _block(bands: dict[str, np.ndarray], window: Window, first: int, rows: int) -> dict[str, np.ndarray]:
    where = (
        slice(window.row_off + first, window.row_off + first + rows),
        slice(window.col_off, window.col_off + window.width),
    )
    amplitude = np.array(bands["topophase.cor"][0][where], np.float32)
    coherence = np.array(bands["topophase.cor"][1][where], np.float32)
    interferogram = np.array(bands["topophase.flat"][0][where], np.complex64)
    incidence = np.array(bands["los.rdr"][0][where], np.float32)
    recorded = (amplitude != 0) | (coherence != 0)
    if not (np.isfinite(amplitude[recorded]).all() and np.isfinite(coherence[recorded]).all()):
        raise _out_of_range("a coherence or an amplitude that is not a number")
    if not np.isfinite(interferogram[recorded]).all():
        raise _out_of_range("an interferogram that is not a number")
    if recorded.any() and not (
        coherence[recorded].min() >= -_TOLERANCE and coherence[recorded].max() <= 1 + _TOLERANCE
    ):
        raise _out_of_range(
            f"coherence from {coherence[recorded].min():.3f} to {coherence[recorded].max():.3f}"
        )
    valid = recorded & (amplitude > 0) & (interferogram != 0)
    with_incidence = valid & (incidence != 0)
    if with_incidence.any() and not (
        incidence[with_incidence].min() > 0 and incidence[with_incidence].max() < 90
    ):
        raise _out_of_range(
            f"incidence from {incidence[with_incidence].min():.1f} to {incidence[with_incidence].max():.1f} degrees"
        )
    no_data = np.float32(np.nan)
    return {
        "coherence": np.where(valid, np.clip(coherence, 0, 1), no_data),
        "interferogram": np.where(valid, interferogram, np.complex64(complex(math.nan, math.nan))),
        "amplitude": np.where(valid, amplitude, no_data),
        "incidence": np.where(with_incidence, incidence, no_data),
    }


class _Tally:
    """Counts the pixels with coherence in the requested box, and computes their mean."""

    def __init__(self, image: IsceImage, bbox: Box) -> None:
        west, south, east, north = bbox
        self._longitudes = image.first_longitude + image.delta_longitude * np.arange(image.width)
        self._latitudes = image.first_latitude + image.delta_latitude * np.arange(image.length)
        self._bbox = bbox
        # of the whole box, also outside the image: a product that covers only a corner has a small share
        self._box_pixels = max(
            1.0, (east - west) * (north - south) / abs(image.delta_longitude * image.delta_latitude)
        )
        self._valid = 0
        self._sum = 0.0

    def add(self, coherence: np.ndarray, first_row: int, first_column: int) -> None:
        west, south, east, north = self._bbox
        latitudes = self._latitudes[first_row : first_row + coherence.shape[0]]
        longitudes = self._longitudes[first_column : first_column + coherence.shape[1]]
        inside = ((latitudes >= south) & (latitudes <= north))[:, None] & (
            (longitudes >= west) & (longitudes <= east)
        )
        valid = inside & np.isfinite(coherence)
        self._valid += int(np.count_nonzero(valid))
        self._sum += float(coherence[valid].sum(dtype=np.float64))

    def result(self) -> tuple[float, float]:
        fraction = min(1.0, self._valid / self._box_pixels)
        if fraction < LEAST_VALID_FRACTION:
            raise InterferometryError(
                "product-empty",
                f"Only {fraction:.2%} of the requested box has coherence.",
                "Check that the bursts lie in the requested box, and that orbits and DEM fit; then run the pair again.",
            )
        return fraction, min(1.0, max(0.0, self._sum / self._valid))


def _out_of_range(what: str) -> InterferometryError:
    return InterferometryError(
        "product-range",
        f"topsApp's product holds {what}.",
        "Delete the job's scratch folder and run the pair again; if it fails again, choose another pair.",
    )


def _create(path: Path, name: str, image: IsceImage, window: Window) -> rasterio.io.DatasetWriter:
    left, top = image.corner
    complex_values = name == "interferogram"
    return rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=window.width,
        height=window.height,
        count=1,
        dtype="complex64" if complex_values else "float32",
        crs="EPSG:4326",
        transform=Affine(
            image.delta_longitude,
            0,
            left + window.col_off * image.delta_longitude,
            0,
            image.delta_latitude,
            top + window.row_off * image.delta_latitude,
        ),
        nodata=math.nan,
        tiled=True,
        blockxsize=256,
        blockysize=256,
        compress="deflate",
        predictor=1 if complex_values else 3,
        bigtiff="if_safer",
    )


def _check_readable(path: Path, name: str, window: Window, check: int) -> None:
    """Read the file back and compare checksums.

    On a full disk GDAL may close a file without an error, and missing tiles are read as nodata.
    """
    found = 0
    try:
        with rasterio.open(path, driver="GTiff") as source:
            for first, rows in _blocks(window):
                found = zlib.crc32(source.read(1, window=Window(0, first, window.width, rows)), found)
    except RasterioError:
        found = -1
    if found != check:
        raise InterferometryError(
            "disk-full",
            f"{name} read back differs from what was written.",
            "Free space on the disk of the job's folder, and run the pair again to resume.",
        )


def _product(path: Path, name: str) -> Product:
    """The record of the raster at `path`, whose name among the products is `name`."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Product(file=name, sha256=digest, size_bytes=path.stat().st_size)
