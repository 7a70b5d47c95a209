"""The quicklook: a picture of a version, for a check by eye."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.colors import Colormap, LightSource
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.cube.addresses import resolve_version
from pipeline.cube.read import open_cube
from pipeline.errors import CubeError

MAX_SIDE_PX = 900
MAX_PASSES = 11
MAX_PAIRS = 3
"""Of more passes or pairs, those nearest to the event are shown."""
NO_DATA = "#402020"
FOLDER = "quicklook"


@dataclass(frozen=True, slots=True)
class Quicklook:
    """The stored picture of a version."""

    uri: str
    """its path or URI"""
    png: bytes


def write_quicklook(address: str | Path) -> Quicklook:
    """A PNG of passes in dB, the hillshade with the labels, coherence and phase of pairs, at `quicklook/<n>.png`.

    `address` is the path or URI of a cube or of one version. An existing picture stays as it is.

    Raises:
        CubeError: there is no version of a slidecube cube.
    """
    version = resolve_version(address)
    store, number = version.store, version.number
    if number is None:
        raise CubeError(
            f"{version.uri} is no version of a slidecube cube.", "Give a cube that `slidecube build` made."
        )
    key = f"{FOLDER}/{number}.png"
    png = store.read(key)
    if png is None:
        # two builds may draw at once
        with store.lock(f"{FOLDER}/writer.lock", wait=True):
            store.sweep(FOLDER)
            png = store.read(key)
            if png is None:
                with open_cube(version.uri) as cube:
                    png = _as_png(draw(cube))
                store.write(key, png)
    return Quicklook(store.uri_of(key), png)


def _as_png(figure: Figure) -> bytes:
    written = BytesIO()
    figure.savefig(written, dpi=80, format="png")
    return written.getvalue()


def draw(cube: xr.Dataset) -> Figure:
    """One panel for the terrain, one for each pass, and for the pairs nearest to the event their coherence.

    The pair across the event, else the newest of them, shows its phase too.
    """
    matplotlib.use("Agg", force=False)
    variable = "vv" if "vv" in cube else "vh" if "vh" in cube else None
    shown = _shown(cube) if variable else []
    pairs = _pairs(cube)
    phase = _across(cube, pairs) if pairs and "interferogram" in cube else None
    panels = 1 + len(shown) + len(pairs) + int(phase is not None)
    columns = min(6, panels)
    rows = math.ceil(panels / columns)
    height, width = cube.sizes["y"], cube.sizes["x"]
    step = max(1, math.ceil(max(height, width) / MAX_SIDE_PX * min(columns, 3)))
    figure = Figure(figsize=(3.2 * columns, (3.2 * height / width + 0.5) * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    thin = {"y": slice(None, None, step), "x": slice(None, None, step)}
    _terrain_panel(axes[0], cube.isel(thin))
    for panel, index in enumerate(shown if variable is not None else (), start=1):
        values = np.asarray(cube[variable].isel(thin).isel(timestep=index).values)
        with np.errstate(divide="ignore", invalid="ignore"):
            decibels = 10 * np.log10(values)
        axes[panel].imshow(
            decibels, cmap=_gray(), vmin=-18 if variable == "vv" else -24, vmax=0, aspect="equal"
        )
        instant = str(cube["timestep"].values[index])[:16].replace("T", " ")
        direction = str(cube["sat:orbit_state"].values[index]).removesuffix("ending")
        side = _side(cube, index)
        track = int(cube["relative_orbit"].values[index])
        axes[panel].set_title(f"{variable} {instant}\ntrack {track} {direction}.{side}", fontsize=8)
    for panel, index in enumerate(pairs, start=1 + len(shown)):
        pair = cube["coherence"].isel(thin).isel(timepair=index)
        axes[panel].imshow(np.asarray(pair.values), cmap=_gray(), vmin=0, vmax=1, aspect="equal")
        axes[panel].set_title(f"coherence, 0 to 1\n{pair['timepair'].item()}", fontsize=8)
    if phase is not None:
        pair = cube["interferogram"].isel(thin).isel(timepair=phase)
        cyclic = matplotlib.colormaps["twilight"].with_extremes(bad=NO_DATA)
        axes[panels - 1].imshow(np.asarray(pair.values), cmap=cyclic, vmin=-np.pi, vmax=np.pi, aspect="equal")
        axes[panels - 1].set_title(f"phase, -π to π\n{pair['timepair'].item()}", fontsize=8)
    passes = cube.sizes.get("timestep", 0)
    nearest = (
        f"; {len(shown)} of {passes} passes, nearest to the event" if shown and len(shown) < passes else ""
    )
    title = f"{cube.attrs.get('title', '')} ({variable or 'no backscatter'}, dB{nearest})"
    figure.suptitle(title, fontsize=10)
    return figure


def _shown(cube: xr.Dataset) -> list[int]:
    """Indices of the passes that get a panel, ascending in time."""
    times = cube["timestep"].values
    if times.size <= MAX_PASSES:
        return list(range(times.size))
    span = _event(cube)
    middle = span[0] if span else times[-1]
    return sorted(int(i) for i in np.argsort(np.abs(times - middle), kind="stable")[:MAX_PASSES])


def _pairs(cube: xr.Dataset) -> list[int]:
    """Indices of the pairs that get a panel, ascending."""
    if "coherence" not in cube or not {"timepair_start", "timepair_end"} <= set(cube.coords):
        return list(range(cube.sizes.get("timepair", 0)))[-MAX_PAIRS:] if "coherence" in cube else []
    start, end = (cube[name].values.astype("M8[us]") for name in ("timepair_start", "timepair_end"))
    span = _event(cube)
    moment = span[0] if span else end.max()
    apart = np.abs((start + (end - start) / 2) - moment)
    return sorted(int(i) for i in np.argsort(apart, kind="stable")[:MAX_PAIRS])


def _across(cube: xr.Dataset, pairs: list[int]) -> int:
    """The pair with one pass before and one after the event, else the last."""
    span = _event(cube)
    if span is not None and {"timepair_start", "timepair_end"} <= set(cube.coords):
        for index in pairs:
            first, last = (cube[f"timepair_{name}"].values[index] for name in ("start", "end"))
            if first < span[0] and last > span[1]:
                return index
    return pairs[-1]


def _event(cube: xr.Dataset) -> tuple[np.datetime64, np.datetime64] | None:
    """Start and end of the event, or None where the cube does not record them."""
    try:
        event = json.loads(cube.attrs["event"])
        start, end = (np.datetime64(event[key].removesuffix("Z"), "us") for key in ("start", "end"))
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    return start, end


def _side(cube: xr.Dataset, index: int) -> str:
    """', before' or ', after' the event; empty where the cube does not record the event."""
    span = _event(cube)
    if span is None:
        return ""
    start, end = span
    instant = cube["timestep"].values[index]
    return ", before" if instant < start else ", after" if instant > end else ", during"


def _gray() -> Colormap:
    """Grey values, and a separate colour for pixels without data."""
    # matplotlib draws no background for an axis that is off: the image itself must colour pixels without data
    return matplotlib.colormaps["gray"].with_extremes(bad=NO_DATA)


def _terrain_panel(axis, cube: xr.Dataset) -> None:  # type: ignore[no-untyped-def]
    shown = []
    if "dem" in cube:
        elevation: NDArray[np.float64] = np.asarray(cube["dem"].values, dtype=np.float64)
        spacing = abs(float(cube["x"].values[1] - cube["x"].values[0])) if cube.sizes["x"] > 1 else 1.0
        level = np.nan_to_num(
            elevation, nan=float(np.nanmin(elevation)) if np.isfinite(elevation).any() else 0.0
        )
        shade = LightSource(315, 45).hillshade(level, vert_exag=1.0, dx=spacing, dy=spacing)
        axis.imshow(np.where(np.isnan(elevation), np.nan, shade), cmap=_gray(), aspect="equal")
        shown.append("hillshade")
    if "landslides" in cube:
        labels = np.asarray(cube["landslides"].values)
        if not shown:
            axis.imshow(np.where(np.isnan(labels), np.nan, 0.7), cmap=_gray(), vmin=0, vmax=1, aspect="equal")
            shown.append("mapped extent")
        axis.imshow(np.where(labels == 1, 1.0, np.nan), cmap="autumn", alpha=0.8, aspect="equal")
        shown.append("landslides")
    axis.set_title(" and ".join(shown), fontsize=8)
