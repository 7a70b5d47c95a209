"""Stored bursts and their mosaic. Each pixel is taken from the burst whose edge is farthest from it."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from pyproj import Transformer
from rasterio.windows import Window

from pipeline.errors import InterferometryError
from pipeline.files import read_regular, whole_file, write_whole
from pipeline.insar.job import MOST_BYTES, PRODUCTS, Step
from pipeline.insar.pygmtsar.lattice import BurstEstimates, Lattice
from pipeline.records import Frozen

PRODUCT_MARGIN_M = 500.0
"""Margin around the requested box."""
_ROWS = 256

Box = tuple[float, float, float, float]


class _BurstRecord(Frozen):
    """A stored burst's position on the products' grid, and its step."""

    row: int
    column: int
    height: int
    width: int
    step: Step


@dataclass(frozen=True)
class StoredBurst:
    """A stored burst; its arrays are memory-mapped."""

    record: _BurstRecord
    folder: Path

    @property
    def step(self) -> Step:
        """The step that processed the burst."""
        return self.record.step

    def array(self, name: str) -> Any:
        """The array `name`: one of the products, or distance_m."""
        return np.load(self.folder / f"{name}.npy", mmap_mode="r")


def write_burst(folder: Path, burst: BurstEstimates, step: Step) -> None:
    """Store a burst. Its folder has its final name only when it is complete.

    `whole_folder` is not used, since it reports a full disk as a wrong --out.
    """
    partial = folder.with_name(f".{folder.name}.part")
    partial.mkdir(exist_ok=True)
    for name in (*PRODUCTS, "distance_m"):
        np.save(partial / f"{name}.npy", getattr(burst, name))
    height, width = burst.coherence.shape
    record = _BurstRecord(row=burst.row, column=burst.column, height=height, width=width, step=step)
    write_whole(partial / "burst.json", record.model_dump_json())
    partial.rename(folder)


def read_burst(folder: Path) -> StoredBurst:
    """A stored burst."""
    record = read_regular(folder / "burst.json", MOST_BYTES)
    return StoredBurst(_BurstRecord.model_validate_json(record), folder)


def write_products(folder: Path, lattice: Lattice, bbox: Box, target: Path) -> None:
    """Write the GeoTIFFs of a job from its bursts, cropped to the requested box and a margin.

    Raises:
        InterferometryError: `product-elsewhere`, the bursts lie outside the box.
    """
    bursts = [read_burst(path) for path in sorted(folder.glob("[!.]*"))]
    top, bottom, left, right = _frame([b.record for b in bursts], lattice, bbox)
    transform = Affine(
        lattice.pixel_x_m, 0, left * lattice.pixel_x_m, 0, -lattice.pixel_y_m, -top * lattice.pixel_y_m
    )
    width = right - left
    with ExitStack() as files, ExitStack() as writers:
        partial = {name: files.enter_context(whole_file(target / f"{name}.tif")) for name in PRODUCTS}
        images = {
            name: writers.enter_context(
                rasterio.open(
                    path,
                    "w",
                    driver="GTiff",
                    width=width,
                    height=bottom - top,
                    count=1,
                    dtype="complex64" if name == "interferogram" else "float32",
                    crs=f"EPSG:{lattice.epsg}",
                    transform=transform,
                    nodata=math.nan,
                    tiled=True,
                    compress="deflate",
                    predictor=1 if name == "interferogram" else 3,
                    bigtiff="if_safer",
                )
            )
            for name, path in partial.items()
        }
        for first in range(top, bottom, _ROWS):
            last = min(first + _ROWS, bottom)
            for name, values in _block(bursts, first, last, left, right).items():
                images[name].write(values, 1, window=Window(0, first - top, width, last - first))


def _frame(record: list[_BurstRecord], lattice: Lattice, bbox: Box) -> tuple[int, int, int, int]:
    """First and end row, first and end column of the bursts' extent in the box and its margin."""
    west, south, east, north = bbox
    to_map = Transformer.from_crs(4326, lattice.epsg, always_xy=True)
    left_m, bottom_m, right_m, top_m = to_map.transform_bounds(west, south, east, north)
    margin = PRODUCT_MARGIN_M
    top = max(min(p.row for p in record), math.floor(-(top_m + margin) / lattice.pixel_y_m))
    bottom = min(max(p.row + p.height for p in record), math.ceil(-(bottom_m - margin) / lattice.pixel_y_m))
    left = max(min(p.column for p in record), math.floor((left_m - margin) / lattice.pixel_x_m))
    right = min(max(p.column + p.width for p in record), math.ceil((right_m + margin) / lattice.pixel_x_m))
    if top >= bottom or left >= right:
        raise InterferometryError(
            "product-elsewhere",
            f"The bursts lie outside the requested box {bbox}.",
            "Check that the bursts lie in the requested box, and that the DEM covers them.",
        )
    return top, bottom, left, right


def _block(bursts: list[StoredBurst], first: int, last: int, left: int, right: int) -> dict[str, Any]:
    shape = last - first, right - left
    out: dict[str, Any] = {name: np.full(shape, np.nan, np.float32) for name in PRODUCTS}
    out["interferogram"] = np.full(shape, complex(np.nan, np.nan), np.complex64)
    largest_distance = np.zeros(shape, np.float32)
    for burst in bursts:
        p = burst.record
        rows = max(first, p.row), min(last, p.row + p.height)
        columns = max(left, p.column), min(right, p.column + p.width)
        if rows[0] >= rows[1] or columns[0] >= columns[1]:
            continue
        here = np.s_[rows[0] - first : rows[1] - first, columns[0] - left : columns[1] - left]
        there = np.s_[rows[0] - p.row : rows[1] - p.row, columns[0] - p.column : columns[1] - p.column]
        distance = burst.array("distance_m")[there]
        better = distance > largest_distance[here]
        largest_distance[here][better] = distance[better]
        for name in PRODUCTS:
            out[name][here][better] = burst.array(name)[there][better]
    return out
