"""Every channel that a network can take. To add one, add it to `CHANNELS`, or register it for a session.

`Inputs`, reading, standardisation, augmentation, validity and the model card are derived from this list. A channel that
fits no other group has the group `further`, and is requested by its name:
`Inputs(further=("my_channel",))`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.inputs.channel import DIRECTIONS, Channel, Mask
from model.inputs.channels.backscatter_channels import backscatter_channels
from model.inputs.channels.coherence_channels import COHERENCE, PRESENCE, SEEN, coherence_channel
from model.inputs.channels.terrain_channels import (
    LOOK_GEOMETRY,
    OPTIONAL_TERRAIN,
    aspect_channels,
    terrain_channel,
)
from pipeline.errors import ModelError

CHANNELS: list[Channel] = [
    *PRESENCE,
    *backscatter_channels("vv"),
    *backscatter_channels("vh"),
    terrain_channel("dem", "dem", "elevation, m"),
    terrain_channel("slope", "dem_slope_radians", "slope, radians"),
    *aspect_channels(),
    terrain_channel("curvature", "dem_curvature", "curvature, 0.01 per m"),
    *LOOK_GEOMETRY,
    *(coherence_channel(word, places) for word, places in COHERENCE.items()),
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
