"""Parameters of the simulated ground: land cover, backscatter, and changes by the event and by people."""

from __future__ import annotations

from pydantic import Field

from pipeline.records import Frozen


class Scattering(Frozen):
    """Backscatter of one polarisation in decibels: before the event, between passes, and after a landslide.

    The facing of a slope is (incidence on the ellipsoid - local incidence) / 20 degrees: positive towards the radar.
    """

    level_db: float = Field(ge=-30, le=5, description="mean of gamma0 in dB over land, speckle included")
    texture_db: float = Field(ge=0, le=5, description="sd of the permanent pattern, 20 m wide")
    facing_db: float = Field(ge=-5, le=5, description="increase at a facing of 1")
    slide_db: float = Field(ge=-10, le=10, description="mean change by a landslide at a facing of 0")
    slide_facing_db: float = Field(ge=-10, le=10, description="added to that at a facing of 1")
    slide_sd_db: float = Field(ge=0, le=5, description="sd of a landslide's deviation from that mean")
    inner_sd_db: float = Field(ge=0, le=5, description="sd of the change within a landslide, 20 m wide")
    logged_db: float = Field(ge=-10, le=10, description="change where forest is felled")


HOKKAIDO_VV = Scattering(
    level_db=-7.3,
    texture_db=1.3,
    facing_db=0.8,
    slide_db=-0.8,
    slide_facing_db=2.2,
    slide_sd_db=1.2,
    inner_sd_db=0.8,
    logged_db=-0.8,
)
HOKKAIDO_VH = Scattering(
    level_db=-13.2,
    texture_db=1.11,
    facing_db=0.4,
    slide_db=-1.3,
    slide_facing_db=0.5,
    slide_sd_db=0.8,
    inner_sd_db=0.56,
    logged_db=-2.5,
)


class Landscape(Frozen):
    """Ground, weather and landslides. The defaults describe Hokkaido's forest."""

    vv: Scattering = HOKKAIDO_VV
    vh: Scattering = HOKKAIDO_VH
    gain_sd_db: float = Field(0.2, ge=0, le=3, description="sd of a pass's own level")
    weather_sd_db: float = Field(0.5, ge=0, le=3, description="sd of a pass's own field, 40 m wide")
    season_sd_db: float = Field(0.4, ge=0, le=3, description="amplitude of a seasonal field")
    season_mean_db: float = Field(
        0.0, ge=-5, le=5, description="amplitude of the whole scene's seasonal course"
    )
    field_share: float = Field(0.08, ge=0, le=0.6, description="share of the scene with fields")
    logged_share: float = Field(0.005, ge=0, le=0.2, description="share that is felled at the event's time")
    size_factor: float = Field(
        2.7, gt=0, le=20, description="landslide areas relative to those of Malamud et al. 2004"
    )
    slope_deg: float = Field(27.0, ge=5, le=50, description="slope that fails most often")
    slope_width_deg: float = Field(10.0, ge=2, le=40, description="width of the range of slopes that fail")
    slope_urge: float = Field(
        3.0, ge=0, le=6, description="log of the ratio to the frequency on other slopes"
    )
    clustering: float = Field(
        0.6, ge=0, le=3, description="log of the variation that terrain does not explain"
    )
    coherence: tuple[float, float] = Field(
        (0.10, 0.25), description="range over most of the ground, after twelve days"
    )
    grass_coherence: tuple[float, float] = Field((0.40, 0.50), description="range on ground without trees")
    grass_share: float = Field(0.15, ge=0, le=1)
