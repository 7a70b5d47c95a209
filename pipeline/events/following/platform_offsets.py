"""How the backscatter of one satellite differs from that of another on one track, over classes of slope.

Terrain-corrected products of Sentinel-1A, C and D differ on slopes (microsoft/PlanetaryComputer#492). Where the passes
before an event are of one satellite and those after it of another, such an offset looks like a change, so it is
measured in the cube itself and told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from pipeline.errors import number_of
from pipeline.events.following.pass_history import satellite
from pipeline.records import Frozen

SLOPES_DEG = ((0.0, 10.0), (10.0, 20.0), (20.0, 30.0), (30.0, 90.0))
BLOCK_PX, BLOCKS_A_SIDE = 256, 4
"""The offset is measured in so many blocks of so many pixels, evenly spread: one inner chunk each."""
MEAN_PX = 4
"""Speckle is averaged over squares of so many pixels before decibels are taken."""
LEAST_SQUARES = 50
"""squares of a class; with fewer no offset is stated"""

Image = NDArray[np.float64]


class PlatformOffset(Frozen):
    """The median difference of two satellites on one track, in one class of slope."""

    relative_orbit: int
    polarisation: str
    platform: str
    reference: str = Field(description="the satellite with most passes on the track")
    slope_deg: tuple[float, float] = Field(description="at least, below")
    offset_db: float = Field(description="median of platform minus reference, dB")
    squares: int = Field(description=f"squares of {MEAN_PX} by {MEAN_PX} pixels that it rests on")
    passes: tuple[int, int] = Field(description="of the platform, of the reference")

    @property
    def words(self) -> str:
        """For people."""
        low, high = self.slope_deg
        where = f"{low:g} degrees and steeper" if high >= 90 else f"{low:g} to {high:g} degrees"
        rests = " and ".join(number_of(count, "pass") for count in self.passes)
        return (
            f"track {self.relative_orbit}, {self.polarisation.upper()}: {satellite(self.platform)} is "
            f"{self.offset_db:+.1f} dB from {satellite(self.reference)} on slopes of {where} ({rests})"
        )


def platform_offsets(cube: xr.Dataset) -> tuple[PlatformOffset, ...]:
    """The offsets of every satellite against the one with most passes, by track, polarisation and class of slope.

    Passes after the event count too: landslides are far too few to move a median. None for a track of one satellite,
    and none without terrain.

    Args:
        cube: as `pipeline.cube.read.open_cube` gives it.
    """
    if "dem_slope_radians" not in cube or "platform" not in cube.coords:
        return ()
    found: list[PlatformOffset] = []
    tracks = cube["relative_orbit"].values
    platforms = cube["platform"].values.astype(str)
    for track in sorted(set(tracks.tolist())):
        passes = {name: np.flatnonzero((tracks == track) & (platforms == name)) for name in set(platforms)}
        passes = {name: numbers for name, numbers in sorted(passes.items()) if numbers.size}
        if len(passes) < 2:
            continue
        for polarisation in ("vv", "vh"):
            if polarisation in cube:
                found += _of_track(cube, int(track), polarisation, passes)
    return tuple(found)


def _of_track(
    cube: xr.Dataset, track: int, polarisation: str, passes: Mapping[str, NDArray[np.intp]]
) -> Iterator[PlatformOffset]:
    reference = max(passes, key=lambda name: (passes[name].size, name))
    others = [name for name in passes if name != reference]
    differences: dict[tuple[str, tuple[float, float]], list[Image]] = defaultdict(list)
    for block in _blocks(cube):
        slope = np.degrees(_squares(block["dem_slope_radians"].values.astype(np.float64)))
        usual = _usual_db(block, polarisation, passes[reference])
        for name in others:
            difference = _usual_db(block, polarisation, passes[name]) - usual
            for low, high in SLOPES_DEG:
                inside = np.isfinite(difference) & (slope >= low) & (slope < high)
                differences[(name, (low, high))].append(difference[inside])
    for (name, slopes), parts in differences.items():
        values = np.concatenate(parts)
        if values.size >= LEAST_SQUARES:
            yield PlatformOffset(
                relative_orbit=track,
                polarisation=polarisation,
                platform=name,
                reference=reference,
                slope_deg=slopes,
                offset_db=round(float(np.median(values)), 2),
                squares=values.size,
                passes=(passes[name].size, passes[reference].size),
            )


def _blocks(cube: xr.Dataset) -> Iterator[xr.Dataset]:
    """Blocks of the cube, evenly spread; the whole of a small one."""
    rows, columns = (_starts(cube.sizes[name]) for name in ("y", "x"))
    for row in rows:
        for column in columns:
            yield cube.isel(y=slice(row, row + BLOCK_PX), x=slice(column, column + BLOCK_PX))


def _starts(size: int) -> list[int]:
    count = max(1, size // BLOCK_PX)
    chosen = np.unique(np.linspace(0, count - 1, min(count, BLOCKS_A_SIDE)).round().astype(int))
    return [int(number) * BLOCK_PX for number in chosen]


def _usual_db(block: xr.Dataset, polarisation: str, numbers: NDArray[np.intp]) -> Image:
    """(y, x) of squares: the median over passes, dB; NaN where a pass has none."""
    power = block[polarisation].isel(timestep=numbers).values.astype(np.float64)
    means = np.stack([_squares(np.where(one > 0, one, np.nan)) for one in power])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.median(10 * np.log10(means), axis=0))


def _squares(image: Image) -> Image:
    """Means of squares of `MEAN_PX` pixels; NaN where one of the pixels is; the rest at the border is dropped."""
    rows, columns = (size // MEAN_PX for size in image.shape)
    cut = image[: rows * MEAN_PX, : columns * MEAN_PX]
    return np.asarray(cut.reshape(rows, MEAN_PX, columns, MEAN_PX).mean(axis=(1, 3)))
