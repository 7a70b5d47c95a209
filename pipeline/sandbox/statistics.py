"""Statistics of stacks of radar images, simulated or real."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from pipeline.areas.area import AreaOfInterest
from pipeline.records import Frozen
from pipeline.sandbox.earth.parameters import WorldParameters
from pipeline.sandbox.earth.radar import observe
from pipeline.sandbox.earth.scene import make_scene
from pipeline.sandbox.world import World

_BOX_PX = 7


class StackStatistics(Frozen):
    """Statistics of one polarisation of one track; None if unknown."""

    mean_db: float
    sd_db: float = Field(description="over pixels of a pass, mean over passes")
    looks: float | None = Field(None, description="median over pixels of mean²/variance in a box of 7 x 7")
    temporal_looks: float | None = Field(None, description="median over pixels of mean²/variance over time")
    neighbour_correlation: float | None = Field(
        None,
        description="of deviations from the temporal mean in dB, with the next pixel in a row and in a column",
    )
    temporal_sd_db: float | None = Field(None, description="of single pixels, median over pixels")


PUBLISHED = {
    "Hokkaido published VV": StackStatistics(mean_db=-7.34, sd_db=2.11),
    "Hokkaido published VH": StackStatistics(mean_db=-13.21, sd_db=1.89),
    "Kaikoura published VV": StackStatistics(mean_db=-9.86, sd_db=2.69),
    "Kaikoura published VH": StackStatistics(mean_db=-16.05, sd_db=2.35),
}
"""Means and spreads of log10 of the published cubes that public training code records (stats_dict_*.json), in dB."""


def describe(power: NDArray[np.float32]) -> StackStatistics:
    """Statistics of a stack (timestep, y, x) of linear gamma0, of at least two passes.

    Pixels that are not positive in every pass are omitted, and so are boxes and neighbours with such a pixel.
    """
    valid = np.all(np.isfinite(power) & (power > 0), axis=0)
    sound = np.where(valid, power, 1.0).astype(np.float64)
    db = 10 * np.log10(sound)
    whole = ndimage.minimum_filter(valid, _BOX_PX, mode="constant", cval=False)
    looks = []
    for image in sound:
        mean = ndimage.uniform_filter(image, _BOX_PX)
        variance = ndimage.uniform_filter(image**2, _BOX_PX) - mean**2
        looks.append(np.median((mean**2 / np.maximum(variance, 1e-12))[whole]) if whole.any() else np.nan)
    away = db - db.mean(axis=0)
    rows, columns = valid[:, 1:] & valid[:, :-1], valid[1:] & valid[:-1]
    along = [np.corrcoef(a[:, 1:][rows], a[:, :-1][rows])[0, 1] for a in away]
    across = [np.corrcoef(a[1:][columns], a[:-1][columns])[0, 1] for a in away]
    steady = sound.mean(axis=0) ** 2 / sound.var(axis=0, ddof=1).clip(1e-12)
    return StackStatistics(
        mean_db=float(db[:, valid].mean()),
        sd_db=float(np.mean([image[valid].std() for image in db])),
        looks=float(np.mean(looks)),
        temporal_looks=float(np.median(steady[valid])),
        neighbour_correlation=float(np.mean([*along, *across])),
        temporal_sd_db=float(np.median(db.std(axis=0, ddof=1)[valid])),
    )


def coarser(power: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """(timestep, y, x) means of power in pixels `factor` times as large."""
    count, height, width = power.shape
    height, width = height // factor, width // factor
    cut = power[:, : height * factor, : width * factor].reshape(count, height, factor, width, factor)
    return np.asarray(cut.mean(axis=(2, 4)), dtype=np.float32)


def of_parameters(area: AreaOfInterest, parameters: WorldParameters) -> dict[str, StackStatistics]:
    """Statistics by track and polarisation, over land, of the passes before the event."""
    scene = make_scene(area, parameters)
    found = {}
    for swath in scene.swaths:
        flights = [f for f in scene.flights if f.track == swath.track and not f.slid]
        if len(flights) < 2:
            continue
        for pol in ("vv", "vh"):
            stack = np.stack([observe(scene, flight, pol) for flight in flights])
            stack[:, scene.relief.water] = 0.0
            found[f"simulated track {swath.track.relative_orbit} {pol.upper()}"] = describe(stack)
    return found


def of_world(world: World) -> dict[str, StackStatistics]:
    """The same for a world on disk, which is simulated again from its area and parameters."""
    return of_parameters(
        AreaOfInterest.model_validate(world.document["area"]),
        WorldParameters.model_validate(world.document["parameters"]),
    )


def as_markdown(table: Mapping[str, StackStatistics]) -> str:
    """A table with one line for each stack."""
    fields = list(StackStatistics.model_fields)
    lines = [
        "| stack | mean, dB | sd, dB | looks | looks over time | neighbour correlation | temporal sd, dB |",
        "|---" * (len(fields) + 1) + "|",
    ]
    for name, numbers in table.items():
        values = (getattr(numbers, field) for field in fields)
        lines.append(f"| {name} | " + " | ".join("-" if v is None else f"{v:.2f}" for v in values) + " |")
    return "\n".join(lines)
