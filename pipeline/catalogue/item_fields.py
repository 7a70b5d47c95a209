"""Fields of archives' items: how they are checked, the error that names item and field, the mark of simulated data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Self

import numpy as np
import shapely
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import ErrorDetails
from shapely import Geometry
from shapely.geometry import mapping, shape

from pipeline.areas.area import without_empty_rings
from pipeline.catalogue.identities import Direction, direction_name, platform_name
from pipeline.errors import ArchiveError


class ItemError(ArchiveError):
    """An item cannot be used: `item_id` and, in words, `reason`."""

    def __init__(self, item_id: str, reason: str) -> None:
        super().__init__(
            f"Item {item_id}: {reason}.",
            "The item cannot be used as it is; report it to the archive. An area file can exclude its id.",
        )
        self.item_id = item_id
        self.reason = reason


def refused(item_id: str, field: str, problem: str) -> ItemError:
    """The error of an item that cannot be read."""
    return ItemError(item_id, f"{field} {problem}")


class FromArchive(BaseModel):
    """Fields of an archive's item; other fields are ignored, and an empty one counts as missing."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        return {name: value for name, value in data.items() if value is not None and value != ""}

    @classmethod
    def read(cls, data: Any, item_id: Any) -> Self:
        """The model that `data` holds.

        Raises:
            ItemError: a field is missing or cannot be what it should be; item and field are named.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = item_id[:100] if isinstance(item_id, str) and item_id else "without an id"
            raise refused(name, ".".join(map(str, first["loc"])) or "it", _problem(first)) from error


def _problem(fault: ErrorDetails) -> str:
    words = str(fault["msg"])
    if fault["type"] == "value_error":  # raised by a validator of these models, with a complete message
        return words.removeprefix("Value error, ")
    if fault["type"] == "missing":
        return "is missing"
    shown = f"is {fault['input']!r:.80}"
    if fault["type"] in ("model_type", "dict_type"):
        return f"{shown}, not a mapping"
    return f"{shown}; {words[:1].lower()}{words[1:]}"


def instant_of(value: Any) -> datetime:
    """ISO 8601 with `T` or a blank between date and time; without a zone it is UTC, as in the STAC core fields.

    Raises:
        ValueError: it is no such instant.
    """
    if isinstance(value, str) and 10 < len(value.strip()) <= len(value) <= 64:
        try:
            parsed = datetime.fromisoformat(value.strip())
            return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
        except (ValueError, OverflowError):  # in UTC it may lie before the year 1 or after 9999
            pass
    raise ValueError(f"is {value!r:.80}, not an instant as in 2018-09-05T20:21:22Z")


def footprint_of(value: Any) -> dict[str, Any]:
    """A footprint (GeoJSON, degrees WGS 84), valid and cut at the antimeridian.

    Raises:
        ValueError: it is no footprint, or one that cannot be repaired.
    """
    if not isinstance(value, Mapping) or value.get("type") not in ("Polygon", "MultiPolygon"):
        raise ValueError("is no GeoJSON Polygon or MultiPolygon")
    try:
        with np.errstate(invalid="ignore"):  # not finite: refused below
            stated = shape(value)
            footprint = without_empty_rings(stated)
    except Exception as error:  # shapely and numpy raise errors of any type on broken geometry
        raise ValueError(f"cannot be read ({type(error).__name__})") from error
    bounds = footprint.bounds
    if footprint.is_empty or not np.isfinite(shapely.get_coordinates(footprint)).all():
        raise ValueError("is empty or not finite")
    if bounds[0] < -180.001 or bounds[2] > 180.001 or bounds[1] < -90.001 or bounds[3] > 90.001:
        raise ValueError("leaves -180..180, -90..90 degrees")
    if footprint is stated and footprint.is_valid and bounds[2] - bounds[0] <= 180:
        return dict(value)
    if bounds[2] - bounds[0] > 180:
        footprint = _unwrapped(footprint)
    if not footprint.is_valid:
        footprint = shapely.make_valid(footprint, method="structure", keep_collapsed=False)
    if footprint.is_empty or footprint.geom_type not in ("Polygon", "MultiPolygon"):
        raise ValueError("is not valid and cannot be repaired")
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


def _or_none(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    try:
        return handler(value)
    except ValidationError:
        return None


OrNone = WrapValidator(_or_none)
"""None instead of a refusal where the value is not sound: for optional fields."""
Text = BeforeValidator(lambda value: str(value).strip())
Lower = BeforeValidator(lambda value: str(value).strip().lower())
Upper = BeforeValidator(lambda value: str(value).strip().upper())
# pydantic would take True for 1
Whole = Annotated[int, BeforeValidator(lambda value: str(value) if isinstance(value, bool) else value)]
"""A whole number as such, as a float without fraction, or as a string of digits."""
Instant = Annotated[datetime, BeforeValidator(instant_of)]
Footprint = Annotated[dict[str, Any], BeforeValidator(footprint_of)]
AnyDirection = Annotated[Direction, BeforeValidator(lambda value: direction_name(value) or value)]
"""In any spelling that `direction_name` knows."""
AnyPlatform = Annotated[
    str,
    BeforeValidator(lambda value: platform_name(value) if isinstance(value, str) else value),
    Field(pattern="^[a-z0-9][a-z0-9-]{0,40}$"),
]
"""In any spelling that `platform_name` knows."""

ITEM_PROPERTY = "slidecube:simulated"
"""in the properties of a STAC item, and in a STAC collection"""
GRANULE_ATTRIBUTE = "SIMULATED"
"""an additional attribute of an item of NASA's CMR (UMM-G)"""
FILE_HEADER = "Slidecube-Simulated"
"""in the answer to a request for a file"""

FILE_TAG = "SLIDECUBE_SIMULATED"
"""in the metadata of a raster (GDAL's tags)"""

_TRUE = ("true", "yes", "1")


def is_true(stated: Any) -> bool:
    """Whether a mark's value says yes: true, 1, or such a word."""
    return str(stated).strip().lower() in _TRUE


def says_simulated(item: Any) -> bool:
    """Whether an item of a STAC API or of CMR says of itself that it is simulated."""
    if not isinstance(item, Mapping):
        return False
    properties, umm = item.get("properties"), item.get("umm")
    if isinstance(properties, Mapping) and is_true(properties.get(ITEM_PROPERTY)):
        return True
    attributes = umm.get("AdditionalAttributes") if isinstance(umm, Mapping) else None
    return any(_marks(attribute) for attribute in (attributes if isinstance(attributes, list) else []))


def any_simulated(items: Iterable[Any]) -> bool:
    """Whether any of the items says that it is simulated."""
    return any(says_simulated(item) for item in items)


def _marks(attribute: Any) -> bool:
    if not isinstance(attribute, Mapping) or attribute.get("Name") != GRANULE_ATTRIBUTE:
        return False
    values = attribute.get("Values")
    return isinstance(values, list) and any(is_true(value) for value in values)
