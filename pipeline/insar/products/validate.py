"""Validates the products of any processor before they count as finished."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from pydantic import ValidationError
from pyproj import CRS, Transformer
from rasterio.errors import RasterioError
from rasterio.windows import Window

from pipeline.errors import InterferometryError
from pipeline.files import read_regular
from pipeline.insar.job import (
    LEAST_VALID_FRACTION,
    METADATA,
    MOST_BYTES,
    PRODUCTS,
    REMOTE,
    JobManifest,
    JobMetadata,
    Product,
    folder_of,
)
from pipeline.records import Frozen

log = logging.getLogger(__name__)

TYPES = {"coherence": "float32", "interferogram": "complex64", "amplitude": "float32", "incidence": "float32"}
INCIDENCE_DEG = (15.0, 55.0)
"""Accepted incidence. Sentinel-1's IW has 29 to 46 degrees from the ellipsoid's normal, whatever the slope."""
_ROWS = 512
_AGAIN = (
    "Delete the job's folder and run the pair again; if it fails again, choose another pair or processor."
)


class Checked(Frozen):
    """Valid products and their statistics."""

    products: dict[str, Product]
    valid_fraction: float
    coherence_mean: float


def check_products(job: Path, manifest: JobManifest) -> Checked:
    """Read all products of a job completely and validate them.

    Raises:
        InterferometryError: `product-missing`, `product-unreadable`, `product-misfit` (grid or type),
            `product-range` (an impossible value), `product-elsewhere` (outside the requested box), `product-empty`,
            `product-constant`, `product-phase` (an interferogram without a phase).
    """
    folder = folder_of(job)["products"]
    files = {name: folder / f"{name}.tif" for name in PRODUCTS}
    missing = [path.name for path in files.values() if not path.is_file()]
    if missing:
        raise InterferometryError("product-missing", f"{job.name} lacks {', '.join(missing)}.", _AGAIN)
    try:
        with ExitStack() as stack:
            images = {
                name: stack.enter_context(rasterio.open(path, driver="GTiff", sharing=False))
                for name, path in files.items()
            }
            _check_grid(images, job)
            needed = set(PRODUCTS) - ({"amplitude"} if manifest.backend in REMOTE else set())
            tally = _Tally(images["coherence"], manifest.bbox, frozenset(needed))
            for window in _strips(images["coherence"]):
                tally.add({name: image.read(1, window=window) for name, image in images.items()}, window)
    except (RasterioError, OSError) as error:
        raise InterferometryError(
            "product-unreadable", f"A product of {job.name} cannot be read ({error}).", _AGAIN
        ) from error
    valid_fraction, mean = tally.result(job)
    return Checked(
        products={name: product_of(path) for name, path in files.items()},
        valid_fraction=valid_fraction,
        coherence_mean=mean,
    )


def read_finished(job: Path, manifest: JobManifest) -> JobMetadata | None:
    """The metadata of a finished job; None if it is unfinished, of another request, or changed."""
    path = folder_of(job)["products"] / METADATA
    try:
        metadata = JobMetadata.model_validate_json(read_regular(path, MOST_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ValidationError) as error:
        log.warning(
            "%s of %s is unusable (%s); the job is run again.", METADATA, job.name, type(error).__name__
        )
        return None
    try:
        agree(metadata, manifest)
        for name in PRODUCTS:
            if product_of(path.with_name(f"{name}.tif")) != metadata.products.get(name):
                raise InterferometryError("product-changed", f"{name}.tif was changed after it was made.")
    except (InterferometryError, OSError) as error:
        log.warning("%s: %s The job is run again.", job.name, error)
        return None
    return metadata


def agree(metadata: JobMetadata, manifest: JobManifest) -> None:
    """Check that the metadata belongs to the job of the manifest.

    Raises:
        InterferometryError: `metadata-misfit`.
    """
    stated = metadata.pair, metadata.part, metadata.backend, set(metadata.bursts)
    requested = manifest.pair, manifest.part, manifest.backend, set(manifest.bursts)
    if stated != requested or set(metadata.products) != set(PRODUCTS):
        raise InterferometryError(
            "metadata-misfit",
            f"{METADATA} states {stated[:3]}, but the manifest requests {requested[:3]}.",
            _AGAIN,
        )


def product_of(path: Path) -> Product:
    """Name, digest and size of a product's file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Product(file=path.name, sha256=digest, size_bytes=path.stat().st_size)


def _check_grid(images: dict[str, Any], job: Path) -> None:
    first = images["coherence"]
    problem = None
    for name, image in images.items():
        if image.count != 1 or image.dtypes[0] != TYPES[name]:
            problem = f"{name}.tif has {image.count} bands of {image.dtypes[0]}, not one of {TYPES[name]}"
        elif image.crs is None or image.transform.determinant == 0 or image.transform.is_identity:
            problem = f"{name}.tif has no georeference"
        elif (image.crs, image.transform, image.shape) != (first.crs, first.transform, first.shape):
            problem = f"{name}.tif and coherence.tif are not on one grid"
    if problem:
        raise InterferometryError("product-misfit", f"{job.name}: {problem}.", _AGAIN)


def _strips(image: Any) -> Iterator[Window]:
    for top in range(0, image.height, _ROWS):
        yield Window(0, top, image.width, min(_ROWS, image.height - top))


@dataclass
class _Tally:
    """Statistics of the products, collected in strips of rows."""

    image: Any
    bbox: tuple[float, float, float, float]
    needed: frozenset[str]
    """products with at least one value: a service may have no amplitude"""
    inside: int = 0
    valid: int = 0
    anywhere: int = 0
    total: float = 0.0
    extremes: dict[str, tuple[float, float]] = field(default_factory=dict)
    phase: tuple[float, float] = (math.inf, -math.inf)
    problems: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._to_degrees = Transformer.from_crs(CRS.from_user_input(self.image.crs), 4326, always_xy=True)
        self._box_pixels = max(1.0, _pixels_in(self.image, self.bbox))

    def add(self, values: dict[str, NDArray[Any]], window: Window) -> None:
        coherence = values["coherence"]
        valid = ~np.isnan(coherence)
        self.anywhere += int(valid.sum())
        for name, array in values.items():
            known = array[~np.isnan(array)]
            if np.iscomplexobj(known):
                if known.size:
                    phase = np.angle(known)
                    self.phase = (
                        min(self.phase[0], float(phase.min())),
                        max(self.phase[1], float(phase.max())),
                    )
                known = np.abs(known)
            if known.size:
                low, high = self.extremes.get(name, (math.inf, -math.inf))
                self.extremes[name] = min(low, float(known.min())), max(high, float(known.max()))
        if (valid & np.isnan(values["interferogram"])).any():
            self.problems.add("coherence where there is no interferogram")
        rows, columns = np.nonzero(valid)
        affine = self.image.transform
        x = affine.c + affine.a * (columns + 0.5) + affine.b * (rows + window.row_off + 0.5)
        y = affine.f + affine.d * (columns + 0.5) + affine.e * (rows + window.row_off + 0.5)
        longitude, latitude = self._to_degrees.transform(x, y)
        west, south, east, north = self.bbox
        within = (latitude >= south) & (latitude <= north) & (longitude >= west) & (longitude <= east)
        self.valid += int(within.sum())
        self.total += float(coherence[rows[within], columns[within]].sum(dtype=np.float64))

    def result(self, job: Path) -> tuple[float, float]:
        self._check_values(job)
        fraction = min(1.0, self.valid / self._box_pixels)
        if self.anywhere and not self.valid:
            raise InterferometryError(
                "product-elsewhere",
                f"No pixel of the products of {job.name} lies in the requested box {self.bbox}.",
                "Check that the bursts lie in the requested box, and that the DEM covers them.",
            )
        if fraction < LEAST_VALID_FRACTION:
            raise InterferometryError(
                "product-empty",
                f"Only {fraction:.2%} of the requested box has coherence in {job.name}.",
                "Check that the bursts lie in the requested box, and that orbits and DEM fit; then run the pair again.",
            )
        low, high = self.extremes["coherence"]
        if low == high:
            raise InterferometryError(
                "product-constant", f"The coherence of {job.name} is {low:g} everywhere.", _AGAIN
            )
        if self.phase[0] == self.phase[1]:
            raise InterferometryError(
                "product-phase", f"The phase of {job.name} is {self.phase[0]:g} everywhere.", _AGAIN
            )
        return fraction, min(1.0, max(0.0, self.total / self.valid))

    def _check_values(self, job: Path) -> None:
        bounds = {
            "coherence": (0.0, 1.0), "interferogram": (0.0, math.inf),
            "amplitude": (0.0, math.inf), "incidence": INCIDENCE_DEG,
        }  # fmt: skip
        for name, (low, high) in self.extremes.items():
            least, most = bounds[name]
            if low < least or high > most or math.isinf(high):
                self.problems.add(f"{name} from {low:g} to {high:g}")
        if self.anywhere:
            self.problems |= {f"no {name}" for name in self.needed - set(self.extremes)}
        if self.problems:
            raise InterferometryError(
                "product-range", f"{job.name} has {'; '.join(sorted(self.problems))}.", _AGAIN
            )


def _pixels_in(image: Any, bbox: tuple[float, float, float, float]) -> float:
    """Number of pixels of the image's size in the box, inside the image or not."""
    west, south, east, north = bbox
    to_image = Transformer.from_crs(4326, CRS.from_user_input(image.crs), always_xy=True)
    x, y = to_image.transform([west, east, east, west], [south, south, north, north])
    area = 0.5 * abs(sum(x[i] * y[(i + 1) % 4] - x[(i + 1) % 4] * y[i] for i in range(4)))
    return float(area / abs(image.transform.determinant))
