"""What a network sees: which variables, how many passes before and after, which track."""

from __future__ import annotations

import json
from itertools import product
from typing import Annotated, Literal

import xarray as xr
from pydantic import Field, ValidationError, model_validator

from pipeline.area import AreaOfInterest
from pipeline.errors import ModelError
from pipeline.records import Frozen, Utc

Polarisation = Literal["vv", "vh"]
Terrain = Literal["dem", "slope", "aspect", "curvature"]

AspectForm = Literal["direction", "degrees", "to sensor"]
Change = Literal["log_ratio", "before_sd", "z_score"]
Geometry = Literal["local_incidence", "layover_shadow"]
PairSide = Literal["before", "across", "after", "loss", "recovery"]
Direction = Literal["ascending", "descending"]

DIRECTIONS_OF_BOTH: tuple[Direction, ...] = ("ascending", "descending")
"""order of the two views in the channels of `track="both"`, whichever of them is the better one"""

TERRAIN_VARIABLES: dict[Terrain, str] = {
    "dem": "dem",
    "slope": "dem_slope_radians",
    "aspect": "dem_aspect",
    "curvature": "dem_curvature",
}
GEOMETRY_VARIABLES: dict[Geometry, str] = {
    "local_incidence": "local_incidence_deg",
    "layover_shadow": "layover_shadow",
}
PAIR_SIDES: dict[PairSide, tuple[Literal["before", "across", "after"], ...]] = {
    "before": ("before",),
    "across": ("across",),
    "after": ("after",),
    "loss": ("before", "across"),
    "recovery": ("after", "across"),
}
"""which pairs each channel of coherence is made of; of two, the second is subtracted from the first"""


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
                "Say when it happened: --event 2018-09-05T18:07:59Z, or the name of an area file.",
            )
        try:
            data = json.loads(raw) if isinstance(raw, str) else dict(raw)
            return cls(start=data["start"], end=data["end"])
        except (ValueError, TypeError, KeyError, ValidationError) as error:
            raise ModelError(
                "The cube's attribute 'event' is no JSON object with the instants 'start' and 'end'.",
                "Give the event with --event.",
            ) from error


class Inputs(Frozen):
    """What a network sees of a cube. A bundle carries it; an ablation is a product of several.

    The passes before are the newest ones, those after the first ones: a network for the first days after an event
    sees what there is then. Without backscatter the passes are still chosen, so that a network of the terrain alone
    is judged on the pixels that the others are judged on.

    `compare="dates"` takes a pass for one before where its UTC date is at most the date on which the event starts, and
    for one after where it is later than the date on which the event ends. The published code has its dates by hand:
    for Hokkaido the last day before is 2018-09-05 as here, the first after 2018-09-07 (here 09-06); for Puerto Rico and
    Talakmau (2022-02-25) they are as here; for Kaikoura (2016-11-13 11:02 UTC) the last day before is 11-14 (here
    11-13), so that there a pass after the earthquake would count as before, which this rule does not repeat.
    """

    backscatter: Annotated[tuple[Polarisation, ...], Field(max_length=2)] = ("vv", "vh")
    terrain: Annotated[tuple[Terrain, ...], Field(max_length=4)] = ("dem", "slope", "aspect", "curvature")
    aspect: AspectForm = Field(
        "direction",
        description="sine and cosine from north; degrees, with their jump at north; or sine and cosine from the "
        "direction to the sensor. A flat pixel has none: 0 in each of them",
    )
    change: Annotated[tuple[Change, ...], Field(max_length=3)] = Field(
        (), description="channels of change of each polarisation, beside the means before and after"
    )
    geometry: Annotated[tuple[Geometry, ...], Field(max_length=2)] = ()
    coherence: Annotated[tuple[PairSide, ...], Field(max_length=5)] = Field(
        (),
        description="means over pairs before, across and after the event; loss and recovery are differences",
    )
    before: int | None = Field(None, ge=1, description="newest n passes before the event; None: all")
    after: int | None = Field(None, ge=1, description="first n passes after the event; None: all")
    track: Annotated[int, Field(ge=1, le=175)] | Literal["best", "ascending", "descending", "both"] = "best"
    newest_before: Literal["used", "dropped"] = Field(
        "used", description="the paper's code drops the newest pass before the event"
    )
    compare: Literal["instants", "dates"] = Field(
        "instants",
        description="dates: a pass on the event's UTC day counts as before, as in the paper's code",
    )
    transform: Literal["mean of ln gamma0"] = "mean of ln gamma0"

    @model_validator(mode="after")
    def _sensible(self) -> Inputs:
        groups: tuple[tuple[str, ...], ...] = (
            self.backscatter,
            self.terrain,
            self.change,
            self.geometry,
            self.coherence,
        )
        if any(len(set(group)) != len(group) for group in groups):
            raise ValueError("a variable is named twice")
        if not any((self.backscatter, self.terrain, self.geometry, self.coherence)):
            raise ValueError("no channel is left; give backscatter, terrain, geometry or coherence")
        if self.change and not self.backscatter:
            raise ValueError("backscatter is empty, and change is that of backscatter; give vv, vh or both")
        return self

    @property
    def view_suffixes(self) -> tuple[str, ...]:
        """What the channels of each view end with, in order: nothing where there is one view."""
        return tuple(f"@{name}" for name in DIRECTIONS_OF_BOTH) if self.track == "both" else ("",)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, in order.

        First backscatter and its change, then terrain, geometry and coherence. With `track="both"` what depends on
        the view is there twice, as in `vv_before@ascending`; terrain is there once.
        """
        names: list[str] = []
        for view in self.view_suffixes:
            names += [f"{p}_{side}{view}" for p, side in product(self.backscatter, ("before", "after"))]
            names += [f"{p}_{change}{view}" for p, change in product(self.backscatter, self.change)]
        for name in self.terrain:
            names += self._aspect_channels if name == "aspect" else [name]
        names += [f"{name}{view}" for view, name in product(self.view_suffixes, self.geometry)]
        names += [f"coherence_{side}{view}" for view, side in product(self.view_suffixes, self.coherence)]
        return tuple(names)

    @property
    def _aspect_channels(self) -> list[str]:
        if self.aspect == "degrees":
            return ["aspect_deg"]
        if self.aspect == "direction":
            return ["aspect_sin", "aspect_cos"]
        return [
            f"aspect_to_sensor_{part}{view}" for view, part in product(self.view_suffixes, ("sin", "cos"))
        ]

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the cube's variables that are needed."""
        return tuple(self._dimensions)

    @property
    def _dimensions(self) -> dict[str, tuple[str, ...]]:
        """Dimensions of each variable that is needed."""
        wanted: dict[str, tuple[str, ...]] = dict.fromkeys(self.backscatter, ("timestep", "y", "x"))
        wanted |= {TERRAIN_VARIABLES[name]: ("y", "x") for name in self.terrain}
        wanted |= {GEOMETRY_VARIABLES[name]: ("track", "y", "x") for name in self.geometry}
        return wanted | ({"coherence": ("timepair", "y", "x")} if self.coherence else {})

    def require(self, cube: xr.Dataset) -> None:
        """Check that the cube has every variable.

        Raises:
            ModelError: one is missing or has other dimensions.
        """
        missing = [name for name in self.variables if name not in cube]
        if missing:
            known = {"vv", "vh", *TERRAIN_VARIABLES.values(), *GEOMETRY_VARIABLES.values(), "coherence"}
            present = sorted(known & set(map(str, cube.data_vars)))
            raise ModelError(
                f"The cube lacks {', '.join(missing)}, which these inputs need; it has "
                f"{', '.join(present) or 'none of them'}.",
                "Build a cube that has them, or train with inputs that do without.",
            )
        for name, wanted in self._dimensions.items():
            if cube[name].dims != wanted:
                raise ModelError(f"The cube's {name} has the dimensions {cube[name].dims}, not {wanted}.")
