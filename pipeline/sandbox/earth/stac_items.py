"""STAC items in the form of the Planetary Computer, with its peculiarities."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from affine import Affine
from pyproj import Transformer
from shapely import Geometry, transform
from shapely.geometry import mapping

from pipeline.records import Frozen

STAC_ROOT = "https://planetarycomputer.microsoft.com/api/stac/v1"
RTC_HOST = "sentinel1euwestrtc.blob.core.windows.net"
RTC_CONTAINER = "sentinel1-grd-rtc"
_RADAR = {"vv": "vertical transmit, vertical receive", "vh": "vertical transmit, horizontal receive"}
_DESIGNATOR = {"S1A": "2014-016A", "S1B": "2016-025A", "S1C": "2024-232A"}


class Raster(Frozen):
    """Address and lattice of a file."""

    epsg: int
    transform: tuple[float, float, float, float, float, float]
    width: int
    height: int

    @classmethod
    def of(cls, epsg: int, transform: Affine, shape: tuple[int, int]) -> Raster:
        """A raster from an affine transform and a shape (y, x)."""
        return cls(epsg=epsg, transform=tuple(transform)[:6], width=shape[1], height=shape[0])

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """left, bottom, right, top"""
        a, _, left, _, e, top = self.transform
        return left, top + e * self.height, left + a * self.width, top


class BlobFacts(Frozen):
    """An item's values of one of its files."""

    href: str
    size_bytes: int
    md5: str
    nodata: float | str
    pixel_m: float


class RtcFacts(Frozen):
    """The values of an RTC item. `assumed` names properties that the data does not state."""

    id: str
    platform: str  # S1A
    absolute_orbit: int
    relative_orbit: int
    datatake: int
    direction: str
    start: datetime
    end: datetime
    number: int
    total: int
    raster: Raster
    blobs: dict[str, BlobFacts]
    assumed: tuple[str, ...] = ()


def to_degrees(geometry: Geometry, epsg: int) -> Geometry:
    """The geometry in degrees of WGS 84, longitude first."""
    return transform(geometry, Transformer.from_crs(epsg, 4326, always_xy=True).transform, interleaved=False)


def rtc_item(facts: RtcFacts, footprint: Geometry) -> dict[str, Any]:
    """An item of `sentinel-1-rtc`; `footprint` in degrees.

    As in recorded items: a blank instead of T in start and end, `s1:shape` reversed, numbers as strings,
    platform in upper case, MD5 as checksum.
    """
    properties, assets = _rtc_properties(facts), _rtc_assets(facts)
    return _item(facts.id, "sentinel-1-rtc", footprint, properties, assets) | {
        "stac_extensions": [
            f"https://stac-extensions.github.io/{name}/schema.json"
            for name in ("sar/v1.0.0", "sat/v1.0.0", "projection/v1.1.0", "file/v2.0.0", "raster/v1.1.0")
        ]
    }


def _rtc_properties(facts: RtcFacts) -> dict[str, Any]:
    raster = facts.raster
    middle = facts.start + (facts.end - facts.start) / 2
    properties: dict[str, Any] = {
        "datetime": middle.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "platform": f"SENTINEL-{facts.platform[1:]}",
        "s1:shape": [raster.width, raster.height],
        "proj:bbox": list(raster.bounds),
        "proj:epsg": raster.epsg,
        "proj:shape": [raster.height, raster.width],
        "end_datetime": facts.end.isoformat(sep=" ", timespec="microseconds"),
        "constellation": "Sentinel-1",
        "s1:resolution": "high",
        "proj:transform": [*raster.transform, 0.0, 0.0, 1.0],
        "s1:datatake_id": str(facts.datatake),
        "start_datetime": facts.start.isoformat(sep=" ", timespec="microseconds"),
        "s1:orbit_source": "RESORB",
        "s1:slice_number": str(facts.number),
        "s1:total_slices": str(facts.total),
        "sar:looks_range": 5,
        "sat:orbit_state": facts.direction,
        "sar:product_type": "GRD",
        "sar:looks_azimuth": 1,
        "sar:polarizations": [pol.upper() for pol in sorted(facts.blobs, reverse=True)],
        "sar:frequency_band": "C",
        "sat:absolute_orbit": facts.absolute_orbit,
        "sat:relative_orbit": facts.relative_orbit,
        "s1:processing_level": "1",
        "sar:instrument_mode": "IW",
        "sar:center_frequency": 5.405,
        "sar:resolution_range": 20,
        "s1:product_timeliness": "Fast-24h",
        "sar:resolution_azimuth": 22,
        "sar:pixel_spacing_range": 10,
        "sar:observation_direction": "right",
        "sar:pixel_spacing_azimuth": 10,
        "sar:looks_equivalent_number": 4.4,
        "s1:instrument_configuration_ID": "6",
        "sat:platform_international_designator": _DESIGNATOR.get(facts.platform, "unknown"),
    }
    if facts.assumed:
        properties["slidecube:assumed"] = list(facts.assumed)
    return properties


def _rtc_assets(facts: RtcFacts) -> dict[str, Any]:
    """One file a polarisation."""
    return {
        pol: {
            "href": blob.href,
            "file:size": blob.size_bytes,
            "file:checksum": blob.md5,
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "roles": ["data"],
            "title": f"{pol.upper()}: {_RADAR[pol]}",
            "description": "Terrain-corrected gamma naught values.",
            "raster:bands": [
                {"nodata": blob.nodata, "data_type": "float32", "spatial_resolution": blob.pixel_m}
            ],
        }
        for pol, blob in sorted(facts.blobs.items())
    }


def dem_item(item_id: str, collection: str, href: str, raster: Raster, footprint: Geometry) -> dict[str, Any]:
    """An item of `nasadem` (asset `elevation`) or `cop-dem-glo-30` (asset `data`), in degrees."""
    nasadem = collection == "nasadem"
    properties: dict[str, Any] = {
        "datetime": "2000-02-20T00:00:00Z" if nasadem else "2021-04-22T00:00:00Z",
        "proj:epsg": raster.epsg,
        "proj:shape": [raster.height, raster.width],
        "proj:transform": [*raster.transform, 0.0, 0.0, 1.0] if nasadem else list(raster.transform),
    }
    if nasadem:
        properties["proj:bbox"] = list(raster.bounds)
    else:
        properties |= {"gsd": 30, "platform": "TanDEM-X"}
    asset = {
        "href": href,
        "type": "image/tiff; application=geotiff; profile=cloud-optimized",
        "roles": ["data"],
        "title": "Elevation" if nasadem else item_id,
    }
    item = _item(item_id, collection, footprint, properties, {"elevation" if nasadem else "data": asset})
    return item | {"stac_extensions": ["https://stac-extensions.github.io/projection/v1.0.0/schema.json"]}


def _item(
    item_id: str, collection: str, footprint: Geometry, properties: dict[str, Any], assets: dict[str, Any]
) -> dict[str, Any]:
    at = f"{STAC_ROOT}/collections/{collection}"
    geometry = mapping(footprint)
    return {
        "id": item_id,
        "bbox": list(footprint.bounds),
        "type": "Feature",
        "links": [
            {"rel": "collection", "type": "application/json", "href": at},
            {"rel": "parent", "type": "application/json", "href": at},
            {"rel": "root", "type": "application/json", "href": f"{STAC_ROOT}/"},
            {"rel": "self", "type": "application/geo+json", "href": f"{at}/items/{item_id}"},
        ],
        "assets": assets,
        "geometry": {
            "type": geometry["type"],
            "coordinates": [[list(point) for point in ring] for ring in geometry["coordinates"]],
        },
        "collection": collection,
        "properties": properties,
        "stac_version": "1.0.0",
    }
