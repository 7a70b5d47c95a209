"""The coordinates of a version: the positions of its pixels, and the properties of each pass, pair and track."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from pyproj import CRS

from pipeline.cube.encoding import arrays
from pipeline.cube.manifest import Look, Manifest, Timepair, Timestep, timepair_labels
from pipeline.cube.schema import TIME_UNITS, Axis
from pipeline.cube.store import Store
from pipeline.grid import Grid

_TIME = {"units": TIME_UNITS, "calendar": "proleptic_gregorian", "standard_name": "time"}


@dataclass(frozen=True)
class Coordinate:
    """One coordinate: values in the type that is stored, on one axis or on none."""

    name: str
    values: NDArray[Any]
    dims: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)


def auxiliary_names(manifest: Manifest) -> list[str]:
    """Names of the coordinates that are not their dimension's own, which the attribute `coordinates` has to list."""
    return ["spatial_ref", *(c.name for c in _along_axes(manifest) if (c.name,) != c.dims)]


def write_coordinates(store: Store, key: str, manifest: Manifest) -> None:
    """Write every coordinate of the version at `key`."""
    _write_positions(store, key, manifest.grid)
    for coordinate in _along_axes(manifest):
        _write(store, key, coordinate)


def write_overview_coordinates(store: Store, key: str, manifest: Manifest, grid: Grid) -> None:
    """Write the coordinates of an overview on `grid`: positions, and those that its dimensions are named after."""
    _write_positions(store, key, grid)
    for coordinate in _along_axes(manifest):
        if (coordinate.name,) == coordinate.dims:
            _write(store, key, coordinate)


def _write_positions(store: Store, key: str, grid: Grid) -> None:
    for name, values in (("x", grid.x), ("y", grid.y)):
        attributes = {
            "standard_name": f"projection_{name}_coordinate",
            "long_name": f"{name} of the pixel's centre",
            "units": "m",
            "axis": name.upper(),
        }
        _write(store, key, Coordinate(name, values, (name,), attributes))
    _write(store, key, Coordinate("spatial_ref", np.array(grid.epsg, dtype="int64"), (), _grid_mapping(grid)))


def _along_axes(manifest: Manifest) -> list[Coordinate]:
    found = _along_timestep(manifest)
    # a cube without pairs has the axis too, of length 0: published code drops it from every cube
    found += _along_timepair(manifest) if manifest.timepairs else _along_timepair(manifest)[:1]
    if manifest.looks:
        found += _along_track(manifest)
    return found


def _along_timestep(manifest: Manifest) -> list[Coordinate]:
    axis: Axis = "timestep"
    steps, dims = manifest.timesteps, (axis,)
    instants = _instants(step.instant for step in steps)
    return [
        Coordinate("timestep", instants, dims, {**_TIME, "long_name": "start, UTC"}),
        Coordinate("sat:orbit_state", _words(step.direction for step in steps), dims),
        Coordinate("platform", _words(step.platform for step in steps), dims),
        Coordinate("pass_id", _words(step.pass_id for step in steps), dims),
        Coordinate(
            "source",
            _words(manifest.source_of(step) for step in steps),
            dims,
            {"long_name": "collection of the backscatter"},
        ),
        Coordinate("layer_digest", _digests(steps), dims),
        Coordinate(
            "relative_orbit",
            _whole(step.relative_orbit for step in steps),
            dims,
            {"long_name": "relative orbit, the track"},
        ),
        Coordinate(
            "absolute_orbit",
            _whole(step.absolute_orbit for step in steps),
            dims,
            {"long_name": "absolute orbit"},
        ),
        *_coverages(manifest, axis, steps),
    ]


def _along_timepair(manifest: Manifest) -> list[Coordinate]:
    axis: Axis = "timepair"
    pairs, dims = manifest.timepairs, (axis,)
    baselines = [
        float("nan") if p.perpendicular_baseline_m is None else p.perpendicular_baseline_m for p in pairs
    ]
    start, end = _instants(p.start for p in pairs), _instants(p.end for p in pairs)
    return [
        Coordinate("timepair", _words(timepair_labels(pairs)), dims, {"long_name": "days of the two passes"}),
        Coordinate("timepair_start", start, dims, {**_TIME, "long_name": "start of the reference, UTC"}),
        Coordinate("timepair_end", end, dims, {**_TIME, "long_name": "start of the secondary, UTC"}),
        Coordinate(
            "perpendicular_baseline_m",
            np.array(baselines, dtype="float64"),
            dims,
            {"long_name": "perpendicular baseline, secondary against reference", "units": "m"},
        ),
        Coordinate(
            "timepair_relative_orbit",
            _whole(p.relative_orbit for p in pairs),
            dims,
            {"long_name": "relative orbit of the pair"},
        ),
        Coordinate("timepair_backend", _words(p.backend for p in pairs), dims),
        Coordinate("timepair_layer_digest", _digests(pairs), dims),
        *_coverages(manifest, axis, pairs),
    ]


def _along_track(manifest: Manifest) -> list[Coordinate]:
    axis: Axis = "track"
    looks, dims = manifest.looks, (axis,)
    return [
        Coordinate(
            "track", _whole(look.relative_orbit for look in looks), dims, {"long_name": "relative orbit"}
        ),
        Coordinate("track_layer_digest", _digests(looks), dims),
        *_coverages(manifest, axis, looks),
    ]


def _coverages(
    manifest: Manifest, axis: Axis, entries: tuple[Timestep, ...] | tuple[Timepair, ...] | tuple[Look, ...]
) -> list[Coordinate]:
    """The share of the grid with data, by variable, along the axis."""
    return [
        Coordinate(
            f"{name}_coverage",
            np.array(
                [manifest.records[entry.layers[name]].report.get("coverage", 0.0) for entry in entries],
                dtype="float64",
            ),
            (axis,),
            {"long_name": f"share of the grid with valid {name}", "units": "1"},
        )
        for name in sorted({name for entry in entries for name in entry.layers})
    ]


def _digests(entries: Iterable[Timestep | Timepair | Look]) -> NDArray[Any]:
    return _words(" ".join(f"{k}={v}" for k, v in sorted(entry.layers.items())) for entry in entries)


def _words(values: Iterable[str]) -> NDArray[Any]:
    return np.array(list(values), dtype=object)


def _whole(values: Iterable[int]) -> NDArray[Any]:
    return np.array(list(values), dtype="int64")


def _instants(values: Iterable[datetime]) -> NDArray[Any]:
    """UTC instants as int64 microseconds since 1970."""
    naive = [np.datetime64(value.replace(tzinfo=None), "us") for value in values]
    return np.array(naive, dtype="M8[us]").astype("int64")


def _write(store: Store, key: str, coordinate: Coordinate) -> None:
    values = coordinate.values
    with arrays.writing():
        array = zarr.create_array(
            store=store.zarr(f"{key}/{coordinate.name}"),
            shape=values.shape,
            dtype=str if values.dtype == object else values.dtype,
            chunks=tuple(max(1, n) for n in values.shape),
            dimension_names=coordinate.dims,
            attributes=coordinate.attributes,
            config={"write_empty_chunks": True},
            zarr_format=3,
        )
    if values.size:
        array[...] = values


def _grid_mapping(grid: Grid) -> dict[str, Any]:
    attributes = dict(CRS.from_epsg(grid.epsg).to_cf())
    a = grid.affine
    attributes["GeoTransform"] = " ".join(repr(float(v)) for v in (a.c, a.a, a.b, a.f, a.d, a.e))
    attributes["spatial_ref"] = attributes["crs_wkt"]
    return attributes
