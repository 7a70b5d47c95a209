"""How well a map finds the landslides that a world was simulated with: the truth that no archive serves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from pydantic import Field
from rasterio.errors import RasterioIOError
from rasterio.warp import Resampling
from rasterio.windows import from_bounds
from sklearn.metrics import average_precision_score

from pipeline.records import Frozen
from pipeline.sandbox.earth.parameters import SandboxError

RASTERS = ("probability.tif", "score.tif")
"""of a map by a model, and by the detector"""
MOST_PIXELS = 200_000_000


class TruthScore(Frozen):
    """A map beside the truth, over the pixels that both have."""

    average_precision: float | None = Field(
        description="area under precision and recall, not interpolated; None without a landslide or a mapped pixel"
    )
    prevalence: float = Field(description="share of landslide pixels, which a random map would score")
    pixels: int
    mapped: float = Field(description="share of the truth's pixels that the map has a value for")


def score_map(world: Path, folder: Path) -> TruthScore:
    """Compare the raster of a map with the world's landslides, on the map's pixels, nearest neighbour.

    Raises:
        SandboxError: one of them has no raster, or the map lies elsewhere.
    """
    truth_path = world / "truth" / "landslide_id.tif"
    path = next((folder / name for name in RASTERS if (folder / name).is_file()), None)
    if path is None or not truth_path.is_file():
        lacking = folder if path is None else truth_path
        raise SandboxError(f"{lacking} has no raster.", "Name a simulated world and the folder of a map.")
    try:
        with rasterio.open(truth_path) as truth, rasterio.open(path) as source:
            score, slides = _both(truth, source)
    except (RasterioIOError, rasterio.errors.WindowError) as error:
        raise SandboxError(
            f"{path} cannot be compared ({error}).", "Name a map of the world's area."
        ) from error
    valid = np.isfinite(score)
    found, values = slides[valid], score[valid]
    some = bool(found.any()) and not bool(found.all())
    return TruthScore(
        average_precision=float(average_precision_score(found, values)) if some else None,
        prevalence=float(found.mean()) if found.size else 0.0,
        pixels=int(found.size),
        mapped=float(valid.mean()) if valid.size else 0.0,
    )


def _both(
    truth: rasterio.DatasetReader, source: rasterio.DatasetReader
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Score (NaN where there is none) and landslides on the truth's pixels that lie within the map."""
    if truth.crs != source.crs:
        raise SandboxError(
            f"{source.name} has another projection than the truth.", "Map in the world's UTM zone."
        )
    left, bottom = (max(a, b) for a, b in zip(truth.bounds[:2], source.bounds[:2], strict=True))
    right, top = (min(a, b) for a, b in zip(truth.bounds[2:], source.bounds[2:], strict=True))
    if left >= right or bottom >= top:
        raise SandboxError(f"{source.name} lies outside the world.", "Name a map of the world's area.")
    window = from_bounds(left, bottom, right, top, truth.transform).round_offsets().round_lengths()
    shape = int(window.height), int(window.width)
    if shape[0] * shape[1] > MOST_PIXELS:
        raise SandboxError(f"{truth.name} has too many pixels.", "Simulate a smaller world.")
    slides = truth.read(1, window=window) > 0
    score = source.read(
        1,
        window=from_bounds(left, bottom, right, top, source.transform),
        out_shape=shape,
        resampling=Resampling.nearest,
        masked=True,
        boundless=False,
    )
    return np.ma.filled(score.astype(np.float32), np.nan), slides
