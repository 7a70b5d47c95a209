"""Randomised events: each effect's strength drawn within a stated range, from the seed of the world."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pipeline.sandbox.earth.events.lands import realistic
from pipeline.sandbox.earth.landscape import Scattering
from pipeline.sandbox.earth.parameters import WorldParameters
from pipeline.sandbox.earth.realism.switches import LANDS, Land, Realism

RANGES: dict[str, tuple[float, float]] = {
    "prevalence": (0.001, 0.08),
    "contrast": (0.7, 1.3),
    "law": (0.0, 1.0),
    "level_db": (-0.8, 0.8),
    "looks": (3.6, 5.4),
    "incidence_deg": (31.0, 43.0),
    "gain_sd_db": (0.1, 0.4),
    "weather_sd_db": (0.3, 0.8),
    "season_sd_db": (0.2, 0.6),
    "wet_passes": (0.2, 0.6),
    "rain_db": (0.5, 1.5),
    "snow_line": (0.3, 0.8),
    "mean_slope_deg": (-3.0, 3.0),
    "slope_deg": (-4.0, 4.0),
    "slope_width_deg": (5.0, 10.0),
    "slope_urge": (3.0, 6.0),
    "clustering": (0.3, 0.9),
    "size": (0.6, 1.6),
    "hidden_share": (0.2, 0.4),
    "half_share": (0.3, 0.5),
    "disturbed_share": (0.01, 0.04),
    "windthrow": (0.0, 0.8),
    "fields": (0.3, 2.0),
    "towns": (0.3, 2.0),
    "water_share": (0.0, 0.05),
    "valley_share": (0.5, 1.4),
    "texture_order": (0.7, 1.5),
    "texture_spread": (0.15, 0.4),
    "registration_px": (0.15, 0.45),
    "second_satellite_px": (-0.8, 0.8),
    "label_jitter_px": (0.5, 1.5),
    "labels_missing": (0.1, 0.2),
    "merged_within_m": (5.0, 30.0),
    "label_shift_m": (3.0, 12.0),
    "older_share": (0.1, 0.5),
}
"""Lowest and highest value of each drawn number, uniform between them; `prevalence`, `size`, `fields`, `towns` and
`texture_order` are uniform in the logarithm. `level_db`, `mean_slope_deg` and `slope_deg` are added to the land's own,
`size`, `fields`, `towns`, `valley_share` and `texture_order` multiply it. `contrast` multiplies every change by a
landslide; `law` goes from that of the land (0) to that of the one real landslide in Enga (1)."""
_IN_LOGARITHM = {"prevalence", "size", "fields", "towns", "texture_order"}
_ENGA_LAW = {"vv": (1.4, 2.6), "vh": (-1.9, 1.9)}
"""(at a facing of 0, added at a facing of 1), dB"""
_SECOND_SATELLITE = 0.5
"""Chance of a second satellite."""


def random_event(seed: int, land: Land | None = None) -> WorldParameters:
    """The parameters of an event that a seed draws; the kind of land too, unless it is named.

    The same seed and land give the same event. What was drawn is in the parameters, and so in a world's document.
    """
    rng = np.random.default_rng([seed, 77])
    drawn_land = LANDS[int(rng.integers(len(LANDS)))]
    usual = realistic(land or drawn_land)
    drawn = {name: _draw(name, rng) for name in RANGES}
    incidences = rng.uniform(*RANGES["incidence_deg"], len(usual.tracks))
    second = bool(rng.uniform() < _SECOND_SATELLITE)
    scale = drawn["size"] * usual.landscape.size_factor
    landscape = {
        "vv": _scattering(usual.landscape.vv, "vv", drawn),
        "vh": _scattering(usual.landscape.vh, "vh", drawn),
        "field_share": min(0.4, usual.landscape.field_share * drawn["fields"]),
        "slope_deg": usual.landscape.slope_deg + drawn["slope_deg"],
        "size_factor": scale,
        **{
            name: drawn[name]
            for name in (
                "gain_sd_db",
                "weather_sd_db",
                "season_sd_db",
                "slope_width_deg",
                "slope_urge",
                "clustering",
            )
        },
    }
    changes = {
        "seed": seed,
        "tracks": tuple(
            track.model_copy(update={"incidence_deg": round(float(angle), 2)})
            for track, angle in zip(usual.tracks, incidences, strict=True)
        ),
        "prevalence": drawn["prevalence"],
        "mean_slope_deg": usual.mean_slope_deg + drawn["mean_slope_deg"],
        "water_share": drawn["water_share"],
        "looks": drawn["looks"],
        "label_jitter_px": drawn["label_jitter_px"],
        "second_satellite": second,
        "landscape": usual.landscape.model_copy(update=landscape),
        "realism": _effects(usual.realism, drawn, second),
    }
    return WorldParameters.model_validate(usual.model_copy(update=changes).model_dump())


def _draw(name: str, rng: np.random.Generator) -> float:
    """A number in its range, of four significant digits: documents stay readable."""
    low, high = RANGES[name]
    if name in _IN_LOGARITHM:
        value = math.exp(rng.uniform(math.log(low), math.log(high)))
    else:
        value = rng.uniform(low, high)
    return float(f"{value:.4g}")


def _scattering(usual: Scattering, polarisation: str, drawn: dict[str, float]) -> Scattering:
    law, contrast = drawn["law"], drawn["contrast"]
    mean, facing = (
        contrast * ((1 - law) * own + law * enga)
        for own, enga in zip((usual.slide_db, usual.slide_facing_db), _ENGA_LAW[polarisation], strict=True)
    )
    return usual.model_copy(
        update={
            "level_db": usual.level_db + drawn["level_db"],
            "slide_db": mean,
            "slide_facing_db": facing,
            "slide_sd_db": usual.slide_sd_db * contrast,
        }
    )


def _effects(usual: Realism, drawn: dict[str, float], second: bool) -> Realism:
    """The land's effects with what was drawn."""
    contrast = drawn["contrast"]
    low = drawn["rain_db"]

    def times(factor: float, pair: tuple[float, float]) -> tuple[float, float]:
        return factor * pair[0], factor * pair[1]

    bodies, texture = usual.slide_bodies, usual.texture
    if bodies is None or texture is None:
        raise AssertionError("every land has bodies and texture")
    updates: dict[str, dict[str, Any]] = {
        "land_forms": {"valley_share": _scaled(usual.land_forms, "valley_share", drawn["valley_share"])},
        "slide_bodies": {
            "hidden_share": drawn["hidden_share"],
            "half_share": drawn["half_share"],
            "source_db": times(contrast, bodies.source_db),
            "transport_db": times(contrast, bodies.transport_db),
            "deposit_db": times(contrast, bodies.deposit_db),
        },
        "disturbances": {"share": drawn["disturbed_share"], "windthrow": drawn["windthrow"]},
        "rain": {"wet_passes": drawn["wet_passes"], "strength_db": (min(low, 1.0), max(low, 1.0))},
        "snow": {"line": drawn["snow_line"]},
        "settlements": {
            "town_share": _scaled(usual.settlements, "town_share", drawn["towns"]),
            "lone_per_km2": _scaled(usual.settlements, "lone_per_km2", drawn["towns"]),
        },
        "texture": {"order": times(drawn["texture_order"], texture.order), "spread": drawn["texture_spread"]},
        "viewing": {
            "registration_px": drawn["registration_px"],
            "second_satellite_px": drawn["second_satellite_px"] if second else 0.0,
        },
        "mapping": {
            "missing": drawn["labels_missing"],
            "merged_within_m": drawn["merged_within_m"],
            "shift_m": drawn["label_shift_m"],
            "older_share": drawn["older_share"],
        },
    }
    return usual.model_copy(
        update={
            name: own.model_copy(update=changes)
            for name, changes in updates.items()
            if (own := getattr(usual, name)) is not None
        }
    )


def _scaled(effect: Any, field: str, factor: float) -> float:
    return float(getattr(effect, field)) * factor
