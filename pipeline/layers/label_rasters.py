"""Labels: an inventory rasterised on the grid, by the centre rule, as exact fractions, and as identities."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from pipeline.areas.area import Inventory
from pipeline.cube.layers import LayerData
from pipeline.errors import SourceDataError
from pipeline.grid import Grid
from pipeline.layers.outlines.coverage import centres_in, shares_of
from pipeline.layers.outlines.deciding_attributes import Span, remarks_on_unused
from pipeline.layers.outlines.polygons import counted_polygons, extent_on_grid
from pipeline.layers.outlines.vectors import read_inventory

__all__ = ["LANDSLIDES_FILE", "rasterise_labels", "read_inventory"]

log = logging.getLogger(__name__)

LANDSLIDES_FILE = "landslides.parquet"
LARGEST_AREA_ERROR = 1e-5
"""Relative; fractions whose area differs more from that of the polygons (or of a pixel, if larger) are refused."""


def rasterise_labels(
    frame: gpd.GeoDataFrame,
    inventory: Inventory,
    grid: Grid,
    mapped_extent: gpd.GeoSeries | None,
    span: Span | None = None,
) -> LayerData:
    """`landslides`, `landslide_fraction` (float32) and `landslide_id` (int32), each (y, x), and landslides.parquet.

    `mapped_extent` has polygons in any CRS; None: the whole grid was mapped. `span` has the first and last day on which
    a landslide of the event can have happened; attributes that contradict it, or that look like an unused class, are
    named in the report's "remarks". Values of a pixel:

    - landslides: 1 where its centre lies in a landslide (half-open, see `coverage.centres_in`), 0 mapped and none, NaN
      not mapped;
    - landslide_fraction: exact share of it that the union of the landslides covers, NaN not mapped;
    - landslide_id: id in landslides.parquet of the landslide with the largest share (equal shares: the lowest
      id), 0 where there is none or the pixel is not mapped.

    A pixel is mapped where its centre lies in the extent, by the same rule. Shares: see `coverage.shares_of`. The file
    holds the polygons that count, in the grid's CRS: id from 1, class, source_feature, area_m2 (planar), and the
    source's attributes.

    Raises:
        SourceDataError: see `counted_polygons`; the extent is no polygon or does not meet the grid; or the fractions do
            not have the area of the polygons.
    """
    polygons, report = counted_polygons(frame, inventory, grid)
    mapped = _mapped(mapped_extent, grid)
    geometry = np.asarray(polygons.geometry.values, dtype=object)
    union = shapely.union_all(geometry)

    fraction, owner = _fractions(union, grid), _owners(geometry, grid)
    centre = centres_in(geometry, grid)
    remarks = [*frame.attrs.get("remarks", []), *remarks_on_unused(polygons[frame.columns], inventory, span)]
    if remarks:
        log.warning("%s: %s", inventory.name, "; ".join(remarks))
    report |= {
        "file": frame.attrs.get("file"),
        "layer": frame.attrs.get("layer"),
        "remarks": remarks,
        "polygon_area_m2": float(polygons["area_m2"].sum()),
        **_areas(union, fraction, grid),
        "centre_area_m2": float(np.count_nonzero(centre)) * grid.resolution_m**2,
        "landslides_without_a_pixel_centre": _without_centre(geometry, owner, centre),
        "landslide_pixels": int(np.count_nonzero(centre & mapped)),
        "landslide_pixels_not_mapped": int(np.count_nonzero(centre & ~mapped)),
        "unmapped_pixels": int(np.count_nonzero(~mapped)),
    }
    if (beyond := report["landslide_pixels_not_mapped"]) > 0:
        log.warning("%d landslide pixels lie outside the mapped extent and are NaN", beyond)
    landslides = np.where(mapped, centre, np.float32(np.nan)).astype(np.float32, copy=False)
    fraction[~mapped] = np.nan
    owner[~mapped] = 0
    return LayerData(
        {"landslides": landslides, "landslide_fraction": fraction, "landslide_id": owner},
        _attributes(inventory, mapped_extent is None, remarks),
        report,
        {LANDSLIDES_FILE: _parquet(polygons)},
    )


def examine_inventory(
    frame: gpd.GeoDataFrame, inventory: Inventory, grid: Grid, span: Span | None
) -> list[str]:
    """The remarks of `rasterise_labels` on the same inventory, without the pixels.

    Raises:
        SourceDataError: see `counted_polygons`.
    """
    polygons, _ = counted_polygons(frame, inventory, grid)
    return [*frame.attrs.get("remarks", []), *remarks_on_unused(polygons[frame.columns], inventory, span)]


def _areas(union: shapely.Geometry, fraction: NDArray[np.float32], grid: Grid) -> dict[str, float]:
    """Area of the landslides as polygons and as fractions of pixels (y, x), and how much the two differ.

    Raises:
        SourceDataError: by more than `LARGEST_AREA_ERROR`.
    """
    in_grid_m2 = float(shapely.intersection(union, shapely.box(*grid.bounds)).area)
    covered_m2 = float(fraction.sum(dtype=np.float64)) * grid.resolution_m**2
    error = (covered_m2 - in_grid_m2) / in_grid_m2 if in_grid_m2 else 0.0
    if abs(covered_m2 - in_grid_m2) > LARGEST_AREA_ERROR * max(in_grid_m2, grid.resolution_m**2):
        raise SourceDataError(
            f"The fractions of pixels cover {covered_m2:.1f} m², the landslides {in_grid_m2:.1f} m².",
            "Report the inventory: its outlines are not computed rightly.",
        )
    return {
        "union_area_m2": float(union.area),
        "union_area_in_grid_m2": in_grid_m2,
        "fraction_area_m2": covered_m2,
        "fraction_area_relative_error": error,
    }


def _mapped(extent: gpd.GeoSeries | None, grid: Grid) -> NDArray[np.bool_]:
    """(y, x) where the pixel's centre lies in the mapped extent."""
    if extent is None:
        return np.ones(grid.shape, bool)
    outline = extent_on_grid(gpd.GeoDataFrame(geometry=extent), grid)
    mapped = centres_in(np.array([outline], dtype=object), grid)
    if not mapped.any():
        raise SourceDataError(
            "The mapped extent does not meet the area.", "Check the inventory's extent in the area file."
        )
    return mapped


def _fractions(union: shapely.Geometry, grid: Grid) -> NDArray[np.float32]:
    """(y, x) share of each pixel that the union of the landslides covers."""
    fraction = np.zeros(grid.shape, np.float32)
    for part in shapely.get_parts(union):
        for cells, share in shares_of(part, grid):
            fraction.flat[cells] += share
    np.minimum(fraction, 1, out=fraction)
    return fraction


def _owners(geometry: NDArray[np.object_], grid: Grid) -> NDArray[np.int32]:
    """(y, x) id, from 1, of the polygon with the largest share of each pixel; 0 none; ties to the lowest."""
    owner = np.zeros(grid.shape, np.int32)
    largest = np.zeros(grid.shape, np.float32)
    for number, polygon in enumerate(geometry, start=1):
        for cells, share in shares_of(polygon, grid):
            more = share > largest.flat[cells]
            largest.flat[cells[more]] = share[more]
            owner.flat[cells[more]] = number
    return owner


def _without_centre(
    geometry: NDArray[np.object_], owner: NDArray[np.int32], centre: NDArray[np.bool_]
) -> int:
    """The number of landslides that own no labelled pixel: they are too small or narrow for the centre rule."""
    return len(geometry) - int(np.count_nonzero(np.unique(owner[centre])))


def _parquet(polygons: gpd.GeoDataFrame) -> bytes:
    own = {"class", "source_feature", "area_m2"}
    columns: dict[str, Any] = {
        "id": np.arange(1, len(polygons) + 1, dtype=np.int32),
        "source_feature": polygons["source_feature"].to_numpy(),
        "class": polygons["class"].to_numpy(),
        "area_m2": polygons["area_m2"].to_numpy(),
    }
    for name in polygons.columns:
        if name in own or name == polygons.geometry.name:
            continue
        label = str(name)
        while label in columns or label == "geometry":
            label = f"source_{label}"
        columns[label] = _storable(polygons[name])
    table = gpd.GeoDataFrame(columns, geometry=polygons.geometry.to_numpy(), crs=polygons.crs)
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()


def _storable(values: pd.Series) -> Any:
    """A column that Parquet can hold: a value that is not plain becomes JSON text."""
    plain = values.reset_index(drop=True)
    if plain.dtype == object:
        plain = pd.Series(
            [_text(v) if not isinstance(v, bool | int | float) else v for v in plain], dtype=object
        )
    try:
        pa.array(plain, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        plain = pd.Series([None if v is None else str(_text(v)) for v in plain], dtype=object)
    return plain.to_numpy() if plain.dtype == object else plain.array


def _text(value: object) -> str | None:
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, bytes):
        return value.hex()
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text.encode("utf-8", "replace").decode("utf-8")


def _attributes(inventory: Inventory, whole_grid: bool, remarks: list[str]) -> dict[str, dict[str, Any]]:
    source: dict[str, Any] = {
        "inventory": inventory.name,
        "citation": inventory.citation,
        "licence": inventory.licence,
        "classes_counted": list(inventory.count),
    }
    if inventory.point_radius_m is not None:
        source["point_radius_m"] = inventory.point_radius_m
    if inventory.attribution is not None:
        source["attribution"] = inventory.attribution
    if inventory.date_field is not None and inventory.dates is not None:
        source["dates_counted"] = [day.isoformat() for day in inventory.dates]
    if remarks:
        source["remarks"] = "; ".join(remarks)
    if inventory.extent_assumed is not None:
        source["extent_assumed"] = inventory.extent_assumed
    mapped = "the whole grid" if whole_grid else "where the pixel's centre lies in the mapped extent"
    return {
        "landslides": {
            "rule": "1 where the pixel's centre lies in a landslide (of centres on its outline: those on western and "
            "southern edges), 0 mapped and none, NaN not mapped",
            "mapped": mapped,
            **source,
        },
        "landslide_fraction": {
            "rule": "exact share of the pixel covered by the union of all landslides, NaN not mapped",
            "mapped": mapped,
            **source,
        },
        "landslide_id": {
            "rule": f"id in {LANDSLIDES_FILE} of the landslide that covers most of the pixel (equal: the lowest "
            "id), 0 none or not mapped",
            **source,
        },
    }
