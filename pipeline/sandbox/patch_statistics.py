"""Statistics of patches of 1.28 km, simulated beside real: what is bright, how it varies, and from patch to patch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.areas.area import AreaOfInterest
from pipeline.records import Frozen
from pipeline.sandbox.earth.parameters import WorldParameters
from pipeline.sandbox.earth.radar import observe
from pipeline.sandbox.earth.scene import make_scene
from pipeline.sandbox.world import World

PATCH_M = 1280.0
NOMINAL_LOOKS = 4.4
"""Of a Sentinel-1 GRD IW product; texture is what lies beyond the speckle of so many."""
_LEAST_VALID = 0.95
_LEAST_PATCHES = 3

Image = NDArray[np.float32]


class Spread(Frozen):
    """A quantity over patches: its median and where nine of ten patches lie; None where unknown."""

    median: float
    low: float | None = Field(None, description="5th percentile")
    high: float | None = Field(None, description="95th percentile")

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.median:.3g}"
        return f"{self.median:.3g} ({self.low:.3g} to {self.high:.3g})"


class PatchStatistics(Frozen):
    """Of one pass in linear power, by patch of 1.28 km."""

    patches: int
    vv_mean: Spread
    vh_mean: Spread
    vv_variation: Spread = Field(description="sd / mean within a patch")
    vh_variation: Spread
    vv_texture_db: float = Field(description="texture beyond speckle of the median patch")
    vh_texture_db: float
    vv_sd_spread: float = Field(description="sd among patches of the sd within a patch")
    vv_99: Spread = Field(description="99th percentile within a patch")
    vv_99_spread: float = Field(description="sd among patches of the 99th percentile")
    vh_largest: Spread
    elevation_mean_m: Spread | None = None
    elevation_sd_m: Spread | None = None


HOKKAIDO_PATCHES = PatchStatistics(
    patches=313,
    vv_mean=Spread(median=0.173, low=0.119, high=0.197),
    vh_mean=Spread(median=0.045, low=0.026, high=0.049),
    vv_variation=Spread(median=0.75, low=0.62, high=0.90),
    vh_variation=Spread(median=0.72, low=0.62, high=1.23),
    vv_texture_db=2.1,
    vh_texture_db=2.0,
    vv_sd_spread=0.022,
    vv_99=Spread(median=0.65),
    vv_99_spread=0.153,
    vh_largest=Spread(median=0.60, low=0.37, high=1.0),
    elevation_mean_m=Spread(median=151.0),
    elevation_sd_m=Spread(median=30.0),
)
"""313 real land patches of Hokkaido, descending: per-patch statistics of the public data set Sen12Landslides, whose
processing is not documented, so that part of any difference may be its own."""


def texture_db(variation: float, looks: float = NOMINAL_LOOKS) -> float:
    """Spread in dB of a log-normal texture that, with the speckle of `looks`, has that sd / mean; 0 where it is less.

    (1 + variation²) = (1 + 1 / looks)(1 + v²) for independent speckle and texture of sd / mean v.
    """
    squared = (variation**2 - 1 / looks) / (1 + 1 / looks)
    return 10 / math.log(10) * math.sqrt(math.log1p(max(squared, 0.0)))


def describe_patches(
    vv: Image, vh: Image, elevation_m: Image | None = None, pixel_m: float = 10.0
) -> PatchStatistics | None:
    """Statistics of one pass (y, x) by patches side by side; None where fewer than three are nearly all land.

    Pixels that are not positive in both polarisations are no land; a patch has at least 95 per cent of it.
    """
    side = max(4, round(PATCH_M / pixel_m))
    rows: list[list[float]] = []
    heights: list[list[float]] = []
    for row in range(0, vv.shape[0] - side + 1, side):
        for column in range(0, vv.shape[1] - side + 1, side):
            at = np.s_[row : row + side, column : column + side]
            land = np.isfinite(vv[at]) & np.isfinite(vh[at]) & (vv[at] > 0) & (vh[at] > 0)
            if land.mean() < _LEAST_VALID:
                continue
            one, other = vv[at][land].astype(np.float64), vh[at][land].astype(np.float64)
            rows.append(
                [
                    one.mean(),
                    other.mean(),
                    one.std() / one.mean(),
                    other.std() / other.mean(),
                    one.std(),
                    float(np.percentile(one, 99)),
                    other.max(),
                ]
            )
            if elevation_m is not None:
                heights.append([float(elevation_m[at].mean()), float(elevation_m[at].std())])
    if len(rows) < _LEAST_PATCHES:
        return None
    table = np.array(rows)
    spreads = [_spread(column) for column in table.T]
    terrain = [_spread(column) for column in np.array(heights).T] if heights else [None, None]
    return PatchStatistics(
        patches=len(rows),
        vv_mean=spreads[0],
        vh_mean=spreads[1],
        vv_variation=spreads[2],
        vh_variation=spreads[3],
        vv_texture_db=texture_db(spreads[2].median),
        vh_texture_db=texture_db(spreads[3].median),
        vv_sd_spread=float(table[:, 4].std()),
        vv_99=spreads[5],
        vv_99_spread=float(table[:, 5].std()),
        vh_largest=spreads[6],
        elevation_mean_m=terrain[0],
        elevation_sd_m=terrain[1],
    )


def _spread(values: NDArray[np.float64]) -> Spread:
    low, middle, high = np.percentile(values, [5, 50, 95])
    return Spread(median=float(middle), low=float(low), high=float(high))


def patches_of_parameters(area: AreaOfInterest, parameters: WorldParameters) -> PatchStatistics | None:
    """Of the first descending pass before the event, or of the first pass; water counts as no land."""
    scene = make_scene(area, parameters)
    flights = sorted(
        (flight for flight in scene.flights if not flight.slid),
        key=lambda flight: flight.track.direction != "descending",
    )
    if not flights:
        return None
    vv, vh = (observe(scene, flights[0], pol) for pol in ("vv", "vh"))
    vv[scene.relief.water] = 0.0
    return describe_patches(vv, vh, scene.relief.elevation_m, scene.grid.resolution_m)


def patches_of_world(world: World) -> PatchStatistics | None:
    """The same for a world on disk, which is simulated again from its area and parameters."""
    return patches_of_parameters(
        AreaOfInterest.model_validate(world.document["area"]),
        WorldParameters.model_validate(world.document["parameters"]),
    )


_LINES: Sequence[tuple[str, str]] = (
    ("patches", "patches"),
    ("VV mean", "vv_mean"),
    ("VH mean", "vh_mean"),
    ("VV sd / mean in a patch", "vv_variation"),
    ("VH sd / mean in a patch", "vh_variation"),
    ("texture beyond speckle, VV, dB", "vv_texture_db"),
    ("texture beyond speckle, VH, dB", "vh_texture_db"),
    ("sd among patches of VV's sd", "vv_sd_spread"),
    ("VV 99th percentile", "vv_99"),
    ("its sd among patches", "vv_99_spread"),
    ("VH largest", "vh_largest"),
    ("elevation, mean in a patch, m", "elevation_mean_m"),
    ("elevation, sd in a patch, m", "elevation_sd_m"),
)


def patches_as_markdown(table: Mapping[str, PatchStatistics | None]) -> str:
    """A table with one line for each quantity and one column for each stack that has patches."""
    found = {name: numbers for name, numbers in table.items() if numbers is not None}
    lines = [f"| patches of 1.28 km | {' | '.join(found)} |", "|---" * (len(found) + 1) + "|"]
    for words, field in _LINES:
        values = (getattr(numbers, field) for numbers in found.values())
        lines.append(f"| {words} | {' | '.join(_shown(value) for value in values)} |")
    return "\n".join(lines)


def _shown(value: Spread | float | int | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
