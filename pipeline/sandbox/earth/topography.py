"""A plausible terrain, and its local incidence angles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from pipeline.grid import Grid
from pipeline.sandbox.earth.parameters import TrackPlan, WorldParameters
from pipeline.sandbox.earth.realism.random_fields import Mask, Raster, fractal_field, smooth_field
from pipeline.sandbox.earth.realism.valleys import shape_valleys


@dataclass(frozen=True)
class Relief:
    """True terrain of the scene, on its grid."""

    grid: Grid
    elevation_m: Raster  # (y, x)
    water: Mask  # (y, x)
    slope_rad: Raster  # (y, x)
    downslope_rad: Raster  # (y, x) azimuth of steepest descent, clockwise from north

    def local_incidence_deg(self, track: TrackPlan) -> Raster:
        """(y, x) angle between the terrain's normal and the direction to the sensor of that track."""
        theta, azimuth = np.radians(track.incidence_deg), np.radians(track.to_sensor_deg)
        cosine = np.cos(self.slope_rad) * np.cos(theta) + np.sin(self.slope_rad) * np.sin(theta) * np.cos(
            self.downslope_rad - azimuth
        )
        return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))), dtype=np.float32)


def make_relief(grid: Grid, parameters: WorldParameters, rng: np.random.Generator) -> Relief:
    """Hills with crests and valleys, scaled to the requested mean slope, and water in the lowest ground."""
    shape, step = grid.shape, grid.resolution_m
    # the wavelengths of hills do not depend on the pixel
    height = fractal_field(shape, 3.4, rng) + 0.8 * np.abs(fractal_field(shape, 2.9, rng, 150.0 / step))
    height = ndimage.gaussian_filter(height, max(0.5, 15.0 / step), mode="nearest")
    for _ in range(4):  # slopes are not a linear function of the factor
        gradient = np.hypot(*np.gradient(height, step))
        height *= np.tan(np.radians(parameters.mean_slope_deg)) / np.tan(np.arctan(gradient).mean())
    forms = parameters.realism.land_forms
    if forms is not None:
        height = shape_valleys(height, step, parameters.mean_slope_deg, forms)
    water = np.zeros(shape, dtype=bool)
    if parameters.water_share > 0:
        # the deepest broad basin rather than every pit
        basin = ndimage.gaussian_filter(height, 100.0 / step, mode="nearest")
        water = basin < np.quantile(basin, parameters.water_share)
        water = ndimage.binary_opening(water, iterations=2)
    base = height[water].mean() if water.any() else height.min()
    height = np.where(water, 0.0, np.maximum(height - base, 1.0))
    # shores rise gradually from the water
    near = ndimage.distance_transform_edt(~water) * step if water.any() else np.full(shape, np.inf)
    lowest = 0.0 if parameters.sea else 40.0 if forms is None else forms.base_m
    height = height * np.clip(near / 150.0, 0.05, 1.0) + lowest
    if parameters.sea:
        height = np.where(water, 0.0, height)
    rows, columns = np.gradient(height, step)  # rows go south
    slope = np.arctan(np.hypot(rows, columns))
    downslope = np.arctan2(-columns, rows)
    return Relief(
        grid,
        height.astype(np.float32),
        water,
        slope.astype(np.float32),
        downslope.astype(np.float32),
    )


def degraded_heights(relief: Relief, noise_m: float, rng: np.random.Generator) -> Raster:
    """(y, x) heights as a spaceborne survey measures them: smoothed to 30 m, with correlated noise; water is exact."""
    step = relief.grid.resolution_m
    sigma = 15.0 / step
    heights = ndimage.gaussian_filter(relief.elevation_m, sigma) if sigma > 0.3 else relief.elevation_m
    noise = smooth_field(relief.grid.shape, max(0.5, 30.0 / step), rng) * noise_m
    return np.where(relief.water, relief.elevation_m, heights + noise).astype(np.float32)
