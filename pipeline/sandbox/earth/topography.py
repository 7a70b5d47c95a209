"""Random fields, a plausible terrain, and its local incidence angles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.grid import Grid
from pipeline.sandbox.earth.parameters import TrackPlan, WorldParameters

Raster = NDArray[np.float32]
Mask = NDArray[np.bool_]


def fractal_field(
    shape: tuple[int, int], beta: float, rng: np.random.Generator, cutoff_px: float = 0.0
) -> Raster:
    """Gaussian field (y, x) with power spectrum k^-beta, mean 0, sd 1; structure finer than `cutoff_px` is removed."""
    fast = tuple(scipy.fft.next_fast_len(n, real=True) for n in shape)
    k = np.hypot(scipy.fft.fftfreq(fast[0])[:, None], scipy.fft.rfftfreq(fast[1])[None, :])
    k[0, 0] = 1.0
    amplitude = k ** (-beta / 2)
    if cutoff_px:
        amplitude *= np.exp(-((k * cutoff_px) ** 2))
    amplitude[0, 0] = 0.0
    noise = scipy.fft.rfft2(rng.standard_normal(fast, dtype=np.float32))
    field = scipy.fft.irfft2(noise * amplitude, s=fast)[: shape[0], : shape[1]]
    field -= field.mean()
    return np.asarray(field / field.std(), dtype=np.float32)


def smooth_field(shape: tuple[int, int], sigma_px: float, rng: np.random.Generator) -> Raster:
    """Gaussian field (y, x) with a correlation length of `sigma_px`, mean 0, sd 1.

    Long lengths are drawn on a coarser lattice and interpolated.
    """
    step = max(1, int(sigma_px // 3))
    coarse = tuple(-(-n // step) + 2 for n in shape)
    field = ndimage.gaussian_filter(
        rng.standard_normal(coarse, dtype=np.float32), sigma_px / step, mode="wrap", truncate=3.0
    )
    if step > 1:
        field = ndimage.zoom(field, step, order=1)
    field = field[: shape[0], : shape[1]]
    return np.asarray((field - field.mean()) / field.std(), dtype=np.float32)


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
    height = height * np.clip(near / 150.0, 0.05, 1.0) + (0.0 if parameters.sea else 40.0)
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
