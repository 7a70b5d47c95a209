"""Elevation tiles: one window of samples from many tiles, with voids and sea distinguished."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import rasterio
import rasterio.features
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window
from shapely import Geometry, unary_union
from shapely.affinity import translate
from shapely.geometry import box, shape

from pipeline.elevation.raster_values import declared_values, has_mask, vertical_reference
from pipeline.errors import ArchiveError, SourceDataError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

SEA_EDGE_M = 5.0
"""A missing tile is sea only where no sample at its border is higher than this."""
PLAUSIBLE_M = (-500.0, 9000.0)
"""Elevations outside are void: the Dead Sea's shore is at -430 m, the highest summit at 8849 m."""
VOID_VALUES = (-32768.0, -32767.0)
"""Void in SRTM and its descendants, whatever a file declares."""
UNITS = frozenset({"m", "metre", "meter", "metres", "meters"})
_QUANTUM = 2.0**30
"""Sample positions are rounded to 2**-30 of a sample (30 nm), so that no result depends on the window's origin."""


@dataclass(frozen=True, slots=True)
class DemSource:
    """The properties of an elevation collection."""

    name: str
    vertical_datum: str
    ocean_left_out: bool
    """tiles that hold only ocean do not exist"""
    latitudes: tuple[float, float] = (-90.0, 90.0)
    """degrees; outside there are no tiles, of land or sea"""
    attribution: str = ""
    """words that its publisher asks for"""


SOURCES = {
    s.name: s
    for s in (
        # NASADEM user guide: heights above the EGM96 geoid, land between 60 N and 56 S
        DemSource(
            "nasadem",
            "EGM96 geoid (EPSG:5773)",
            True,
            (-56.0, 60.0),
            "elevation: NASADEM, NASA JPL 2020, doi:10.5067/MEaSUREs/NASADEM/NASADEM_HGT.001",
        ),
        # Copernicus DEM product handbook: EGM2008; GLO-30 has no tiles over open ocean
        DemSource(
            "cop-dem-glo-30",
            "EGM2008 geoid (EPSG:3855)",
            True,
            attribution="elevation: produced using Copernicus WorldDEM-30 © DLR e.V. 2010-2014 and © Airbus Defence "
            "and Space GmbH 2014-2018, provided under COPERNICUS by the European Union and ESA; all rights reserved",
        ),
    )
}


def tile_name(tile: rasterio.DatasetReader) -> str:
    """File name of a tile without folder, query or signature."""
    return PurePosixPath(tile.name.split("?")[0]).name


@dataclass(frozen=True, slots=True)
class Lattice:
    """The samples of all tiles of a collection as one unbounded lattice.

    Sample (row, column) lies at `y = top - row / rows_per_unit`, `x = left + column / columns_per_unit` in units
    of the CRS. Global one-degree collections share a lattice with a sample on every full degree.
    """

    crs: Any
    left: float
    top: float
    columns_per_unit: float
    rows_per_unit: float
    geographic: bool
    middle: float
    """longitude about which longitudes are unwrapped, degrees"""

    @classmethod
    def of_tiles(cls, tiles: Sequence[rasterio.DatasetReader], middle: float) -> Lattice:
        """The lattice that every tile lies on.

        Raises:
            SourceDataError: a tile is turned, has no CRS, or differs from the others in CRS or spacing.
        """
        for tile in tiles:
            _check(tile)
        first = min(tiles, key=lambda t: (t.transform.c, -t.transform.f))
        spacing = first.transform.a, -first.transform.e
        geographic = bool(first.crs.is_geographic)
        per_unit = [_snapped(1 / s) if geographic else 1 / s for s in spacing]
        left, top = first.transform.c + spacing[0] / 2, first.transform.f - spacing[1] / 2
        if geographic:  # the same lattice for any choice of tiles
            left = -180.0 + _snapped((left + 180.0) * per_unit[0] % 1.0 * 2, 0.01) / 2 % 1.0 / per_unit[0]
            top = 90.0 - _snapped((90.0 - top) * per_unit[1] % 1.0 * 2, 0.01) / 2 % 1.0 / per_unit[1]
        lattice = cls(first.crs, left, top, per_unit[0], per_unit[1], geographic, middle)
        for tile in tiles:
            if tile.crs != first.crs:
                raise SourceDataError(
                    f"Elevation tiles {tile_name(first)} and {tile_name(tile)} have different CRS.",
                    "Give tiles of one collection.",
                )
            drift = max(
                abs(tile.transform.a * per_unit[0] - 1) * tile.width,
                abs(-tile.transform.e * per_unit[1] - 1) * tile.height,
            )
            if drift > 0.05 or lattice.first_sample(tile) is None:
                raise SourceDataError(
                    f"Elevation tiles {tile_name(first)} and {tile_name(tile)} are not on one lattice of samples "
                    f"({first.res} and {tile.res}).",
                    "cop-dem-glo-30 changes its spacing at 50, 60, 70, 75, 80 and 85 degrees: choose nasadem, or "
                    "split the area there.",
                )
        return lattice

    def index(self, x: Array, y: Array) -> tuple[Array, Array]:
        """(row, column) of points given in the CRS, in fractions of a sample."""
        if self.geographic:
            x = np.where(x - self.middle > 180, x - 360.0, np.where(x - self.middle < -180, x + 360.0, x))
        column = (x - self.left) * self.columns_per_unit
        row = (self.top - y) * self.rows_per_unit
        return np.rint(row * _QUANTUM) / _QUANTUM, np.rint(column * _QUANTUM) / _QUANTUM

    def first_sample(self, tile: rasterio.DatasetReader) -> tuple[int, int] | None:
        """(row, column) of a tile's first sample; None if it lies between samples."""
        t = tile.transform
        row, column = self.index(np.asarray(t.c + t.a / 2), np.asarray(t.f + t.e / 2))
        near = round(float(row)), round(float(column))
        return near if abs(float(row) - near[0]) < 0.05 and abs(float(column) - near[1]) < 0.05 else None

    def point(self, row: float, column: float) -> tuple[float, float]:
        """(x, y) in the CRS of a sample position."""
        return self.left + column / self.columns_per_unit, self.top - row / self.rows_per_unit

    def spacing_m(self) -> tuple[float, float]:
        """(row, column) spacing in metres at the lattice's middle; nominal for a projected CRS."""
        unit = 111_195.0 if self.geographic else float(self.crs.linear_units_factor[1])
        return unit / self.rows_per_unit, unit / self.columns_per_unit


def _snapped(value: float, tolerance: float = 1e-4) -> float:
    near = float(round(value))
    return near if abs(value - near) <= tolerance else value


def _check(tile: rasterio.DatasetReader) -> None:
    name, t = tile_name(tile), tile.transform
    if tile.crs is None:
        raise SourceDataError(
            f"Elevation tile {name} has no CRS.", "Give tiles of nasadem or cop-dem-glo-30."
        )
    if t.b or t.d or t.a <= 0 or t.e >= 0:
        raise SourceDataError(f"Elevation tile {name} is not north up.", "Warp it to a north-up lattice.")
    declared_values(tile, f"Elevation tile {name}", UNITS)


@dataclass
class Samples:
    """A window of the lattice: `values` (row, column) in metres, its first sample at (`row`, `column`)."""

    lattice: Lattice
    row: int
    column: int
    values: NDArray[np.float32]
    void: Mask
    """no elevation in any tile"""
    covered: Mask
    """inside a tile"""
    notes: dict[str, Any] = field(default_factory=dict)


def read_samples(
    tiles: Sequence[rasterio.DatasetReader], lattice: Lattice, window: tuple[int, int, int, int]
) -> Samples:
    """Read the window (first row, first column, end row, end column) from tiles that abut or overlap.

    Void is what is not finite, outside `PLAUSIBLE_M`, one of `VOID_VALUES`, masked by the file, or its declared
    nodata; but a declared nodata of 0 is ignored, because SRTM extracts declare it and 0 is sea level. Where
    tiles overlap, the first in order north to south, west to east that is not void counts; differences are noted.

    Raises:
        ArchiveError: a tile cannot be read.
    """
    row0, column0, row1, column1 = window
    size = row1 - row0, column1 - column0
    values = np.zeros(size, np.float32)
    void, covered = np.ones(size, bool), np.zeros(size, bool)
    disagreeing, implausible, zero_nodata, used = 0, 0, [], []
    worst = 0.0
    placed = sorted(
        ((lattice.first_sample(t) or (0, 0), t) for t in tiles), key=lambda p: (p[0], tile_name(p[1]))
    )
    for (row, column), tile in placed:
        top, bottom = max(row, row0), min(row + tile.height, row1)
        left, right = max(column, column0), min(column + tile.width, column1)
        if top >= bottom or left >= right:
            continue
        part, lacking, odd = _read(tile, Window(left - column, top - row, right - left, bottom - top))
        implausible += odd
        used.append(tile_name(tile))
        if tile.nodata == 0:
            zero_nodata.append(tile_name(tile))
        here = np.s_[top - row0 : bottom - row0, left - column0 : right - column0]
        both = ~void[here] & ~lacking
        apart = np.abs(values[here][both] - part[both])
        disagreeing += int(np.count_nonzero(apart))
        worst = max(worst, float(apart.max(initial=0.0)))
        new = void[here] & ~lacking
        values[here][new] = part[new]
        void[here] &= lacking
        covered[here] = True
    notes: dict[str, Any] = {
        "tiles": used,
        "samples": list(size),
        "overlap_samples_that_differ": disagreeing,
        "overlap_largest_difference_m": worst,
        "implausible_samples": implausible,
        "nodata_of_0_not_believed": zero_nodata,
    }
    return Samples(lattice, row0, column0, values, void, covered, notes)


def _read(tile: rasterio.DatasetReader, window: Window) -> tuple[NDArray[np.float32], Mask, int]:
    try:
        raw = tile.read(1, window=window)
        masked = tile.read_masks(1, window=window) == 0 if has_mask(tile) else np.zeros(raw.shape, bool)
    except (RasterioError, OSError) as error:
        # the cause is not chained: its text may contain a signed address
        raise ArchiveError(
            f"The elevation tile {tile_name(tile)} could not be read ({type(error).__name__}).",
            "Try again; if it fails again, the file is damaged.",
            transient=True,
        ) from None
    declared = declared_values(tile, f"Elevation tile {tile_name(tile)}", UNITS)
    void = np.isin(raw, VOID_VALUES) | masked
    void |= ~np.isfinite(raw) if declared.nodata == 0 else declared.is_nodata(raw)
    metres = declared.values(raw).astype(np.float64)
    with np.errstate(invalid="ignore"):
        odd = ~void & ((metres < PLAUSIBLE_M[0]) | (metres > PLAUSIBLE_M[1]))
    void |= odd
    metres[void] = 0.0
    return metres.astype(np.float32), void, int(odd.sum())


def vertical_datum_of(tiles: Sequence[rasterio.DatasetReader]) -> str | None:
    """The vertical reference that the tiles' own headers state; None where none states one.

    Raises:
        SourceDataError: tiles state different ones, or heights that are not metres upwards.
    """
    stated: dict[str, str] = {}
    for tile in tiles:
        own = getattr(tile, "vertical_reference", None)
        own = own or vertical_reference(tile.crs, f"Elevation tile {tile_name(tile)}")
        if own is not None:
            stated.setdefault(own, tile_name(tile))
    if len(stated) > 1:
        raise SourceDataError(
            "Elevation tiles have different vertical references: "
            f"{'; '.join(f'{name} has {reference}' for reference, name in stated.items())}.",
            "Give tiles of one collection.",
        )
    return next(iter(stated), None)


def assume_sea(samples: Samples, source: DemSource) -> list[str]:
    """Set missing one-degree tiles of `samples` to sea level where the collection leaves ocean out.

    Only where no sample next to the missing tile is above `SEA_EDGE_M`: a tile that is missing next to land stays
    void. Returns the names (south-west corner) of the tiles assumed.
    """
    lattice = samples.lattice
    if not (source.ocean_left_out and lattice.geographic):
        return []
    assumed = []
    for name, (south, _west), rows, columns in _degree_cells(samples):
        part = np.s_[rows, columns]
        missing = ~samples.covered[part]
        if missing.mean() < 0.5 or not source.latitudes[0] <= south < source.latitudes[1]:
            continue
        around = np.s_[max(rows.start - 2, 0) : rows.stop + 2, max(columns.start - 2, 0) : columns.stop + 2]
        known = ~samples.void[around]
        if np.any(samples.values[around][known] > SEA_EDGE_M):
            continue
        samples.values[part][missing] = 0.0
        samples.void[part] &= ~missing
        samples.covered[part] = True
        assumed.append(name)
    return assumed


def missing_tiles(samples: Samples, needed: Geometry) -> list[str]:
    """Where samples that are needed lie in no tile: names of one-degree cells, or bounds in the tiles' CRS.

    `needed` is a polygon in sample positions, x = column, y = row. Gaps thinner than two samples are voids.
    """
    gaps = needed.difference(_covered_area(samples)).buffer(-1.0)
    if gaps.is_empty:
        return []
    if not samples.lattice.geographic:
        left, top, right, bottom = gaps.bounds
        corners = samples.lattice.point(bottom, left), samples.lattice.point(top, right)
        return [f"({corners[0][0]:.1f}, {corners[0][1]:.1f}) to ({corners[1][0]:.1f}, {corners[1][1]:.1f})"]
    return [
        name
        for name, _corner, rows, columns in _degree_cells(samples)
        if gaps.intersects(
            box(
                samples.column + columns.start,
                samples.row + rows.start,
                samples.column + columns.stop - 1,
                samples.row + rows.stop - 1,
            )
        )
    ]


def _covered_area(samples: Samples) -> Geometry:
    """Outline of the covered samples, in sample positions."""
    if samples.covered.all():
        height, width = samples.covered.shape
        parts = [box(-0.5, -0.5, width - 0.5, height - 0.5)]
    else:
        squares = rasterio.features.shapes(samples.covered.astype(np.uint8), mask=samples.covered)
        parts = [shape(g) for g, _value in squares]
        parts = [translate(p, -0.5, -0.5) for p in parts]
    return translate(unary_union(parts), samples.column, samples.row)


def _degree_cells(samples: Samples) -> list[tuple[str, tuple[int, int], slice, slice]]:
    """Every one-degree cell that meets the window: name, south-west corner, its rows and columns in the window."""
    lattice, (height, width) = samples.lattice, samples.values.shape
    west, north = lattice.point(samples.row, samples.column)
    east, south = lattice.point(samples.row + height - 1, samples.column + width - 1)
    cells = []
    for j in range(math.floor(south), math.floor(north) + 1):
        for i in range(math.floor(west), math.floor(east) + 1):
            (top, left), (bottom, right) = (
                (float(v) for v in lattice.index(np.asarray(float(x)), np.asarray(float(y))))
                for x, y in ((i, j + 1), (i + 1, j))
            )
            rows = slice(max(round(top) - samples.row, 0), min(round(bottom) + 1 - samples.row, height))
            columns = slice(
                max(round(left) - samples.column, 0), min(round(right) + 1 - samples.column, width)
            )
            if rows.start < rows.stop and columns.start < columns.stop:
                longitude = (i + 180) % 360 - 180
                name = f"{'NS'[j < 0]}{abs(j):02d}{'EW'[longitude < 0]}{abs(longitude):03d}"
                cells.append((name, (j, i), rows, columns))
    return cells
