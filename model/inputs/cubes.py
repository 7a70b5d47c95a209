"""Opening a cube for training and mapping: its georeference, its labels, its attributes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from pydantic import Field
from rasterio.crs import CRS
from rasterio.warp import transform_bounds
from shapely.geometry import Polygon
from shapely.geometry import box as rectangle

from model.inputs.windows import Box, tiles, whole
from pipeline.areas.area import load_area
from pipeline.cube.addresses import address_of, named_cube
from pipeline.cube.encoding.georeference import recorded_crs, transform_of
from pipeline.cube.encoding.portable import lines_of
from pipeline.cube.foreign.identity import bytes_digest
from pipeline.cube.foreign.published import PUBLISHED
from pipeline.cube.read import is_built_here, open_cube
from pipeline.errors import ModelError
from pipeline.places import Place
from pipeline.records import Frozen, digest_of_json

UNMAPPED = 255
"""label value of a pixel that nobody mapped"""


class CubeFacts(Frozen):
    """The identity of a cube. By it one can decide later whether a map and a model come from the same cube."""

    uri: str = Field(description="path or URI as given")
    area: str
    version: int | None = Field(None, description="published version; None: not one of ours")
    digest: str = Field(description="sha256 over grid, passes and layer digests")
    shape: tuple[int, int] = Field(description="(y, x)")
    simulated: bool = Field(description="the cube is a simulation, no real place")
    label_nan_assumed: str = Field(
        "", description="how pixels without a label were read, where that was assumed"
    )
    licence: str = ""
    attribution: str = Field("", description="words that must go with every product of the cube")
    missing: tuple[str, ...] = Field((), description="what the cube records as missing")

    @property
    def place(self) -> Place:
        """Where results of the cube belong. A cube that was not built here goes by the name of its file."""
        area = self.area if self.version is not None else Path(self.uri.rstrip("/")).stem
        return Place(area=area, version=self.version)


class Georeference(Frozen):
    """Where the pixels lie. `transform` is (a, b, c, d, e, f) of the affine from pixel corners to metres."""

    crs_wkt: str
    transform: tuple[float, float, float, float, float, float]

    @property
    def affine(self) -> Affine:
        """From (column, row) of a pixel's corner to map coordinates."""
        return Affine(*self.transform)

    @property
    def crs(self) -> CRS:
        """Coordinate reference system."""
        return CRS.from_wkt(self.crs_wkt)

    @property
    def pixel_m(self) -> tuple[float, float]:
        """Pixel size (x, y), metres, both positive."""
        return abs(self.transform[0]), abs(self.transform[4])

    @property
    def pixel_area_m2(self) -> float:
        """Area of one pixel, square metres."""
        return self.pixel_m[0] * self.pixel_m[1]


def load(cube: str) -> tuple[xr.Dataset, CubeFacts]:
    """Open a cube by path or by the name of an area; returns the dataset, rows from north to south, and its identity.

    If the cube has versions, the latest is opened.

    Raises:
        CubeError: there is no such cube or it cannot be read.
        ModelError: it is no cube of this schema.
    """
    dataset = open_cube(named_cube(cube))
    source = str(dataset.encoding.get("source", cube))
    dataset = _with_event(prepared(dataset), source)
    return dataset, facts(dataset, source)


def _with_event(cube: xr.Dataset, source: str) -> xr.Dataset:
    """Add the event of its area file to a published cube; any other cube is returned unchanged."""
    area = PUBLISHED.get(address_of(source).name)
    if area is None or cube.attrs.get("event") is not None or cube.attrs.get("schema") is not None:
        return cube
    event = load_area(area).event
    return cube.assign_attrs(
        event=json.dumps({"start": event.start.isoformat(), "end": event.end.isoformat()}),
        event_assumed=f"the cube records no event: that of the area file {area} is taken, by the cube's name",
    )


def prepared(cube: xr.Dataset) -> xr.Dataset:
    """Check that the dataset has the dimensions and evenly spaced coordinates that training needs.

    The returned dataset has rows from north to south and columns from west to east.

    Raises:
        ModelError: a dimension or coordinate is missing or irregular.
    """
    for name in ("timestep", "y", "x"):
        if name not in cube.dims or name not in cube.coords:
            raise ModelError(
                f"The cube has no coordinate {name!r}.", "Give a cube with the dimensions timestep, y, x."
            )
    if cube.sizes["y"] < 2 or cube.sizes["x"] < 2:
        raise ModelError("The cube is smaller than 2 x 2 pixels.")
    for name in ("y", "x"):
        steps = np.diff(np.asarray(cube[name].values, dtype=np.float64))
        if (
            not np.isfinite(steps).all()
            or steps[0] == 0
            or np.abs(steps - steps[0]).max() > 1e-3 * abs(steps[0])
        ):
            raise ModelError(f"The cube's {name} coordinate is not evenly spaced.")
    if cube.y.values[1] > cube.y.values[0]:
        cube = cube.isel(y=slice(None, None, -1))
    if cube.x.values[1] < cube.x.values[0]:
        cube = cube.isel(x=slice(None, None, -1))
    return cube


def shape_of(cube: xr.Dataset) -> tuple[int, int]:
    """(y, x)"""
    return int(cube.sizes["y"]), int(cube.sizes["x"])


def facts(cube: xr.Dataset, uri: str) -> CubeFacts:
    """The identity of a cube, from its attributes, with a digest.

    The digest is over grid, passes, layer digests and the bytes of the manifest, which names the content; of a cube
    that was not built here over all its bytes.
    """
    identity: dict[str, Any] = {
        "shape": shape_of(cube),
        "x": [float(cube.x[0]), float(cube.x[-1])],
        "y": [float(cube.y[0]), float(cube.y[-1])],
        "timestep": [str(t) for t in cube.timestep.values],
        "variables": sorted(str(name) for name in cube.data_vars),
        "layers": [str(d) for d in cube.layer_digest.values] if "layer_digest" in cube.coords else [],
    }
    if "event_assumed" in cube.attrs:  # it comes from an area file, not from the bytes of the cube
        identity["event assumed"] = str(cube.attrs["event"])
    address = address_of(uri)
    if is_built_here(address):
        for name in ("manifest.json", "zarr.json"):
            if (raw := address.read(name)) is not None:
                identity[name] = hashlib.sha256(raw).hexdigest()
    elif (digest := bytes_digest(address)) is not None:
        identity["bytes"] = digest
    assumed = cube["landslides"].attrs.get("label_nan_assumed") if "landslides" in cube else None
    return CubeFacts(
        uri=uri,
        area=str(cube.attrs.get("area") or address.name),
        version=address.number,
        digest=digest_of_json(identity),
        shape=shape_of(cube),
        simulated=_truth(cube.attrs.get("simulated", False)),
        label_nan_assumed=str(assumed or ""),
        licence=str(cube.attrs.get("license") or cube.attrs.get("licence") or ""),
        attribution=str(cube.attrs.get("attribution") or ""),
        missing=lines_of(cube.attrs.get("missing", "")),
    )


def _truth(value: object) -> bool:
    return value.strip().lower() in {"true", "yes", "1"} if isinstance(value, str) else bool(value)


def georeference(cube: xr.Dataset) -> Georeference:
    """Where the cube lies: the coordinate reference system that it records, and its coordinates x and y.

    Raises:
        ModelError: no coordinate reference system is recorded.
    """
    crs = recorded_crs(cube)
    if crs is None:
        raise ModelError(
            "The cube records no coordinate reference system, so no map can be made of it.",
            "Write it with `cube.rio.write_crs('EPSG:...')`.",
        )
    a, b, c, d, e, f = tuple(transform_of(cube))[:6]
    return Georeference(crs_wkt=crs.to_wkt(), transform=(a, b, c, d, e, f))


def pixel_m(cube: xr.Dataset) -> tuple[float, float]:
    """Size of a pixel (x, y), metres."""
    x, y = cube.x.values, cube.y.values
    return abs(float(x[1] - x[0])), abs(float(y[1] - y[0]))


def grid_of(cube: xr.Dataset) -> Georeference | None:
    """Where the cube lies; None if it does not record it: maps need it, training does not."""
    try:
        return georeference(cube)
    except ModelError:
        return None


def footprint(grid: Georeference, shape: tuple[int, int]) -> Polygon:
    """The scene's extent in degrees of longitude and latitude (WGS 84)."""
    height, width = shape
    left, top = grid.affine @ (0, 0)
    right, bottom = grid.affine @ (width, height)
    return rectangle(*transform_bounds(grid.crs, "EPSG:4326", left, bottom, right, top))


def coherence(cube: xr.Dataset) -> xr.DataArray:
    """(timepair, y, x) interferometric coherence, of one processor.

    Processors differ in estimator and window, so their coherence differs in bias and spread. Values of two processors
    must not be mixed.

    Raises:
        ModelError: the cube has no coherence, or its pairs come from more than one backend.
    """
    if "coherence" not in cube:
        raise ModelError(
            "The cube has no coherence.",
            "Build it with an area that has `interferometry` and a backend (SLIDECUBE_INSAR_BACKEND).",
        )
    pairs = cube["coherence"]
    if "timepair_backend" in cube.coords:
        backends = sorted({str(name) for name in cube["timepair_backend"].values})
        if len(backends) > 1:
            raise ModelError(
                f"The cube's pairs come from more than one backend ({', '.join(backends)}), whose coherence differs.",
                "Choose the pairs of one (cube.sel(timepair=cube.timepair_backend == 'isce2')), or build a cube of it.",
            )
    return pairs


def labels(cube: xr.Dataset) -> NDArray[np.uint8]:
    """(y, x) 1 landslide, 0 no landslide, 255 not mapped (`UNMAPPED`).

    Raises:
        ModelError: the cube has no labels.
    """
    if "landslides" not in cube:
        missing = cube.attrs.get("missing", ())
        lines = [missing] if isinstance(missing, str) else [str(line) for line in missing]
        why = next((line for line in lines if line.startswith("labels")), "")
        raise ModelError(
            f"The cube has no labels (variable 'landslides'){f'; it records: {why}' if why else ''}.",
            "Name an inventory in the area file and build again; `slidecube map CUBE` works without labels.",
        )
    values = np.empty(shape_of(cube), dtype=np.uint8)
    for box in tiles(whole(values.shape), 1024):
        values[box.slices] = label_window(cube, box)
    return values


def label_window(cube: xr.Dataset, box: Box) -> NDArray[np.uint8]:
    """(y, x) labels of a box, as `labels`."""
    rows, columns = box.slices
    raw = np.asarray(cube["landslides"].isel(y=rows, x=columns).values, dtype=np.float32)
    return np.where(np.isfinite(raw), (raw > 0).astype(np.uint8), np.uint8(UNMAPPED)).astype(np.uint8)
