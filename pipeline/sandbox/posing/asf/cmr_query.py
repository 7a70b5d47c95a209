"""Queries of the granule search: parameters as tests, order and page.

Names, forms and errors follow the CMR Search API's documentation. A parameter that is not simulated is refused like an
unknown one in the archive, so that no filter is silently ignored.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from shapely import Geometry, LineString, Point
from shapely.geometry import Polygon, box, shape

from pipeline.sandbox.posing.asf.umm import Item

MOST_ON_A_PAGE = 2000
_DEFAULT_PAGE = 10
_EARLIEST, _LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_SORT_KEYS = {"start_date", "end_date", "granule_ur", "producer_granule_id", "revision_date", "provider"}
_OPTION = re.compile(r"options\[(\w+)\]\[(\w+)\]")


class BadQueryError(ValueError):
    """The query is invalid; the message is the archive's."""


@dataclass(frozen=True)
class Entry:
    """An item of the search with the values that queries use."""

    item: Item
    footprint: Geometry
    start: datetime
    end: datetime
    revised: datetime
    attributes: dict[str, list[str]]

    @classmethod
    def of(cls, item: Item) -> Entry:
        umm = item["umm"]
        points = umm["SpatialExtent"]["HorizontalSpatialDomain"]["Geometry"]["GPolygons"][0]["Boundary"][
            "Points"
        ]
        extent = umm["TemporalExtent"]["RangeDateTime"]
        return cls(
            item,
            shape({"type": "Polygon", "coordinates": [[(p["Longitude"], p["Latitude"]) for p in points]]}),
            _instant(extent["BeginningDateTime"]),
            _instant(extent["EndingDateTime"]),
            _instant(item["meta"]["revision-date"]),
            {a["Name"].upper(): [str(v) for v in a["Values"]] for a in umm["AdditionalAttributes"]},
        )

    def key(self, name: str) -> Any:
        """The value of a sort key."""
        umm, meta = self.item["umm"], self.item["meta"]
        identifiers = umm.get("DataGranule", {}).get("Identifiers", [{}])
        return {
            "start_date": self.start,
            "end_date": self.end,
            "revision_date": self.revised,
            "granule_ur": umm["GranuleUR"].lower(),
            "producer_granule_id": identifiers[0].get("Identifier", "").lower(),
            "provider": meta["provider-id"],
        }[name]


Test = Callable[[Entry], bool]


class Query:
    """A search's parameters as tests, an order and a page."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self.tests: list[Test] = []
        self.sort: list[tuple[str, bool]] = []
        self.page_size, self.begin = _DEFAULT_PAGE, 0
        options: dict[tuple[str, str], bool] = {}
        values: dict[str, list[str]] = {}
        for key, value in pairs:
            option = _OPTION.fullmatch(key)
            if option is not None:
                options[option[1], option[2]] = value.lower() == "true"
            elif value:  # the archive ignores empty parameters
                values.setdefault(plain(key), []).append(value)
        page = 1
        for name, wanted in values.items():
            if name == "page_size":
                self.page_size = _whole(name, wanted[-1], 0, MOST_ON_A_PAGE)
            elif name == "page_num":
                page = _whole(name, wanted[-1], 1, 10**6)
            elif name == "sort_key":
                self.sort = [_sort_key(text) for text in wanted]
            else:
                self.tests.append(_test(name, wanted, options))
        self.begin = (page - 1) * self.page_size
        self.sort = self.sort or [("start_date", False)]


def _test(name: str, wanted: list[str], options: dict[tuple[str, str], bool]) -> Test:
    either = options.get((name, "or"), False)
    match name:
        case "bounding_box" | "polygon" | "point" | "line" | "circle":
            shapes = [_shape(name, text) for text in wanted]
            combine = any if either else all
            return lambda entry: combine(entry.footprint.intersects(each) for each in shapes)
        case "temporal":
            spans = [_temporal(text) for text in wanted]
            return lambda entry: any(_within(entry, *span) for span in spans)
        case "attribute":
            tests = [_attribute(text) for text in wanted]
            combine = any if either else all
            return lambda entry: combine(test(entry) for test in tests)
        case "updated_since":
            since = _temporal(wanted[-1])[0]
            return lambda entry: entry.revised >= since
        case "orbit_number":
            ranges = [_range("orbit_number", text) for text in wanted]
            return lambda entry: any(
                low <= domain["OrbitNumber"] <= high
                for domain in entry.item["umm"]["OrbitCalculatedSpatialDomains"]
                for low, high in ranges
            )
    read = _NAMED.get(name)
    if read is None:
        raise BadQueryError(f"Parameter [{name}] was not recognized.")
    if options.get((name, "pattern"), False):
        patterns = [re.sub(r"[\[\]]", "?", text.lower()) for text in wanted]
        return lambda entry: any(fnmatchcase(value.lower(), p) for value in read(entry) for p in patterns)
    accepted = {text.lower() for text in wanted}
    return lambda entry: any(value.lower() in accepted for value in read(entry))


def _platforms(entry: Entry) -> list[str]:
    return [platform["ShortName"] for platform in entry.item["umm"]["Platforms"]]


def _instruments(entry: Entry) -> list[str]:
    return [each["ShortName"] for p in entry.item["umm"]["Platforms"] for each in p["Instruments"]]


def _short_name(entry: Entry) -> list[str]:
    return [entry.item["umm"]["CollectionReference"]["ShortName"]]


def _granule_ur(entry: Entry) -> list[str]:
    return [entry.item["umm"]["GranuleUR"]]


def _producer_id(entry: Entry) -> list[str]:
    identifiers = entry.item["umm"].get("DataGranule", {}).get("Identifiers", [])
    return [identifier["Identifier"] for identifier in identifiers]


def _collection_id(entry: Entry) -> list[str]:
    return [entry.item["meta"]["collection-concept-id"]]


def _concept_id(entry: Entry) -> list[str]:
    return [entry.item["meta"]["concept-id"], *_collection_id(entry)]


_NAMED: dict[str, Callable[[Entry], list[str]]] = {
    "provider": lambda entry: [entry.item["meta"]["provider-id"]],
    "platform": _platforms,
    "instrument": _instruments,
    "sensor": _instruments,
    "shortname": _short_name,
    "short_name": _short_name,
    "version": lambda entry: [entry.item["umm"]["CollectionReference"]["Version"]],
    "granule_ur": _granule_ur,
    "producer_granule_id": _producer_id,
    "readable_granule_name": lambda entry: _granule_ur(entry) + _producer_id(entry),
    "native_id": lambda entry: [entry.item["meta"]["native-id"]],
    "concept_id": _concept_id,
    "collection_concept_id": _collection_id,
    "echo_collection_id": _collection_id,
    "echo_granule_id": lambda entry: [entry.item["meta"]["concept-id"]],
}


def plain(key: str) -> str:
    """A parameter's name without the brackets of a list."""
    return key.removesuffix("[]").lower()


def _whole(name: str, text: str, least: int, most: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if not least <= number <= most:
        raise BadQueryError(f"{name} must be a number between {least} and {most}")
    return number


def _sort_key(text: str) -> tuple[str, bool]:
    name = text.lstrip("+-")
    if name not in _SORT_KEYS:
        raise BadQueryError(f"The sort key [{name}] is not a valid field for sorting granules.")
    return name, text.startswith("-")


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _temporal(text: str) -> tuple[datetime, datetime, int | None, int | None]:
    """Start, end and, for a yearly season, its first and last day of the year."""
    if "/" in text and "," not in text:
        text = text.replace("/", ",")
    parts = [*(part.strip() for part in text.split(",")), "", "", "", ""][:4]
    ends: list[datetime | None] = []
    for which, part in zip(("start", "end"), parts[:2], strict=True):
        try:
            ends.append(_instant(part) if part else None)
        except ValueError as error:
            raise BadQueryError(
                f"temporal {which} datetime is invalid: [{part}] is not a valid datetime."
            ) from error
    start, end = ends[0] or _EARLIEST, ends[1] or _LATEST
    if start > end:
        raise BadQueryError(f"start_date [{parts[0]}] must be before end_date [{parts[1]}]")
    days = [_whole("temporal day", part, 1, 366) if part else None for part in parts[2:]]
    return start, end, days[0], days[1]


def _within(entry: Entry, start: datetime, end: datetime, first: int | None, last: int | None) -> bool:
    if entry.start > end or entry.end < start:
        return False
    if first is None and last is None:
        return True
    low, high = first or 1, last or 366
    day = entry.start.timetuple().tm_yday
    return low <= day <= high if low <= high else day >= low or day <= high


def _range(name: str, text: str) -> tuple[float, float]:
    low, comma, high = text.partition(",")
    try:
        first = float(low) if low else -math.inf
        return first, (float(high) if high else math.inf) if comma else first
    except ValueError as error:
        raise BadQueryError(f"[{text}] is not a valid numeric value or range for {name}") from error


def _attribute(text: str) -> Test:
    """`type,name,value` or `type,name,least,most`; a comma in a value is escaped by a backslash."""
    parts = [part.replace("\\,", ",") for part in re.split(r"(?<!\\),", text)]
    if len(parts) not in {2, 3, 4}:
        raise BadQueryError(f"Invalid number of additional attribute parts in [{text}].")
    kind, name = parts[0].lower(), parts[1].upper()
    if kind not in {"string", "int", "float"}:
        raise BadQueryError(f"[{parts[0]}] is an invalid type")
    if len(parts) == 2:
        return lambda entry: name in entry.attributes
    if kind == "string":
        if len(parts) == 4:
            low, high = parts[2].lower(), parts[3].lower()
            return lambda entry: any(
                (not low or value.lower() >= low) and (not high or value.lower() <= high)
                for value in entry.attributes.get(name, [])
            )
        return lambda entry: any(
            value.lower() == parts[2].lower() for value in entry.attributes.get(name, [])
        )
    first, last = _range(name, ",".join(parts[2:]))

    def test(entry: Entry) -> bool:
        for value in entry.attributes.get(name, []):
            try:
                if first <= float(value) <= last:
                    return True
            except ValueError:
                continue
        return False

    return test


def _shape(name: str, text: str) -> Geometry:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise BadQueryError(f"[{text}] is not a valid URL encoded {name}") from error
    pairs = list(zip(numbers[::2], numbers[1::2], strict=False))
    match name, len(numbers):
        case "bounding_box", 4:
            west, south, east, north = numbers
            if south > north:
                raise BadQueryError(
                    f"The bounding rectangle north value [{north}] was less than the south value [{south}]"
                )
            if west > east:  # across the antimeridian
                return box(west, south, 180.0, north).union(box(-180.0, south, east, north))
            return box(west, south, east, north)
        case "point", 2:
            return Point(*numbers)
        case "circle", 3:
            longitude, latitude, radius_m = numbers
            degrees = radius_m / 111_195.0
            return Point(longitude, latitude).buffer(degrees / max(0.01, math.cos(math.radians(latitude))))
        case "line", count if count >= 4 and count % 2 == 0:
            return LineString(pairs)
        case "polygon", count if count >= 8 and count % 2 == 0:
            if pairs[0] != pairs[-1]:
                raise BadQueryError("The polygon boundary points were not closed.")
            ring = Polygon(pairs)
            if not ring.exterior.is_ccw:
                raise BadQueryError(
                    "The polygon boundary points are listed in the wrong order (clockwise vs counter clockwise). "
                    "Please see the API documentation for the correct order."
                )
            return ring
    raise BadQueryError(f"[{text}] is not a valid URL encoded {name}")
