"""Values of documents from outside: keys spelt in any way, numbers as strings, what is odd counts as missing."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from pipeline.events.detected_event import Alert, Bounds

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_YEAR, LAST_YEAR = 1900, 2200
MOST_PLACE = 200
"""characters that are kept of a place's name"""
MOST_URL = 1000


def plain(key: str) -> str:
    """A key without what is spelt differently: `landslide-alert`, `landslide_alert` and `landslideAlert` are one."""
    return re.sub(r"[^a-z0-9]", "", key.lower())


def one_line(value: Any, most: int) -> str:
    """A text from outside in one line of at most `most` characters, without control and format characters."""
    text = str(value)[: 4 * most] if isinstance(value, str | int | float) else ""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:most].strip()


def number_of_value(value: Any, least: float, most: float) -> float | None:
    """A number, or a text that writes one, within the bounds; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value.strip()[:64]) if isinstance(value, str) else float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) and least <= found <= most else None


def instant_of_value(value: Any) -> datetime | None:
    """An instant in UTC: milliseconds since 1970 (USGS), or ISO 8601, where no zone means UTC (GDACS).

    None for anything else, and for years outside 1900 to 2200.
    """
    milliseconds = number_of_value(value, -2.3e12, 7.3e12)
    try:
        if milliseconds is not None:
            found = EPOCH + timedelta(milliseconds=round(milliseconds))
        elif isinstance(value, str) and len(value) < 64:
            found = datetime.fromisoformat(value.strip())
            found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        else:
            return None
    except (ValueError, OverflowError):
        return None
    return found if FIRST_YEAR <= found.year <= LAST_YEAR else None


class Fields:
    """The fields of one object of a document, found however their keys are spelt."""

    def __init__(self, document: Any) -> None:
        given = document if isinstance(document, Mapping) else {}
        self._values = {plain(str(key)): value for key, value in given.items()}

    def get(self, *names: str) -> Any:
        """The first value of these names that is neither missing nor empty; else None."""
        for name in names:
            value = self._values.get(plain(name))
            if value is not None and value != "":
                return value
        return None

    def below(self, *names: str) -> Fields:
        """The fields of an object within this one; none where it is no object."""
        return Fields(self.get(*names))

    def number(self, *names: str, least: float = -math.inf, most: float = math.inf) -> float | None:
        """The first of these names that is a number within the bounds."""
        found = (number_of_value(self._values.get(plain(name)), least, most) for name in names)
        return next((each for each in found if each is not None), None)

    def text(self, *names: str, most: int = MOST_PLACE) -> str:
        """A text in one line; empty where there is none."""
        return one_line(self.get(*names), most)

    def instant(self, *names: str) -> datetime | None:
        """The first of these names that is an instant."""
        found = (instant_of_value(self._values.get(plain(name))) for name in names)
        return next((each for each in found if each is not None), None)

    def denies(self, *names: str) -> bool:
        """Whether one of these names is there and says no, as a Boolean or in a word."""
        return any(
            str(self._values.get(plain(name))).strip().lower() in ("false", "no", "0") for name in names
        )

    def alert(self, *names: str) -> Alert | None:
        """An alert level in lower case; None for `pending`, an empty one or any other word."""
        found = (str(self._values.get(plain(name))).strip().lower() for name in names)
        return next((level for each in found for level in get_args(Alert) if each == level), None)

    def bounds(self, west: str, south: str, east: str, north: str) -> Bounds | None:
        """A box in degrees; None where an edge is missing or south lies above north.

        Longitudes beyond 180 degrees, by which some products go on across the date line, are brought into range.
        """
        x0, x1 = (self.number(name, least=-360, most=360) for name in (west, east))
        y0, y1 = (self.number(name, least=-90, most=90) for name in (south, north))
        if x0 is None or x1 is None or y0 is None or y1 is None or y0 > y1:
            return None
        if x1 < x0 and max(abs(x0), abs(x1)) > 180:
            return None
        return (-180.0, y0, 180.0, y1) if x1 - x0 >= 360 else (longitude(x0), y0, longitude(x1), y1)


def longitude(degrees: float) -> float:
    """The same meridian within -180 to 180 degrees."""
    return degrees if -180.0 <= degrees <= 180.0 else (degrees + 180.0) % 360.0 - 180.0


def point_of(geometry: Any) -> tuple[float, float, float | None] | None:
    """Longitude, latitude and third coordinate of a GeoJSON point; None for anything else."""
    coordinates = geometry.get("coordinates") if isinstance(geometry, Mapping) else None
    if not isinstance(coordinates, list) or not 2 <= len(coordinates) <= 4:
        return None
    x, y = number_of_value(coordinates[0], -360, 360), number_of_value(coordinates[1], -90, 90)
    third = number_of_value(coordinates[2], -1e5, 1e5) if len(coordinates) > 2 else None
    return None if x is None or y is None else (longitude(x), y, third)


def json_of(raw: bytes | str) -> Any:
    """A document of JSON; None where it is none."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def features_of(raw: bytes | str, most: int) -> list[Any] | None:
    """The features of a GeoJSON collection, at most `most`; None where the text is none."""
    document = json_of(raw)
    features = document.get("features") if isinstance(document, dict) else None
    return features[:most] if isinstance(features, list) else None


def web_address(value: Any) -> str:
    """An https address of plain characters; empty for anything else, which no page may link."""
    text = value.strip() if isinstance(value, str) else ""
    return text if re.fullmatch(r"https://[!-~]{3,}", text) and len(text) <= MOST_URL else ""
