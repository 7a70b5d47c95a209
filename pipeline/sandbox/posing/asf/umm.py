"""Granules and bursts as NASA's Common Metadata Repository describes them (UMM-G, recorded in version 1.6.6).

Fields of recorded responses that a world does not have are omitted or "NA", as in the archive.
"""

from __future__ import annotations

import hashlib
import math
from datetime import datetime, timedelta
from typing import Any

from shapely.geometry import shape

from pipeline.catalogue.slc import Burst, Granule, StateVector
from pipeline.sandbox.earth.parameters import SandboxError

BURSTS_COLLECTION, OPERA_COLLECTION = "SENTINEL-1_BURSTS", "OPERA_L2_RTC-S1_V1"
PROVIDER = "ASF"
# concept ids of ASF's collections; those of 1C and 1D are unknown
COLLECTIONS = {
    "SENTINEL-1A_SLC": "C1214470488-ASF",
    "SENTINEL-1B_SLC": "C1327985661-ASF",
    "SENTINEL-1C_SLC": "C9000000003-ASF",
    "SENTINEL-1D_SLC": "C9000000004-ASF",
    BURSTS_COLLECTION: "C2709161906-ASF",
    OPERA_COLLECTION: "C2777436413-ASF",
}

_INCLINATION = math.radians(98.18)
_REVOLUTION = timedelta(days=12) / 175
_BURST_CYCLE = timedelta(seconds=2.758273)
# delay of the sensing start after the zero-Doppler time of the first line, and its duration (recorded, IW3)
_SENSING_AFTER, _SENSING_LASTS = timedelta(seconds=1.145003), timedelta(seconds=3.12239)
_MODE = (
    "Interferometric Wide. 250 km swath, 5 m x 20 m spatial resolution and burst synchronization for interferometry. "
    "IW is considered to be the standard mode over land masses."
)
_IPF = "003.61"  # of the products that the simulator takes its annotation from
_SPECIFICATION = {
    "URL": "https://cdn.earthdata.nasa.gov/umm/granule/v1.6.6",
    "Name": "UMM-G",
    "Version": "1.6.6",
}
_MEBIBYTE = 2**20

Item = dict[str, Any]


def granule_item(granule: Granule) -> Item:
    """The search result of an SLC product: `meta` and `umm`."""
    processed = _processed(granule)
    distribution = {"Name": "Not provided", "SizeUnit": "MB"}
    if granule.size_bytes is not None:
        distribution["Size"] = granule.size_bytes / _MEBIBYTE  # type: ignore[assignment]
    umm = {
        "TemporalExtent": _extent(granule.start, granule.end),
        "OrbitCalculatedSpatialDomains": [{"OrbitNumber": granule.absolute_orbit}],
        "GranuleUR": f"{granule.name}-SLC",
        "AdditionalAttributes": _attributes(_granule_values(granule)),
        "SpatialExtent": spatial_extent(granule.geometry),
        "ProviderDates": dates_of(processed),
        "CollectionReference": {"ShortName": f"{_platform(granule.platform)}_SLC", "Version": "1"},
        "PGEVersionClass": {"PGEName": "Sentinel-1 IPF", "PGEVersion": _IPF},
        "RelatedUrls": _granule_links(granule),
        "DataGranule": {
            "DayNightFlag": "Unspecified",
            "Identifiers": [{"Identifier": granule.name, "IdentifierType": "ProducerGranuleId"}],
            # the archive states the start of the scene here, not when it was processed (recorded)
            "ProductionDateTime": _time(granule.start),
            "ArchiveAndDistributionInformation": [distribution],
        },
        "Platforms": [{"ShortName": _platform(granule.platform), "Instruments": [{"ShortName": "C-SAR"}]}],
        "MetadataSpecification": _SPECIFICATION,
    }
    return {"meta": meta_of(umm, processed, "application/echo10+xml"), "umm": umm}


def _granule_values(granule: Granule) -> dict[str, str | None]:
    """The additional attributes, by name."""
    unit = _unit(granule.platform)
    ring = _ring(granule.geometry)
    centre = shape(granule.geometry).centroid
    processed = _processed(granule)
    mode = granule.name[13:16]  # 1SDV: dual polarisation, vertical
    values: dict[str, str | None] = {
        "ACQUISITION_DATE": _time(granule.end),
        "ASCENDING_DESCENDING": granule.direction.upper(),
        "ASC_NODE_TIME": _optional_time(ascending_node(granule.state_vectors)),
        "ASF_PLATFORM": f"Sentinel-{unit[1:]}",
        "BEAM_MODE": "IW",
        "BEAM_MODE_DESC": _MODE,
        "BEAM_MODE_TYPE": "IW",
        "BYTES": _text(granule.size_bytes),
        # the middle of three frames of the reference grid, as in every recorded result
        "CENTER_FRAME_ID": None if granule.frame is None else str(granule.frame + 3),
        "CENTER_LAT": f"{centre.y:.4f}",
        "CENTER_LON": f"{centre.x:.4f}",
        "DOPPLER": "0",
        "FARADAY_ROTATION": "NA",
        "FRAME_NUMBER": _text(granule.frame),
        "GRANULE_TYPE": f"SENTINEL_{unit[1:]}_FRAME",
        "GROUP_ID": _group(granule, mode[1:]),
        "LOOK_DIRECTION": "R",
        "MD5SUM": granule.md5,
        "MISSION_NAME": "NA",
        "PATH_NUMBER": str(granule.relative_orbit),
        "POLARIZATION": "+".join(granule.polarisations).upper(),
        "PROCESSING_DATE": _time(processed),
        "PROCESSING_DESCRIPTION": f"Sentinel-{unit[1:]} Single Look Complex product",
        "PROCESSING_LEVEL": "L1",
        "PROCESSING_TYPE": "SLC",
        "PROCESSING_TYPE_DISPLAY": "L1 Single Look Complex (SLC)",
    }
    if len(ring) == 5:  # the corners, as recorded in the order of the footprint
        corners = ("NEAR_END", "NEAR_START", "FAR_START", "FAR_END")
        for name, (longitude, latitude) in zip(corners, ring, strict=False):
            values |= {f"{name}_LAT": str(latitude), f"{name}_LON": str(longitude)}
    values |= _around(granule.state_vectors, granule.start + (granule.end - granule.start) / 2)
    return values


def _granule_links(granule: Granule) -> list[dict[str, str]]:
    file = granule.url.rpartition("/")[2]
    access = "This link provides direct download access to the granule."
    return [
        {"URL": granule.url, "Type": "GET DATA", "Description": access},
        {
            "URL": f"s3://asf-ngap2w-p-s1-slc-7b420b89/{file}",
            "Type": "GET DATA VIA DIRECT ACCESS",
            "Description": access,
        },
        {
            "URL": "www.asf.alaska.edu/sar-data-sets/sentinel-1",
            "Type": "VIEW RELATED INFORMATION",
            "Description": "ASF DAAC Sentinel-1 data set landing page",
        },
    ]


def burst_item(burst: Burst, granule: Granule, size: tuple[int, int] | None = None) -> Item:
    """The search result of a burst of `granule`; `size` is lines and samples, if known."""
    processed = _processed(granule)
    begin = burst.start + _SENSING_AFTER
    umm = {
        "TemporalExtent": _extent(begin, begin + _SENSING_LASTS),
        "OrbitCalculatedSpatialDomains": [{"OrbitNumber": granule.absolute_orbit}],
        "GranuleUR": burst.id,
        "AdditionalAttributes": _attributes(_burst_values(burst, granule, size)),
        "SpatialExtent": spatial_extent(burst.geometry),
        "ProviderDates": dates_of(processed),
        "CollectionReference": {"ShortName": BURSTS_COLLECTION, "Version": "1"},
        "PGEVersionClass": {"PGEName": "Sentinel-1 IPF", "PGEVersion": _IPF},
        "RelatedUrls": _burst_links(burst),
        "InputGranules": [f"{burst.granule}-SLC"],
        "Platforms": [
            {
                "Instruments": [
                    {
                        "ShortName": "C-SAR",
                        "Characteristics": [{"Name": "LookDirection", "Value": "RIGHT"}],
                    }
                ],
                "ShortName": _platform(granule.platform),
            }
        ],
        "MetadataSpecification": _SPECIFICATION,
    }
    return {"meta": meta_of(umm, processed, "application/vnd.nasa.cmr.umm+json"), "umm": umm}


def _burst_values(burst: Burst, granule: Granule, size: tuple[int, int] | None) -> dict[str, str | None]:
    """The additional attributes, by name."""
    centre = shape(burst.geometry).centroid
    relative = int(burst.full_id.split("_")[1])
    # bursts are numbered by the cycle of the three beams, from the first overflight on (recorded numbers)
    since = granule.absolute_orbit - granule.relative_orbit
    absolute = relative + round(since * (_REVOLUTION / _BURST_CYCLE))
    node = ascending_node(granule.state_vectors)
    begin = burst.start + _SENSING_AFTER
    values: dict[str, str | None] = {
        "ASC_NODE_TIME": _optional_time(node),
        "ASCENDING_DESCENDING": granule.direction.upper(),
        "AZIMUTH_ANX_TIME": None if node is None else str((burst.start - node).total_seconds()),
        "AZIMUTH_TIME": _time(burst.start).removesuffix("Z"),
        "BEAM_MODE": "IW",
        "BEAM_MODE_DESC": _MODE,
        "BURST_ID_ABSOLUTE": str(absolute),
        "BURST_ID_FULL": burst.full_id,
        "BURST_ID_RELATIVE": str(relative),
        "BURST_INDEX": str(burst.index),
        "BYTE_LENGTH": _text(burst.size_bytes),
        "BYTE_OFFSET": None if burst.size_bytes is None else str(burst.index * burst.size_bytes + 8),
        "CENTER_LAT": str(centre.y),
        "CENTER_LON": str(centre.x),
        "GROUP_ID": _group(granule, granule.name[14:16]),
        "LINES_PER_BURST": None if size is None else str(size[0]),
        "PATH_NUMBER": str(granule.relative_orbit),
        "POLARIZATION": burst.polarisation.upper(),
        "PROCESSING_LEVEL": "L1",
        "PROCESSING_TYPE": "BURST",
        "SAMPLES_PER_BURST": None if size is None else str(size[1]),
        "SUBSWATH_NAME": burst.swath,
    }
    values |= _around(granule.state_vectors, begin + _SENSING_LASTS / 2)
    return values


def _burst_links(burst: Burst) -> list[dict[str, str]]:
    return [
        {
            "URL": burst.tiff_url,
            "Type": "USE SERVICE API",
            "Description": "Use the link to extract the burst as a GeoTIFF from the input granule.",
            "Format": "GeoTIFF",
        },
        {
            "URL": burst.xml_url,
            "Type": "USE SERVICE API",
            "Description": "Use the link to extract an extended metadata file of the burst from the input granule.",
            "Format": "XML",
        },
        {
            "URL": "https://sentinel1-burst-docs.asf.alaska.edu/",
            "Type": "VIEW RELATED INFORMATION",
            "Description": "Usage information for the API used to extract a burst product from a Sentinel-1 SLC "
            "granule.",
        },
    ]


def _processed(granule: Granule) -> datetime:
    """Processing time of the product; six hours after the overflight if unknown."""
    return granule.processed or granule.end + timedelta(hours=6)


def _group(granule: Granule, mode: str) -> str:
    frame = granule.frame or 0
    return (
        f"{_unit(granule.platform)}_IW{mode}_{frame:04d}_{frame + 5:04d}_{granule.absolute_orbit:06d}"
        f"_{granule.relative_orbit:03d}"
    )


def ascending_node(vectors: tuple[StateVector, ...]) -> datetime | None:
    """Time of the ascending node before the first state vector; None without state vectors.

    From the argument of latitude on a circle of Sentinel-1's inclination and period, accurate to some seconds.
    """
    if not vectors:
        return None
    first = vectors[0]
    sine = first.position_m[2] / (math.hypot(*first.position_m) * math.sin(_INCLINATION))
    along = math.asin(max(-1.0, min(1.0, sine)))
    if first.velocity_m_s[2] < 0:
        along = math.pi - along
    return first.time - _REVOLUTION * (along % math.tau / math.tau)


def without_state_vectors(item: Item) -> Item:
    """The item without the satellite's positions, like some items of the archive."""
    attributes = [a for a in item["umm"]["AdditionalAttributes"] if not a["Name"].startswith("SV_")]
    return {**item, "umm": {**item["umm"], "AdditionalAttributes": attributes}}


def with_wrong_md5(item: Item) -> Item:
    """The item with the MD5 of another file."""
    attributes = [
        {**a, "Values": [hashlib.md5(a["Values"][0].encode(), usedforsecurity=False).hexdigest()]}
        if a["Name"] == "MD5SUM"
        else a
        for a in item["umm"]["AdditionalAttributes"]
    ]
    return {**item, "umm": {**item["umm"], "AdditionalAttributes": attributes}}


def _unit(platform: str) -> str:
    """'S1A' of 'sentinel-1a'."""
    return f"S{platform.upper().removeprefix('SENTINEL-')}"


def _platform(platform: str) -> str:
    return platform.upper()


def _time(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _optional_time(instant: datetime | None) -> str | None:
    return None if instant is None else _time(instant)


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)


def _attributes(values: dict[str, str | None]) -> list[dict[str, Any]]:
    return [{"Name": name, "Values": [values[name]]} for name in sorted(values) if values[name] is not None]


def _around(vectors: tuple[StateVector, ...], instant: datetime) -> dict[str, str | None]:
    """The last state vector before an instant and the first one after it, if both exist."""
    before = [v for v in vectors if v.time <= instant]
    after = [v for v in vectors if v.time > instant]
    if not before or not after:
        return {}
    found: dict[str, str | None] = {}
    for which, vector in (("PRE", before[-1]), ("POST", after[0])):
        for what, numbers in (("POSITION", vector.position_m), ("VELOCITY", vector.velocity_m_s)):
            text = ",".join(f"{number:.6f}" for number in numbers)
            found[f"SV_{what}_{which}"] = f"{text},{_time(vector.time).removesuffix('Z')}"
    return found


def _extent(start: datetime, end: datetime) -> dict[str, Any]:
    return {"RangeDateTime": {"BeginningDateTime": _time(start), "EndingDateTime": _time(end)}}


def _ring(geometry: dict[str, Any]) -> list[tuple[float, float]]:
    if geometry.get("type") != "Polygon":
        raise SandboxError("A footprint is not a polygon.", "Write it as one in slc/index.json.")
    return [(float(point[0]), float(point[1])) for point in geometry["coordinates"][0]]


def spatial_extent(geometry: dict[str, Any]) -> dict[str, Any]:
    """The footprint as `GPolygons`."""
    points = [{"Longitude": longitude, "Latitude": latitude} for longitude, latitude in _ring(geometry)]
    return {"HorizontalSpatialDomain": {"Geometry": {"GPolygons": [{"Boundary": {"Points": points}}]}}}


def dates_of(processed: datetime) -> list[dict[str, str]]:
    """When an item was added."""
    text = processed.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return [{"Date": text, "Type": "Insert"}, {"Date": text, "Type": "Update"}]


def meta_of(umm: dict[str, Any], revised: datetime, form: str) -> dict[str, Any]:
    """What CMR adds to an item."""
    name = umm["GranuleUR"]
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") + 10**9
    return {
        "concept-type": "granule",
        "concept-id": f"G{number}-{PROVIDER}",
        "revision-id": 1,
        "native-id": name,
        "collection-concept-id": COLLECTIONS.get(umm["CollectionReference"]["ShortName"], "C9000000000-ASF"),
        "provider-id": PROVIDER,
        "format": form,
        "revision-date": revised.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
    }
