"""The parts of a simulated event that are the same in all passes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.areas.area import AreaOfInterest
from pipeline.grid import Grid
from pipeline.sandbox.earth.ground.ground import Ground
from pipeline.sandbox.earth.ground.ground_making import make_ground
from pipeline.sandbox.earth.landscape import Scattering
from pipeline.sandbox.earth.overflights import Flight, Swath, plan_flights, scene_grid, wanted_tracks
from pipeline.sandbox.earth.parameters import TrackPlan, WorldParameters, area_grid
from pipeline.sandbox.earth.realism.random_fields import Raster, fractal_field, smooth_field
from pipeline.sandbox.earth.realism.runout import zone_change_db
from pipeline.sandbox.earth.slides import Slides, make_slides
from pipeline.sandbox.earth.topography import Relief, make_relief

# mean of ten times the decadic logarithm of gamma(4.4)-distributed speckle: the loss by averaging in dB
_SPECKLE_BIAS_DB = 0.51


@dataclass(frozen=True)
class Scene:
    """Terrain, landslides and land cover on the grid that contains every swath.

    `parcels` (y, x) numbers fields from 1 (0: none), `logged` (y, x) marks forest that is felled between the
    passes before the event and those after it, which resembles landslides.
    """

    area: AreaOfInterest
    parameters: WorldParameters
    area_grid: Grid
    grid: Grid
    swaths: tuple[Swath, ...]
    flights: tuple[Flight, ...]
    relief: Relief
    slides: Slides
    parcels: NDArray[np.int32]
    logged: NDArray[np.bool_]
    texture: dict[str, Raster]  # dB
    season: dict[str, Raster]  # dB
    inner: Raster  # sd 1, within slides
    slide_db: dict[str, NDArray[np.float32]]  # (slide + 1,)
    ground: Ground | None = None  # None: no effect is on

    def swath(self, track: TrackPlan) -> Swath:
        return next(swath for swath in self.swaths if swath.track == track)

    def scattering(self, polarisation: str) -> Scattering:
        """The landscape's scattering in 'vv' or 'vh'."""
        landscape = self.parameters.landscape
        return landscape.vv if polarisation == "vv" else landscape.vh

    @property
    def felled_at_event(self) -> NDArray[np.bool_]:
        """(y, x) forest that fell between the last pass before the event and the first after it."""
        first = next((flight.index for flight in self.flights if flight.slid), len(self.flights))
        disturbed = self.ground.disturbed if self.ground is not None else None
        return self.logged if disturbed is None else self.logged | (disturbed.since == first)

    @cached_property
    def _facing(self) -> dict[int, Raster]:
        return {
            swath.track.relative_orbit: (
                (swath.track.incidence_deg - self.relief.local_incidence_deg(swath.track)) / 20.0
            ).astype(np.float32)
            for swath in self.swaths
        }

    def quiet_db(self, track: TrackPlan, polarisation: str) -> Raster:
        """(y, x) gamma0 without speckle, before the event, dB."""
        facing = self._facing[track.relative_orbit]
        scattering = self.scattering(polarisation)
        level = scattering.level_db + _SPECKLE_BIAS_DB
        pattern = self.texture[polarisation] if self.ground is None else self.ground.level_db[polarisation]
        db = level + pattern + scattering.facing_db * facing
        field = self.parcels > 0
        db[field] += -1.5 if polarisation == "vv" else -3.0
        old = self.slides.old_map
        db[old] += (-0.5 if polarisation == "vv" else -1.5) + 1.5 * facing[old]
        water = self.relief.water
        db[water] = -19.0 if polarisation == "vv" else -27.0
        return np.asarray(db, dtype=np.float32)

    def change_db(self, track: TrackPlan, polarisation: str) -> Raster:
        """(y, x) change by the event, dB: slopes that face the radar become brighter in VV, others darker."""
        facing = self._facing[track.relative_orbit]
        scattering = self.scattering(polarisation)
        mean = scattering.slide_db + scattering.slide_facing_db * facing
        slides, slid = self.slides, self.slides.id_map
        bodies = self.parameters.realism.slide_bodies
        if bodies is not None and slides.zone_map is not None:
            mean = mean + zone_change_db(bodies, polarisation)[slides.zone_map]
        change = np.where(slid > 0, mean + self.slide_db[polarisation][slid], 0.0)
        change += np.where(slid > 0, scattering.inner_sd_db * self.inner, 0.0)
        if slides.shown is not None:
            change *= slides.shown[slid]
        change[self.logged & (slid == 0)] += scattering.logged_db
        # 20 m of resolution on pixels of 10 m
        return np.asarray(ndimage.gaussian_filter(change.astype(np.float32), 0.6), dtype=np.float32)


def make_scene(area: AreaOfInterest, parameters: WorldParameters) -> Scene:
    """The simulated event over an area; the same seed gives the same scene."""
    lattice = area_grid(area, parameters)
    swaths = [Swath.over(lattice, track, parameters) for track in wanted_tracks(area, parameters)]
    grid = scene_grid(lattice, swaths)
    terrain, slide, cover, texture = (
        np.random.default_rng([parameters.seed, stream]) for stream in range(1, 5)
    )
    relief = make_relief(grid, parameters, terrain)
    slides = make_slides(relief, parameters, slide)
    shared, own = smooth_field(grid.shape, 2.0, texture), smooth_field(grid.shape, 2.0, texture)
    count = len(slides.new) + 1
    landscape = parameters.landscape
    # most of the permanent pattern is common to both polarisations
    both, alone = (np.float32(part * landscape.vh.texture_db / 1.11) for part in (0.91, 0.64))
    slide_db = {
        pol: np.concatenate([[0.0], slide.normal(0, own_way.slide_sd_db, count - 1)]).astype(np.float32)
        for pol, own_way in (("vv", landscape.vv), ("vh", landscape.vh))
    }
    parcels = _parcels(relief, landscape.field_share, cover)
    flights = tuple(plan_flights(area, parameters))
    first = next((flight.index for flight in flights if flight.slid), len(flights))
    tracks = [swath.track for swath in swaths]
    return Scene(
        area=area,
        parameters=parameters,
        area_grid=lattice,
        grid=grid,
        swaths=tuple(swaths),
        flights=flights,
        relief=relief,
        slides=slides,
        parcels=parcels,
        logged=_logged(relief, landscape.logged_share, cover),
        texture={"vv": np.float32(landscape.vv.texture_db) * shared, "vh": both * shared + alone * own},
        season={
            pol: np.float32(landscape.season_sd_db) * smooth_field(grid.shape, 12.0, texture)
            for pol in ("vv", "vh")
        },
        inner=smooth_field(grid.shape, 2.0, texture),
        slide_db=slide_db,
        ground=make_ground(relief, parcels, tracks, (first, len(flights)), parameters),
    )


def _parcels(relief: Relief, share: float, rng: np.random.Generator) -> NDArray[np.int32]:
    """Rectangular fields on the flattest dry `share` of the scene."""
    shape = relief.grid.shape
    broad = ndimage.gaussian_filter(relief.slope_rad, 5.0) + 0.02 * fractal_field(shape, 2.5, rng)
    flat = (broad < np.quantile(broad, share)) & ~relief.water
    rows, columns = np.arange(shape[0])[:, None] // 12, np.arange(shape[1])[None, :] // 17
    number = rows * (shape[1] // 17 + 1) + columns + 1
    return np.where(flat, number, 0).astype(np.int32)


def _logged(relief: Relief, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Clear-cuts: rectangles of one to four hectares on about `share` of the scene."""
    felled = np.zeros(relief.grid.shape, dtype=bool)
    step = relief.grid.resolution_m
    for _ in range(int(felled.size * step**2 * share / 22_500) + (share > 0)):
        height, width = (max(1, int(side / step)) for side in rng.uniform(100, 200, 2))
        row, column = rng.integers(0, felled.shape[0]), rng.integers(0, felled.shape[1])
        felled[row : row + height, column : column + width] = True
    return felled & ~relief.water
