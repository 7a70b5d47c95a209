"""Items of the archive of single look complex data (UMM-G of NASA's CMR) as granules and bursts.

Every field is checked: names become file names, and addresses are requested with a login.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AliasChoices,
    AliasPath,
    BeforeValidator,
    Field,
)

from pipeline.catalogue.identities import id_key, platform_name, polarisations_in
from pipeline.catalogue.item_fields import (
    GRANULE_ATTRIBUTE,
    AnyDirection,
    AnyPlatform,
    FromArchive,
    Instant,
    Lower,
    OrNone,
    Upper,
    Whole,
    footprint_of,
    instant_of,
    refused,
)
from pipeline.catalogue.slc import Burst, Granule, Polarisation, StateVector, Swath, on_orbit

LONGEST = timedelta(minutes=10)
"""A slice takes half a minute; one that claims hours would count as the same slice as every other of its orbit."""

ATTRIBUTES = frozenset(
    {
        "ASCENDING_DESCENDING", "ASC_NODE_TIME", "AZIMUTH_TIME", "BEAM_MODE", "BURST_ID_ABSOLUTE", "BURST_ID_FULL",
        "BURST_ID_RELATIVE", "BURST_INDEX", "BYTES", "BYTE_LENGTH", "BYTE_OFFSET", "CENTER_LAT", "CENTER_LON",
        "FRAME_NUMBER", "GROUP_ID", "LINES_PER_BURST", "MD5SUM", "PATH_NUMBER", "POLARIZATION", "PROCESSING_DATE",
        "PROCESSING_TYPE", "SAMPLES_PER_BURST", "SUBSWATH_NAME", "SV_POSITION_POST", "SV_POSITION_PRE",
        "SV_VELOCITY_POST", "SV_VELOCITY_PRE", GRANULE_ATTRIBUTE,
    }
)  # fmt: skip
"""Additional attributes of an item that are kept."""
UMM_FIELDS = (
    "GranuleUR", "TemporalExtent", "OrbitCalculatedSpatialDomains", "SpatialExtent", "CollectionReference",
    "PGEVersionClass", "InputGranules",
)  # fmt: skip


def kept(meta: Any, umm: Any) -> dict[str, Any]:
    """The fields of an item that a snapshot keeps, in the archive's layout.

    Raises:
        ItemError: it is no item.
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


def _polarisations(value: Any) -> list[str]:
    """'VV+VH' as ['vv', 'vh']; without those that no pair is made of."""
    return [polarisation for polarisation in polarisations_in(value) if polarisation in ("vv", "vh")]


def outline_of(polygons: Any) -> dict[str, Any]:
    """Footprint of UMM-G (`GPolygons`) as GeoJSON.

    Raises:
        ValueError: it holds no polygon, or one that cannot be repaired.
    """
    try:
        rings = [
            [[float(point["Longitude"]), float(point["Latitude"])] for point in polygon["Boundary"]["Points"]]
            for polygon in polygons
        ]
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise ValueError("holds no polygon") from error
    if not rings or any(len(ring) < 3 for ring in rings):
        raise ValueError("holds no polygon")
    closed = [[ring if ring[0] == ring[-1] else [*ring, ring[0]]] for ring in rings]
    return footprint_of(
        {"type": "Polygon", "coordinates": closed[0]}
        if len(closed) == 1
        else {"type": "MultiPolygon", "coordinates": closed}
    )


def _address(kind: str, ending: str) -> BeforeValidator:
    """The first https address of that kind and ending among an item's links."""

    def choose(links: Any) -> str:
        for link in _mappings(links):
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
        raise ValueError(f"has no https address of {kind!r} that ends with {ending}")

    return BeforeValidator(choose)


_POLYGONS = AliasPath("SpatialExtent", "HorizontalSpatialDomain", "Geometry", "GPolygons")
_BEGIN = AliasPath("TemporalExtent", "RangeDateTime", "BeginningDateTime")
_END = AliasPath("TemporalExtent", "RangeDateTime", "EndingDateTime")

GranuleName = Annotated[
    str,
    Field(
        pattern=r"^S1[A-D]_IW_SLC__1S[SD][VH]_[0-9]{8}T[0-9]{6}_[0-9]{8}T[0-9]{6}_[0-9]{6}_[0-9A-F]{6}_[0-9A-F]{4}$"
    ),
    BeforeValidator(lambda name: id_key(name).upper() if isinstance(name, str) else name),
]
Outline = Annotated[dict[str, Any], BeforeValidator(outline_of)]
Size = Annotated[Whole | None, Field(gt=0), OrNone]


class _GranuleItem(FromArchive):
    """Attributes and fields of a granule's item, named as in `Granule`."""

    name: GranuleName = Field(validation_alias="GranuleUR")
    start: Instant = Field(validation_alias=_BEGIN)
    end: Instant = Field(validation_alias=_END)
    direction: AnyDirection = Field(validation_alias="ASCENDING_DESCENDING")
    platform: AnyPlatform = Field(validation_alias=AliasPath("Platforms", 0, "ShortName"))
    absolute_orbit: Whole = Field(
        ge=1, le=10_000_000, validation_alias=AliasPath("OrbitCalculatedSpatialDomains", 0, "OrbitNumber")
    )
    relative_orbit: Whole = Field(ge=1, le=175, validation_alias="PATH_NUMBER")
    frame: Whole | None = Field(None, ge=0, le=10_000, validation_alias="FRAME_NUMBER")
    polarisations: Annotated[tuple[Polarisation, ...], BeforeValidator(_polarisations)] = Field(
        (), validation_alias="POLARIZATION"
    )
    geometry: Outline = Field(validation_alias=_POLYGONS)
    url: Annotated[str, _address("GET DATA", ".zip")] = Field(validation_alias="RelatedUrls")
    size_bytes: Size = Field(None, validation_alias="BYTES")
    md5: Annotated[str | None, Field(pattern=r"^[0-9a-f]{32}$"), Lower, OrNone] = Field(
        None, validation_alias="MD5SUM"
    )
    processed: Instant | None = Field(None, validation_alias="PROCESSING_DATE")


class _BurstItem(FromArchive):
    """Attributes and fields of a burst's item, named as in `Burst`."""

    id: Annotated[str, Upper] = Field(
        pattern=r"^S1_[0-9]{6}_IW[123]_[0-9]{8}T[0-9]{6}_(VV|VH|HH|HV)_[0-9A-F]{4}-BURST$",
        validation_alias="GranuleUR",
    )
    full_id: Annotated[str, Upper] = Field(
        pattern=r"^[0-9]{3}_[0-9]{6}_IW[123]$", validation_alias="BURST_ID_FULL"
    )
    swath: Annotated[Swath, Upper] = Field(validation_alias="SUBSWATH_NAME")
    polarisation: Annotated[Polarisation, Lower] = Field(validation_alias="POLARIZATION")
    granule: GranuleName = Field(validation_alias=AliasPath("InputGranules", 0))
    index: Whole = Field(ge=0, le=100, validation_alias="BURST_INDEX")
    # the temporal extent lies a second later: it is the time of sensing, this the time of zero Doppler
    start: Instant = Field(validation_alias=AliasChoices("AZIMUTH_TIME", _BEGIN))
    geometry: Outline = Field(validation_alias=_POLYGONS)
    tiff_url: Annotated[str, _address("USE SERVICE API", ".tiff")] = Field(
        validation_alias=AliasPath("RelatedUrls")
    )
    xml_url: Annotated[str, _address("USE SERVICE API", ".xml")] = Field(
        validation_alias=AliasPath("RelatedUrls")
    )
    size_bytes: Size = Field(None, validation_alias="BYTE_LENGTH")


def read_granule(item: Mapping[str, Any]) -> Granule:
    """The item as a granule.

    The relative orbit is read, never computed: its formula differs between satellites and changed for Sentinel-1C.
    The time of processing is the attribute PROCESSING_DATE; `DataGranule.ProductionDateTime`, which asf-search gives
    as processingDate, repeats the start of the scene (seen in recorded responses).

    Raises:
        ItemError: a field is missing or cannot be what it should be; item and field are named.
    """
    fields = attributes_and_fields(item)
    read = _GranuleItem.read(fields, fields.get("GranuleUR"))
    if not read.start <= read.end <= read.start + LONGEST:
        raise refused(
            read.name, "EndingDateTime", "is before BeginningDateTime or later than any slice takes"
        )
    if read.platform != platform_name(read.name[:3]):
        raise refused(read.name, "Platforms", f"is {read.platform!r:.40}, not that of the name")
    return Granule(**dict(read), state_vectors=_state_vectors(fields))


def read_burst(item: Mapping[str, Any]) -> Burst:
    """The item as a burst.

    Raises:
        ItemError: a field is missing or cannot be what it should be; item and field are named.
    """
    fields = attributes_and_fields(item)
    read = _BurstItem.read(fields, fields.get("GranuleUR"))
    named_swath, _, named_polarisation = read.id.split("_")[2:5]
    if not read.full_id.endswith(read.swath) or read.swath != named_swath:
        raise refused(
            read.id, "BURST_ID_FULL", f"is {read.full_id}, of another swath than {read.swath} or the name"
        )
    if read.polarisation.upper() != named_polarisation:
        raise refused(read.id, "POLARIZATION", f"is {read.polarisation}, not that of the name")
    if f"/{read.granule}/" not in urlsplit(read.tiff_url).path:
        raise refused(read.id, "RelatedUrls", f"leads to another granule than {read.granule}")
    return Burst(**dict(read))


def attributes_and_fields(item: Any) -> dict[str, Any]:
    """The item's fields and the first value of each additional attribute, by name."""
    umm = item.get("umm") if isinstance(item, Mapping) else None
    if not isinstance(umm, Mapping):
        return {}
    attributes: dict[str, Any] = {}
    for attribute in _mappings(umm.get("AdditionalAttributes")):
        values = attribute.get("Values")
        if isinstance(values, list) and values and isinstance(values[0], str | int | float):
            attributes.setdefault(str(attribute.get("Name")), values[0])
    return {**attributes, **umm}


def _mappings(value: Any) -> Iterable[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


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
        return (x, y, z), instant_of(parts[3])
    except ValueError:
        return None
