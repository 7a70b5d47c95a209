"""From topsApp's geocoded files to the job contract's GeoTIFFs, checked value by value on the way.

`topophase.cor.geo` holds two bands interleaved by line, amplitude and coherence; the coherence is the second.
`phsig.cor` is no coherence and is not used. `topophase.flat.geo` is the flattened, wrapped interferogram, `los.rdr.geo`
incidence and azimuth of the line of sight. topsApp writes 0 where it has nothing.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.transform import Affine
from rasterio.windows import Window

from pipeline.errors import InterferometryError
from pipeline.insar.isce2.topsapp.files.isce_dem import METRES_PER_DEGREE, Box
from pipeline.insar.isce2.topsapp.files.isce_files import IsceImage, open_bands, read_header
from pipeline.insar.job import LEAST_VALID_FRACTION, PRODUCTS, Product
from pipeline.records import Frozen

_MARGIN_M = 500.0
_ROWS = 512
_TOLERANCE = 1e-3


class Written(Frozen):
    """The products and what they hold."""

    products: dict[str, Product]
    valid_fraction: float
    coherence_mean: float


def write_products(work: Path, folder: Path, bbox: Box) -> Written:
    """Turn the geocoded files below `work` into GeoTIFFs in `folder`, cut to `bbox` and a small margin.

    Raises InterferometryError `header-unreadable`, `product-truncated`, `product-grid`, `product-elsewhere`,
    `product-range`, `product-empty`, `disk-full`.
    """
    sources = {name: work / f"merged/{name}.geo" for name in ("topophase.cor", "topophase.flat", "los.rdr")}
    images = {name: read_header(path) for name, path in sources.items()}
    _check_layout(images)
    image = images["topophase.cor"]
    window = _window(image, bbox)
    bands = {name: open_bands(path, images[name]) for name, path in sources.items()}
    partial = {name: folder / f"{name}.tif.part" for name in PRODUCTS}
    folder.mkdir(parents=True, exist_ok=True)
    tally = _Tally(image, bbox)
    try:
        outputs = {name: _create(path, name, image, window) for name, path in partial.items()}
        checks = dict.fromkeys(PRODUCTS, 0)
        try:
            for first, rows in _blocks(window):
                block = _block(bands, window, first, rows)
                tally.add(block["coherence"], window.row_off + first, window.col_off)
                for name, values in block.items():
                    outputs[name].write(values, 1, window=Window(0, first, window.width, rows))
                    checks[name] = zlib.crc32(values.tobytes(), checks[name])
        finally:
            for output in outputs.values():
                output.close()
        valid_fraction, coherence_mean = tally.result()
        for name, path in partial.items():
            _check_readable(path, window, checks[name])
        products = {name: _finish(partial[name], folder / f"{name}.tif") for name in PRODUCTS}
    finally:
        for path in partial.values():
            path.unlink(missing_ok=True)
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
    posed = image.delta_longitude > 0 > image.delta_latitude and abs(image.delta_latitude) < 0.1
    placed = abs(image.first_longitude) <= 360 and abs(image.first_latitude) <= 90
    if len(grids) != 1 or shapes != wanted or not posed or not placed:
        raise InterferometryError(
            "product-grid",
            f"topsApp's geocoded files do not lie on one grid in degrees: {shapes}, {sorted(grids)}.",
            "Delete the job's scratch folder and run the pair again.",
        )


def _window(image: IsceImage, bbox: Box) -> Window:
    """The part of the image that holds the wanted box and a margin, in whole pixels."""
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
            f"topsApp's product begins at {left:.3f}, {top:.3f} degrees and does not meet the wanted box {bbox}.",
            "Check that the bursts look at the wanted box, and that the DEM covers them.",
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
    seen = (amplitude != 0) | (coherence != 0)
    if not (np.isfinite(amplitude[seen]).all() and np.isfinite(coherence[seen]).all()):
        raise _out_of_range("a coherence or an amplitude that is not a number")
    if not np.isfinite(interferogram[seen]).all():
        raise _out_of_range("an interferogram that is not a number")
    if seen.any() and not (coherence[seen].min() >= -_TOLERANCE and coherence[seen].max() <= 1 + _TOLERANCE):
        raise _out_of_range(f"coherence from {coherence[seen].min():.3f} to {coherence[seen].max():.3f}")
    valid = seen & (amplitude > 0) & (interferogram != 0)
    looking = valid & (incidence != 0)
    if looking.any() and not (incidence[looking].min() > 0 and incidence[looking].max() < 90):
        raise _out_of_range(
            f"incidence from {incidence[looking].min():.1f} to {incidence[looking].max():.1f} degrees"
        )
    nothing = np.float32(np.nan)
    return {
        "coherence": np.where(valid, np.clip(coherence, 0, 1), nothing),
        "interferogram": np.where(valid, interferogram, np.complex64(complex(math.nan, math.nan))),
        "amplitude": np.where(valid, amplitude, nothing),
        "incidence": np.where(looking, incidence, nothing),
    }


class _Tally:
    """Counts the pixels of the wanted box that hold coherence, and their mean."""

    def __init__(self, image: IsceImage, bbox: Box) -> None:
        west, south, east, north = bbox
        self._longitudes = image.first_longitude + image.delta_longitude * np.arange(image.width)
        self._latitudes = image.first_latitude + image.delta_latitude * np.arange(image.length)
        self._bbox = bbox
        # of the box, not of the part that the image holds: a product that meets a corner covers little
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
        held = inside & np.isfinite(coherence)
        self._valid += int(np.count_nonzero(held))
        self._sum += float(coherence[held].sum(dtype=np.float64))

    def result(self) -> tuple[float, float]:
        fraction = min(1.0, self._valid / self._box_pixels)
        if fraction < LEAST_VALID_FRACTION:
            raise InterferometryError(
                "product-empty",
                f"{fraction:.2%} of the wanted box hold coherence.",
                "Check that the bursts look at the wanted box, and that orbits and DEM fit; then run the pair again.",
            )
        return fraction, min(1.0, max(0.0, self._sum / self._valid))


def _out_of_range(what: str) -> InterferometryError:
    return InterferometryError(
        "product-range",
        f"topsApp's product holds {what}.",
        "Delete the job's scratch folder and run the pair again; if it comes back, choose another pair.",
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


def _check_readable(path: Path, window: Window, check: int) -> None:
    """Read back what was written: GDAL may close a file on a full disk in silence, and lost tiles read as nodata."""
    found = 0
    try:
        with rasterio.open(path) as source:
            for first, rows in _blocks(window):
                found = zlib.crc32(source.read(1, window=Window(0, first, window.width, rows)), found)
    except RasterioError:
        found = -1
    if found != check:
        raise InterferometryError(
            "disk-full",
            f"{path.name} cannot be read back as it was written.",
            "Free room on the disk of the job's folder, and run the pair again to go on.",
        )


def _finish(partial: Path, path: Path) -> Product:
    with partial.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    size = partial.stat().st_size
    partial.replace(path)
    return Product(file=path.name, sha256=digest, size_bytes=size)
