"""Elevation on the cube's grid, and its slope, aspect and curvature."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import MappingProxyType
from typing import Any

import numpy as np
import rasterio
from scipy import ndimage

from pipeline.cube.layers import LayerData
from pipeline.elevation.dem_on_grid import Float, Ground, ground_under
from pipeline.elevation.dem_tiles import DemSource
from pipeline.elevation.geoid import is_ellipsoidal
from pipeline.files import temporary
from pipeline.grid import Grid

log = logging.getLogger(__name__)

ALGORITHM = "terrain-2"
BLOCK_PIXELS = 1 << 20
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
    """All of `terrain_strips` in memory; it raises the same."""
    found = terrain_strips(tiles, grid, collection=collection, vertical_datum=vertical_datum)
    return LayerData.of(found, grid.shape)


def terrain_strips(
    tiles: Sequence[rasterio.DatasetReader],
    grid: Grid,
    *,
    collection: str,
    vertical_datum: str | None = None,
) -> Terrain:
    """Elevation (m), slope (radians), aspect (degrees clockwise from north), curvature x 100; each (y, x) float32.

    The tiles, open and in one CRS, are read in one window, now; an interpolating cubic spline through their samples is
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
    wide = grid.padded(_HALO)
    return Terrain(ground_under(tiles, wide, collection=collection, vertical_datum=vertical_datum), grid)


class Terrain:
    """Terrain of a grid, derived strip by strip; see `terrain_strips`."""

    files: Mapping[str, bytes] = MappingProxyType({})

    def __init__(self, ground: Ground, grid: Grid) -> None:
        self._ground, self._grid = ground, grid
        self._flat_pixels = self._void_pixels = 0
        self.attributes = _attributes(ground.source)

    @property
    def report(self) -> dict[str, Any]:
        """Notes on tiles and voids, and counts of the strips so far."""
        counts = {"flat_pixels": self._flat_pixels, "void_pixels": self._void_pixels}
        return {**self._ground.report, **counts}

    def blanked(self, rows: slice) -> None:
        """None: a strip is finished when it is given."""

    def strips(self, rows: Sequence[slice]) -> Iterator[dict[str, Float]]:
        """Elevation and its derivatives."""
        for window in rows:
            # in the rows of the padded grid
            elevation = self._ground.rows(slice(window.start, window.stop + 2 * _HALO), _HALO)
            slope, aspect, curvature, flat = _derivatives(elevation, self._grid.resolution_m)
            inner = elevation[_HALO:-_HALO, _HALO:-_HALO]
            self._flat_pixels += flat
            self._void_pixels += int(np.count_nonzero(np.isnan(inner)))
            yield {
                "dem": inner,
                "dem_slope_radians": slope,
                "dem_aspect": aspect,
                "dem_curvature": curvature,
            }
        if self._void_pixels:
            log.warning("%d pixels of the DEM are void and stay NaN", self._void_pixels)


def _derivatives(elevation: Float, resolution_m: float) -> tuple[Float, Float, Float, int]:
    """Slope, aspect and curvature without the halo of one pixel, and the number of flat pixels."""
    import richdem  # only here: a command that derives no terrain starts sooner

    height, width = elevation.shape[0] - 2 * _HALO, elevation.shape[1] - 2 * _HALO
    slope, aspect, curvature = (np.empty((height, width), np.float32) for _ in range(3))
    flat_pixels = 0
    rows = max(1, BLOCK_PIXELS // width)
    for first in range(0, height, rows):
        last = min(first + rows, height)
        band = elevation[first : last + 2 * _HALO]
        void = np.isnan(band)
        some_void = bool(void.any())
        dem = richdem.rdarray(
            np.where(void, np.float32(_NODATA), band) if some_void else band,
            no_data=_NODATA,
            geotransform=(0.0, resolution_m, 0.0, 0.0, 0.0, -resolution_m),
        )
        inner = np.s_[_HALO:-_HALO, _HALO:-_HALO]
        with quiet_richdem():
            for target, name in ((slope, "slope_radians"), (aspect, "aspect"), (curvature, "curvature")):
                target[first:last] = richdem.TerrainAttribute(dem, name)[inner]
        flat = slope[first:last] < FLAT_RAD
        if some_void:
            unknown = ndimage.binary_dilation(void, np.ones((3, 3)))[inner]
            for target in (slope, aspect, curvature):
                target[first:last][unknown] = np.nan
            flat &= ~unknown
        if flat.any():
            aspect[first:last][flat] = np.nan
            flat_pixels += int(np.count_nonzero(flat))
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
