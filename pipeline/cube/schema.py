"""The cube's schema: names, dimensions, types and meaning of every variable and coordinate.

Three axes lie before (y, x), each with its own coordinates:

    timestep    passes, ascending: `timestep` (UTC instant), `relative_orbit`, `absolute_orbit`, `platform`, ...
    timepair    pairs of passes of one track, ascending by start, end and track: `timepair` ('20180824_20180905', with
                '_T046' where two tracks have the same dates), `timepair_start`, `timepair_end`,
                `perpendicular_baseline_m` (NaN where unknown), `timepair_relative_orbit`, `timepair_backend`
    track       tracks with a look geometry, ascending: `track` (the relative orbit's number)

A relative orbit belongs to all three, but one name cannot be both a coordinate along one dimension and a dimension of
its own. `relative_orbit` is the coordinate along timestep, as in every cube so far; the dimension is `track`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

SCHEMA_VERSION = "slidecube-1"
SHARD = 2048
CHUNK = 256
TIME_UNITS = "microseconds since 1970-01-01T00:00:00"

Axis = Literal["timestep", "timepair", "track"]
Coarsening = Literal["average", "circular average", "maximum", "union of flags"]
"""how the pixels of a block become one of an overview, see `pipeline.cube.encoding.coarsening`"""


@dataclass(frozen=True, slots=True)
class Variable:
    """One array of the cube."""

    name: str
    leading: Axis | None
    """the axis before (y, x); None for a static layer"""
    dtype: Literal["float32", "int32"]
    units: str
    long_name: str
    coarsening: Coarsening = "average"

    @property
    def dims(self) -> tuple[str, ...]:
        """Dimension names."""
        return ("y", "x") if self.leading is None else (self.leading, "y", "x")

    @property
    def fill(self) -> float | int:
        """The value of a pixel without data."""
        return float("nan") if self.dtype == "float32" else 0

    def attributes(self) -> dict[str, Any]:
        """CF attributes."""
        return {"long_name": self.long_name, "units": self.units, "grid_mapping": "spatial_ref"}


VARIABLES: dict[str, Variable] = {
    v.name: v
    for v in (
        Variable("vv", "timestep", "float32", "1", "gamma0 VV, terrain corrected, linear power"),
        Variable("vh", "timestep", "float32", "1", "gamma0 VH, terrain corrected, linear power"),
        Variable("dem", None, "float32", "m", "elevation"),
        Variable("dem_slope_radians", None, "float32", "rad", "slope"),
        Variable(
            "dem_aspect",
            None,
            "float32",
            "degree",
            "downslope azimuth, clockwise from north",
            "circular average",
        ),
        Variable(
            "dem_curvature", None, "float32", "0.01 m-1", "curvature, Zevenbergen and Thorne, times 100"
        ),
        Variable(
            "landslides",
            None,
            "float32",
            "1",
            "1 landslide at the pixel's centre, 0 mapped and none",
            "maximum",
        ),
        Variable("landslide_fraction", None, "float32", "1", "share of the pixel covered by landslides"),
        Variable("landslide_id", None, "int32", "1", "row of landslides.parquet, from 1; 0 none", "maximum"),
        Variable(
            "interferogram", "timepair", "float32", "rad", "wrapped interferometric phase", "circular average"
        ),
        Variable("coherence", "timepair", "float32", "1", "interferometric coherence"),
        Variable("local_incidence_deg", "track", "float32", "degree", "local incidence angle"),
        Variable("layover_shadow", "track", "float32", "1", "layover (1) and shadow (2)", "union of flags"),
    )
}

BACKSCATTER = ("vv", "vh")
INTERFEROMETRY = ("interferogram", "coherence")
LOOK = ("local_incidence_deg", "layover_shadow")
TERRAIN = ("dem", "dem_slope_radians", "dem_aspect", "dem_curvature")
LABELS = ("landslides", "landslide_fraction", "landslide_id")
