"""Cubes in the form of those published with Boehm et al. 2022 (zenodo 7248056): to our names and types."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from pipeline.catalogue.identities import direction_name
from pipeline.cube.foreign.contract import label_codes
from pipeline.errors import CubeError

RECORD = 7248056
"""number of their record at Zenodo"""
PUBLISHED = {
    "hokkaido_japan": "hokkaido",
    "kaikoura_newzealand": "kaikoura",
    "puerto_rico": "puerto-rico",
    "talakmau_indonesia": "talakmau",
}
"""the published cubes, which record no event, and the area files of their events"""
NAN_ASSUMED = "background (0)"
_COHERENCE = "topophase.cor_1"


def with_our_names(cube: xr.Dataset) -> xr.Dataset:
    """Ascending UTC times, orbit states in words ('unknown' where absent), ISCE2's band of coherence as `coherence`.

    Raises:
        CubeError: the times cannot be read.
    """
    if "timestep" in cube.dims:
        cube = cube.assign_coords(timestep=_instants(cube))
        states = cube.coords.get("sat:orbit_state")
        raw = [str(v) for v in states.values.ravel()] if states is not None else []
        if states is not None and states.ndim == 0:
            raw = raw * cube.sizes["timestep"]
        words = [direction_name(v) or "unknown" for v in raw] or ["unknown"] * cube.sizes["timestep"]
        cube = cube.assign_coords({"sat:orbit_state": ("timestep", np.array(words, dtype=object))})
        order = np.argsort(cube["timestep"].values, kind="stable")
        if not np.array_equal(order, np.arange(order.size)):
            cube = cube.isel(timestep=order)
    if _COHERENCE in cube and "coherence" not in cube:
        cube = cube.rename({_COHERENCE: "coherence"})
    return cube


def with_our_labels(cube: xr.Dataset) -> xr.Dataset:
    """Labels as 1, 0 and NaN; the cube meets the contract.

    A label above 0 is a landslide. Where the labels have no 0, NaN is taken as background, which an attribute states;
    where they have, NaN is not mapped.
    """
    if "landslides" not in cube:
        return cube
    labels = cube["landslides"]
    made = (labels > 0).astype("float32").assign_attrs(labels.attrs)
    if 0.0 in label_codes(labels):
        made = made.where(labels.notnull()).assign_attrs(labels.attrs)
    else:
        made = made.assign_attrs(label_nan_assumed=NAN_ASSUMED)
    return cube.assign(landslides=made)


def _instants(cube: xr.Dataset) -> tuple[str, Any]:
    """(timestep,) datetime64[us] from datetimes or from strings such as '20180906'."""
    if "timestep" not in cube.coords:
        raise CubeError("The cube has no times (coordinate 'timestep').", "Give ISO 8601 or YYYYMMDD.")
    values = cube["timestep"].values
    if values.dtype.kind == "M":
        return "timestep", values.astype("datetime64[us]")
    try:
        parsed = pd.to_datetime([str(v) for v in values], utc=True, format="mixed")
    except (ValueError, TypeError) as error:
        raise CubeError(
            f"The times of the cube cannot be read ({error}).", "Give ISO 8601 or YYYYMMDD."
        ) from error
    return "timestep", parsed.tz_localize(None).to_numpy().astype("datetime64[us]")
