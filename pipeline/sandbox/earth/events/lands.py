"""Four kinds of land with every effect on: the usual event of each."""

from __future__ import annotations

from typing import Any

from pipeline.sandbox.earth.landscape import Landscape, Scattering
from pipeline.sandbox.earth.parameters import WorldParameters
from pipeline.sandbox.earth.realism.switches import (
    Disturbances,
    Land,
    LandForms,
    MappingErrors,
    OpenGround,
    Rain,
    Realism,
    Rivers,
    Settlements,
    SlideBodies,
    Snow,
    Texture,
    Viewing,
)

# Hokkaido: levels so that patches have the real means of 0.173 (VV) and 0.045 (VH) in linear power. The law of change
# is that of the quiet forest, about twice as strong, because landslides show half of it on average; zones add to it.
_FOREST = Landscape(
    vv=Scattering(
        level_db=-8.5,
        texture_db=0.0,
        facing_db=0.8,
        slide_db=-1.5,
        slide_facing_db=5.5,
        slide_sd_db=1.8,
        inner_sd_db=1.0,
        logged_db=-0.8,
    ),
    vh=Scattering(
        level_db=-14.2,
        texture_db=0.0,
        facing_db=0.4,
        slide_db=-2.0,
        slide_facing_db=0.9,
        slide_sd_db=1.1,
        inner_sd_db=0.7,
        logged_db=-2.5,
    ),
    field_share=0.12,
    logged_share=0.0,
    slope_urge=6.0,
    slope_deg=29.0,
    slope_width_deg=6.0,
    clustering=0.3,
)
_EFFECTS = Realism(
    land_forms=LandForms(),
    slide_bodies=SlideBodies(),
    open_ground=OpenGround(),
    disturbances=Disturbances(),
    rain=Rain(),
    rivers=Rivers(),
    settlements=Settlements(town_share=0.02, lone_per_km2=10.0, building_sd_db=5.0, vh_below_db=6.0),
    texture=Texture(stand_db=(0.8, 0.8), stand_m=700.0, spread=0.3),
    viewing=Viewing(),
    mapping=MappingErrors(),
    parcel_sd_db=1.5,
)
# Kaikoura: levels of the published cube, larger landslides on steeper slopes, which brighten: bare debris is rougher
# than the grass and rock that it covers.
_ARID = _FOREST.model_copy(
    update={
        "vv": _FOREST.vv.model_copy(
            update={"level_db": -9.9, "slide_db": 2.2, "slide_facing_db": 2.6, "logged_db": 0.0}
        ),
        "vh": _FOREST.vh.model_copy(
            update={"level_db": -16.0, "slide_db": 1.5, "slide_facing_db": 0.8, "logged_db": 0.0}
        ),
        "weather_sd_db": 0.6,
        "field_share": 0.03,
        "size_factor": 4.5,
        "slope_urge": 5.0,
        "slope_deg": 36.0,
        "slope_width_deg": 7.0,
        "clustering": 0.6,
        "coherence": (0.30, 0.55),
        "grass_coherence": (0.50, 0.70),
        "grass_share": 0.25,
    }
)
# Enga: the level of VH is that of the real stack (-13.2 dB), and the change is that of its one landslide: VV brightens
# on slopes that face the radar, VH darkens on those that do not.
_TROPICAL = _FOREST.model_copy(
    update={
        "vv": _FOREST.vv.model_copy(update={"level_db": -7.2, "slide_db": 1.4, "slide_facing_db": 2.6}),
        "vh": _FOREST.vh.model_copy(update={"level_db": -13.2, "slide_db": -1.9, "slide_facing_db": 1.9}),
        "season_sd_db": 0.2,
        "field_share": 0.06,
        "size_factor": 3.5,
        "slope_deg": 33.0,
        "slope_width_deg": 8.0,
        "clustering": 0.5,
    }
)
_SNOW = _FOREST.model_copy(
    update={
        "vv": _FOREST.vv.model_copy(update={"level_db": -8.8}),
        "vh": _FOREST.vh.model_copy(update={"level_db": -14.6}),
        "season_sd_db": 0.6,
        "field_share": 0.05,
        "slope_deg": 32.0,
        "slope_width_deg": 8.0,
    }
)
_LANDS: dict[Land, dict[str, Any]] = {
    "forest": {"landscape": _FOREST, "mean_slope_deg": 19.0, "realism": _EFFECTS},
    "arid": {
        "landscape": _ARID,
        "mean_slope_deg": 26.0,
        "realism": _EFFECTS.model_copy(
            update={
                "land_forms": LandForms(levelled=0.3, broad_m=1500.0, valley_share=0.12, base_m=60.0),
                "slide_bodies": SlideBodies(
                    source_db=(-0.4, -0.3), transport_db=(0.0, 0.0), deposit_db=(0.8, 0.6)
                ),
                "open_ground": OpenGround(share=0.85, level_db=(0.0, 0.0), extent_m=600.0),
                "disturbances": Disturbances(share=0.01, windthrow=0.0, felled_db=(-0.5, -1.0)),
                "rain": Rain(wet_passes=0.25),
                "rivers": Rivers(catchment_km2=1.0, width_px=2.5),
                "settlements": Settlements(town_share=0.004, lone_per_km2=5.0),
                "texture": Texture(order=(4.5, 5.0), stand_db=(1.0, 1.0), stand_m=600.0, spread=0.3),
            }
        ),
    },
    "tropical": {
        "landscape": _TROPICAL,
        "mean_slope_deg": 24.0,
        "realism": _EFFECTS.model_copy(
            update={
                "land_forms": LandForms(levelled=0.4, broad_m=1500.0, valley_share=0.10, base_m=300.0),
                "slide_bodies": SlideBodies(
                    source_db=(-0.6, -0.6), transport_db=(0.2, 0.0), deposit_db=(0.8, 0.4)
                ),
                "open_ground": OpenGround(share=0.10),
                "disturbances": Disturbances(share=0.03, windthrow=0.1),
                "rain": Rain(wet_passes=0.7),
                "settlements": Settlements(town_share=0.004, lone_per_km2=4.0),
                "texture": Texture(order=(7.0, 7.0), stand_db=(0.6, 0.6), stand_m=700.0, spread=0.25),
            }
        ),
    },
    "snow": {
        "landscape": _SNOW,
        "mean_slope_deg": 22.0,
        "realism": _EFFECTS.model_copy(
            update={
                "land_forms": LandForms(levelled=0.5, broad_m=1200.0, valley_share=0.15, base_m=400.0),
                "open_ground": OpenGround(share=0.35),
                "snow": Snow(),
                "settlements": Settlements(town_share=0.006, lone_per_km2=5.0),
            }
        ),
    },
}


def realistic(land: Land = "forest") -> WorldParameters:
    """The usual event of a kind of land: every effect on, in the middle of its range."""
    return WorldParameters.model_validate({"looks": 4.4, "dem_noise_m": 3.0, "land": land, **_LANDS[land]})
