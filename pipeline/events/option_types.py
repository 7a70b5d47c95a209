"""Types of options of the command line: a place in degrees, an instant with its zone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click


class Place(click.ParamType[tuple[float, float]]):
    """`LON,LAT` in degrees."""

    name = "LON,LAT"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        """Two numbers within their bounds."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        try:
            x, y = (float(part) for part in parts)
        except ValueError:
            self.fail(
                f"{value!r:.60} is not two numbers with a comma between them, as in 137.2,36.5", param, ctx
            )
        if not (-180 <= x <= 180 and -90 <= y <= 90):
            self.fail(f"{value!r:.60} leaves -180..180, -90..90; the longitude comes first", param, ctx)
        return x, y


class Instant(click.ParamType[datetime]):
    """An instant in ISO 8601 with its zone."""

    name = "INSTANT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The instant in UTC."""
        if isinstance(value, datetime):
            return value
        try:
            found = datetime.fromisoformat(str(value).strip())
        except ValueError:
            self.fail(f"{value!r:.60} is no instant; write it as 2024-06-15T03:00:00Z", param, ctx)
        if found.tzinfo is None:
            self.fail(f"{value!r:.60} has no time zone; append Z for UTC", param, ctx)
        return found.astimezone(UTC)


PLACE, INSTANT = Place(), Instant()
