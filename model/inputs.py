"""What a network sees: which variables, how many passes before and after, which track."""

from __future__ import annotations

import json
from itertools import product
from typing import Annotated, Literal

import xarray as xr
from pydantic import Field, ValidationError, model_validator

from pipeline.aoi import AreaOfInterest
from pipeline.errors import ModelError
from pipeline.records import Frozen, Utc

Polarisation = Literal["vv", "vh"]
Terrain = Literal["dem", "slope", "aspect", "curvature"]

AspectForm = Literal["direction", "degrees", "to sensor"]
Change = Literal["log_ratio", "before_sd", "z_score"]
Geometry = Literal["local_incidence", "layover_shadow"]
PairSide = Literal["before", "across", "after", "loss", "recovery"]

TERRAIN_VARIABLES: dict[Terrain, str] = {
    "dem": "dem",
    "slope": "dem_slope_radians",
    "aspect": "dem_aspect",
    "curvature": "dem_curvature",
}


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
    sees what there is then.
    """

    backscatter: Annotated[tuple[Polarisation, ...], Field(max_length=2)] = ("vv", "vh")
    terrain: Annotated[tuple[Terrain, ...], Field(max_length=4)] = ("dem", "slope", "aspect", "curvature")
    aspect: AspectForm = Field(
        "direction",
        description="sine and cosine from north; degrees, with their jump at north; or sine and cosine from the "
        "direction to the sensor",
    )
    change: Annotated[tuple[Change, ...], Field(max_length=3)] = Field(
        (), description="channels of change of each polarisation, beside the means before and after"
    )
    geometry: Annotated[tuple[Geometry, ...], Field(max_length=2)] = ()
    coherence: Annotated[tuple[PairSide, ...], Field(max_length=5)] = Field(
        (), description="means over pairs before, across and after the event; loss and recovery are differences"
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
        if not self.backscatter:
            raise ValueError("backscatter is empty; give vv, vh or both")
        if len(set(self.backscatter)) != len(self.backscatter) or len(set(self.terrain)) != len(self.terrain):
            raise ValueError("a variable is named twice")
        return self

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, in order."""
        names = [f"{p}_{side}" for p, side in product(self.backscatter, ("before", "after"))]
        for name in self.terrain:
            names += ["aspect_sin", "aspect_cos"] if name == "aspect" else [name]
        return tuple(names)

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the cube's variables that are needed."""
        return (*self.backscatter, *(TERRAIN_VARIABLES[name] for name in self.terrain))

    def require(self, cube: xr.Dataset) -> None:
        """Check that the cube has every variable.

        Raises:
            ModelError: one is missing or has other dimensions.
        """
        missing = [name for name in self.variables if name not in cube]
        if missing:
            present = sorted({"vv", "vh", *TERRAIN_VARIABLES.values()} & set(map(str, cube.data_vars)))
            raise ModelError(
                f"The cube lacks {', '.join(missing)}, which these inputs need; it has "
                f"{', '.join(present) or 'none of them'}.",
                "Build a cube that has them, or train with other --polarisation or --terrain.",
            )
        for name in self.variables:
            wanted = ("timestep", "y", "x") if name in self.backscatter else ("y", "x")
            if cube[name].dims != wanted:
                raise ModelError(f"The cube's {name} has the dimensions {cube[name].dims}, not {wanted}.")
