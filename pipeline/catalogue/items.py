"""Items of a radar archive (STAC, `sentinel-1-rtc`) as slices of overflights; every field is checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import shapely
from pydantic import Field
from shapely import Geometry
from shapely.geometry import mapping, shape

from pipeline.errors import ArchiveError
from pipeline.records import Frozen, Utc

Direction = Literal["ascending", "descending"]

POLARISATIONS = ("vv", "vh", "hh", "hv")


class Asset(Frozen):
    """One file of an item: one polarisation of one slice."""

    href: str = Field(description="unsigned URL")
    size_bytes: int | None = None
    etag: str | None = Field(
        None, description="ETag (or Last-Modified) that the server gave when the archive was asked"
    )

    @property
    def fingerprint(self) -> str:
        """What tells one content of this URL from another: the server's ETag, else the size."""
        return self.etag or f"size:{self.size_bytes}"


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
    """One item understood: its slice, its overflight, and what decides between two versions of it."""

    slice: Slice
    overflight: Overflight
    relative_orbit: int
    direction: Direction
    processed: tuple[str, ...]


def outside(item: Mapping[str, Any], area: Geometry) -> bool:
    """Whether the item's own bbox (where it has a sound one) does not touch `area` (degrees).

    It spares the reading of items that cannot matter; False where the bbox cannot be trusted.
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


def refused(item_id: str, field: str, problem: str) -> ArchiveError:
    """The error of an item that cannot be understood."""
    return ArchiveError(
        f"Item {item_id}: {field} {problem}.",
        "The archive's answer cannot be used as it is; replay a catalogue without this item, or report it there.",
    )


def read_item(item: Mapping[str, Any]) -> ItemRead:
    """The item, understood.

    Raises:
        ArchiveError: a field is missing or cannot be what it should be; item and field are named.
    """
    item_id = item.get("id") if isinstance(item, Mapping) else None
    if not isinstance(item_id, str) or not item_id or len(item_id) > 512:
        raise refused("without an id", "id", f"is {item_id!r:.80}")
    properties = item.get("properties")
    if not isinstance(properties, Mapping):
        raise refused(item_id, "properties", "is missing or no mapping")

    def wanted(field: str) -> Any:
        value = properties.get(field)
        if value is None:
            raise refused(item_id, field, "is missing")
        return value

    def whole(field: str, value: Any, least: int, most: int) -> int:
        number = whole_of(value)
        if number is None or not least <= number <= most:
            raise refused(item_id, field, f"is {value!r:.80}, not a whole number from {least} to {most}")
        return number

    start = instant_of(item_id, "start_datetime", properties.get("start_datetime") or wanted("datetime"))
    end = instant_of(item_id, "end_datetime", properties.get("end_datetime") or wanted("datetime"))
    if end < start:
        raise refused(item_id, "end_datetime", "is before start_datetime")
    platform = wanted("platform")
    if not isinstance(platform, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _-]{0,40}", platform):
        raise refused(item_id, "platform", f"is {platform!r:.80}, not a name")
    direction = str(wanted("sat:orbit_state")).strip().lower()
    if direction not in ("ascending", "descending"):
        raise refused(item_id, "sat:orbit_state", f"is {direction!r:.40}, neither ascending nor descending")
    datatake = str(wanted("s1:datatake_id")).strip()
    if not re.fullmatch(r"[A-Za-z0-9]{1,32}", datatake):
        raise refused(item_id, "s1:datatake_id", f"is {datatake!r:.80}, not letters and digits")
    number = properties.get("s1:slice_number")
    return ItemRead(
        slice=Slice(
            id=item_id,
            start=start,
            end=end,
            number=None if number is None else whole("s1:slice_number", number, 0, 10_000),
            epsg=_epsg(item_id, properties),
            geometry=footprint_of(item_id, item.get("geometry")),
            assets=_assets(item_id, item.get("assets")),
        ),
        overflight=Overflight(
            platform=re.sub(r"[ _]", "-", platform.strip().lower()),
            absolute_orbit=whole("sat:absolute_orbit", wanted("sat:absolute_orbit"), 1, 10_000_000),
            datatake=datatake,
        ),
        relative_orbit=whole("sat:relative_orbit", wanted("sat:relative_orbit"), 1, 175),
        direction="ascending" if direction == "ascending" else "descending",
        processed=_processed(item, properties),
    )


def whole_of(value: Any) -> int | None:
    """A whole number given as such, as a float without fraction, or as a string of digits."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,12}\s*", value, flags=re.ASCII):
        return int(value)
    return None


def instant_of(item_id: str, field: str, value: Any) -> datetime:
    """ISO 8601 with `T` or a blank between date and time; without a zone it is UTC, as in the STAC core fields.

    Raises:
        ArchiveError: it is none.
    """
    if isinstance(value, str) and len(value) <= 64:
        try:
            parsed = datetime.fromisoformat(value.strip())
            parsed = parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
        except (ValueError, OverflowError):  # in UTC it may lie before the year 1 or after 9999
            parsed = None
        if parsed is not None and len(value.strip()) > 10:
            return parsed
    raise refused(item_id, field, f"is {value!r:.80}, not an instant as in 2018-09-05T20:21:22Z")


def _epsg(item_id: str, properties: Mapping[str, Any]) -> int:
    """`proj:epsg`, or `proj:code` of the projection extension 2 ('EPSG:32654')."""
    value = properties.get("proj:epsg")
    field = "proj:epsg"
    if value is None:
        field, code = "proj:code", properties.get("proj:code")
        if code is None:
            raise refused(item_id, "proj:epsg", "and proj:code are missing")
        value = code[5:] if isinstance(code, str) and code.upper().startswith("EPSG:") else code
    epsg = whole_of(value)
    if epsg is None or not 1024 <= epsg <= 999_999:
        raise refused(item_id, field, f"is {value!r:.80}, not an EPSG code")
    return epsg


def footprint_of(item_id: str, value: Any) -> dict[str, Any]:
    """A footprint (GeoJSON, degrees WGS 84), valid and cut at the antimeridian.

    Raises:
        ArchiveError: it is none and cannot be repaired.
    """
    if not isinstance(value, Mapping) or value.get("type") not in ("Polygon", "MultiPolygon"):
        raise refused(item_id, "geometry", "is no GeoJSON Polygon or MultiPolygon")
    try:
        with np.errstate(invalid="ignore"):  # not finite: refused below
            footprint = shape(value)
    except Exception as error:  # shapely raises whatever the broken part makes numpy or itself raise
        raise refused(item_id, "geometry", f"cannot be read ({type(error).__name__})") from error
    bounds = footprint.bounds
    if footprint.is_empty or not np.isfinite(shapely.get_coordinates(footprint)).all():
        raise refused(item_id, "geometry", "is empty or not finite")
    if bounds[0] < -180.001 or bounds[2] > 180.001 or bounds[1] < -90.001 or bounds[3] > 90.001:
        raise refused(item_id, "geometry", "leaves -180..180, -90..90 degrees")
    if footprint.is_valid and bounds[2] - bounds[0] <= 180:
        return dict(value)
    if bounds[2] - bounds[0] > 180:
        footprint = _unwrapped(footprint)
    if not footprint.is_valid:
        footprint = shapely.make_valid(footprint, method="structure", keep_collapsed=False)
    if footprint.is_empty or footprint.geom_type not in ("Polygon", "MultiPolygon"):
        raise refused(item_id, "geometry", "is not valid and cannot be repaired")
    return dict(mapping(footprint))


def _unwrapped(footprint: Geometry) -> Geometry:
    """A footprint across the antimeridian, cut there: no slice is wider than half the Earth."""
    east = shapely.transform(footprint, lambda xy: np.column_stack([xy[:, 0] % 360.0, xy[:, 1]]))
    east = shapely.make_valid(east, method="structure", keep_collapsed=False)
    beyond = shapely.transform(
        east.intersection(shapely.box(180, -90, 360, 90)),
        lambda xy: np.column_stack([xy[:, 0] - 360.0, xy[:, 1]]),
    )
    return shapely.union_all([east.intersection(shapely.box(0, -90, 180, 90)), beyond])


def _assets(item_id: str, value: Any) -> dict[str, Asset]:
    if not isinstance(value, Mapping):
        raise refused(item_id, "assets", "is missing or no mapping")
    found: dict[str, Asset] = {}
    for name, asset in value.items():
        polarisation = str(name).lower()
        if polarisation not in POLARISATIONS:
            continue
        href = asset.get("href") if isinstance(asset, Mapping) else None
        if not isinstance(href, str) or not href or len(href) > 4096:
            raise refused(item_id, f"assets.{name}.href", f"is {type(href).__name__}, not an address")
        size = whole_of(asset.get("file:size"))
        found[polarisation] = Asset(
            href=href,
            size_bytes=size if size is not None and size >= 0 else None,
        )
    if not found:
        raise refused(item_id, "assets", "hold none of vv, vh, hh, hv")
    return dict(sorted(found.items()))


def _processed(item: Mapping[str, Any], properties: Mapping[str, Any]) -> tuple[str, ...]:
    """Orders the processings of one slice; each part may be empty, which sorts first."""
    parts: list[str] = []
    for field in ("s1:processing_datetime", "processing:datetime", "updated", "created"):
        value = properties.get(field)
        try:
            instant = instant_of("", field, value)
        except ArchiveError:
            parts.append("")
        else:
            parts.append(instant.isoformat(timespec="microseconds"))
    hrefs = [a.get("href") for a in dict(item.get("assets") or {}).values() if isinstance(a, Mapping)]
    parts.append(max((h for h in hrefs if isinstance(h, str)), default=""))
    return tuple(parts)
