"""Local copies of parts of a raster, which GDAL opens as GeoTIFF and as nothing else."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from pipeline.files import temporary

GDAL_OPTIONS = {
    # no file beside the raster is looked for, and none that names it is written or read
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    # no address inside a file is followed
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": "{none}",
    # a file of GeoTIFF 1.0 states its vertical reference too
    "GTIFF_REPORT_COMPD_CS": "YES",
}
UNDECODABLE = (RasterioError, CPLE_BaseError, ValueError)
"""Errors of a raster that GDAL cannot decode; rasterio passes some of GDAL's on as they are."""


@contextmanager
def opened_copy(pieces: Mapping[int, bytes | memoryview], size: int, name: str) -> Iterator[Any]:
    """The rasterio dataset of a file of `size` bytes that holds only these, by offset; `name` names it in errors.

    The file has no name any more once GDAL has opened it, so that a kill leaves no copy behind.

    Raises:
        DiskError: there is no room for it.
        One of `UNDECODABLE`: it is no GeoTIFF that GDAL can open.
    """
    with ExitStack() as stack:
        path = _written(pieces, size, name)
        stack.callback(path.unlink, missing_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # refused by name where it matters
            stack.enter_context(rasterio.Env(**GDAL_OPTIONS))
            dataset = stack.enter_context(rasterio.open(path, driver="GTiff", sharing=False))
        path.unlink()
        yield dataset


def _written(pieces: Mapping[int, bytes | memoryview], size: int, name: str) -> Path:
    """A temporary file with the pieces at their offsets; the rest of it takes no room."""
    with temporary(f"A window of {name}"):
        descriptor, written = tempfile.mkstemp(prefix="slidecube-", suffix=".tif")
        path = Path(written)
        try:
            with os.fdopen(descriptor, "wb") as copy:
                for offset, data in pieces.items():
                    copy.seek(offset)
                    copy.write(data)
                copy.truncate(size)
        except OSError:
            path.unlink(missing_ok=True)
            raise
    return path


def mask_of(dataset: Any, window: Window) -> NDArray[np.uint8]:
    """0 where the file's mask or its alpha band hides a pixel; a nodata is left to the reader."""
    mask: NDArray[np.uint8] = np.full((int(window.height), int(window.width)), 255, np.uint8)
    if MaskFlags.per_dataset in dataset.mask_flag_enums[0]:
        mask = dataset.read_masks(1, window=window)
    for number, colour in enumerate(dataset.colorinterp, start=1):
        if colour == ColorInterp.alpha:  # of floats GDAL makes no mask
            mask[dataset.read(number, window=window) == 0] = 0
    return mask
