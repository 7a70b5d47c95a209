"""The inputs of a network: which variables, how many passes before and after the event, which track."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import xarray as xr
from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from model.inputs.channel import DIRECTIONS, Channel, Group
from model.inputs.channel_registry import CHANNELS, name_in_view, variables_asked, words_of
from pipeline.areas.area import AreaOfInterest
from pipeline.cube.schema import VARIABLES
from pipeline.errors import ModelError
from pipeline.records import Frozen, Utc

AspectForm = Literal["direction", "degrees", "to sensor"]


def _known(field: Group) -> AfterValidator:
    """Refuse a word that requests no channel of the registry."""

    def check(word: str) -> str:
        if word in (known := words_of(field)):
            return word
        raise PydanticCustomError(
            "unknown_channel",
            "Input should be one of {known}, not {word}",
            {"known": ", ".join(map(repr, known)) or "none", "word": repr(word)},
        )

    return AfterValidator(check)


Polarisation = Annotated[str, _known("backscatter")]
Terrain = Annotated[str, _known("terrain")]
Change = Annotated[str, _known("change")]
Geometry = Annotated[str, _known("geometry")]
Coherence = Annotated[str, _known("coherence")]
Further = Annotated[str, _known("further")]


class EventSpan(Frozen):
    """When the landslides happened, UTC; equal instants for an earthquake."""

    start: Utc
    end: Utc

    @model_validator(mode="after")
    def _ordered(self) -> EventSpan:
        if self.end < self.start:
            raise ValueError("the event ends before it starts")
        return self

    @classmethod
    def of_area(cls, area: AreaOfInterest) -> EventSpan:
        """The event of an area file."""
        return cls(start=area.event.start, end=area.event.end)

    @classmethod
    def of_cube(cls, cube: xr.Dataset) -> EventSpan:
        """The event that the cube records.

        Raises:
            ModelError: none is recorded, or it cannot be read.
        """
        raw = cube.attrs.get("event")
        if raw is None:
            raise ModelError(
                "The cube records no event.",
                "Give the event: --event 2018-09-05T18:07:59Z, or --event with the name of an area file.",
            )
        try:
            data = json.loads(raw) if isinstance(raw, str) else dict(raw)
            return cls(start=data["start"], end=data["end"])
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ModelError(
                "The cube's attribute 'event' is no JSON object with the instants 'start' and 'end'.",
                "Give the event with --event.",
            ) from error


class Inputs(Frozen):
    """The inputs of a network. A bundle records them; an ablation compares several.

    The passes before the event are the newest ones, those after it the first ones: these are available in the first
    days after an event. Inputs without backscatter have passes too, so that a network with terrain only is scored on
    the same pixels as the others.

    With `compare="dates"` a pass is before the event if its UTC date is at most the date on which the event starts, and
    after it if its date is later than the one on which the event ends. The published code has fixed dates. For Hokkaido
    its last day before is 2018-09-05, as here, and its first day after 2018-09-07 (here 09-06). For Puerto Rico and
    Talakmau (2022-02-25) its dates are as here. For Kaikoura (2016-11-13 11:02 UTC) its last day before is 11-14 (here
    11-13): it counts a pass after the earthquake as before, which this rule does not repeat.
    """

    backscatter: tuple[Polarisation, ...] = ("vv", "vh")
    terrain: tuple[Terrain, ...] = ("dem", "slope", "aspect", "curvature")
    aspect: AspectForm = Field(
        "direction",
        description="sine and cosine from north; degrees, with their jump at north; or sine and cosine from the "
        "direction to the sensor. A flat pixel has none: 0 in each of them",
    )
    change: tuple[Change, ...] = Field(
        (), description="channels of change of each polarisation, in addition to the means before and after"
    )
    geometry: tuple[Geometry, ...] = ()
    coherence: tuple[Coherence, ...] = Field(
        (),
        description="means over pairs before, across and after the event; loss and recovery are differences",
    )
    further: tuple[Further, ...] = Field(
        (),
        exclude_if=lambda names: not names,  # documents without such a channel stay unchanged
        description="names of further channels (`model.inputs.channel_registry`)",
    )
    before: int | None = Field(None, ge=1, description="newest n passes before the event; None: all")
    after: int | None = Field(None, ge=1, description="first n passes after the event; None: all")
    track: Annotated[int, Field(ge=1, le=175)] | Literal["best", "ascending", "descending", "both"] = "best"
    views: Literal["every", "any"] = Field(
        "every",
        exclude_if=lambda word: word == "every",  # documents of older networks stay unchanged
        description="every: a pixel is used where each view sees it; any: where at least one does, and channels of "
        "presence tell the network which views and how many passes there are",
    )
    newest_before: Literal["used", "dropped"] = Field(
        "used",
        description="dropped: as in the paper's code, where a track has more passes before the event than are taken",
    )
    compare: Literal["instants", "dates"] = Field(
        "instants",
        description="dates: a pass on the event's UTC day counts as before, as in the paper's code",
    )
    transform: Literal["mean of ln gamma0"] = "mean of ln gamma0"

    @model_validator(mode="after")
    def _sensible(self) -> Inputs:
        groups = (
            self.backscatter,
            self.terrain,
            self.change,
            self.geometry,
            self.coherence,
            self.further,
        )
        if any(len(set(group)) != len(group) for group in groups):
            raise ValueError("a variable is named twice")
        if not self.channels:
            raise ValueError(
                "no channel is left; give backscatter, terrain, geometry, coherence or a further channel"
            )
        if self.change and not self.backscatter:
            raise ValueError("change needs backscatter, which is empty; give vv, vh or both")
        return self

    @property
    def requested(self) -> tuple[tuple[Channel, int], ...]:
        """The channels in order, each with the number of the view that it is read from.

        First what tells of absent views (`views="any"`), then backscatter and its change, terrain, geometry, coherence
        and further channels. With `track="both"` a channel that depends on the view appears twice; terrain once.
        """
        views = len(DIRECTIONS) if self.track == "both" else 1
        found = [
            (channel, view)
            for channel in CHANNELS
            if self._asks_for(channel)
            for view in range(views if channel.of_view else 1)
        ]
        return tuple(sorted(found, key=lambda item: self._order(*item)))

    def _asks_for(self, channel: Channel) -> bool:
        """Whether every field in the channel's `asked_by` has or contains the value given there."""
        fields = ((getattr(self, field), word) for field, word in channel.asked_by)
        return all(value == word if isinstance(value, str) else word in value for value, word in fields)

    def _order(self, channel: Channel, view: int) -> tuple[int, ...]:
        """The sort key of a channel; channels of one word and one view stay in the order of the registry."""
        blocks: dict[Group, int] = {
            "presence": -1,
            "backscatter": 0,
            "change": 0,
            "terrain": 1,
            "geometry": 2,
            "coherence": 3,
            "further": 4,
        }
        fields = ((getattr(self, field), word) for field, word in channel.asked_by)
        words = [value.index(word) for value, word in fields if not isinstance(value, str)]
        if channel.group == "terrain":  # the two views of an aspect are adjacent
            return (blocks[channel.group], *words, view)
        return (blocks[channel.group], view, int(channel.group == "change"), *words)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, in order; with two views as in `vv_before@ascending`."""
        both = self.track == "both"
        return tuple(
            name_in_view(channel, DIRECTIONS[view] if both and channel.of_view else None)
            for channel, view in self.requested
        )

    @property
    def meanings(self) -> dict[str, str]:
        """What each channel is, by its name without the view."""
        return {channel.name: channel.meaning for channel, _ in self.requested}

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the cube's variables that are needed."""
        return tuple(dict.fromkeys(name for channel, _ in self.requested for name in channel.variables))

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the cube's variables that it must have: not those of optional channels, and with `views="any"` not
        those of pairs."""
        needed = {
            name
            for channel, _ in self.requested
            if not channel.optional and not (channel.pairs and self.views == "any")
            for name in channel.variables
        }
        return tuple(name for name in self.variables if name in needed)

    @property
    def needs_pairs(self) -> bool:
        """Whether a channel is made of interferometric pairs."""
        return any(channel.pairs for channel, _ in self.requested)

    def require(self, cube: xr.Dataset) -> None:
        """Check that the cube has every variable that it must have.

        Raises:
            ModelError: one is missing or has other dimensions.
        """
        missing = [name for name in self.required if name not in cube]
        if missing:
            known = {name for channel in CHANNELS for name in channel.variables}
            present = sorted(known & set(map(str, cube.data_vars)))
            raise ModelError(
                f"The cube lacks {', '.join(missing)}, which these inputs need; it has "
                f"{', '.join(present) or 'none of them'}.",
                "Build a cube that has them, or choose other inputs.",
            )
        for name in self.variables:
            wanted = (
                VARIABLES[name].dims if name in VARIABLES else ("y", "x")
            )  # of a channel of somebody else
            if name in cube and cube[name].dims != wanted:
                raise ModelError(f"The cube's {name} has the dimensions {cube[name].dims}, not {wanted}.")


def served(cube: xr.Dataset, field: Literal["backscatter", "terrain"]) -> tuple[str, ...]:
    """The default words of a field of `Inputs` whose variables the cube has."""
    default: tuple[str, ...] = Inputs.model_fields[field].default
    return tuple(word for word in default if all(name in cube for name in variables_asked(field, word)))
