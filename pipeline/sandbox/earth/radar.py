"""Simulates one pass of the radar over the scene: speckle, weather, borders."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from pipeline.sandbox.earth.overflights import Flight
from pipeline.sandbox.earth.realism.gamma_texture import correlated_speckle
from pipeline.sandbox.earth.realism.random_fields import Mask, Raster, smooth_field
from pipeline.sandbox.earth.scene import Scene

NODATA = -32768.0
_FLOOR_DB = -24.0
# sd of the Gaussian point spread in pixels: neighbouring intensities correlate by about 0.3
_SPREAD_PX = 0.65


def speckle(shape: tuple[int, int], looks: float, rng: np.random.Generator) -> Raster:
    """(y, x) multiplicative noise, mean 1, of that equivalent number of looks, correlated between neighbours.

    Squares of filtered Gaussian fields are summed: n of weight 1 and one of weight w, so that
    (n + w)^2 / (2 (n + w^2)) = looks.
    """
    whole = math.ceil(2 * looks) - 1
    # (n + w)^2 = 2 L (n + w^2), the smaller root
    a, b, c = 2 * looks - 1.0, -2.0 * whole, 2 * looks * whole - whole**2
    part = (-b - math.sqrt(max(0.0, b * b - 4 * a * c))) / (2 * a)
    total = np.zeros(shape, dtype=np.float32)
    # taps up to 2 px in both directions, normalised to unit power
    taps = np.exp(-0.5 * (np.arange(-2, 3) / _SPREAD_PX) ** 2)
    taps = (taps / np.sqrt((taps**2).sum())).astype(np.float32)
    for weight in [1.0] * whole + [part]:
        field = rng.standard_normal(shape, dtype=np.float32)
        for axis in (0, 1):
            field = ndimage.correlate1d(field, taps, axis=axis, mode="wrap")
        field *= field
        total += np.float32(weight) * field
    total /= np.float32(whole + part)
    return total


def observe(scene: Scene, flight: Flight, polarisation: str) -> Raster:
    """(y, x) linear gamma0 of a pass on the scene's grid, without the swath's borders; water has zeros."""
    rng = np.random.default_rng(
        [scene.parameters.seed, 1000 + flight.absolute_orbit, 0 if polarisation == "vv" else 1]
    )
    shape = scene.grid.shape
    db = scene.quiet_db(flight.track, polarisation)
    phase = 2 * np.pi * (flight.instant.timetuple().tm_yday + flight.instant.hour / 24) / 365.25
    landscape = scene.parameters.landscape
    course = np.float32(np.cos(phase))
    weather = np.float32(rng.normal(0, landscape.gain_sd_db)) + course * scene.season[polarisation]
    weather += course * np.float32(landscape.season_mean_db)
    weather += np.float32(landscape.weather_sd_db) * smooth_field(shape, 4.0, rng)
    # fields are ploughed, sown and cut
    weather += rng.normal(0, 1.2, int(scene.parcels.max()) + 1).astype(np.float32)[scene.parcels] * (
        scene.parcels > 0
    )
    water = scene.relief.water
    weather[water] = rng.normal(0, 1.5)  # wind
    db += weather
    if flight.slid:
        db += scene.change_db(flight.track, polarisation)
    if scene.ground is not None:
        db += scene.ground.pass_db(flight, polarisation)
    linear = np.power(np.float32(10.0), db / 10, dtype=np.float32)
    if scene.ground is None:
        linear *= speckle(shape, scene.parameters.looks, rng)
    else:
        noise = correlated_speckle(shape, scene.parameters.looks, rng)
        linear = scene.ground.seen(linear, noise, flight, polarisation, landscape.vv.level_db)
    linear += np.float32(10 ** (_FLOOR_DB / 10))
    if water.any():
        # no signal is left after noise removal
        calm = smooth_field(shape, 3.0, rng) > 1.0
        linear[water & calm] = 0.0
    return linear


def slice_masks(scene: Scene, flight: Flight, number: int) -> tuple[Mask, Mask]:
    """(y, x) masks of a slice's pixels, and of those in the zero fringe at the swath's borders.

    Every pixel of the swath belongs to exactly one slice: consecutive slices abut.
    """
    swath = scene.swath(flight.track)
    along, across = swath.frame(scene.grid)
    cuts = swath.cuts_m(flight)
    inside = (along >= cuts[number]) & (along < cuts[number + 1]) & (np.abs(across) < swath.reach_m[1])
    step = scene.grid.resolution_m
    width = (6 + 4 * np.sin(along / (40 * step) + flight.index)) * step  # ragged, 2 to 10 pixels
    outer = np.minimum(swath.reach_m[1] - np.abs(across), swath.reach_m[0] - np.abs(along))
    return inside, inside & (outer < width)
