"""The switches of the realistic effects: each is off (None) unless a scenario turns it on.

The ranges in the descriptions are those that a randomised event is drawn from (`random_events`).
"""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from pipeline.records import Frozen

Land = Literal["forest", "arid", "tropical", "snow"]
LANDS: tuple[Land, ...] = get_args(Land)

Pair = tuple[float, float]
"""VV and VH"""


class LandForms(Frozen):
    """Low hills with valley floors: Hokkaido's patches of 1.28 km have 151 m of elevation and 30 m of spread.

    Source: statistics of 313 real land patches (docs/simulation.md).
    """

    levelled: float = Field(0.75, ge=0, le=1, description="share of the broad relief that is removed")
    broad_m: float = Field(700.0, ge=100, le=10_000, description="length beyond which relief is broad")
    valley_share: float = Field(0.25, ge=0, le=0.8, description="share of the ground that is valley floor")
    base_m: float = Field(100.0, ge=0, le=5000, description="elevation of the lowest ground")


class SlideBodies(Frozen):
    """Landslides that partly do not show, have zones, and run out along the flow.

    Source: not every mapped landslide changes the backscatter, and the change depends on the surface before and after:
    Mondini et al. (2019), Remote Sensing 11, 760; Lindsay et al. (2025), Remote Sensing 17, 3313 (30 events). The
    shares and the decibels of the zones are set by hand: bare source dark, rough deposit bright.
    """

    hidden_share: float = Field(0.30, ge=0, le=1, description="share of landslides that do not show")
    half_share: float = Field(0.40, ge=0, le=1, description="share that show half of the change in dB")
    source_db: Pair = Field((-1.2, -1.0), description="added in the source, bare and smooth")
    transport_db: Pair = Field((0.0, -0.2), description="added in the transport zone")
    deposit_db: Pair = Field((1.4, 1.0), description="added in the deposit, rough with trunks and blocks")
    runout: float = Field(
        1.0, ge=0, le=3, description="length along the flow, relative; 0: none, as ellipses"
    )
    scars_per_slide: float = Field(0.25, ge=0, le=3, description="older landslides for each new one")


class OpenGround(Frozen):
    """Pasture, heath and rock between the trees: another level, and another response to rain and snow.

    Source: levels of the simulated fields (VH falls more than VV where there is no canopy).
    """

    share: float = Field(0.12, ge=0, le=1, description="share of the natural ground without trees")
    extent_m: float = Field(250.0, ge=20, le=5000)
    level_db: Pair = Field(
        (-1.0, -2.5), description="relative to forest; (0, 0) where open ground is the rule"
    )


class Disturbances(Frozen):
    """Felling and windthrow in slide-like shapes on forested slopes: changes that no earthquake made.

    Source: VH falls where forest is felled (-2.5 dB as in the quiet scenarios); windthrow raises both polarisations by
    about half a decibel: Rüetschi, Small and Waser (2019), Remote Sensing 11, 115.
    """

    share: float = Field(0.02, ge=0, le=0.2, description="share of the scene, 0.01 to 0.04")
    windthrow: float = Field(0.4, ge=0, le=1, description="part of it that is windthrow")
    at_event: float = Field(
        0.7, ge=0, le=1, description="part that comes between the passes around the event"
    )
    felled_db: Pair = (-0.8, -2.5)
    windthrow_db: Pair = (0.6, 0.4)


class Rain(Frozen):
    """Wet canopies and soils, in fields of 0.3 to 3 km, by cover.

    Source: a wet canopy is up to 2 dB brighter at C-band: de Jong, Klaassen and Kuiper (2002), IEEE TGRS 40, 338; half
    a decibel to one and a half remains of it in most passes. Open ground responds more, through its soil.
    """

    wet_passes: float = Field(0.4, ge=0, le=1, description="share of passes with rain, 0.2 to 0.6")
    strength_db: Pair = Field((0.5, 1.5), description="least and largest rms over open ground of a wet pass")
    extent_km: Pair = Field((0.3, 3.0), description="shortest and longest extent of a field")
    forest: float = Field(0.5, ge=0, le=2, description="response of forest relative to open ground")
    vh: float = Field(0.8, ge=0, le=2, description="response of VH relative to VV")


class Snow(Frozen):
    """Wet snow above a line that moves from pass to pass.

    Source: wet snow lowers C-band backscatter, by more than 2 dB on open ground: Nagler et al. (2016), Remote Sensing
    8, 348; dense forest hides most of it.
    """

    line: float = Field(0.6, ge=0, le=1, description="mean snow line, as share of land that lies below it")
    wander_m: float = Field(60.0, ge=0, le=1000, description="sd of its elevation between passes")
    passes: float = Field(0.6, ge=0, le=1, description="share of passes with wet snow")
    open_db: float = Field(-4.0, ge=-10, le=0)
    forest_db: float = Field(-1.2, ge=-10, le=0)


class Rivers(Frozen):
    """Braided beds along the drainage, whose water and gravel move from pass to pass, most at the event."""

    catchment_km2: float = Field(1.5, gt=0, le=1000, description="area that makes a river")
    width_px: float = Field(
        1.5, ge=0, le=20, description="half width at that area; grows with its square root"
    )
    change_db: float = Field(2.5, ge=0, le=10, description="sd of a bed's change between passes")


class Settlements(Frozen):
    """Towns, farms and masts: double bounce that depends on the angle between streets and flight direction.

    Source: VV up to 881 (29 dB) in the published cube of Hokkaido, VH's largest value in a patch 0.6 (0.37 to 1.0).
    Walls and streets at right angles to the line of sight are brightest (the cardinal effect).
    """

    town_share: float = Field(0.012, ge=0, le=0.3, description="share of the scene in towns")
    lone_per_km2: float = Field(8.0, ge=0, le=200, description="houses, masts and rocks outside towns")
    building_db: float = Field(8.0, ge=0, le=25, description="mean of a building's VV above the ground's")
    building_sd_db: float = Field(4.5, ge=0, le=10)
    vh_below_db: float = Field(7.0, ge=0, le=20, description="VH of a building below its VV")


class Texture(Frozen):
    """K-distributed backscatter: gamma speckle times a permanent gamma texture of this order.

    Source: Jao (1984), IEEE Transactions on Antennas and Propagation 32, 1049; orders fitted to the 2.0 dB of texture
    beyond speckle of Hokkaido's patches.
    """

    order: Pair = Field((6.0, 6.0), description="order of the gamma texture; its variance is 1 / order")
    spread: float = Field(0.25, ge=0, le=1, description="sd of the texture's strength among stands, relative")
    stand_db: Pair = Field((0.6, 0.6), description="sd of the level among stands")
    stand_m: float = Field(400.0, ge=20, le=5000, description="extent of a stand")
    width_px: float = Field(0.7, ge=0, le=10, description="correlation length of the texture")
    shared: float = Field(0.8, ge=0, le=1, description="correlation of VV's and VH's texture")


class Viewing(Frozen):
    """Layover, foreshortening and shadow of the true terrain, flattened by the degraded elevation.

    Source: Small (2011), IEEE TGRS 49, 3081 (gamma0 by the illuminated area that an elevation model simulates);
    offsets between satellites: public threads microsoft/PlanetaryComputer 404 and 492.
    """

    flattened: bool = Field(True, description="False: the ideal image of flat geometry")
    registration_px: float = Field(0.3, ge=0, le=3, description="sd of a pass's shift, each axis")
    second_satellite_px: float = Field(
        0.0, ge=-3, le=3, description="shift in range of a second satellite's passes, before flattening"
    )


class MappingErrors(Frozen):
    """An inventory as people draw it: incomplete, neighbours merged, shifted as a whole, with older landslides.

    Source: errors of location: Santangelo et al. (2015), Natural Hazards and Earth System Sciences 15, 2111; merged
    neighbours: Marc and Hovius (2015), Natural Hazards and Earth System Sciences 15, 723. The shares are set by hand.
    """

    missing: float = Field(
        0.15, ge=0, le=1, description="share of landslides that are not mapped, 0.1 to 0.2"
    )
    merged_within_m: float = Field(
        15.0, ge=0, le=200, description="neighbours nearer than that are one polygon"
    )
    shift_m: float = Field(8.0, ge=0, le=100, description="sd of the whole inventory's shift, each axis")
    older_share: float = Field(0.3, ge=0, le=1, description="share of the older landslides mapped as new")


class Realism(Frozen):
    """All effects; None is off, and a world without any is what it was before there were effects."""

    land_forms: LandForms | None = None
    slide_bodies: SlideBodies | None = None
    open_ground: OpenGround | None = None
    disturbances: Disturbances | None = None
    rain: Rain | None = None
    snow: Snow | None = None
    rivers: Rivers | None = None
    settlements: Settlements | None = None
    texture: Texture | None = None
    viewing: Viewing | None = None
    mapping: MappingErrors | None = None
    parcel_sd_db: float = Field(0.0, ge=0, le=6, description="sd of a field's own level")
