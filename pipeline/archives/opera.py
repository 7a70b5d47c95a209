"""OPERA RTC-S1 at ASF: backscatter of single bursts on pixels of 30 m, listed by CMR, behind Earthdata's login.

CMR describes a burst in UMM-G; its items are given on as STAC, which the catalogue reads of every archive. Names follow
the OPERA RTC-S1 Product Specification (JPL D-108758): track, burst and subswath, start, processing, satellite, spacing,
version. A burst has a file of each polarisation, and the mask of layover and shadow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import shapely
from shapely.geometry import shape

from pipeline.archives.archive import Query, Reachable
from pipeline.archives.asf import Asf
from pipeline.areas.backscatter_sources import OPERA_RTC
from pipeline.catalogue.granules import attributes_and_fields, outline_of
from pipeline.catalogue.item_fields import ITEM_PROPERTY, says_simulated
from pipeline.catalogue.items import BURST_PROPERTY, MASK_ASSET

NAME = re.compile(
    r"OPERA_L2_RTC-S1_(?P<burst>T(?P<track>\d{3})-\d{6}-IW[123])_(?P<start>\d{8}T\d{6})Z_(?P<processed>\d{8}T\d{6})Z"
    r"_S1(?P<unit>[A-D])_30_v\d+\.\d+",
    re.ASCII,
)
_SLC = re.compile(
    r"S1(?P<unit>[A-D])_IW_SLC__1S\w{2}_\w{15}_\w{15}_(?P<orbit>\d{6})_(?P<datatake>[0-9A-F]{6})_", re.ASCII
)
_LAYERS = {"VV": "vv", "VH": "vh", "HH": "hh", "HV": "hv", "mask": MASK_ASSET}
_POLAR = ((75.0, 90.0, 3413), (-90.0, -60.0, 3031))
"""Latitudes beyond which bursts lie on a polar stereographic lattice instead of UTM (OPERA burst database)."""


class OperaRtc(Asf):
    """The collection OPERA_L2_RTC-S1_V1; its files lie on ASF's hosts, so that `Asf` opens them and limits readers."""

    title = "ASF (OPERA RTC-S1)"
    hosts: ClassVar[tuple[str, ...]] = ()
    collections = frozenset({OPERA_RTC})

    def search(self, collection: str, query: Query) -> list[dict[str, Any]]:
        """STAC items of every burst that meets the geometry's box within the time, on the tracks.

        A burst that CMR describes incompletely is among them: the catalogue names it and leaves it out.

        Raises:
            ArchiveError: refused, failed, malformed, incomplete, or more items than any area can need.
        """
        from pipeline.archives import cmr  # asf-search takes half a second to import

        found = cmr.search_dataset(query, "bursts of OPERA RTC-S1", dataset="OPERA-S1", processingLevel="RTC")
        return [stac_item(item) for item in found]

    def reachability(self) -> list[Reachable]:
        """Nothing beside what `Asf` has."""
        return []


def stac_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """A burst as CMR describes it, as a STAC item; what CMR does not state, or contradicts, is not in it.

    Orbit and datatake are those of the SLC product that the burst was made of: the same overflight has the same name in
    every archive.
    """
    fields = attributes_and_fields(item)
    name = str(fields.get("GranuleUR"))
    named = NAME.fullmatch(name)
    stated = named.groupdict() if named else {}
    outline = _outline(fields)
    properties: dict[str, Any] = {
        "start_datetime": _time(fields, "BeginningDateTime"),
        "end_datetime": _time(fields, "EndingDateTime"),
        "platform": _agreed(_platform(fields), f"Sentinel-1{stated.get('unit', '')}"),
        "sat:orbit_state": fields.get("ASCENDING_DESCENDING"),
        "sat:relative_orbit": _agreed(_whole(fields.get("PATH_NUMBER")), _whole(stated.get("track"))),
        "sat:absolute_orbit": _orbit(fields),
        "s1:datatake_id": _datatake(fields),
        "s1:processing_datetime": _iso(stated.get("processed", "")),
        "sar:product_type": "RTC",
        "proj:epsg": None if outline is None else nominal_epsg(outline),
        BURST_PROPERTY: stated.get("burst"),
    }
    if says_simulated(item):
        properties[ITEM_PROPERTY] = True
    found: dict[str, Any] = {
        "id": name,
        "type": "Feature",
        "collection": OPERA_RTC,
        "geometry": outline,
        "properties": {key: value for key, value in properties.items() if value is not None},
        "assets": {_LAYERS[layer]: {"href": href} for layer, href in _files(fields, name)},
    }
    if outline is not None:
        found["bbox"] = list(shape(outline).bounds)
    return found


def nominal_epsg(outline: Mapping[str, Any]) -> int:
    """The reference system of a burst by its centre: its UTM zone, or polar stereographic near a pole.

    It groups the items of a burst and is shown to people. Pixels are placed by what their file states.
    """
    west, south, east, north = shapely.bounds(shape(outline)).tolist()
    longitude, latitude = (west + east) / 2, (south + north) / 2
    for low, high, epsg in _POLAR:
        if low <= latitude <= high:
            return epsg
    zone = min(int((longitude + 180) // 6) + 1, 60)
    return (32600 if latitude >= 0 else 32700) + zone


def _outline(fields: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        return outline_of(fields["SpatialExtent"]["HorizontalSpatialDomain"]["Geometry"]["GPolygons"])
    except (KeyError, TypeError, ValueError):
        return None


def _time(fields: Mapping[str, Any], which: str) -> Any:
    extent = fields.get("TemporalExtent")
    span = extent.get("RangeDateTime") if isinstance(extent, Mapping) else None
    return span.get(which) if isinstance(span, Mapping) else None


def _platform(fields: Mapping[str, Any]) -> str | None:
    """'Sentinel-1A', in whatever case CMR has it."""
    platforms = fields.get("Platforms")
    first = platforms[0] if isinstance(platforms, list) and platforms else None
    name = first.get("ShortName") if isinstance(first, Mapping) else None
    return name.strip().title() if isinstance(name, str) else None


def _agreed(*stated: Any) -> Any:
    """What all of them state; where they differ, all of it, which no field accepts, so that the item is refused."""
    different = list(dict.fromkeys(stated))
    return different[0] if len(different) == 1 else " / ".join(map(str, different))


def _orbit(fields: Mapping[str, Any]) -> Any:
    """The absolute orbit that CMR states and that the SLC product is named after."""
    domains = fields.get("OrbitCalculatedSpatialDomains")
    first = domains[0] if isinstance(domains, list) and domains else None
    stated = first.get("OrbitNumber") if isinstance(first, Mapping) else None
    return _agreed(*[stated, *(int(found["orbit"]) for found in _products(fields))])


def _datatake(fields: Mapping[str, Any]) -> str | None:
    """The datatake of the SLC products, as a decimal number."""
    numbers = {str(int(found["datatake"], 16)) for found in _products(fields)}
    return _agreed(*sorted(numbers)) if numbers else None


def _products(fields: Mapping[str, Any]) -> list[re.Match[str]]:
    """The names of the SLC products that the burst was made of: one, or two where it lies on their border."""
    inputs = fields.get("InputGranules")
    names = [one for one in inputs if isinstance(one, str)] if isinstance(inputs, list) else []
    return [found for name in names if (found := _SLC.match(name)) is not None]


def _files(fields: Mapping[str, Any], name: str) -> Iterator[tuple[str, str]]:
    """Layer and https address of each raster that is named after the burst."""
    links = fields.get("RelatedUrls")
    for link in links if isinstance(links, list) else []:
        url = link.get("URL") if isinstance(link, Mapping) and link.get("Type") == "GET DATA" else None
        if not isinstance(url, str) or not url.startswith("https://"):
            continue
        layer = url.rpartition("/")[2].removeprefix(f"{name}_").removesuffix(".tif")
        if layer in _LAYERS and url.endswith(f"/{name}_{layer}.tif"):
            yield layer, url


def _iso(compact: str) -> str | None:
    """'20231202T162856' as '2023-12-02T16:28:56Z'."""
    if not compact:
        return None
    day, time = compact.split("T")
    return f"{day[:4]}-{day[4:6]}-{day[6:]}T{time[:2]}:{time[2:4]}:{time[4:]}Z"


def _whole(text: Any) -> Any:
    return (
        int(text) if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 10 else text
    )
