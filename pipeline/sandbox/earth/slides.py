"""Landslides: location, size and shape."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import rasterio.features
from numpy.typing import NDArray
from scipy import ndimage
from shapely import Polygon

from pipeline.sandbox.earth.parameters import WorldParameters
from pipeline.sandbox.earth.realism.drainage import Descent
from pipeline.sandbox.earth.realism.random_fields import fractal_field
from pipeline.sandbox.earth.realism.runout import ZONES, draw_visibility, flowing_body
from pipeline.sandbox.earth.realism.switches import SlideBodies
from pipeline.sandbox.earth.topography import Relief

# Malamud et al. 2004: three-parameter inverse gamma, areas in km², tail exponent -(rho + 1) = -2.4
_RHO, _A_KM2, _S_KM2 = 1.4, 1.28e-3, -1.32e-4
_MIN_KM2, _MAX_KM2 = 2e-4, 0.35


@dataclass(frozen=True)
class Slides:
    """Landslides of the event and older scars.

    `id_map` (y, x) is the number, from 1, of the landslide whose polygon contains the pixel's centre; 0 for none.
    With bodies, `shown` (slide + 1,) is the part of its change that each shows, and `zone_map` (y, x) the zone:
    1 source, 2 transport, 3 deposit, 0 none.
    """

    new: tuple[Polygon, ...]
    old: tuple[Polygon, ...]
    id_map: NDArray[np.int32]
    old_map: NDArray[np.bool_]
    shown: NDArray[np.float32] | None = None
    zone_map: NDArray[np.uint8] | None = None


def draw_areas_km2(count: int, factor: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """(count,) landslide areas, `factor` times those of the paper; 2.7 gives Hokkaido's mean of 8.2e-3 km²."""
    areas = (_A_KM2 / rng.gamma(_RHO, 1.0, count) + _S_KM2) * factor
    return np.clip(areas, _MIN_KM2, _MAX_KM2)


def draw_outline(
    x: float, y: float, area_m2: float, downslope_rad: float, rng: np.random.Generator
) -> Polygon:
    """A landslide's outline around a centre: downslope, two to five times longer than wide, wider at its foot."""
    ratio = rng.uniform(2.0, 5.0)
    width = np.sqrt(area_m2 / np.pi / ratio)
    angle = np.linspace(0.0, 2 * np.pi, 28, endpoint=False)
    wobble = (
        1.0
        + 0.10 * np.cos(2 * angle + rng.uniform(0, 6.28))
        + 0.07 * np.cos(3 * angle + rng.uniform(0, 6.28))
    )
    along = np.cos(angle) * width * ratio * wobble
    across = np.sin(angle) * width * wobble * (1.0 + 0.25 * np.cos(angle))
    east, north = np.sin(downslope_rad), np.cos(downslope_rad)
    return Polygon(np.column_stack([x + along * east + across * north, y + along * north - across * east]))


def make_slides(relief: Relief, parameters: WorldParameters, rng: np.random.Generator) -> Slides:
    """Landslides that cover the requested share of the scene: clustered, on slopes that fail, never in water."""
    grid, landscape = relief.grid, parameters.landscape
    slope = np.degrees(ndimage.gaussian_filter(relief.slope_rad, 1.0))
    steep = np.exp(-(((slope - landscape.slope_deg) / landscape.slope_width_deg) ** 2))
    urge = landscape.slope_urge / 1.5 * steep + landscape.clustering / 1.5 * fractal_field(
        grid.shape, 3.0, rng
    )
    weight = np.where(relief.water, 0.0, np.exp(1.5 * urge)).ravel().astype(np.float64)
    cumulative = np.cumsum(weight)
    maker = _Maker(relief, parameters.realism.slide_bodies)
    taken = np.zeros(grid.shape, dtype=bool)
    wanted_m2 = parameters.prevalence * taken.size * grid.resolution_m**2
    new: list[Polygon] = []
    zones: list[tuple[Polygon, int]] = []
    covered = 0.0
    for _ in range(1_000_000):
        if covered >= wanted_m2:
            break
        cell = int(np.searchsorted(cumulative, rng.uniform(0, cumulative[-1])))
        row, column = divmod(min(cell, taken.size - 1), grid.width)
        if taken[row, column]:
            continue
        outline, parts = maker.at(
            row, column, float(draw_areas_km2(1, landscape.size_factor, rng)[0]) * 1e6, rng
        )
        reach = max(1, int(np.sqrt(outline.area / np.pi) / grid.resolution_m))
        taken[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1] = True
        new.append(outline)
        zones += parts
        covered += outline.area
    older = len(new) // 12 if maker.bodies is None else round(len(new) * maker.bodies.scars_per_slide)
    old = tuple(
        maker.at(*divmod(int(np.searchsorted(cumulative, u)), grid.width), area * 1e6, rng)[0]
        for u, area in zip(
            rng.uniform(0, cumulative[-1], older),
            draw_areas_km2(older, landscape.size_factor, rng),
            strict=True,
        )
    )
    id_map = _burn(relief, new)
    id_map[relief.water] = 0
    found = Slides(tuple(new), old, id_map, _burn(relief, list(old)) > 0)
    if maker.bodies is None:
        return found
    shown = np.concatenate([np.zeros(1, np.float32), draw_visibility(len(new), maker.bodies, rng)])
    zone_map = np.zeros(grid.shape, dtype=np.uint8)
    if zones:
        zone_map = rasterio.features.rasterize(
            zones, out_shape=grid.shape, transform=grid.affine, dtype="uint8"
        )
    zone_map[id_map == 0] = 0
    return replace(found, shown=shown, zone_map=zone_map)


class _Maker:
    """Makes the outline of a landslide, with the outlines of its zones where there are bodies."""

    def __init__(self, relief: Relief, bodies: SlideBodies | None) -> None:
        self.bodies = bodies
        self._relief = relief
        flows = bodies is not None and bodies.runout > 0
        self._descent = Descent.on(relief.grid, relief.elevation_m) if flows else None

    def at(
        self, row: int, column: int, area_m2: float, rng: np.random.Generator
    ) -> tuple[Polygon, list[tuple[Polygon, int]]]:
        """A landslide around a pixel: its outline, and (outline, zone) of its zones."""
        if self._descent is not None and self.bodies is not None:
            x, y = _centre(self._relief, row, column)
            body = flowing_body(self._descent, x, y, area_m2, self.bodies.runout, rng)
            if body is not None:
                return body.outline, list(zip(body.zones or (), ZONES, strict=False))
        return ellipse_at(self._relief, row, column, area_m2, rng), []


def ellipse_at(relief: Relief, row: int, column: int, area_m2: float, rng: np.random.Generator) -> Polygon:
    """An elliptic landslide around a pixel, its long axis downslope."""
    x, y = _centre(relief, row, column)
    return draw_outline(x, y, area_m2, float(relief.downslope_rad[row, column]), rng)


def _centre(relief: Relief, row: int, column: int) -> tuple[float, float]:
    grid = relief.grid
    return grid.left + (column + 0.5) * grid.resolution_m, grid.top - (row + 0.5) * grid.resolution_m


def _burn(relief: Relief, outlines: list[Polygon]) -> NDArray[np.int32]:
    if not outlines:
        return np.zeros(relief.grid.shape, dtype=np.int32)
    burnt: NDArray[np.int32] = rasterio.features.rasterize(
        [(outline, number) for number, outline in enumerate(outlines, start=1)],
        out_shape=relief.grid.shape,
        transform=relief.grid.affine,
        dtype="int32",
    )
    return burnt
