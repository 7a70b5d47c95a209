"""One input channel of a network, with everything that other modules need to know about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from model.inputs.change import Moments

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

Group = Literal["backscatter", "change", "terrain", "geometry", "coherence", "further", "presence"]
"""the field of `Inputs` that requests a channel; presence: what tells a network that inputs are absent"""
When = Literal["before", "after"]
"""of passes: before or after the event"""
Place = Literal["before", "across", "after"]
"""of pairs of passes: both before it, one before and one after, or both after it"""
Direction = Literal["ascending", "descending"]

DIRECTIONS: tuple[Direction, ...] = ("ascending", "descending")
"""order of the two views in the channels of `track="both"`, whichever of them is the better one"""


class Window(Protocol):
    """The values of one view of a cube in one box of pixels. Every array is (y, x) float32, NaN where unknown."""

    def moments(self, variable: str, when: When) -> Moments:
        """Moments of the natural logarithm of linear backscatter over the passes before or after the event."""

    def filtered(self, variable: str, when: When) -> Array:
        """Mean of the natural logarithm of backscatter over the passes before or after, filtered over all passes."""

    def layer(self, variable: str) -> Array:
        """A variable that does not depend on time, such as the terrain."""

    def layer_of_track(self, variable: str) -> Array:
        """A variable of the look geometry, of the view's track."""

    def passes(self, when: When) -> Array:
        """Number of passes before or after the event that see a pixel in every polarisation of the inputs."""

    def mean_over_pairs(self, variable: str, place: Place) -> Array:
        """The mean of a variable of the pairs that lie before, across or after the event."""

    @property
    def azimuth_to_sensor_deg(self) -> float:
        """Azimuth from the ground to the sensor, degrees clockwise from north."""


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One input of a network. `model.inputs.channel_registry` lists all of them."""

    name: str
    """as bundles and statistics record it; with two views followed by the view, as in `vv_before@ascending`"""
    meaning: str
    """what it is, with its unit, for the model card"""
    variables: tuple[str, ...]
    """the cube's variables that it needs (`pipeline.cube.schema`)"""
    compute: Callable[[Window], Array]
    """(y, x) float32 of one window, NaN where it has no value"""
    group: Group = "further"
    asked_by: tuple[tuple[str, str], ...] = ()
    """fields of `Inputs` and the value that each of them must have, or contain, for this channel to be read; a further
    channel is asked for by its name"""
    of_view: bool = True
    """whether it depends on the view: with two views it is read twice"""
    no_value: Literal["invalid", "mean", "zero"] = "invalid"
    """how a pixel without a value is treated. invalid: the pixel is not used; mean: the mean of the training pixels
    replaces the value (0 once standardised); zero: the value is 0"""
    standardised: bool = True
    """whether the training mean is subtracted and the result divided by the training standard deviation; a direction
    (sine and cosine, whose length is 1, or 0 on flat ground) and a flag are left as they are"""
    mirror: Literal["unchanged", "sign flipped", "impossible"] = "unchanged"
    """how its values change when the rows of a chip are mirrored along the track"""
    gain: tuple[tuple[When, float], ...] = ()
    """the sign with which a gain of the passes before or after the event, in nepers, is added to it"""
    spread: bool = False
    """whether it needs the squared deviations in `Moments`, which take time"""
    passes_before: int = 1
    """with fewer passes before the event it has no value anywhere"""
    pairs: tuple[Place, ...] = ()
    """the places in time that must have a pair of passes"""
    look: bool = False
    """whether it needs the look geometry of the view's track"""
    direction: bool = False
    """whether it needs a view that is known to be ascending or descending"""
    optional: bool = False
    """whether a cube may lack its variables: it then has no value anywhere"""
    context_px: int = 0
    """pixels around a box that its values depend on"""

    def __post_init__(self) -> None:
        if self.group == "further" and not self.asked_by:
            object.__setattr__(self, "asked_by", (("further", self.name),))
