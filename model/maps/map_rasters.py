"""The rasters of a map, written in rows, and its polygons."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.features import geometry_mask, shapes
from rasterio.windows import Window
from shapely.geometry import shape

from model.inputs.cubes import Georeference
from model.inputs.windows import Box
from model.releases.categories import LANDSLIDE, NO_DATA

PROBE_BYTES = 16 << 20
"""a disk that has no room for so much has none for a raster"""

COLUMNS: dict[str, str] = {
    "id": "int64",
    "mean_probability": "float64",
    "max_probability": "float64",
    "area_m2": "float64",
    "pixels": "int64",
    "passes_before": "int64",
    "passes_after": "int64",
    "track": "str",
    "newest_pass": "str",
    "days_since_event": "float64",
    "false_share": "float64",
    "false_low": "float64",
    "false_high": "float64",
    "events": "int64",
    "expected_auprc": "float64",
    "expected_prevalence": "float64",
    "model": "str",
    "simulated": "bool",
    "review": "str",
}
"""Attributes of a polygon and their types. `false_share` is the share of polygons that held no landslide on the tested
events, in their mean; `false_low` and `false_high` are those of the best and the worst event, `events` is their
number."""


DISK_LIKE = (RasterioError, DataSourceError, DataLayerError, FeatureError, CPLE_BaseError, sqlite3.Error)
"""errors of GDAL and SQLite, which do not tell a full disk from other reasons"""


@contextmanager
def disk_named(path: Path) -> Iterator[None]:
    """Name the disk where GDAL fails to write a file in the folder of `path`: its own errors do not.

    Raises:
        OSError: the disk's own error, if the folder takes no further file of some size.
    """
    try:
        yield
    except (*DISK_LIKE, OSError) as error:
        probe = path.with_name(f".{path.name}.probe")
        try:
            with probe.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, PROBE_BYTES)
        except OSError as disk:
            raise disk from error
        finally:
            probe.unlink(missing_ok=True)
        raise


class RowRaster:
    """One raster, written in rows of full width to a scratch file, which then becomes a cloud-optimised GeoTIFF."""

    def __init__(
        self,
        scratch: Path,
        shape_: tuple[int, int],
        reference: Georeference,
        dtype: Literal["float32", "uint8"],
        nodata: float | None = None,
        *,
        palette: Mapping[int, tuple[int, int, int, int]] | None = None,
    ) -> None:
        """
        Args:
            nodata: None: NaN, and `NO_DATA` for whole numbers.
            palette: red, green, blue and opacity of each value of a raster of bytes.
        """
        self.path = scratch
        self._dtype = dtype
        self._dataset = rasterio.open(
            scratch,
            "w",
            driver="GTiff",
            dtype=dtype,
            count=1,
            height=shape_[0],
            width=shape_[1],
            crs=reference.crs,
            transform=reference.affine,
            nodata=nodata if nodata is not None else float("nan") if dtype == "float32" else NO_DATA,
            tiled=True,
            blockxsize=256,
            blockysize=256,
            BIGTIFF="IF_SAFER",
        )
        if palette:
            self._dataset.write_colormap(1, dict(palette))

    def __enter__(self) -> RowRaster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._dataset.close()

    def close(self) -> None:
        """Write what is still in memory; nothing can be written afterwards."""
        with disk_named(self.path):
            self._dataset.close()

    def write(self, box: Box, values: NDArray[Any]) -> None:
        """Write (y, x) values at `box`."""
        with disk_named(self.path):
            self._dataset.write(values, 1, window=Window(box.left, box.top, box.width, box.height))

    def describe(self, description: str, tags: Mapping[str, str]) -> None:
        """Set the band's description and the file's tags."""
        self._dataset.set_band_description(1, description)
        self._dataset.update_tags(**tags)

    def publish(self, target: Path) -> None:
        """Close the scratch file and write the cloud-optimised GeoTIFF, which is read back; its overviews never average
        classes.

        Raises:
            OSError: it cannot be written, or is not what was written.
        """
        with disk_named(target):
            self._publish(target)

    def _publish(self, target: Path) -> None:
        self._dataset.close()
        rasterio.shutil.copy(
            self.path,
            target,
            driver="COG",
            COMPRESS="DEFLATE",
            PREDICTOR="YES",
            BLOCKSIZE="512",
            OVERVIEW_RESAMPLING="AVERAGE" if self._dtype == "float32" else "NEAREST",
        )
        with rasterio.open(self.path) as written, rasterio.open(target) as read:
            if written.checksum(1) != read.checksum(1):
                raise RasterioIOError(f"{target.name} does not hold what was written")


def landslide_polygons(
    classes: Path, probability: Path, reference: Georeference, smallest_px: int, attributes: Mapping[str, Any]
) -> gpd.GeoDataFrame:
    """Landslide pixels, connected by their edges, as polygons of at least `smallest_px` pixels.

    Args:
        classes: class raster; GDAL reads it line by line.
        probability: probability raster on the same grid; read in the bounds of each polygon.
        attributes: attributes that all polygons share: the columns of `COLUMNS` that are not computed here.

    Returns:
        One row for each polygon, with the columns of `COLUMNS`.
    """
    rows: list[dict[str, Any]] = []
    geometries = []
    with rasterio.open(classes) as class_file, rasterio.open(probability) as probability_file:
        band = rasterio.band(class_file, 1)
        for found, value in shapes(band, mask=band, connectivity=4, transform=reference.affine):
            if int(value) != LANDSLIDE:
                continue
            polygon = shape(found)
            pixels = round(polygon.area / reference.pixel_area_m2)
            if pixels < smallest_px:
                continue
            inside = _values_inside(polygon, probability_file)
            rows.append(
                {
                    "id": len(rows) + 1,
                    "mean_probability": float(inside.mean()),
                    "max_probability": float(inside.max()),
                    "area_m2": float(polygon.area),
                    "pixels": pixels,
                    **attributes,
                }
            )
            geometries.append(polygon)
    columns = {name: [row[name] for row in rows] for name in COLUMNS}
    frame = gpd.GeoDataFrame(columns, geometry=geometries, crs=reference.crs.to_wkt())
    return frame.astype({name: kind for name, kind in COLUMNS.items() if kind != "str"})


def _values_inside(polygon: Any, file: Any) -> NDArray[np.float32]:
    left, bottom, right, top = polygon.bounds
    window = file.window(left, bottom, right, top).round_offsets().round_lengths()
    values: NDArray[np.float32] = file.read(1, window=window)
    inside = geometry_mask(
        [polygon], out_shape=values.shape, transform=file.window_transform(window), invert=True
    )
    chosen: NDArray[np.float32] = values[inside & np.isfinite(values)]
    return chosen
