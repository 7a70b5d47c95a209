"""Makes the ground of a scene: cover, rivers, towns, permanent pattern, disturbances, views."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from shapely import Polygon

from pipeline.sandbox.earth.ground.ground import Ground
from pipeline.sandbox.earth.parameters import TrackPlan, WorldParameters
from pipeline.sandbox.earth.realism.disturbances import Disturbed, disturb
from pipeline.sandbox.earth.realism.drainage import Descent, catchment_km2
from pipeline.sandbox.earth.realism.gamma_texture import texture_db
from pipeline.sandbox.earth.realism.random_fields import Mask, Raster, smooth_field
from pipeline.sandbox.earth.realism.runout import flowing_body
from pipeline.sandbox.earth.realism.settlements import settle
from pipeline.sandbox.earth.realism.switches import Realism, Rivers, Texture
from pipeline.sandbox.earth.realism.viewing import View, view_of
from pipeline.sandbox.earth.realism.wetness import snow_line_m
from pipeline.sandbox.earth.slides import ellipse_at
from pipeline.sandbox.earth.topography import Relief, degraded_heights

POLARISATIONS = ("vv", "vh")
_BED_DB = {"vv": -1.5, "vh": -3.0}
_TOWN_DB = {"vv": 1.0, "vh": -0.5}
_FELLABLE_DEG, _FELLABLE_WIDTH_DEG = 20.0, 12.0


def make_ground(
    relief: Relief,
    parcels: NDArray[np.int32],
    tracks: Sequence[TrackPlan],
    passes: tuple[int, int],
    parameters: WorldParameters,
) -> Ground | None:
    """The ground of a scene; None where every effect is off.

    Args:
        parcels: (y, x) numbers of fields, 0 none.
        passes: index of the first pass after the event, and number of passes.
    """
    realism = parameters.realism
    if realism == Realism():
        return None
    cover, texture, towns, felling = (
        np.random.default_rng([parameters.seed, stream]) for stream in range(31, 35)
    )
    shape, step = relief.grid.shape, relief.grid.resolution_m
    fields = parcels > 0
    open_ground = fields.astype(np.float32)
    level = {pol: np.zeros(shape, dtype=np.float32) for pol in POLARISATIONS}
    if realism.open_ground:
        patches = smooth_field(shape, max(1.0, realism.open_ground.extent_m / 2 / step), cover)
        pasture = patches > np.quantile(patches, 1 - realism.open_ground.share)
        open_ground[pasture] = 1.0
        for which, pol in enumerate(POLARISATIONS):
            level[pol][pasture & ~fields] += realism.open_ground.level_db[which]
    if realism.parcel_sd_db:
        own = cover.normal(0, realism.parcel_sd_db, int(parcels.max()) + 1).astype(np.float32)[parcels]
        for pol in POLARISATIONS:
            level[pol][fields] += own[fields]
    bed = _bed(relief, realism.rivers)
    if bed is not None:
        open_ground[bed] = 1.0
        for pol in POLARISATIONS:
            level[pol][bed] += _BED_DB[pol]
    built = None
    if realism.settlements:
        built = settle(relief.slope_rad, relief.water, step, realism.settlements, towns)
        open_ground[built.town] = 0.3
        for pol in POLARISATIONS:
            level[pol][built.town] += _TOWN_DB[pol]
    if realism.texture:
        for pol, pattern in _texture(realism.texture, shape, step, texture).items():
            level[pol] += pattern
    return Ground(
        realism=realism,
        seed=parameters.seed,
        step_m=step,
        elevation_m=relief.elevation_m,
        level_db=level,
        open_ground=ndimage.uniform_filter(open_ground, 3),
        bed=bed,
        built=built,
        disturbed=_disturbed(relief, open_ground, passes, realism, felling),
        snow_line_m=snow_line_m(realism.snow, relief.elevation_m, relief.water) if realism.snow else 0.0,
        views=_views(relief, tracks, parameters),
    )


def _bed(relief: Relief, rivers: Rivers | None) -> Mask | None:
    if rivers is None:
        return None
    area = catchment_km2(relief.elevation_m, relief.grid.resolution_m)
    bed = np.zeros(area.shape, dtype=bool)
    for times in (1.0, 4.0, 16.0):  # half widths grow with the square root of the catchment
        part = area >= rivers.catchment_km2 * times
        if not part.any():
            break
        away = ndimage.distance_transform_edt(~part)
        bed |= away <= rivers.width_px * np.sqrt(times)
    # the lattice of the drainage is coarse: its steps are rounded off
    smooth = ndimage.gaussian_filter(bed.astype(np.float32), 1.5) > 0.5
    return np.asarray(smooth & ~relief.water & (relief.slope_rad < np.radians(15)))


def _texture(
    texture: Texture, shape: tuple[int, int], step_m: float, rng: np.random.Generator
) -> dict[str, Raster]:
    """(y, x) permanent pattern in dB by polarisation: gamma texture, and the level of stands."""
    shared, alone = (smooth_field(shape, texture.width_px, rng) for _ in range(2))
    stand = smooth_field(shape, max(1.0, texture.stand_m / 2 / step_m), rng)
    strength = 1 + np.float32(texture.spread) * smooth_field(
        shape, max(1.0, texture.stand_m / 2 / step_m), rng
    )
    np.maximum(strength, np.float32(0.2), out=strength)
    mixed = np.float32(texture.shared) * shared + np.float32(np.sqrt(1 - texture.shared**2)) * alone
    return {
        pol: texture_db(texture, shared if pol == "vv" else mixed, strength, pol)
        + np.float32(texture.stand_db[which]) * stand
        for which, pol in enumerate(POLARISATIONS)
    }


def _disturbed(
    relief: Relief,
    open_ground: Raster,
    passes: tuple[int, int],
    realism: Realism,
    rng: np.random.Generator,
) -> Disturbed | None:
    if realism.disturbances is None:
        return None
    grid = relief.grid
    slope = np.degrees(ndimage.gaussian_filter(relief.slope_rad, 2.0))
    weight = np.exp(-(((slope - _FELLABLE_DEG) / _FELLABLE_WIDTH_DEG) ** 2)).astype(np.float64)
    weight[relief.water | (open_ground > 0)] = 0.0
    descent = Descent.on(grid, relief.elevation_m)

    def outline(row: int, column: int, area_m2: float, own: np.random.Generator) -> Polygon:
        x = grid.left + (column + 0.5) * grid.resolution_m
        y = grid.top - (row + 0.5) * grid.resolution_m
        body = flowing_body(descent, x, y, area_m2, 0.7, own)
        return body.outline if body else ellipse_at(relief, row, column, area_m2, own)

    return disturb(grid, weight, passes, realism.disturbances, outline, rng)


def _views(relief: Relief, tracks: Sequence[TrackPlan], parameters: WorldParameters) -> dict[int, View]:
    viewing = parameters.realism.viewing
    if viewing is None or not viewing.flattened:
        return {}
    # the very errors of the elevation that is served, in one of its collections
    degraded = degraded_heights(relief, parameters.dem_noise_m, np.random.default_rng([parameters.seed, 6]))
    return {
        track.relative_orbit: view_of(
            relief.elevation_m, degraded, relief.grid.resolution_m, track.incidence_deg, track.to_sensor_deg
        )
        for track in tracks
    }
