"""Opening a cube that slidecube built, or one as published (zenodo 7248056), as the same kind of dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pipeline.cube.addresses import resolve_version
from pipeline.cube.schema import SCHEMA_VERSION
from pipeline.errors import CubeError

_PUBLISHED_COHERENCE = "topophase.cor_1"
_ORBIT_STATES = {"d": "descending", "a": "ascending", "descending": "descending", "ascending": "ascending"}


def open_cube(address: str | Path) -> xr.Dataset:
    """A cube as a lazily read dataset.

    `address` is the path or URI of a cube (its latest version is taken), of a version, or of a cube as published (Zarr
    v2). The names and types of a published cube are converted: ascending UTC times, orbit states in words ('unknown'
    where absent), label NaN taken as background with the attribute `label_nan_assumed`, ISCE2's band of coherence
    named `coherence`.

    Returns:
        Dataset with dims (timestep, y, x), where there are pairs also timepair and track, see `pipeline.cube.schema`;
        `encoding["source"]` is the version's path or URI.

    Raises:
        CubeError: there is no cube, or it holds no variable on (y, x).
    """
    version = resolve_version(address)
    try:
        dataset: xr.Dataset = xr.open_zarr(version.zarr(), chunks=None)
    except Exception as error:
        raise CubeError(
            f"{version.uri} cannot be opened as Zarr ({type(error).__name__}: {error}).",
            "Run `slidecube verify` on it.",
        ) from error
    if not any({"y", "x"} <= set(v.dims) for v in dataset.data_vars.values()):
        raise CubeError(f"{version.uri} holds no variable on (y, x).", "Give the path of a landslide cube.")
    if dataset.attrs.get("schema") != SCHEMA_VERSION:
        dataset = _as_published(dataset)
    dataset.encoding["source"] = version.uri
    return dataset


def _as_published(dataset: xr.Dataset) -> xr.Dataset:
    if "timestep" in dataset.dims:
        dataset = dataset.assign_coords(timestep=_instants(dataset))
        states = dataset.coords.get("sat:orbit_state")
        raw = [str(v) for v in states.values.ravel()] if states is not None else []
        if states is not None and states.ndim == 0:
            raw = raw * dataset.sizes["timestep"]
        words = [_ORBIT_STATES.get(v.lower(), "unknown") for v in raw] or ["unknown"] * dataset.sizes[
            "timestep"
        ]
        dataset = dataset.assign_coords({"sat:orbit_state": ("timestep", np.array(words, dtype=object))})
        order = np.argsort(dataset["timestep"].values, kind="stable")
        if not np.array_equal(order, np.arange(order.size)):
            dataset = dataset.isel(timestep=order)
    if _PUBLISHED_COHERENCE in dataset and "coherence" not in dataset:
        dataset = dataset.rename({_PUBLISHED_COHERENCE: "coherence"})
    if "landslides" in dataset:
        labels = dataset["landslides"]
        # a published label is any number above 0; NaN outside is taken as background, which an attribute states
        dataset["landslides"] = (
            (labels > 0)
            .astype("float32")
            .assign_attrs({**labels.attrs, "label_nan_assumed": "background (0)"})
        )
    return dataset


def _instants(dataset: xr.Dataset) -> tuple[str, Any]:
    """(timestep,) datetime64[us] from datetimes or from strings such as '20180906'."""
    values = dataset["timestep"].values
    if values.dtype.kind == "M":
        return "timestep", values.astype("datetime64[us]")
    try:
        import pandas as pd

        parsed = pd.to_datetime([str(v) for v in values], utc=True, format="mixed")
    except (ValueError, TypeError) as error:
        raise CubeError(
            f"The times of the cube cannot be read ({error}).", "Give ISO 8601 or YYYYMMDD."
        ) from error
    return "timestep", parsed.tz_localize(None).to_numpy().astype("datetime64[us]")
