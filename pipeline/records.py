"""Values that pass between rooms: frozen, JSON-able models and the types of their fields."""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AllowInfNan,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Strict,
)

__all__ = ["Frozen", "Number", "Utc", "Whole", "digest_of_json"]


def _instant(value: Any) -> Any:
    """Refuse a number, which would be read as seconds since 1970, and a date, which would be read as its midnight."""
    if isinstance(value, str | datetime):
        return value
    raise ValueError(f"{value!r} is no instant; write date, time and zone as in 2018-09-05T18:07:59Z")


Utc = Annotated[AwareDatetime, BeforeValidator(_instant), AfterValidator(lambda value: value.astimezone(UTC))]
Number = Annotated[float, Strict(), AllowInfNan(False)]
Whole = Annotated[int, Strict()]


MOST_FIELDS = 6
"""fields in the `repr` of a record"""
MOST_CHARACTERS = 60
"""of one value in the `repr` of a record"""
MOST_ROWS, MOST_COLUMNS, MOST_CHARACTERS_OF_CELL = 40, 10, 200
"""of a table in Jupyter"""


class Frozen(BaseModel):
    """A value that passes between rooms: immutable, JSON-able, no unknown keys.

    Its `repr` is short, whatever it holds; Jupyter shows it as a table.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """The first fields that differ from their defaults, each value shortened; for `repr`, `str` and rich."""
        differing = [
            (name, value) for name, value in super().__repr_args__() if name and not self._is_default(name)
        ]
        for name, value in differing[:MOST_FIELDS]:
            yield name, _Shown(_short(value, MOST_CHARACTERS))
        if len(differing) > MOST_FIELDS:
            yield None, _Shown("...")

    def _is_default(self, name: str) -> bool:
        field = type(self).model_fields.get(name)
        return (
            field is not None
            and not field.is_required()
            and getattr(self, name) == field.get_default(call_default_factory=True)
        )

    def _repr_html_(self) -> str:
        """Two columns, name and value; below, the records of the first field that holds several, a row each."""
        fields = [(str(name), value) for name, value in super().__repr_args__() if name]
        rows = "".join(_row("td", name, _short(value, MOST_CHARACTERS_OF_CELL)) for name, value in fields)
        several = next((n for n, value in fields if _are_records(value)), None)
        below = "" if several is None else _table_of_rows(several, getattr(self, several))
        return f"<table><caption>{html.escape(type(self).__name__)}</caption>{rows}</table>{below}"


class _Shown(str):
    """The shortened text of a value: its `repr` has no quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _short(value: Any, most: int) -> str:
    """A value in at most `most` characters: records by their class, long collections by their length."""
    if isinstance(value, Frozen):
        return f"{type(value).__name__}(...)"
    if isinstance(value, Sequence | Mapping | set | frozenset) and not isinstance(value, str | bytes):
        simple = not isinstance(value, Mapping) and not any(isinstance(one, BaseModel) for one in value)
        text = repr(value) if simple and len(value) <= MOST_FIELDS else ""
        return text if 0 < len(text) <= most else f"{len(value)} items"
    if isinstance(value, datetime):
        text = value.isoformat()
    else:
        text = repr(value[: most + 1] if isinstance(value, str) else value)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _are_records(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(one, Frozen) for one in value)


def _row(tag: str, *cells: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _table_of_rows(name: str, records: Sequence[Frozen]) -> str:
    """One row for each record; the columns are the fields that any of them has at another value than the default."""
    shown = records[:MOST_ROWS]
    names = dict.fromkeys(name for one in shown for name in type(one).model_fields)
    columns = [
        n for n in names if any(n in type(one).model_fields and not one._is_default(n) for one in shown)
    ]
    columns = columns[:MOST_COLUMNS]
    rows = "".join(
        _row("td", *(_short(getattr(one, n, ""), MOST_CHARACTERS) for n in columns)) for one in shown
    )
    more = f", the first {MOST_ROWS}" if len(records) > MOST_ROWS else ""
    caption = html.escape(f"{name}: {len(records)}{more}")
    return f"<table><caption>{caption}</caption>{_row('th', *columns)}{rows}</table>"


def digest_of_json(value: Any, *, compact: bool = False) -> str:
    """sha256 in hexadecimal of a JSON-able value with sorted keys: the same value has the same digest anywhere.

    Args:
        compact: without blanks, as the recipes of layers are digested.
    """
    separators = (",", ":") if compact else None
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=separators).encode()).hexdigest()
