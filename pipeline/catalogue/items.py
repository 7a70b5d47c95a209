"""Items of a radar archive (STAC, `sentinel-1-rtc`) as slices of overflights; every field is checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import shapely
from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field
from shapely import Geometry

from pipeline.catalogue.assets import Asset
from pipeline.catalogue.item_fields import (
    AnyCaseDirection,
    Direction,
    Footprint,
    FromArchive,
    Instant,
    OrNone,
    Text,
    Whole,
    refused,
)
from pipeline.catalogue.platforms import platform_name
from pipeline.records import Frozen, Utc

POLARISATIONS = ("vv", "vh", "hh", "hv")


class Slice(Frozen):
    """One RTC item: a slice of a datatake, in one UTM zone."""

    id: str
    start: Utc
    end: Utc
    number: int | None = Field(description="position in the datatake, from 1")
    epsg: int
    geometry: dict[str, Any] = Field(description="footprint, GeoJSON, degrees WGS 84")
    assets: dict[str, Asset] = Field(description="by polarisation: 'vv', 'vh'")


class Overflight(Frozen):
    """What identifies an overflight; equal in all of its slices."""

    platform: str
    absolute_orbit: int
    datatake: str


class ItemRead(Frozen):
    """One item as read: its slice, its overflight, and the fields that order two versions of it."""

    slice: Slice
    overflight: Overflight
    relative_orbit: int
    direction: Direction
    processed: tuple[str, ...] = Field(
        description="orders the processings of a slice; a part that the item lacks is empty and sorts first"
    )


def _epsg_code(value: Any) -> Any:
    if value is None:
        raise ValueError("(proj:epsg or proj:code) is missing")
    return value[5:] if isinstance(value, str) and value.upper().startswith("EPSG:") else value


class _Properties(FromArchive):
    """Properties of an item; `end_datetime` before `start_datetime` is refused where the item is read."""

    start: Instant = Field(validation_alias=AliasChoices("start_datetime", "datetime"))
    end: Instant = Field(validation_alias=AliasChoices("end_datetime", "datetime"))
    platform: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _-]{0,40}$"), AfterValidator(platform_name)
    ]
    direction: AnyCaseDirection = Field(validation_alias="sat:orbit_state")
    datatake: Annotated[str, Text] = Field(pattern="^[A-Za-z0-9]{1,32}$", validation_alias="s1:datatake_id")
    number: Whole | None = Field(None, ge=0, le=10_000, validation_alias="s1:slice_number")
    # `proj:code` of the projection extension 2 is 'EPSG:32654'
    epsg: Annotated[Whole, BeforeValidator(_epsg_code)] = Field(
        None,
        ge=1024,
        le=999_999,
        validate_default=True,
        validation_alias=AliasChoices("proj:epsg", "proj:code"),
    )
    absolute_orbit: Whole = Field(ge=1, le=10_000_000, validation_alias="sat:absolute_orbit")
    relative_orbit: Whole = Field(ge=1, le=175, validation_alias="sat:relative_orbit")
    processed_s1: Annotated[Instant | None, OrNone] = Field(None, validation_alias="s1:processing_datetime")
    processed: Annotated[Instant | None, OrNone] = Field(None, validation_alias="processing:datetime")
    updated: Annotated[Instant | None, OrNone] = None
    created: Annotated[Instant | None, OrNone] = None


class _RadarFile(FromArchive):
    """File of one polarisation."""

    href: str = Field(min_length=1, max_length=4096)
    size: Annotated[Whole | None, Field(ge=0), OrNone] = Field(None, validation_alias="file:size")


def _radar_files(value: Any) -> Any:
    """The files of polarisations among an item's files, in order."""
    if not isinstance(value, Mapping):
        raise ValueError("is missing or no mapping")
    files = {str(name).lower(): file for name, file in value.items() if str(name).lower() in POLARISATIONS}
    if not files:
        raise ValueError("hold none of vv, vh, hh, hv")
    return dict(sorted(files.items()))


class _Item(FromArchive):
    """An item as the archive gives it."""

    id: str = Field(min_length=1, max_length=512)
    properties: _Properties
    geometry: Footprint
    assets: Annotated[dict[str, _RadarFile], BeforeValidator(_radar_files)]


def outside(item: Mapping[str, Any], area: Geometry) -> bool:
    """Whether the item's own bbox (where it has a sound one) does not touch `area` (degrees).

    Items outside need not be read. False where the bbox is not sound.
    """
    bbox = item.get("bbox") if isinstance(item, Mapping) else None
    if not isinstance(bbox, list | tuple) or len(bbox) not in (4, 6):
        return False
    if not all(isinstance(v, int | float) and not isinstance(v, bool) and np.isfinite(v) for v in bbox):
        return False
    half = len(bbox) // 2
    west, south, east, north = bbox[0], bbox[1], bbox[half], bbox[half + 1]
    if west > east or south > north or east - west > 180:
        return False
    return not shapely.box(west, south, east, north).intersects(area)


def read_item(item: Mapping[str, Any]) -> ItemRead:
    """The item as a slice of an overflight.

    Raises:
        ArchiveError: a field is missing or cannot be what it should be; item and field are named.
    """
    read = _Item.read(item, item.get("id") if isinstance(item, Mapping) else None)
    stated = read.properties
    if stated.end < stated.start:
        raise refused(read.id, "end_datetime", "is before start_datetime")
    instants = (stated.processed_s1, stated.processed, stated.updated, stated.created)
    hrefs = [file.get("href") for file in item["assets"].values() if isinstance(file, Mapping)]
    return ItemRead(
        slice=Slice(
            id=read.id,
            start=stated.start,
            end=stated.end,
            number=stated.number,
            epsg=stated.epsg,
            geometry=read.geometry,
            assets={name: Asset(href=file.href, size_bytes=file.size) for name, file in read.assets.items()},
        ),
        overflight=Overflight(
            platform=stated.platform, absolute_orbit=stated.absolute_orbit, datatake=stated.datatake
        ),
        relative_orbit=stated.relative_orbit,
        direction=stated.direction,
        processed=(
            *(instant.isoformat(timespec="microseconds") if instant else "" for instant in instants),
            max((href for href in hrefs if isinstance(href, str)), default=""),
        ),
    )
