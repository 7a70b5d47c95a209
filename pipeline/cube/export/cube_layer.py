"""The layers of a cube one by one: a variable of one pass, pair or track, or a static one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.errors import CubeError


@dataclass(frozen=True)
class CubeLayer:
    """One (y, x) array of a cube."""

    variable: str
    index: int | None
    """on the axis before (y, x); None for a static layer"""
    stem: str
    """name of a file that holds it, without a suffix: `vv_20180906T204103Z_T046`"""
    facts: dict[str, str]
    """what is true of the pass, pair or track"""
    array: xr.DataArray

    def values(self) -> NDArray[Any]:
        """(y, x), read now."""
        return np.asarray(self.array.values)


def raster_variables(cube: xr.Dataset) -> list[str]:
    """Names of the variables on (y, x), with at most one axis before them, in the cube's order."""
    names = [
        str(name) for name, one in cube.data_vars.items() if one.dims[-2:] == ("y", "x") and one.ndim < 4
    ]
    if not names:
        raise CubeError("The cube holds no variable on (y, x).", "Give the path of a landslide cube.")
    return names


def cube_layers(cube: xr.Dataset) -> list[CubeLayer]:
    """Every layer of a cube that `open_cube` gave; no two have the same stem."""
    found: list[CubeLayer] = []
    stems: set[str] = set()
    for name in raster_variables(cube):
        for layer in _of_variable(cube, name):
            stem = layer.stem if layer.stem not in stems else f"{layer.stem}_{layer.index}"
            stems.add(stem)
            found.append(CubeLayer(layer.variable, layer.index, stem, layer.facts, layer.array))
    return found


def instant_words(instant: Any) -> str:
    """'2018-09-06T20:41:03Z' of a time of numpy."""
    return f"{np.datetime_as_string(np.datetime64(instant, 's'))}Z"


def _of_variable(cube: xr.Dataset, name: str) -> Iterator[CubeLayer]:
    variable = cube[name]
    if variable.ndim == 2:
        yield CubeLayer(name, None, _plain(name), {}, variable)
        return
    axis = str(variable.dims[0])
    for index in range(variable.sizes[axis]):
        one = variable.isel({axis: index})
        words, facts = _OF_AXIS.get(axis, _of_other)(cube, axis, index)
        yield CubeLayer(name, index, _plain("_".join((name, *words))), facts, one)


def _of_pass(cube: xr.Dataset, axis: str, index: int) -> tuple[list[str], dict[str, str]]:
    instant = instant_words(cube[axis].values[index])
    facts = {"PASS_TIME": instant, **_facts(cube, axis, index, _PASS)}
    track = facts.get("RELATIVE_ORBIT")
    words = [instant.replace("-", "").replace(":", ""), *([f"T{int(track):03d}"] if track else [])]
    return words, facts


def _of_pair(cube: xr.Dataset, axis: str, index: int) -> tuple[list[str], dict[str, str]]:
    label = str(cube[axis].values[index])
    facts = {"PAIR": label, **_facts(cube, axis, index, _PAIR)}
    for name in ("timepair_start", "timepair_end"):
        if name in cube.coords:
            facts[name.upper().replace("TIMEPAIR", "PAIR")] = instant_words(cube[name].values[index])
    return [label], facts


def _of_track(cube: xr.Dataset, axis: str, index: int) -> tuple[list[str], dict[str, str]]:
    track = int(cube[axis].values[index])
    return [f"T{track:03d}"], {"RELATIVE_ORBIT": str(track)}


def _of_other(_: xr.Dataset, axis: str, index: int) -> tuple[list[str], dict[str, str]]:
    return [f"{axis}{index}"], {axis.upper(): str(index)}


_OF_AXIS = {"timestep": _of_pass, "timepair": _of_pair, "track": _of_track}
_PASS = {
    "platform": "PLATFORM",
    "relative_orbit": "RELATIVE_ORBIT",
    "absolute_orbit": "ABSOLUTE_ORBIT",
    "sat:orbit_state": "ORBIT_STATE",
    "pass_id": "PASS_ID",
}
_PAIR = {
    "timepair_relative_orbit": "RELATIVE_ORBIT",
    "timepair_backend": "BACKEND",
    "perpendicular_baseline_m": "PERPENDICULAR_BASELINE_M",
}


def _facts(cube: xr.Dataset, axis: str, index: int, names: dict[str, str]) -> dict[str, str]:
    return {
        word: str(cube[name].values[index])
        for name, word in names.items()
        if name in cube.coords and cube[name].dims == (axis,)
    }


def _plain(stem: str) -> str:
    """A stem of characters that every file system takes."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", stem)[:120].lstrip(".") or "layer"
