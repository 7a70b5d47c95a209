"""Items of the archive of single look complex data (UMM-G, as NASA's CMR answers) as granules and bursts.

Every field is checked: names become file names and addresses are asked with a login.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, cast
from urllib.parse import urlsplit

from pipeline.catalogue.items import footprint_of, instant_of, refused, whole_of
from pipeline.catalogue.slc import Burst, Granule, Polarisation, StateVector, Swath, on_orbit
from pipeline.errors import ArchiveError

GRANULE_NAME = re.compile(
    r"(S1[A-D])_IW_SLC__1S(?:SV|DV|SH|DH)_\d{8}T\d{6}_\d{8}T\d{6}_\d{6}_[0-9A-F]{6}_[0-9A-F]{4}", re.ASCII
)
BURST_NAME = re.compile(r"S1_\d{6}_(IW[123])_\d{8}T\d{6}_(VV|VH|HH|HV)_[0-9A-F]{4}-BURST", re.ASCII)
FULL_BURST_ID = re.compile(r"\d{3}_\d{6}_(IW[123])", re.ASCII)
MD5 = re.compile(r"[0-9a-fA-F]{32}", re.ASCII)

LONGEST = timedelta(minutes=10)
"""A slice takes half a minute; one that claims hours would count as the same slice as every other of its orbit."""

ATTRIBUTES = frozenset(
    {
        "ASCENDING_DESCENDING", "ASC_NODE_TIME", "AZIMUTH_TIME", "BEAM_MODE", "BURST_ID_ABSOLUTE", "BURST_ID_FULL",
        "BURST_ID_RELATIVE", "BURST_INDEX", "BYTES", "BYTE_LENGTH", "BYTE_OFFSET", "CENTER_LAT", "CENTER_LON",
        "FRAME_NUMBER", "GROUP_ID", "LINES_PER_BURST", "MD5SUM", "PATH_NUMBER", "POLARIZATION", "PROCESSING_DATE",
        "PROCESSING_TYPE", "SAMPLES_PER_BURST", "SUBSWATH_NAME", "SV_POSITION_POST", "SV_POSITION_PRE",
        "SV_VELOCITY_POST", "SV_VELOCITY_PRE",
    }
)  # fmt: skip
"""Additional attributes of an item that are kept."""
UMM_FIELDS = (
    "GranuleUR", "TemporalExtent", "OrbitCalculatedSpatialDomains", "SpatialExtent", "CollectionReference",
    "PGEVersionClass", "InputGranules",
)  # fmt: skip


def kept(meta: Any, umm: Any) -> dict[str, Any]:
    """What is kept of an item: the fields that are read here, in the archive's own layout.

    Raises:
        ArchiveError: it is no item.
    """
    if not isinstance(meta, Mapping) or not isinstance(umm, Mapping):
        raise refused("without an id", "umm", "is missing")
    fields: dict[str, Any] = {name: umm[name] for name in UMM_FIELDS if name in umm}
    fields["AdditionalAttributes"] = [
        {"Name": attribute["Name"], "Values": attribute["Values"]}
        for attribute in _mappings(umm.get("AdditionalAttributes"))
        if str(attribute.get("Name")) in ATTRIBUTES and "Values" in attribute
    ]
    fields["RelatedUrls"] = [
        {"URL": link.get("URL"), "Type": link.get("Type")}
        for link in _mappings(umm.get("RelatedUrls"))
        if link.get("Type") in ("GET DATA", "USE SERVICE API")
    ]
    fields["Platforms"] = [{"ShortName": p.get("ShortName")} for p in _mappings(umm.get("Platforms"))]
    return {
        "meta": {name: meta[name] for name in ("native-id", "revision-date") if name in meta},
        "umm": fields,
    }


def read_granule(item: Mapping[str, Any]) -> Granule:
    """The item as a granule.

    The relative orbit is read, never computed: its formula differs between satellites and changed for Sentinel-1C.
    The time of processing is the attribute PROCESSING_DATE; `DataGranule.ProductionDateTime`, which asf-search gives
    as processingDate, repeats the start of the scene (seen in recorded answers).

    Raises:
        ArchiveError: a field is missing or cannot be what it should be; item and field are named.
    """
    umm, name = _opened(item)
    name = name.removesuffix("-SLC")
    named = GRANULE_NAME.fullmatch(name)
    if named is None:
        raise refused(name[:100], "GranuleUR", "is no name of an IW SLC product")
    attributes = _attributes(umm)
    start, end = _times(name, umm)
    direction = str(attributes.get("ASCENDING_DESCENDING")).strip().lower()
    if direction not in ("ascending", "descending"):
        raise refused(name, "ASCENDING_DESCENDING", f"is {direction!r:.40}, neither ascending nor descending")
    frame = attributes.get("FRAME_NUMBER")
    md5 = attributes.get("MD5SUM")
    processed = attributes.get("PROCESSING_DATE")
    return Granule(
        name=name,
        platform=_platform(name, umm, named[1]),
        absolute_orbit=_orbit(name, umm),
        relative_orbit=_whole(name, attributes, "PATH_NUMBER", 1, 175),
        frame=None if frame is None else _whole(name, attributes, "FRAME_NUMBER", 0, 10_000),
        direction="ascending" if direction == "ascending" else "descending",
        start=start,
        end=end,
        polarisations=_polarisations(attributes.get("POLARIZATION")),
        geometry=_footprint(name, umm),
        url=_address(name, umm, "GET DATA", ".zip"),
        size_bytes=_size(attributes.get("BYTES")),
        md5=md5.lower() if isinstance(md5, str) and MD5.fullmatch(md5) else None,
        processed=None if processed is None else instant_of(name, "PROCESSING_DATE", processed),
        state_vectors=_state_vectors(attributes),
    )


def read_burst(item: Mapping[str, Any]) -> Burst:
    """The item as a burst.

    Raises:
        ArchiveError: a field is missing or cannot be what it should be; item and field are named.
    """
    umm, name = _opened(item)
    named = BURST_NAME.fullmatch(name)
    if named is None:
        raise refused(name[:100], "GranuleUR", "is no name of a burst")
    attributes = _attributes(umm)
    full_id, swath = str(attributes.get("BURST_ID_FULL")), str(attributes.get("SUBSWATH_NAME"))
    of_id = FULL_BURST_ID.fullmatch(full_id)
    if of_id is None or {of_id[1], swath, named[1]} != {swath}:
        raise refused(
            name, "BURST_ID_FULL", f"is {full_id!r:.60}, no track, burst and swath of {swath!r:.20}"
        )
    polarisation = str(attributes.get("POLARIZATION")).lower()
    if polarisation != named[2].lower():
        raise refused(name, "POLARIZATION", f"is {polarisation!r:.20}, not that of the name")
    if polarisation not in ("vv", "vh"):
        raise refused(name, "POLARIZATION", f"is {polarisation}; vv and vh can be used")
    granules = umm.get("InputGranules")
    granule = granules[0] if isinstance(granules, list) and granules else None
    granule = granule.removesuffix("-SLC") if isinstance(granule, str) else ""
    if GRANULE_NAME.fullmatch(granule) is None:
        raise refused(name, "InputGranules", f"is {granule!r:.100}, no IW SLC product")
    tiff_url = _address(name, umm, "USE SERVICE API", ".tiff")
    if f"/{granule}/" not in urlsplit(tiff_url).path:
        raise refused(name, "RelatedUrls", f"leads to another granule than {granule}")
    azimuth = attributes.get("AZIMUTH_TIME")
    return Burst(
        id=name,
        full_id=full_id,
        granule=granule,
        swath=cast(Swath, swath),
        polarisation=cast(Polarisation, polarisation),
        index=_whole(name, attributes, "BURST_INDEX", 0, 100),
        # the temporal extent lies a second later: it is the time of sensing, this is that of zero Doppler
        start=_times(name, umm)[0] if azimuth is None else instant_of(name, "AZIMUTH_TIME", azimuth),
        geometry=_footprint(name, umm),
        tiff_url=tiff_url,
        xml_url=_address(name, umm, "USE SERVICE API", ".xml"),
        size_bytes=_size(attributes.get("BYTE_LENGTH")),
    )


def _mappings(value: Any) -> Iterable[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _opened(item: Any) -> tuple[Mapping[str, Any], str]:
    umm = item.get("umm") if isinstance(item, Mapping) else None
    name = umm.get("GranuleUR") if isinstance(umm, Mapping) else None
    if not isinstance(umm, Mapping) or not isinstance(name, str) or not name or len(name) > 200:
        raise refused("without an id", "umm.GranuleUR", f"is {name!r:.80}")
    return umm, name


def _attributes(umm: Mapping[str, Any]) -> dict[str, Any]:
    """First value of each additional attribute, by name."""
    found: dict[str, Any] = {}
    for attribute in _mappings(umm.get("AdditionalAttributes")):
        values = attribute.get("Values")
        if isinstance(values, list) and values and isinstance(values[0], str | int | float):
            found.setdefault(str(attribute.get("Name")), values[0])
    return found


def _times(name: str, umm: Mapping[str, Any]) -> tuple[datetime, datetime]:
    extent = umm.get("TemporalExtent")
    span = extent.get("RangeDateTime") if isinstance(extent, Mapping) else None
    if not isinstance(span, Mapping):
        raise refused(name, "TemporalExtent", "is missing or no range")
    start = instant_of(name, "BeginningDateTime", span.get("BeginningDateTime"))
    end = instant_of(name, "EndingDateTime", span.get("EndingDateTime"))
    if end < start:
        raise refused(name, "EndingDateTime", "is before BeginningDateTime")
    if end - start > LONGEST:
        raise refused(name, "EndingDateTime", "is longer after BeginningDateTime than any slice takes")
    return start, end


def _platform(name: str, umm: Mapping[str, Any], unit: str) -> str:
    platforms = list(_mappings(umm.get("Platforms")))
    stated = str(platforms[0].get("ShortName")).strip().lower() if platforms else None
    platform = f"sentinel-1{unit[2].lower()}"
    if stated != platform:
        raise refused(name, "Platforms", f"is {stated!r:.40}, not {platform} as in the name")
    return platform


def _orbit(name: str, umm: Mapping[str, Any]) -> int:
    domains = list(_mappings(umm.get("OrbitCalculatedSpatialDomains")))
    number = whole_of(domains[0].get("OrbitNumber")) if domains else None
    if number is None or not 1 <= number <= 10_000_000:
        raise refused(name, "OrbitNumber", f"is {number!r:.40}, not a whole number from 1 on")
    return number


def _whole(name: str, attributes: Mapping[str, Any], field: str, least: int, most: int) -> int:
    value = attributes.get(field)
    number = whole_of(value)
    if number is None or not least <= number <= most:
        raise refused(name, field, f"is {value!r:.80}, not a whole number from {least} to {most}")
    return number


def _size(value: Any) -> int | None:
    number = whole_of(value)
    return number if number is not None and number > 0 else None


def _polarisations(value: Any) -> tuple[Polarisation, ...]:
    """'VV+VH' as ('vv', 'vh'); without those that no pair is made of."""
    stated = {part.strip().lower() for part in str(value).split("+")}
    return tuple(p for p in cast("tuple[Polarisation, ...]", ("vv", "vh")) if p in stated)


def _footprint(name: str, umm: Mapping[str, Any]) -> dict[str, Any]:
    try:
        polygons = umm["SpatialExtent"]["HorizontalSpatialDomain"]["Geometry"]["GPolygons"]
        rings = [
            [[float(point["Longitude"]), float(point["Latitude"])] for point in polygon["Boundary"]["Points"]]
            for polygon in polygons
        ]
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise refused(name, "SpatialExtent", "holds no polygon") from error
    if not rings or any(len(ring) < 3 for ring in rings):
        raise refused(name, "SpatialExtent", "holds no polygon")
    closed = [ring if ring[0] == ring[-1] else [*ring, ring[0]] for ring in rings]
    geometry: dict[str, Any] = (
        {"type": "Polygon", "coordinates": closed}
        if len(closed) == 1
        else {"type": "MultiPolygon", "coordinates": [[ring] for ring in closed]}
    )
    return footprint_of(name, geometry)


def _address(name: str, umm: Mapping[str, Any], kind: str, ending: str) -> str:
    """The first https address of that kind and ending."""
    for link in _mappings(umm.get("RelatedUrls")):
        url = link.get("URL")
        if link.get("Type") != kind or not isinstance(url, str) or not url.endswith(ending):
            continue
        try:
            parts = urlsplit(url)
            plain = parts.scheme == "https" and parts.hostname and "@" not in parts.netloc
        except ValueError:
            plain = False
        if plain and len(url) <= 2048 and url.isascii() and url.isprintable() and " " not in url:
            return url
    raise refused(name, "RelatedUrls", f"has no https address of {kind!r} that ends with {ending}")


def _state_vectors(attributes: Mapping[str, Any]) -> tuple[StateVector, ...]:
    """The vectors before and after the middle of the scene; those that are absent or impossible are left out."""
    found: list[StateVector] = []
    for which in ("PRE", "POST"):
        position = _vector(attributes.get(f"SV_POSITION_{which}"))
        velocity = _vector(attributes.get(f"SV_VELOCITY_{which}"))
        if position is None or velocity is None or position[1] != velocity[1]:
            continue
        radius, speed = math.hypot(*position[0]), math.hypot(*velocity[0])
        if on_orbit(radius, speed) and (not found or found[-1].time < position[1]):
            found.append(StateVector(time=position[1], position_m=position[0], velocity_m_s=velocity[0]))
    return tuple(found)


def _vector(value: Any) -> tuple[tuple[float, float, float], datetime] | None:
    """'x,y,z,time'."""
    parts = value.split(",") if isinstance(value, str) and len(value) < 200 else []
    if len(parts) != 4:
        return None
    try:
        x, y, z = (float(part) for part in parts[:3])
        return (x, y, z), instant_of("", "time", parts[3])
    except (ValueError, ArchiveError):
        return None
