"""Channels of terrain, and of the look geometry on it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from model.inputs.channel import Array, Channel, Window

SLOPE_STEP = float(np.deg2rad(20.0))
"""radians"""
SLOPE_IF_KNOWN = ("slope_if_known", "slope_known")
"""words of the channels by which one network takes cubes with and without an elevation model"""


def _layer(variable: str, window: Window) -> Array:
    return window.layer(variable)


def _direction_of_slope(component: Callable[[Array], Array], window: Window) -> Array:
    return component(np.deg2rad(window.layer("dem_aspect")))


def _direction_from_sensor(component: Callable[[Array], Array], window: Window) -> Array:
    origin = np.float32(window.azimuth_to_sensor_deg)
    return component(np.deg2rad(window.layer("dem_aspect") - origin))


def _of_track(variable: str, window: Window) -> Array:
    return window.layer_of_track(variable)


def _layover_or_shadow(window: Window) -> Array:
    values = window.layer_of_track("layover_shadow")
    return np.where(np.isfinite(values), (values > 0).astype(np.float32), np.float32(np.nan))


def terrain_channel(word: str, variable: str, meaning: str) -> Channel:
    return Channel(
        name=word,
        meaning=meaning,
        variables=(variable,),
        compute=partial(_layer, variable),
        group="terrain",
        asked_by=(("terrain", word),),
        of_view=False,
    )


def aspect_channels() -> tuple[Channel, ...]:
    """The downslope direction in its three forms. A flat pixel has none: 0 in each channel, which is valid.

    A mirror along the track flips the sign of the cosine of a direction from north, and of the sine of a direction from
    the sensor.
    """

    def asked(form: str) -> tuple[tuple[str, str], ...]:
        return (("terrain", "aspect"), ("aspect", form))

    degrees = Channel(
        name="aspect_deg",
        meaning="downslope azimuth, degrees clockwise from north",
        variables=("dem_aspect",),
        compute=partial(_layer, "dem_aspect"),
        group="terrain",
        asked_by=asked("degrees"),
        of_view=False,
        no_value="zero",
        mirror="impossible",
    )
    components: dict[str, Callable[[Array], Array]] = {"sin": np.sin, "cos": np.cos}
    from_north, from_sensor = (
        tuple(
            Channel(
                name=f"{prefix}_{name}",
                meaning=f"{name} of the downslope azimuth from {origin}",
                variables=("dem_aspect",),
                compute=partial(compute, component),
                group="terrain",
                asked_by=asked(form),
                of_view=to_sensor,
                no_value="zero",
                standardised=False,
                mirror="sign flipped" if name == flipped else "unchanged",
                direction=to_sensor,
            )
            for name, component in components.items()
        )
        for prefix, origin, compute, form, flipped, to_sensor in (
            ("aspect", "north", _direction_of_slope, "direction", "cos", False),
            (
                "aspect_to_sensor",
                "the direction to the sensor",
                _direction_from_sensor,
                "to sensor",
                "sin",
                True,
            ),
        )
    )
    return (degrees, *from_north, *from_sensor)


LOOK_GEOMETRY = (
    Channel(
        name="local_incidence",
        meaning="local incidence angle, degrees",
        variables=("local_incidence_deg",),
        compute=partial(_of_track, "local_incidence_deg"),
        group="geometry",
        asked_by=(("geometry", "local_incidence"),),
        look=True,
    ),
    Channel(
        name="layover_shadow",
        meaning="1 in layover or shadow, 0 elsewhere",
        variables=("layover_shadow",),
        compute=_layover_or_shadow,
        group="geometry",
        asked_by=(("geometry", "layover_shadow"),),
        standardised=False,
        look=True,
    ),
)


def _slope_in_steps(window: Window) -> Array:
    return window.layer("dem_slope_radians") / np.float32(SLOPE_STEP)


def _slope_known(window: Window) -> Array:
    return np.isfinite(window.layer("dem_slope_radians")).astype(np.float32)


OPTIONAL_TERRAIN = (
    Channel(
        name=SLOPE_IF_KNOWN[0],
        meaning="slope in units of 20 degrees, 0 where the cube has none; not standardised",
        variables=("dem_slope_radians",),
        compute=_slope_in_steps,
        of_view=False,
        no_value="mean",
        standardised=False,
        optional=True,
    ),
    Channel(
        name=SLOPE_IF_KNOWN[1],
        meaning="1 where the slope is known, else 0",
        variables=("dem_slope_radians",),
        compute=_slope_known,
        of_view=False,
        no_value="zero",
        standardised=False,
        optional=True,
    ),
)
