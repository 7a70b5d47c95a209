"""HyP3's product of bursts, and the products of a job that are made from it.

The files and their meaning: `packaging.py` of ASFHyP3/hyp3-isce2 4 and HyP3's guide to burst products. All rasters of a
product lie on one grid in UTM, 0 stands for no data. `_corr` is ISCE2's phsig, not the magnitude of correlation that
the job contract asks for: it reads high (0.98 where the correlation is 0.76), and the metadata says so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.errors import RasterioError
from rasterio.windows import Window

from pipeline.archives.slc.zips import Limits, unpack_folder
from pipeline.errors import InterferometryError, SourceDataError
from pipeline.files import read_regular, whole_file
from pipeline.insar.hyp3.hyp3_api import LOOKS, JobOrder
from pipeline.insar.job import PRODUCTS, JobManifest, folder_of
from pipeline.progress import Progress

ZIP_LIMITS = Limits(entries=60, unpacked_bytes=16 * 2**30)
"""A product has about 20 files; ten bursts of 20 m pixels unpack to some 2 GB."""
MARGIN_M = 500.0
"""Around the requested box."""
NEEDED = {"corr": "float32", "wrapped_phase": "float32", "lv_theta": "float32"}
OPTIONAL = {"amp": "float32", "unw_phase": "float32", "conncomp": "float32"}
EXTRAS = {"unwrapped_phase": "unw_phase", "connected_components": "conncomp"}
"""Rasters beside those of the contract, by the part of the product that they are."""
_MOST_SIDE = 60_000
_MOST_TEXT = 2**18
_ROWS = 512
_NAME = re.compile(
    r"S1_\d{3}(_\d{6}s[123]n\d\d|-\d{6}s[123]n\d\d){3}_IW_\d{8}_\d{8}_(VV|HH)_INT(20|40|80)_[0-9A-F]{4}"
)
_VERSIONS = re.compile(
    r"using the (\S{1,40}) plugin version\s+(\S{1,40}) running (\S{1,40}) release (\S{1,40}?)\.?\s"
)
_AGAIN = "Delete the job's folder and build again; if it stays, report the job to ASF (uso@asf.alaska.edu)."


@dataclass(frozen=True)
class Unpacked:
    """A product that belongs to its order."""

    folder: Path
    stated: dict[str, str]
    """what its parameter file states, such as 'DEM source'"""
    versions: dict[str, str]

    def file(self, part: str) -> Path:
        """A raster of the product."""
        return self.folder / f"{self.folder.name}_{part}.tif"


def check_name(filename: str) -> str:
    """The product's name from the name of its zip.

    Raises:
        InterferometryError: `hyp3-misfit`, it is no product of bursts.
    """
    stem, dot, suffix = filename.rpartition(".")
    if not dot or suffix != "zip" or _NAME.fullmatch(stem) is None:
        raise misfit(f"its file is called {filename[:120]!r}, which is no product of bursts")
    return stem


def unpack_product(archive: Path, name: str, folder: Path, order: JobOrder, progress: Progress) -> Unpacked:
    """Unpack a product and check that it is of the bursts and looks that were ordered.

    Raises:
        InterferometryError: `hyp3-misfit`, it is of something else or lacks a file; or no zip that may be unpacked.
    """
    try:
        inside = unpack_folder(archive, folder / name, name, ZIP_LIMITS, only=True, progress=progress)
    except SourceDataError as error:
        raise misfit(error.message.rstrip(".")) from None
    stated = _stated(inside / f"{name}.txt")
    for side, names in (("Reference", order.reference), ("Secondary", order.secondary)):
        if sorted(re.split(r",\s*", stated.get(f"{side} Granule", ""))) != sorted(names):
            raise misfit(f"its {side.lower()} is {stated.get(f'{side} Granule', 'not stated')[:150]!r}")
    looks = stated.get("Range looks"), stated.get("Azimuth looks")
    if looks != (str(order.range_looks), str(order.azimuth_looks)):
        raise misfit(f"it has {looks[0]} looks in range and {looks[1]} in azimuth")
    found = Unpacked(inside, stated, _versions(inside / f"{name}_README.md.txt"))
    missing = [part for part in NEEDED if not found.file(part).is_file()]
    if missing:
        raise misfit(f"it lacks {', '.join(missing)}")
    return found


def _stated(path: Path) -> dict[str, str]:
    try:
        text = read_regular(path, _MOST_TEXT).decode("utf-8", "replace")
    except OSError as error:
        raise misfit(f"its parameter file cannot be read ({type(error).__name__})") from None
    pairs = (line.partition(": ") for line in text.splitlines()[:200])
    return {
        key.strip()[:80]: re.sub(r"[^ -~]+", " ", value).strip()[:2000] for key, mark, value in pairs if mark
    }


def _versions(path: Path) -> dict[str, str]:
    """Versions of plug-in and processor from the product's README; empty where it does not state them."""
    try:
        text = read_regular(path, _MOST_TEXT).decode("utf-8", "replace")
    except OSError:
        return {}
    found = _VERSIONS.search(text)
    return {} if found is None else {found[1]: found[2], found[3]: found[4]}


def write_products(job: Path, manifest: JobManifest, product: Unpacked) -> dict[str, Any]:
    """Write the job's rasters from the product, cut to the requested box and a margin.

    Coherence is `_corr`, the interferogram exp(i `_wrapped_phase`), incidence 90 degrees less `_lv_theta`; the
    amplitude is `_amp`, or no data where the product has none. Unwrapped phase and connected components are kept
    beside them where the product has them.

    Returns:
        What the metadata states of the rasters: `epsg`, `pixel_m`, `amplitude`, `beside`.

    Raises:
        InterferometryError: `product-misfit`, `product-unreadable`, `product-elsewhere`.
    """
    target = folder_of(job)["products"]
    target.mkdir(parents=True, exist_ok=True)
    parts = [*NEEDED, *(part for part in OPTIONAL if product.file(part).is_file())]
    extras = {name: part for name, part in EXTRAS.items() if part in parts}
    try:
        with ExitStack() as stack:
            images = {
                part: stack.enter_context(rasterio.open(product.file(part), driver="GTiff", sharing=False))
                for part in parts
            }
            pixel_m = LOOKS[manifest.range_looks, manifest.azimuth_looks]
            _check_images(images, pixel_m)
            window = _window(images["corr"], manifest.bbox)
            writers = _writers(stack, target, images["corr"], window, [*PRODUCTS, *extras])
            for rows in _strips(window):
                block = {part: _known(image, rows) for part, image in images.items()}
                there = Window(0, rows.row_off - window.row_off, rows.width, rows.height)
                for name, values in (_mapped(block) | {n: block[p] for n, p in extras.items()}).items():
                    writers[name].write(values, 1, window=there)
            epsg = images["corr"].crs.to_epsg()
    except RasterioError as error:
        raise InterferometryError(
            "product-unreadable",
            f"A raster of HyP3's product cannot be read ({type(error).__name__}).",
            _AGAIN,
        ) from error
    return {
        "epsg": epsg,
        "pixel_m": [pixel_m, pixel_m],
        "amplitude": "HyP3's _amp, of the filtered interferogram"
        if "amp" in parts
        else "none in HyP3's product",
        "beside": [f"{name}.tif" for name in extras],
    }


def _mapped(block: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
    """The contract's rasters of some rows; a pixel lacks coherence and phase where it lacks either."""
    both = ~np.isnan(block["corr"]) & ~np.isnan(block["wrapped_phase"])
    phase = np.where(both, block["wrapped_phase"], np.nan)
    turned = np.empty(phase.shape, dtype=np.complex64)
    turned.real, turned.imag = np.cos(phase), np.sin(phase)
    return {
        "coherence": np.where(both, block["corr"], np.float32(np.nan)),
        "interferogram": turned,
        "amplitude": block.get("amp", np.full(phase.shape, np.nan, dtype=np.float32)),
        "incidence": (90 - np.degrees(block["lv_theta"])).astype(np.float32),
    }


def _known(image: Any, window: Window) -> NDArray[np.float32]:
    """Values of a window, NaN for no data, which is 0 where the file names no other value."""
    values: NDArray[np.float32] = image.read(1, window=window).astype(np.float32)
    nodata = 0.0 if image.nodata is None else image.nodata
    values[(values == nodata) | ~np.isfinite(values)] = np.nan
    return values


def _check_images(images: dict[str, Any], pixel_m: float) -> None:
    first = images["corr"]
    problem = None
    for part, image in images.items():
        kinds = {"float32", "uint8"} if part == "conncomp" else {"float32"}
        if image.count != 1 or image.dtypes[0] not in kinds:
            problem = f"{part} has {image.count} bands of {image.dtypes[0]}"
        elif max(image.shape) > _MOST_SIDE:
            problem = f"{part} has {image.height} x {image.width} pixels"
        elif (image.crs, image.transform, image.shape) != (first.crs, first.transform, first.shape):
            problem = f"{part} and corr are not on one grid"
    a: Affine = first.transform
    if problem is None and (first.crs is None or not first.crs.is_projected):
        problem = "corr is not in UTM"
    if problem is None and (abs(a.a - pixel_m), abs(a.e + pixel_m), a.b, a.d) != (0, 0, 0, 0):
        problem = f"corr has pixels of {a.a:g} x {-a.e:g} m, not of {pixel_m:g} m"
    if problem is not None:
        raise InterferometryError("product-misfit", f"In HyP3's product {problem}.", _AGAIN)


def _window(image: Any, bbox: tuple[float, float, float, float]) -> Window:
    """The pixels of the requested box and its margin."""
    to_map = Transformer.from_crs(4326, image.crs, always_xy=True)
    west, south, east, north = to_map.transform_bounds(*bbox)
    a: Affine = image.transform
    left = max(0, math.floor((west - MARGIN_M - a.c) / a.a))
    right = min(image.width, math.ceil((east + MARGIN_M - a.c) / a.a))
    top = max(0, math.floor((north + MARGIN_M - a.f) / a.e))
    bottom = min(image.height, math.ceil((south - MARGIN_M - a.f) / a.e))
    if left >= right or top >= bottom:
        raise InterferometryError(
            "product-elsewhere", f"HyP3's product lies outside the requested box {bbox}.", _AGAIN
        )
    return Window(left, top, right - left, bottom - top)


def _strips(window: Window) -> Iterator[Window]:
    for first in range(0, window.height, _ROWS):
        yield Window(window.col_off, window.row_off + first, window.width, min(_ROWS, window.height - first))


def _writers(stack: ExitStack, target: Path, image: Any, window: Window, names: list[str]) -> dict[str, Any]:
    """Open rasters to be written, which get their names when the stack is left without an error."""
    return {
        name: stack.enter_context(
            rasterio.open(
                stack.enter_context(whole_file(target / f"{name}.tif")),
                "w",
                driver="GTiff",
                width=window.width,
                height=window.height,
                count=1,
                dtype="complex64" if name == "interferogram" else "float32",
                crs=image.crs,
                transform=image.transform * Affine.translation(window.col_off, window.row_off),
                nodata=math.nan,
                tiled=True,
                compress="deflate",
                predictor=1 if name == "interferogram" else 3,
                bigtiff="if_safer",
            )
        )
        for name in names
    }


def misfit(why: str) -> InterferometryError:
    """The error of a product that is not what was ordered."""
    return InterferometryError("hyp3-misfit", f"HyP3's product cannot be used: {why}.", _AGAIN)
