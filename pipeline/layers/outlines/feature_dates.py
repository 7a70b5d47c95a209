"""Days of features, read from an attribute that may hold dates, texts or numbers; never guessed."""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterable
from datetime import date

Days = tuple[date, date]
"""The first and the last day that a value may mean: a month or a year is longer than a day."""

YEARS = range(1800, 2200)
"""A number outside of these is no year."""
_YEAR_FIRST = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?:[T ].*)?")
_MONTH = re.compile(r"(\d{4})[-/.](\d{1,2})")
_DIGITS = re.compile(r"(\d{4})(\d{2})?(\d{2})?")
_YEAR_LAST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})(?:[T ].*)?")


def days_of(values: Iterable[object]) -> list[Days | None]:
    """The days of each value of one attribute; None where it has none or it cannot be read.

    Read are dates and instants, 2018-09-06 (also with / or . and with a time), 20180906, 2018-09, 201809 and 2018, and
    06.09.2018 or 9/6/2018 where another value of the attribute, by a number above 12, shows which is the month.
    """
    texts = [_text(value) for value in values]
    last = [m for text in texts if text is not None and (m := _YEAR_LAST.fullmatch(text))]
    day_first = any(int(m[1]) > 12 for m in last)
    month_first = any(int(m[3]) > 12 for m in last)
    order = None if day_first == month_first else "day" if day_first else "month"
    return [None if text is None else _days(text, order) for text in texts]


def _text(value: object) -> str | None:
    if value is None or value != value or isinstance(value, bool) or str(value) in ("<NA>", "NaT"):
        return None
    if isinstance(value, date):  # an instant is one too
        return value.isoformat()[:10]
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return str(value).strip().removesuffix(".0")


def _days(text: str, order: str | None) -> Days | None:
    readers: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Days]], ...] = (
        (_YEAR_FIRST, lambda m: _span(m[1], m[3], m[4])),
        (_MONTH, lambda m: _span(m[1], m[2])),
        (_DIGITS, lambda m: _span(*(part for part in m.groups() if part is not None))),
    )
    for pattern, read in readers:
        if (matched := pattern.fullmatch(text)) is not None:
            try:
                return read(matched)
            except ValueError:
                return None
    if (matched := _YEAR_LAST.fullmatch(text)) is not None and order is not None:
        day, month = (matched[1], matched[3]) if order == "day" else (matched[3], matched[1])
        try:
            return _span(matched[4], month, day)
        except ValueError:
            return None
    return None


def _span(year: str, month: str | None = None, day: str | None = None) -> Days:
    """
    Raises:
        ValueError: there is no such day.
    """
    y = int(year)
    if y not in YEARS:
        raise ValueError(year)
    if month is None:
        return date(y, 1, 1), date(y, 12, 31)
    m = int(month)
    if day is None:
        first = date(y, m, 1)
        return first, date(y, m, calendar.monthrange(y, m)[1])
    only = date(y, m, int(day))
    return only, only
