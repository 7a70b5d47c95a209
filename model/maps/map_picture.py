"""The picture of a map, made from block means that are gathered while the map is written."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from model.inputs.cubes import UNMAPPED
from model.inputs.windows import Box
from pipeline.records import Frozen

LARGEST_PX = 1000


class Thumbnail:
    """Block means of a scene, added row by row; pixels that are not finite do not count."""

    def __init__(self, shape: tuple[int, int], largest_px: int = LARGEST_PX) -> None:
        self.factor = max(1, math.ceil(max(shape) / largest_px))
        size = tuple(math.ceil(length / self.factor) for length in shape)
        self._total, self._count = np.zeros(size), np.zeros(size, dtype=np.int64)

    def add(self, box: Box, values: NDArray[Any]) -> None:
        """Add (y, x) values of full-width rows."""
        finite = np.isfinite(values)
        columns = np.arange(0, values.shape[1], self.factor)
        rows = np.arange(box.top, box.bottom) // self.factor
        np.add.at(self._total, rows, np.add.reduceat(np.where(finite, values, 0.0), columns, axis=1))
        np.add.at(self._count, rows, np.add.reduceat(finite.astype(np.int64), columns, axis=1))

    @property
    def image(self) -> NDArray[np.float64]:
        """(y, x) block means; NaN where nothing was finite."""
        with np.errstate(invalid="ignore"):
            mean: NDArray[np.float64] = np.where(
                self._count > 0, self._total / np.maximum(self._count, 1), np.nan
            )
        return mean


class Gathered:
    """The thumbnails that the picture is drawn from."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.before, self.after, self.dem = Thumbnail(shape), Thumbnail(shape), Thumbnail(shape)
        self.score, self.truth, self.mapped = Thumbnail(shape), Thumbnail(shape), Thumbnail(shape)
        self.has_truth = False

    def add_truth(self, box: Box, labels: NDArray[np.uint8]) -> None:
        """Add (y, x) labels; only mapped pixels count."""
        self.has_truth = self.has_truth or bool((labels == 1).any())
        self.truth.add(box, np.where(labels == UNMAPPED, np.nan, labels.astype(np.float64)))


class Caption(Frozen):
    """The text on the picture, and what is drawn on it."""

    title: str
    backscatter: str = Field(description="polarisation, such as VV")
    average: str = Field(description="average over passes: mean or median")
    passes_before: int
    passes_after: int
    score: str = Field(description="name and unit of what is mapped")
    highest: float = Field(gt=0, description="value at the top of the colour scale")
    warning: str = Field("", description="above the title")
    pixel_m: float
    framed: tuple[Box, ...] = Field((), description="scored areas, outlined")


def draw(gathered: Gathered, caption: Caption, file: Path) -> None:
    """Draw four panels: before, after, the change, and the map over a hillshade with the outlines of labels."""
    from matplotlib.figure import Figure

    before, after, score = gathered.before.image, gathered.after.image, gathered.score.image
    height, width = score.shape
    size = caption.pixel_m * gathered.score.factor / 1000.0
    extent = (0.0, width * size, height * size, 0.0)
    figure = Figure(figsize=(15, 1.6 + 12.2 * height / width), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True, sharey=True)
    seen = before[np.isfinite(before)]
    low, high = np.percentile(seen, [2, 98]) if seen.size else (-20.0, 0.0)
    name = caption.backscatter
    for axes, image, words in (
        (panels[0, 0], before, f"{name} before, {caption.average} of {caption.passes_before}"),
        (panels[0, 1], after, f"{name} after, {caption.average} of {caption.passes_after}"),
    ):
        drawn = axes.imshow(image, extent=extent, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        axes.set_title(words)
        figure.colorbar(drawn, ax=axes, shrink=0.8, label="gamma0, dB")
    axes = panels[1, 0]
    drawn = axes.imshow(
        after - before, extent=extent, cmap="RdBu_r", vmin=-5, vmax=5, interpolation="nearest"
    )
    axes.set_title(f"{name} after minus before")
    figure.colorbar(drawn, ax=axes, shrink=0.8, label="dB")
    _draw_score(figure, panels[1, 1], gathered, caption, extent)
    for axes in panels.ravel():
        axes.set_facecolor("#d9c7a3")
    for axes in panels[1]:
        axes.set_xlabel("km")
    for axes in panels[:, 0]:
        axes.set_ylabel("km")
    title = f"{caption.warning}\n{caption.title}" if caption.warning else caption.title
    # the title has names from outside: a dollar sign in one is no formula
    colour = "#b2182b" if caption.warning else "black"
    figure.suptitle(title, color=colour, fontsize=13, parse_math=False)
    figure.savefig(file, dpi=100)


def _draw_score(
    figure: Any, axes: Any, gathered: Gathered, caption: Caption, extent: tuple[float, float, float, float]
) -> None:
    from matplotlib.colors import LightSource
    from matplotlib.patches import Rectangle

    dem, score = gathered.dem.image, gathered.score.image
    known = np.isfinite(dem)
    if known.any():
        filled = np.where(known, dem, np.nanmean(dem))
        step = caption.pixel_m * gathered.score.factor
        shade = LightSource(315, 45).hillshade(filled, dx=step, dy=step)
        axes.imshow(np.where(known, shade, np.nan), extent=extent, cmap="gray", vmin=-0.3, vmax=1.2)
    else:  # what is faint must not look like no data
        axes.imshow(np.where(np.isfinite(score), 0.9, np.nan), extent=extent, cmap="gray", vmin=0, vmax=1)
    level = np.clip(score / caption.highest, 0, 1)
    faint = np.where(np.isfinite(level), np.clip(level * 1.6, 0, 0.9), 0.0)
    drawn = axes.imshow(
        score,
        extent=extent,
        cmap="inferno",
        vmin=0,
        vmax=caption.highest,
        alpha=faint,
        interpolation="nearest",
    )
    figure.colorbar(drawn, ax=axes, shrink=0.8, label=caption.score)
    axes.contourf(
        np.isnan(score).astype(float), levels=[0.5, 1.5], colors=["#d9c7a3"], extent=extent, origin="upper"
    )
    words = caption.score
    mapped = np.nan_to_num(gathered.mapped.image)
    if (mapped >= 0.5).any():
        axes.contour(mapped, levels=[0.5], colors=["#39d353"], linewidths=0.7, extent=extent, origin="upper")
        words += "; green: this map"
    if gathered.has_truth:
        truth = np.nan_to_num(gathered.truth.image)
        # outlines at full resolution; in a coarser picture, of blocks with at least half their pixels labelled
        axes.contour(truth, levels=[0.5], colors=["#00c8ff"], linewidths=0.7, extent=extent, origin="upper")
        words += "; blue: mapped landslides"
    size = caption.pixel_m / 1000.0
    for box in caption.framed:
        axes.add_patch(
            Rectangle(
                (box.left * size, box.top * size), box.width * size, box.height * size,
                fill=False, edgecolor="#00a000", linestyle="--", linewidth=1.5,
            )
        )  # fmt: skip
    if caption.framed:
        words += "; dashed: test area"
    axes.set_title(words + "; sand: no data")
