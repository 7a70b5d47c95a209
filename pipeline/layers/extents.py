"""The mapped extent of an inventory: the area itself, a GeoJSON geometry, or the polygons of a vector file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
from shapely.geometry import shape

from pipeline.archives import inventories
from pipeline.areas.area import AreaOfInterest, Inventory
from pipeline.errors import SourceDataError
from pipeline.layers.outlines.vectors import read_features

FIELD = "inventory.extent_layer"


def file_of(inventory: Inventory) -> str | None:
    """The path or address of the extent's file; None where the area file holds the extent."""
    extent = inventory.extent
    return extent if isinstance(extent, str) and extent != "area" else None


def mapped_extent(
    area: AreaOfInterest, inventory: Inventory, downloads: Path, most_bytes: int = inventories.MOST_BYTES
) -> gpd.GeoSeries:
    """Where the inventory was mapped, in the CRS of its source: edges are straight there.

    Raises:
        ArchiveError: the file cannot be fetched.
        LargerError: a remote file has more than `most_bytes`.
        SourceDataError: it is no vector file, a choice of layers is needed, or the geometry is no GeoJSON.
    """
    address = file_of(inventory)
    if address is not None:
        path = inventories.fetch_file(address, downloads, most_bytes=most_bytes)
        features: gpd.GeoSeries = read_features(path, inventory.extent_layer, FIELD).geometry
        return features
    if isinstance(inventory.extent, dict):
        return gpd.GeoSeries(_geometries(inventory.extent), crs=4326)
    return gpd.GeoSeries([area.footprint], crs=4326)


def _geometries(document: dict[str, Any]) -> list[Any]:
    """The geometries of a GeoJSON geometry, feature or collection."""
    try:
        if document.get("type") == "FeatureCollection":
            return [shape(feature["geometry"]) for feature in document["features"]]
        return [shape(document["geometry"] if document.get("type") == "Feature" else document)]
    except Exception as error:  # shapely raises errors of any type on broken geometry
        raise SourceDataError(
            f"inventory.extent is no GeoJSON geometry ({type(error).__name__}).",
            "Give a Polygon or MultiPolygon.",
        ) from error
