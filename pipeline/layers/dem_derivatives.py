"""Elevation on the cube's grid, and its slope, aspect and curvature."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import rasterio
import richdem
from scipy import ndimage

from pipeline.cube.layers import LayerData
from pipeline.elevation.dem_on_grid import BLOCK_PIXELS, Float, elevation_on
from pipeline.elevation.dem_tiles import DemSource
from pipeline.elevation.geoid import is_ellipsoidal
from pipeline.files import temporary
from pipeline.grid import Grid

log = logging.getLogger(__name__)

ALGORITHM = "terrain-2"
FLAT_RAD = 1e-4
"""Below this slope (1 m in 10 km) rounding decides the direction: the aspect is NaN."""
_NODATA = -9999.0
_HALO = 1
_PROGRESS = re.compile(rb"\r?\x1b\[2K(?:\[[^\]\n]*\] ?\([^)\n]*\))?")
_silence = threading.Lock()


def derive_terrain(
    tiles: Sequence[rasterio.DatasetReader],
    grid: Grid,
    *,
    collection: str,
    vertical_datum: str | None = None,
) -> LayerData:
    """Elevation (m), slope (radians), aspect (degrees clockwise from north), curvature x 100; each (y, x) float32.

    The tiles, open and in one CRS, are read in one window; an interpolating cubic spline through their samples is
    evaluated at the exact position of every pixel's centre (or the mean of several points where the pixel is
    coarser than the tiles). No result depends on blocks, on the order of tiles or on where the grid ends.
    Slope and aspect are Horn's (1981), curvature Zevenbergen and Thorne's (1987), by RichDEM from the float32
    elevation that is stored, with a margin of one pixel.

    Sea is 0 m with slope 0. Aspect is NaN where the slope is below `FLAT_RAD`. Voids that are not filled are
    NaN, and so are the derivatives of the pixels next to them. `vertical_datum` must be given for a collection that is
    not in `pipeline.elevation.dem_tiles.SOURCES`.

    Raises:
        SourceDataError: no tiles, tiles that do not fit together, or an area that they do not cover (named).
        ArchiveError: a tile cannot be read.
    """
    found = elevation_on(
        tiles, grid.padded(_HALO), collection=collection, vertical_datum=vertical_datum, halo_px=_HALO
    )
    elevation = found.elevation_m
    slope, aspect, curvature, flat = _derivatives(elevation, grid.resolution_m)
    inner = np.s_[_HALO:-_HALO, _HALO:-_HALO]
    arrays = {
        "dem": np.ascontiguousarray(elevation[inner]),
        "dem_slope_radians": slope,
        "dem_aspect": aspect,
        "dem_curvature": curvature,
    }
    report = {
        **found.report,
        "flat_pixels": flat,
        "void_pixels": int(np.isnan(arrays["dem"]).sum()),
    }
    if report["void_pixels"]:
        log.warning("%d pixels of the DEM are void and stay NaN", report["void_pixels"])
    return LayerData(arrays, _attributes(found.source), report)


def _derivatives(elevation: Float, resolution_m: float) -> tuple[Float, Float, Float, int]:
    """Slope, aspect and curvature without the halo of one pixel, and the number of flat pixels."""
    height, width = elevation.shape[0] - 2 * _HALO, elevation.shape[1] - 2 * _HALO
    slope, aspect, curvature = (np.empty((height, width), np.float32) for _ in range(3))
    flat_pixels = 0
    rows = max(1, BLOCK_PIXELS // width)
    for first in range(0, height, rows):
        last = min(first + rows, height)
        band = elevation[first : last + 2 * _HALO]
        void = np.isnan(band)
        dem = richdem.rdarray(
            np.where(void, np.float32(_NODATA), band),
            no_data=_NODATA,
            geotransform=(0.0, resolution_m, 0.0, 0.0, 0.0, -resolution_m),
        )
        inner = np.s_[_HALO:-_HALO, _HALO:-_HALO]
        with quiet_richdem():
            found = [
                np.array(richdem.TerrainAttribute(dem, name), np.float32)[inner]
                for name in ("slope_radians", "aspect", "curvature")
            ]
        unknown = ndimage.binary_dilation(void, np.ones((3, 3)))[inner]
        flat = ~unknown & (found[0] < FLAT_RAD)
        for target, values in zip((slope, aspect, curvature), found, strict=True):
            values[unknown] = np.nan
            target[first:last] = values
        aspect[first:last][flat] = np.nan
        flat_pixels += int(flat.sum())
    return slope, aspect, curvature, flat_pixels


@contextmanager
def quiet_richdem() -> Iterator[None]:
    """Hide RichDEM's progress bar, which it draws on the process's standard error.

    Text that other threads write there meanwhile is written afterwards.
    """
    with _silence, ExitStack() as stack:
        with temporary("What RichDEM prints"):
            kept = stack.enter_context(tempfile.TemporaryFile())
        sys.stderr.flush()
        terminal = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            kept.seek(0)
            rest = _PROGRESS.sub(b"", kept.read())
            if rest.strip(b"\r"):
                os.write(terminal, rest)
            os.close(terminal)


def _attributes(source: DemSource) -> dict[str, dict[str, Any]]:
    by_richdem = "RichDEM, from variable dem at the cube's resolution, with a margin"
    return {
        "dem": {
            "standard_name": "height_above_reference_ellipsoid"
            if is_ellipsoidal(source.vertical_datum)
            else "height_above_geopotential_datum",
            "source": source.name,
            "vertical_datum": source.vertical_datum,
            "method": "interpolating cubic spline through the samples, at the exact position of each pixel's centre",
            "sea": "0 m between samples of exactly 0 m; ocean tiles that the collection leaves out count as 0 m",
        },
        "dem_slope_radians": {"method": f"Horn (1981), {by_richdem}"},
        "dem_aspect": {
            "method": f"Horn (1981), {by_richdem}",
            "convention": "direction of steepest descent, degrees clockwise from grid north",
            "flat": f"NaN where the slope is below {FLAT_RAD:g} rad",
        },
        "dem_curvature": {
            "method": f"Zevenbergen and Thorne (1987), {by_richdem}",
            "convention": "standard curvature times 100, per metre; positive where the ground is convex upwards",
        },
    }
