"""Writes rasters in the archives' form: cloud-optimised GeoTIFF, with the same bytes every time."""

from __future__ import annotations

import hashlib
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from pipeline.catalogue.item_fields import FILE_TAG


def write_cog(path: Path, values: NDArray[Any], transform: Affine, epsg: int, nodata: float | None) -> None:
    """Write (y, x) values as a COG: deflate, predictor by type, blocks of 512, marked as simulated."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="COG",
        height=values.shape[0],
        width=values.shape[1],
        count=1,
        dtype=values.dtype.name,
        crs=f"EPSG:{epsg}",
        transform=transform,
        nodata=nodata,
        compress="DEFLATE",
        level=1,
        predictor="YES",
        blocksize=512,
        bigtiff="NO",
        overview_resampling="NEAREST" if np.issubdtype(values.dtype, np.integer) else "AVERAGE",
    ) as target:
        target.write(values, 1)
        target.update_tags(**{FILE_TAG: "true"})


def stamp(path: Path, instant: datetime) -> None:
    """Set the modification time, which the server sends as Last-Modified."""
    seconds = int(instant.timestamp())
    os.utime(path, (seconds, seconds))


def file_md5(path: Path) -> str:
    """MD5 in hexadecimal, as in the archive's items."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
