"""The accessor `cube.slidecube` of every dataset that `open_cube` or `xarray.open_zarr` returns.

>>> cube.slidecube.db("vv")
>>> cube.slidecube.after(track=46)
>>> cube.slidecube.log_ratio("vh").plot()
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.errors import CubeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "slidecube"
TRACK = "relative_orbit"


@xr.register_dataset_accessor(NAME)  # type: ignore[no-untyped-call]
class CubeAccessor:
    """Backscatter in decibels, passes before and after the event, their log-ratio, and a plot of a map."""

    def __init__(self, cube: xr.Dataset) -> None:
        self._cube = cube

    @property
    def event(self) -> tuple[np.datetime64, np.datetime64]:
        """Start and end of the event, UTC, as the cube records them.

        Raises:
            CubeError: the cube records no event.
        """
        try:
            event = json.loads(self._cube.attrs["event"])
            start, end = (_instant(event[name]) for name in ("start", "end"))
        except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise CubeError(
                "The cube records no event that can be read.",
                'Set it: cube.attrs[\'event\'] = \'{"start": "2018-09-05T18:07:59Z", '
                '"end": "2018-09-05T18:07:59Z"}\'.',
            ) from error
        return start, end

    @property
    def tracks(self) -> tuple[int, ...]:
        """Relative orbits of the passes, ascending.

        Raises:
            CubeError: the cube has no coordinate `relative_orbit`.
        """
        return tuple(int(track) for track in np.unique(self._coordinate(TRACK).values))

    def db(self, polarisation: str = "vv") -> xr.DataArray:
        """Backscatter in decibels, (timestep, y, x): 10 log10 of gamma0; NaN where gamma0 is not positive.

        Raises:
            CubeError: the cube has no such polarisation.
        """
        gamma0 = self._variable(polarisation)
        decibels: xr.DataArray = xr.ufuncs.log10(gamma0.where(gamma0 > 0)) * 10
        return decibels.assign_attrs(units="dB", long_name=f"gamma0 {polarisation.upper()}")

    def before(self, track: int | None = None) -> xr.Dataset:
        """The passes before the event began, of one track or of all.

        Raises:
            CubeError: the cube records no event, or has no such track.
        """
        passes = self._of_track(track)
        return passes.sel(timestep=passes.timestep < self.event[0])

    def after(self, track: int | None = None) -> xr.Dataset:
        """The passes after the event ended, of one track or of all. A pass during the event is in neither.

        Raises:
            CubeError: the cube records no event, or has no such track.
        """
        passes = self._of_track(track)
        return passes.sel(timestep=passes.timestep > self.event[1])

    def log_ratio(self, polarisation: str = "vv", track: int | None = None) -> xr.DataArray:
        """Change of backscatter in decibels, (y, x): median after the event minus median before it, of one track.

        Passes of different tracks see a slope from different directions, so only passes of one track are compared.

        Args:
            polarisation: "vv" or "vh".
            track: relative orbit; None: the track of the first pass after the event that has passes before it.

        Raises:
            CubeError: there is no such variable or track, or the track has no pass before or after the event.
        """
        chosen = self._first_track() if track is None else track
        before, after = self.before(chosen), self.after(chosen)
        if not before.sizes["timestep"] or not after.sizes["timestep"]:
            raise CubeError(
                f"A log-ratio needs passes of one track before and after the event; track {chosen} has "
                f"{before.sizes['timestep']} before and {after.sizes['timestep']} after.",
                f"Choose another of its tracks: {', '.join(map(str, self.tracks))}.",
            )
        change = _median(after.slidecube.db(polarisation)) - _median(before.slidecube.db(polarisation))
        title = f"change of {polarisation.upper()}, track {chosen}"
        return change.rename("log_ratio").assign_attrs(units="dB", long_name=title, track=chosen)

    def plot(
        self,
        values: str | xr.DataArray | None = None,
        *,
        labels: bool = True,
        ax: Axes | None = None,
        **style: Any,
    ) -> Axes:
        """Plot a map over hillshade, with the outlines of labelled landslides.

        Args:
            values: name of a (y, x) variable, or an array on the cube's grid such as `log_ratio()` or a map's
                probability; None: the log-ratio of VV.
            labels: whether labelled landslides are outlined, where the cube has labels.
            ax: axes to draw on; None: new ones.
            style: further arguments of `xarray.DataArray.plot.imshow`, such as `cmap` or `vmin`.

        Raises:
            CubeError: there is no such variable, or it is not on (y, x).
        """
        from matplotlib import pyplot

        array = (
            self.log_ratio()
            if values is None
            else self._variable(values)
            if isinstance(values, str)
            else values
        )
        if set(array.dims) != {"y", "x"}:
            raise CubeError(
                f"A map has the dimensions (y, x), not ({', '.join(map(str, array.dims))}).",
                "Select one pass or pair first, as in cube.vv.isel(timestep=0).",
            )
        axes: Axes = pyplot.subplots(layout="constrained")[1] if ax is None else ax
        if "dem" in self._cube:
            axes.imshow(
                _hillshade(self._cube["dem"]), cmap="gray", extent=_extent(self._cube), vmin=0, vmax=1
            )
            style.setdefault("alpha", 0.7)
        array.plot.imshow(ax=axes, **({"robust": True} | style))
        if labels and "landslides" in self._cube:
            outline = self._cube["landslides"].fillna(0)
            axes.contour(outline.x, outline.y, outline, levels=[0.5], colors="black", linewidths=0.6)
        axes.set(aspect="equal", xlabel="x, m", ylabel="y, m", title="")
        axes.ticklabel_format(style="plain", useOffset=False)
        return axes

    def _coordinate(self, name: str) -> xr.DataArray:
        if name not in self._cube.coords:
            raise CubeError(f"The cube has no coordinate {name!r}.", "Open it with slidecube.open_cube.")
        return self._cube.coords[name]

    def _variable(self, name: str) -> xr.DataArray:
        if name not in self._cube:
            raise CubeError(
                f"The cube has no variable {name!r}.", f"It has {', '.join(map(str, self._cube.data_vars))}."
            )
        return self._cube[name]

    def _of_track(self, track: int | None) -> xr.Dataset:
        if track is None:
            return self._cube
        orbits = self._coordinate(TRACK)
        if track not in orbits.values:
            raise CubeError(
                f"The cube has no pass of track {track}.", f"Its tracks: {', '.join(map(str, self.tracks))}."
            )
        return self._cube.sel(timestep=orbits.values == track)

    def _first_track(self) -> int:
        tracks_before = set(self.before()[TRACK].values.tolist()) if TRACK in self._cube.coords else set()
        for track in self.after()[TRACK].values.tolist() if tracks_before else ():
            if track in tracks_before:
                return int(track)
        raise CubeError(
            "No track has a pass before and one after the event.",
            "Wait for a pass, or build a longer time range.",
        )


def _instant(text: str) -> np.datetime64:
    """A UTC instant without its zone, as xarray keeps times; a time without a zone is taken as UTC."""
    instant = datetime.fromisoformat(text)
    return np.datetime64((instant.astimezone(UTC) if instant.tzinfo else instant).replace(tzinfo=None), "us")


def _extent(cube: xr.Dataset) -> tuple[float, float, float, float]:
    """West, east, south and north edge, metres."""
    x, y = cube["x"].values, cube["y"].values
    half = abs(float(x[1] - x[0])) / 2 if x.size > 1 else 0.5
    return float(x.min()) - half, float(x.max()) + half, float(y.min()) - half, float(y.max()) + half


def _hillshade(dem: xr.DataArray) -> Any:
    """(y, x) 0..1 by matplotlib, lit from the north-west."""
    from matplotlib.colors import LightSource

    elevation = np.asarray(dem.values, dtype=float)
    spacing = abs(float(dem.x[1] - dem.x[0])) if dem.sizes["x"] > 1 else 1.0
    filled = np.where(np.isnan(elevation), np.nanmin(elevation, initial=0.0), elevation)
    return LightSource(azdeg=315, altdeg=45).hillshade(filled, vert_exag=1, dx=spacing, dy=spacing)


def _median(passes: xr.DataArray) -> xr.DataArray:
    """The median over `timestep` of the passes that see a pixel; NaN where none does.

    Not `DataArray.median`: dask hands that to numbagg where it is installed, which compiles for 12 s in each process.
    """
    found: xr.DataArray = xr.apply_ufunc(
        _median_of_last,
        passes,
        input_core_dims=[["timestep"]],
        dask="parallelized",
        dask_gufunc_kwargs={"allow_rechunk": True},
        output_dtypes=[passes.dtype],
    )
    return found


def _median_of_last(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """(..., n) to (...): the median of the finite values, along the last axis."""
    ordered = np.sort(values, axis=-1)  # NaN last
    count = np.isfinite(values).sum(axis=-1, keepdims=True)
    lower, upper = (
        np.take_along_axis(ordered, np.maximum(at, 0), axis=-1) for at in ((count - 1) // 2, count // 2)
    )
    found: NDArray[np.floating] = np.where(count > 0, (lower + upper) / 2, np.nan)[..., 0].astype(
        values.dtype
    )
    return found
