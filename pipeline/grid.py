"""One exact pixel lattice for the whole cube."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pydantic import Field
from pyproj import Transformer

from pipeline.areas.area import AreaOfInterest
from pipeline.errors import GridError
from pipeline.records import Frozen

Window = tuple[slice, slice]
MOST_PIXELS = 500_000_000
"""of a cube's grid: one layer of float32 takes 2 GB, and building it a few times that; 220 km by 220 km of 10 m"""


class Grid(Frozen):
    """North-up UTM lattice; edges on multiples of the pixel (plus a stated offset).

    `left` and `top` are the outer edges of the upper left pixel in metres; pixel centres are half a pixel in.
    """

    epsg: int
    resolution_m: float = Field(gt=0)
    left: float
    top: float
    width: int = Field(gt=0)
    height: int = Field(gt=0)

    @classmethod
    def of_area(cls, area: AreaOfInterest) -> Grid:
        """The smallest grid on the RTC lattice that holds the area.

        Raises:
            GridError: the area is smaller than a pixel, or has more than `MOST_PIXELS`.
        """
        to_utm = Transformer.from_crs(4326, area.utm_epsg, always_xy=True)
        # an edge of the area is straight in degrees, not in UTM: follow it
        outline = area.footprint.segmentize(0.01)
        west, south, east, north = shapely.transform(outline, to_utm.transform, interleaved=False).bounds
        step = area.resolution_m
        dx, dy = area.lattice_offset_m
        columns = math.floor((west - dx) / step), math.ceil((east - dx) / step)
        rows = math.floor((south - dy) / step), math.ceil((north - dy) / step)
        width, height = columns[1] - columns[0], rows[1] - rows[0]
        if width < 1 or height < 1:
            raise GridError(f"{area.name}: the area is smaller than one pixel of {step} m.", "Widen it.")
        if width * height > MOST_PIXELS:
            raise GridError(
                f"{area.name}: the grid has {width:,} x {height:,} pixels of {step:g} m, of at most {MOST_PIXELS:,}.",
                "Divide the area, or give a larger resolution_m.",
            )
        return cls(
            epsg=area.utm_epsg,
            resolution_m=step,
            left=columns[0] * step + dx,
            top=rows[1] * step + dy,
            width=width,
            height=height,
        )

    @property
    def affine(self) -> Affine:
        """Affine from (column, row) of pixel corners to metres."""
        return Affine(self.resolution_m, 0.0, self.left, 0.0, -self.resolution_m, self.top)

    @property
    def shape(self) -> tuple[int, int]:
        """(y, x)"""
        return self.height, self.width

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """left, bottom, right, top in metres."""
        return (
            self.left,
            self.top - self.height * self.resolution_m,
            self.left + self.width * self.resolution_m,
            self.top,
        )

    @property
    def x(self) -> NDArray[np.float64]:
        """(x,) pixel centres, metres, ascending."""
        return self.left + (np.arange(self.width, dtype=np.float64) + 0.5) * self.resolution_m

    @property
    def y(self) -> NDArray[np.float64]:
        """(y,) pixel centres, metres, descending."""
        return self.top - (np.arange(self.height, dtype=np.float64) + 0.5) * self.resolution_m

    @property
    def digest(self) -> str:
        """Digest of the lattice: two grids are the same cube only if these agree."""
        text = f"{self.epsg} {self.resolution_m!r} {self.left!r} {self.top!r} {self.width} {self.height}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def bounds_deg(self, margin_m: float = 0.0) -> tuple[float, float, float, float]:
        """West, south, east, north of the grid with a margin, degrees WGS 84."""
        left, bottom, right, top = self.bounds
        to_degrees = Transformer.from_crs(self.epsg, 4326, always_xy=True)
        west, south, east, north = to_degrees.transform_bounds(
            left - margin_m, bottom - margin_m, right + margin_m, top + margin_m, densify_pts=64
        )
        return west, south, east, north

    def share_within(self, footprints: Iterable[shapely.Geometry]) -> float:
        """Share of the grid inside the union of footprints in degrees WGS 84, 0..1."""
        to_utm = Transformer.from_crs(4326, self.epsg, always_xy=True)
        # a footprint far outside the zone would be distorted: only its part near the grid counts
        west, south, east, north = self.bounds_deg()
        west, east = (west, east) if west <= east else (-180.0, 180.0)
        near = shapely.box(west, south, east, north).buffer(0.5)
        parts = [
            shapely.transform(
                shapely.segmentize(footprint.intersection(near), 0.05), to_utm.transform, interleaved=False
            )
            for footprint in footprints
        ]
        box = shapely.box(*self.bounds)
        return float(min(1.0, shapely.union_all(parts).intersection(box).area / box.area))

    def coarser(self, times: int) -> Grid:
        """The same upper left corner with pixels `times` as long; the last row and column may reach past the extent."""
        return Grid(
            epsg=self.epsg,
            resolution_m=self.resolution_m * times,
            left=self.left,
            top=self.top,
            width=-(-self.width // times),
            height=-(-self.height // times),
        )

    def finer(self, times: int) -> Grid:
        """The same extent, with each pixel divided into `times` x `times`."""
        return Grid(
            epsg=self.epsg,
            resolution_m=self.resolution_m / times,
            left=self.left,
            top=self.top,
            width=self.width * times,
            height=self.height * times,
        )

    def padded(self, pixels: int) -> Grid:
        """The same lattice with a margin of that many pixels on every side."""
        return Grid(
            epsg=self.epsg,
            resolution_m=self.resolution_m,
            left=self.left - pixels * self.resolution_m,
            top=self.top + pixels * self.resolution_m,
            width=self.width + 2 * pixels,
            height=self.height + 2 * pixels,
        )
