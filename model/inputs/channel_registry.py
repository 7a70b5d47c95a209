"""Every channel that a network can take. To add one, add it to `CHANNELS`, or register it for a session.

`Inputs`, reading, standardisation, augmentation, validity and the model card are derived from this list. A channel that
fits no other group has the group `further`, and is requested by its name:
`Inputs(further=("my_channel",))`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from model.inputs.change import QUEGAN_PX, SCALES_PX, Change, change_of, local_mean
from model.inputs.channel import DIRECTIONS, Array, Channel, Mask, Place, When, Window
from pipeline.errors import ModelError

MEANINGS_OF_CHANGE: dict[Change, str] = {
    "log_ratio": "mean ln gamma0 after minus before the event, nepers",
    "before_sd": "standard deviation of ln gamma0 over the passes before, nepers",
    "z_score": "log ratio over its standard error",
}
COHERENCE: dict[str, tuple[Place, ...]] = {
    "before": ("before",),
    "across": ("across",),
    "after": ("after",),
    "loss": ("before", "across"),
    "recovery": ("after", "across"),
}
"""the pairs that each coherence channel is computed from; with two, the second mean is subtracted from the first"""


def _mean_backscatter(polarisation: str, when: When, window: Window) -> Array:
    return window.moments(polarisation, when).mean.astype(np.float32)


def _change(polarisation: str, change: Change, window: Window) -> Array:
    return change_of(change, window.moments(polarisation, "before"), window.moments(polarisation, "after"))


def _change_around(polarisation: str, size_px: int, window: Window) -> Array:
    here = _change(polarisation, "log_ratio", window)
    return np.where(np.isfinite(here), local_mean(here, size_px), np.nan).astype(np.float32)


def _filtered(polarisation: str, when: When, window: Window) -> Array:
    return window.filtered(polarisation, when)


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


def _coherence(places: tuple[Place, ...], window: Window) -> Array:
    first, *second = (window.mean_over_pairs("coherence", place) for place in places)
    return first - second[0] if second else first


def _backscatter(polarisation: str) -> tuple[Channel, ...]:
    """Means of a polarisation before and after the event, and its channels of change."""
    asked = ("backscatter", polarisation)
    times: tuple[When, ...] = ("before", "after")
    means = tuple(
        Channel(
            name=f"{polarisation}_{when}",
            meaning=f"mean ln gamma0 {polarisation.upper()} {when} the event, nepers",
            variables=(polarisation,),
            compute=partial(_mean_backscatter, polarisation, when),
            group="backscatter",
            asked_by=(asked,),
            gain=((when, 1.0),),
        )
        for when in times
    )
    changes = tuple(
        Channel(
            name=f"{polarisation}_{change}",
            meaning=f"{polarisation.upper()}: {meaning}",
            variables=(polarisation,),
            compute=partial(_change, polarisation, change),
            group="change",
            asked_by=(asked, ("change", change)),
            # the standard deviation of a single pass is unknown; the pixel stays valid
            no_value="mean" if change == "before_sd" else "invalid",
            gain=(("before", -1.0), ("after", 1.0)) if change == "log_ratio" else (),
            spread=change != "log_ratio",
            passes_before=2 if change == "before_sd" else 1,
        )
        for change, meaning in MEANINGS_OF_CHANGE.items()
    )
    return (*means, *changes, *_of_surroundings(polarisation))


def _of_surroundings(polarisation: str) -> tuple[Channel, ...]:
    """The log-ratio at several scales, and the means of passes after the multi-temporal filter."""
    asked = ("backscatter", polarisation)
    times: tuple[When, ...] = ("before", "after")
    scales = tuple(
        Channel(
            name=f"{polarisation}_log_ratio_{size}",
            meaning=f"{polarisation.upper()}: mean log ratio over {size} x {size} pixels, nepers",
            variables=(polarisation,),
            compute=partial(_change_around, polarisation, size),
            group="change",
            asked_by=(asked, ("change", "scales")),
            gain=(("before", -1.0), ("after", 1.0)),
            context_px=size // 2,
        )
        for size in SCALES_PX
    )
    filtered = tuple(
        Channel(
            name=f"{polarisation}_filtered_{when}",
            meaning=f"mean ln gamma0 {polarisation.upper()} {when} the event after the multi-temporal filter, nepers",
            variables=(polarisation,),
            compute=partial(_filtered, polarisation, when),
            group="change",
            asked_by=(asked, ("change", "quegan")),
            gain=((when, 1.0),),
            context_px=QUEGAN_PX // 2,
        )
        for when in times
    )
    return (*scales, *filtered)


def _terrain(word: str, variable: str, meaning: str) -> Channel:
    return Channel(
        name=word,
        meaning=meaning,
        variables=(variable,),
        compute=partial(_layer, variable),
        group="terrain",
        asked_by=(("terrain", word),),
        of_view=False,
    )


def _aspect() -> tuple[Channel, ...]:
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


def _of_coherence(word: str, places: tuple[Place, ...]) -> Channel:
    """A channel of coherence. Coherence covers only parts of a scene; a pixel without it stays valid."""
    return Channel(
        name=f"coherence_{word}",
        meaning=f"mean coherence of the pairs {' minus that of those '.join(places)} the event",
        variables=("coherence",),
        compute=partial(_coherence, places),
        group="coherence",
        asked_by=(("coherence", word),),
        no_value="mean",
        pairs=places,
    )


def _seen(window: Window) -> Array:
    return ((window.passes("before") > 0) & (window.passes("after") > 0)).astype(np.float32)


def _inverse_noise(window: Window) -> Array:
    before, after = window.passes("before"), window.passes("after")
    return np.where(
        (before > 0) & (after > 0), np.sqrt(before * after / np.maximum(before + after, 1)), 0
    ).astype(np.float32)


def _known(places: tuple[Place, ...], window: Window) -> Array:
    return np.isfinite(_coherence(places, window)).astype(np.float32)


def _presence(name: str, meaning: str, compute: Callable[[Window], Array], *more: tuple[str, str]) -> Channel:
    """A channel that tells a network what is absent: 0 where it is, in a view that it was not given too."""
    return Channel(
        name=name,
        meaning=meaning,
        variables=(),
        compute=compute,
        group="presence",
        asked_by=(("views", "any"), *more),
        no_value="zero",
        standardised=False,
    )


SEEN = _presence("seen", "1 where the view sees the pixel before and after the event, else 0", _seen)
"""the channel by which a network knows, pixel by pixel, which views there are"""
PRESENCE = (
    SEEN,
    _presence(
        "passes",
        "(1/n_before + 1/n_after)^-1/2 of the passes that see the pixel, the inverse noise of their difference; 0 "
        "where the view does not see it",
        _inverse_noise,
    ),
    *(
        _presence(
            f"coherence_{word}_known",
            f"1 where coherence_{word} has a value, else 0",
            partial(_known, places),
            ("coherence", word),
        )
        for word, places in COHERENCE.items()
    ),
)


def _slope_in_steps(window: Window) -> Array:
    return window.layer("dem_slope_radians") / np.float32(SLOPE_STEP)


def _slope_known(window: Window) -> Array:
    return np.isfinite(window.layer("dem_slope_radians")).astype(np.float32)


SLOPE_STEP = float(np.deg2rad(20.0))
"""radians"""
SLOPE_IF_KNOWN = ("slope_if_known", "slope_known")
"""words of the channels by which one network takes cubes with and without an elevation model"""
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

CHANNELS: list[Channel] = [
    *PRESENCE,
    *_backscatter("vv"),
    *_backscatter("vh"),
    _terrain("dem", "dem", "elevation, m"),
    _terrain("slope", "dem_slope_radians", "slope, radians"),
    *_aspect(),
    _terrain("curvature", "dem_curvature", "curvature, 0.01 per m"),
    *LOOK_GEOMETRY,
    *(_of_coherence(word, places) for word, places in COHERENCE.items()),
    *OPTIONAL_TERRAIN,
]
"""every channel; channels that one word requests are in the order in which a network takes them"""


def name_in_view(channel: Channel, direction: str | None) -> str:
    """The name of a channel in one of two views; None: there is one view, or the channel does not depend on it."""
    return channel.name if direction is None else f"{channel.name}@{direction}"


def _names_of(channel: Channel) -> dict[str, Channel]:
    """A channel by its name, and by its name in each view."""
    views = [name_in_view(channel, direction) for direction in DIRECTIONS] if channel.of_view else []
    return dict.fromkeys((channel.name, *views), channel)


_BY_NAME: dict[str, Channel] = {name: c for channel in CHANNELS for name, c in _names_of(channel).items()}
_OWN: set[str] = set()
"""names of the channels that were registered in this session"""


def register_channel(channel: Channel) -> str:
    """Add a channel for this session; one of that name that was registered before is replaced.

        >>> from slidecube import Channel
        >>> squared = Channel(
        ...     name="slope_squared",
        ...     meaning="square of the slope, radians squared",
        ...     variables=("dem_slope_radians",),
        ...     compute=lambda window: window.layer("dem_slope_radians") ** 2,
        ...     of_view=False,
        ... )
        >>> slidecube.register_channel(squared)
        'slope_squared'
        >>> "slope_squared" in slidecube.ChipDataset("sandbox", {"further": ["slope_squared"]}, chip=64).channels
        True

    Args:
        channel: of the group `further`; inputs ask for it by its name: `Inputs(further=("slope_squared",))`. Its
            variables are those of the cube's schema, or others of the cube on (y, x).

    Returns:
        The name.

    Raises:
        ModelError: slidecube has a channel of this name, the name is no word, or the channel is of another group.
    """
    name = channel.name
    if not name.isidentifier():
        raise ModelError(f"{name!r} is no name of a channel.", "Take letters, digits and underscores.")
    if channel.group != "further":
        raise ModelError(f"The channel {name} is of the group {channel.group}.", "Leave out its group.")
    if name in _BY_NAME and name not in _OWN:
        raise ModelError(f"slidecube has a channel {name} already.", "Take another name.")
    CHANNELS[:] = [one for one in CHANNELS if one.name != name] + [channel]
    for view in [f"{name}@{direction}" for direction in DIRECTIONS]:
        _BY_NAME.pop(view, None)
    _BY_NAME.update(_names_of(channel))
    _OWN.add(name)
    return name


def channel_named(name: str) -> Channel:
    """The channel with a name that statistics or a bundle record, in any view.

    Raises:
        ModelError: there is no such channel.
    """
    if name not in _BY_NAME:
        raise ModelError(
            f"There is no channel {name!r}.",
            "Another version may have it, or its author registered it in a session (slidecube.register_channel).",
        )
    return _BY_NAME[name]


def words_of(field: str) -> tuple[str, ...]:
    """The words that a field of `Inputs` may contain, in the order of the channels."""
    return tuple(dict.fromkeys(word for c in CHANNELS for name, word in c.asked_by if name == field))


def variables_asked(field: str, word: str) -> tuple[str, ...]:
    """The cube's variables of the channels that a word of a field of `Inputs` requests."""
    asking = (channel for channel in CHANNELS if (field, word) in channel.asked_by)
    return tuple(dict.fromkeys(name for channel in asking for name in channel.variables))


def may_lack(names: Sequence[str]) -> Mask:
    """(channel,) which channels may have no value in a valid pixel: the training mean replaces it.

    With channels of presence, each channel of a view may: a valid pixel is one that any view sees. If all channels are
    of this kind, a valid pixel must have a value in each of them.
    """
    channels = [channel_named(name) for name in names]
    any_view = SEEN in channels
    found = np.array(
        [
            channel.no_value == "mean" or (any_view and channel.of_view and channel.group != "presence")
            for channel in channels
        ],
        dtype=bool,
    )
    return found if not found.all() else np.zeros_like(found)
