"""Parameters of a simulated world, and the errors of this room."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from pipeline.areas.area import AreaOfInterest
from pipeline.errors import SlidecubeError
from pipeline.grid import Grid
from pipeline.records import Frozen
from pipeline.sandbox.earth.landscape import Landscape
from pipeline.sandbox.earth.realism.switches import Land, Realism

DemCollection = Literal["nasadem", "cop-dem-glo-30"]


class SandboxError(SlidecubeError):
    """A simulated world cannot be made or served."""

    exit_code = 2


class TrackPlan(Frozen):
    """The overflights of one track, 12 days apart."""

    relative_orbit: int = Field(ge=1, le=175)
    direction: Literal["ascending", "descending"]
    before: int = Field(ge=0, le=60, description="passes before the event")
    after: int = Field(ge=0, le=60, description="passes after the event")
    incidence_deg: float = Field(ge=20, le=50, description="angle of incidence on the ellipsoid, mid-swath")
    offset_days: int = Field(0, ge=0, lt=12, description="whole days from the event to the first later pass")

    @property
    def heading_deg(self) -> float:
        """Flight direction over ground, clockwise from north (inclination 98.2 degrees, middle latitudes)."""
        return 190.5 if self.direction == "descending" else 349.5

    @property
    def to_sensor_deg(self) -> float:
        """Azimuth from the ground to the sensor; Sentinel-1 looks to the right."""
        return (self.heading_deg - 90.0) % 360.0


class SlcPlan(Frozen):
    """Single look complex products of one track: passes and extent."""

    relative_orbit: int | None = Field(None, ge=1, le=175, description="None: the first track")
    before: int = Field(2, ge=0, le=60, description="number of the last passes before the event")
    after: int = Field(2, ge=0, le=60, description="number of the first passes after the event")
    bursts: int = Field(2, ge=1, le=10, description="more for a longer sub-area")
    lines_per_burst: int | None = Field(
        None,
        ge=420,
        le=1519,
        description="about 1500 in real products; None: as few as the sub-area needs",
    )
    sub_area: tuple[float, float, float, float] | None = Field(
        None, description="west, south, east, north in degrees; None: the whole area"
    )
    peak_displacement_m: float = Field(
        -0.04,
        ge=-1,
        le=1,
        description="at the bowl's centre, towards the sensor if positive; 28 mm make a fringe",
    )


class OperaPlan(Frozen):
    """Bursts of OPERA RTC-S1 of every pass, which ASF lists."""

    bursts: int = Field(2, ge=1, le=20, description="along the flight")
    subswaths: int = Field(2, ge=1, le=3)
    alone: int = Field(0, ge=0, le=60, description="number of the last passes that no other archive has")
    neighbour_zone: bool = Field(
        False, description="write the first burst of the last pass in the neighbouring UTM zone"
    )


class WorldParameters(Frozen):
    """The parameters that, with an area, determine every byte of a world.

    Radar numbers are those measured over Hokkaido (mean and spread of the published cube), landslide areas
    follow the three-parameter inverse gamma of Malamud et al. (2004), scaled to Hokkaido's mean of 8.2e-3 km².
    """

    seed: int = Field(1, ge=0)
    tracks: tuple[TrackPlan, ...] = (
        TrackPlan(relative_orbit=46, direction="descending", before=5, after=3, incidence_deg=35.9),
        TrackPlan(
            relative_orbit=68, direction="ascending", before=4, after=2, incidence_deg=38.6, offset_days=3
        ),
    )
    slices: int = Field(3, ge=1, le=6, description="items of one pass")
    margin_px: int = Field(30, ge=16, le=500, description="least margin of a swath around the area")
    resolution_m: float | None = Field(
        None, gt=0, description="pixel of the scenes; None: the area's, or coarser for a large area"
    )
    max_side_px: int = Field(
        1500, ge=64, le=6000, description="longest side of the area; beyond it pixels are coarser"
    )
    prevalence: float = Field(0.05, ge=0, le=0.4, description="share of the scene that landslides cover")
    mean_slope_deg: float = Field(18.0, gt=0, le=35)
    water_share: float = Field(0.02, ge=0, le=0.6, description="share of the scene under water")
    sea: bool = Field(False, description="the water is the sea, at 0 m, instead of a lake above it")
    looks: float = Field(4.4, ge=2, le=20, description="equivalent number of looks of one pass")
    label_jitter_px: float = Field(
        1.0, ge=0, le=5, description="sd of a polygon's displacement in the inventory"
    )
    labels_missing: float = Field(
        0.03, ge=0, le=1, description="share of landslides that the inventory lacks"
    )
    dem_collections: tuple[DemCollection, ...] = ("nasadem", "cop-dem-glo-30")
    dem_noise_m: float = Field(3.5, ge=0, le=30)
    missing_pass: bool = Field(True, description="omit one date of the first track's sequence")
    partial_pass: bool = Field(True, description="omit the last slice of the last track's oldest pass")
    duplicate_item: bool = Field(True, description="return one item twice")
    reprocessed_item: bool = Field(True, description="offer one slice a second time, reprocessed")
    zero_filled_pass: bool = Field(True, description="fill the outside of one pass with 0 instead of nodata")
    neighbour_zone: bool | None = Field(
        None, description="write one slice in the neighbouring UTM zone; None: if the area extends into it"
    )
    slc: SlcPlan | None = Field(None, description="None: no single look complex products")
    opera: OperaPlan | None = Field(
        None, exclude_if=lambda plan: plan is None, description="None: no bursts of OPERA RTC-S1"
    )
    landscape: Landscape = Landscape()
    land: Land | None = Field(
        None, exclude_if=lambda land: land is None, description="kind of land of a realistic event"
    )
    second_satellite: bool = Field(
        False, exclude_if=lambda on: not on, description="every other pass of a track is of S1B"
    )
    list_granules: bool = Field(
        False,
        exclude_if=lambda on: not on,
        description="without single look complex products: ASF lists a granule of each slice, whose file is absent",
    )
    realism: Realism = Field(
        Realism(),
        exclude_if=lambda effects: effects == Realism(),
        description="effects of real scenes; all off by default",
    )


def area_grid(area: AreaOfInterest, parameters: WorldParameters) -> Grid:
    """The area's lattice with the pixel of the simulated scenes, coarser than the area's if the area is too large."""
    wanted = parameters.resolution_m
    if wanted is None:
        full = Grid.of_area(area)
        wanted = area.resolution_m * math.ceil(max(full.shape) / parameters.max_side_px)
    return Grid.of_area(area.model_copy(update={"resolution_m": wanted}))
