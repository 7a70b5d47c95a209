"""Items of a radar archive (STAC, `sentinel-1-rtc`) as slices of overflights; every field is checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import shapely
from pydantic import AliasChoices, BeforeValidator, Field
from shapely import Geometry

from pipeline.catalogue.assets import Asset
from pipeline.catalogue.identities import (
    Direction,
    collection_name,
    datatake_name,
    other_product,
    platform_of_product,
    polarisation_of,
)
from pipeline.catalogue.item_fields import (
    AnyDirection,
    AnyPlatform,
    Footprint,
    FromArchive,
    Instant,
    OrNone,
    Text,
    Whole,
    refused,
)
from pipeline.records import Frozen, Utc

BURST_PROPERTY, MASK_ASSET = "opera:burst_id", "layover_shadow_mask"
"""In the items of OPERA RTC-S1: the burst, as in 'T131-279916-IW1', and its mask of layover and shadow."""


class Slice(Frozen):
    """One RTC item: a slice of a datatake, or one burst of it, in one UTM zone."""

    id: str
    start: Utc
    end: Utc
    number: int | None = Field(description="position in the datatake, from 1")
    epsg: int
    geometry: dict[str, Any] = Field(description="footprint, GeoJSON, degrees WGS 84")
    assets: dict[str, Asset] = Field(description="by polarisation: 'vv', 'vh'")
    burst: str | None = Field(
        None, description="where the item is a single burst", exclude_if=lambda value: value is None
    )
    mask: Asset | None = Field(
        None,
        description="of layover and shadow: 0 neither, 1 shadow, 2 layover, 3 both, 255 outside",
        exclude_if=lambda value: value is None,
    )

    @property
    def files(self) -> tuple[Asset, ...]:
        """Every file that a layer of it is made of."""
        return (*self.assets.values(), *(() if self.mask is None else (self.mask,)))


class Overflight(Frozen):
    """What identifies an overflight; equal in all of its slices."""

    platform: str
    absolute_orbit: int
    datatake: str

    @property
    def pass_id(self) -> str:
        """Name of the pass: platform, absolute orbit, datatake."""
        return f"{self.platform}_{self.absolute_orbit:06d}_{self.datatake}"


class ItemRead(Frozen):
    """One item as read: its slice, its overflight, and the fields that order two versions of it."""

    slice: Slice
    overflight: Overflight
    relative_orbit: int
    direction: Direction
    source: str | None = Field(None, description="the collection, as the item states it")
    processed: tuple[str, ...] = Field(
        description="orders the processings of a slice; a part that the item lacks is empty and sorts first"
    )
    address: str = Field(description="the largest address of its files; it orders nothing, and never changes")
    checksums: dict[str, str] = Field(
        {}, description="of its files by polarisation, where the archive states them"
    )


def _epsg_code(value: Any) -> Any:
    if value is None:
        raise ValueError("(proj:epsg or proj:code) is missing")
    return value[5:] if isinstance(value, str) and value.upper().startswith("EPSG:") else value


class _Properties(FromArchive):
    """Properties of an item; `end_datetime` before `start_datetime` is refused where the item is read."""

    start: Instant = Field(validation_alias=AliasChoices("start_datetime", "datetime"))
    end: Instant = Field(validation_alias=AliasChoices("end_datetime", "datetime"))
    platform: AnyPlatform
    direction: AnyDirection = Field(validation_alias="sat:orbit_state")
    datatake: Annotated[str, BeforeValidator(datatake_name)] = Field(
        pattern="^[A-Za-z0-9]{1,32}$", validation_alias="s1:datatake_id"
    )
    product_type: Annotated[str | None, Text, OrNone] = Field(None, validation_alias="sar:product_type")
    number: Whole | None = Field(None, ge=0, le=10_000, validation_alias="s1:slice_number")
    # `proj:code` of the projection extension 2 is 'EPSG:32654'
    epsg: Annotated[Whole, BeforeValidator(_epsg_code)] = Field(
        None,
        ge=1024,
        le=999_999,
        validate_default=True,
        validation_alias=AliasChoices("proj:epsg", "proj:code"),
    )
    burst: Annotated[str | None, Text] = Field(
        None, pattern="^T[0-9]{3}-[0-9]{6}-IW[123]$", validation_alias=BURST_PROPERTY
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
    checksum: Annotated[str | None, Field(max_length=200), OrNone] = Field(
        None, validation_alias="file:checksum"
    )

    @property
    def asset(self) -> Asset:
        """As the item states it."""
        return Asset(href=self.href, size_bytes=self.size)


def _radar_files(value: Any) -> Any:
    """The files of polarisations among an item's files, in order."""
    if not isinstance(value, Mapping):
        raise ValueError("is missing or no mapping")
    files: dict[str, Any] = {}
    for name, file in value.items():
        polarisation = polarisation_of(name)
        if polarisation is not None and files.setdefault(polarisation, file) != file:
            raise ValueError(f"hold two files of {polarisation}")
    if not files:
        raise ValueError("hold none of vv, vh, hh, hv")
    return dict(sorted(files.items()))


class _Item(FromArchive):
    """An item as the archive gives it."""

    id: Annotated[str, BeforeValidator(lambda value: value.strip() if isinstance(value, str) else value)] = (
        Field(min_length=1, max_length=512)
    )
    collection: Annotated[str | None, OrNone] = None
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
    if not all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) <= 1e6 for v in bbox):
        return False
    half = len(bbox) // 2
    west, south, east, north = bbox[0], bbox[1], bbox[half], bbox[half + 1]
    if west > east or south > north or east - west > 180:
        return False
    return not shapely.box(west, south, east, north).intersects(area)


def read_item(item: Mapping[str, Any], *collections: str) -> ItemRead:
    """The item as a slice of an overflight; `collections` are those that were searched, none for any.

    Raises:
        ItemError: a field is missing or cannot be what it should be, the item is of another collection, or what it
            states of itself is no terrain-corrected backscatter.
    """
    read = _Item.read(item, item.get("id") if isinstance(item, Mapping) else None)
    stated = read.properties
    if stated.end < stated.start:
        raise refused(read.id, "end_datetime", "is before start_datetime")
    _check_product(read, collections)
    mask = item["assets"].get(MASK_ASSET)
    if stated.burst is not None and mask is None:
        raise refused(read.id, "assets", "hold no mask of layover and shadow")
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
            assets={name: file.asset for name, file in read.assets.items()},
            burst=stated.burst,
            mask=_RadarFile.read(mask, read.id).asset if mask is not None else None,
        ),
        overflight=Overflight(
            platform=_platform(read),
            absolute_orbit=stated.absolute_orbit,
            datatake=datatake_name(stated.datatake, read.id),
        ),
        relative_orbit=stated.relative_orbit,
        direction=stated.direction,
        source=collection_name(read.collection) if read.collection is not None else None,
        processed=tuple(
            instant.isoformat(timespec="microseconds") if instant else "" for instant in instants
        ),
        checksums={name: file.checksum for name, file in read.assets.items() if file.checksum},
        address=max((href for href in hrefs if isinstance(href, str)), default=""),
    )


def _check_product(read: _Item, collections: tuple[str, ...]) -> None:
    """Refuse an item of another collection, product or satellite than it is taken for."""
    own, stated = read.collection, read.properties
    names = [collection_name(one) for one in collections]
    if names and own is not None and collection_name(own) not in names:
        raise refused(read.id, "collection", f"is {own!r:.80}, not {' or '.join(map(repr, collections)):.80}")
    hrefs = [file.href for file in read.assets.values()]
    other = other_product(read.id, stated.product_type, own, hrefs)
    if other is not None:
        raise refused(read.id, "product", f"is {other}, not terrain-corrected backscatter (RTC)")
    named = platform_of_product(read.id)
    if named is not None and named != _platform(read):
        raise refused(read.id, "platform", f"is {stated.platform!r}, not that of the id")


def _platform(read: _Item) -> str:
    """The satellite, from the product's name where the item states the constellation alone."""
    stated = read.properties.platform
    return platform_of_product(read.id) or stated if stated in ("s1", "sentinel-1") else stated
