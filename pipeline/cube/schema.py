"""The cube's schema: names, dimensions, types and meaning of every variable and coordinate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

SCHEMA_VERSION = "slidecube-1"
SHARD = 2048
CHUNK = 256
TIME_UNITS = "microseconds since 1970-01-01T00:00:00"

Axis = Literal["timestep", "timepair", "relative_orbit"]


@dataclass(frozen=True, slots=True)
class Variable:
    """One array of the cube."""

    name: str
    leading: Axis | None
    """the axis before (y, x); None for a static layer"""
    dtype: Literal["float32", "int32"]
    units: str
    long_name: str

    @property
    def dims(self) -> tuple[str, ...]:
        """Dimension names."""
        return ("y", "x") if self.leading is None else (self.leading, "y", "x")

    @property
    def fill(self) -> float | int:
        """What stands where there is no data."""
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
        Variable("dem_aspect", None, "float32", "degree", "downslope azimuth, clockwise from north"),
        Variable(
            "dem_curvature", None, "float32", "0.01 m-1", "curvature, Zevenbergen and Thorne, times 100"
        ),
        Variable("landslides", None, "float32", "1", "1 landslide at the pixel's centre, 0 mapped and none"),
        Variable("landslide_fraction", None, "float32", "1", "share of the pixel covered by landslides"),
        Variable("landslide_id", None, "int32", "1", "row of landslides.parquet, from 1; 0 none"),
        Variable("interferogram", "timepair", "float32", "rad", "wrapped interferometric phase"),
        Variable("coherence", "timepair", "float32", "1", "interferometric coherence"),
        Variable("local_incidence_deg", "relative_orbit", "float32", "degree", "local incidence angle"),
        Variable("layover_shadow", "relative_orbit", "float32", "1", "layover (1) and shadow (2)"),
    )
}

BACKSCATTER = ("vv", "vh")
TERRAIN = ("dem", "dem_slope_radians", "dem_aspect", "dem_curvature")
LABELS = ("landslides", "landslide_fraction", "landslide_id")
