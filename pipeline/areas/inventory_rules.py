"""What an area file states of its landslide inventory: the file, its publisher, and which features count."""

from __future__ import annotations

import math
from datetime import date, datetime
from itertools import combinations
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field, StrictBool, StrictInt, StrictStr, model_validator

from pipeline.records import Frozen, Number

Class = Literal["new", "reactivated", "old"]
TRUE_WORDS = frozenset({"true", "t", "yes", "y", "1"})
FALSE_WORDS = frozenset({"false", "f", "no", "n", "0"})


def _day(value: Any) -> Any:
    """A date, or its text as in 2018-09-05; a number would be read as seconds since 1970."""
    if isinstance(value, datetime) or not isinstance(value, str | date):
        raise ValueError(f"{value!r} is no day; write it as in 2018-09-05")
    return value


def _text_of_day(value: Any) -> Any:
    """YAML reads 2018-09-05 as a date; a class value is kept as its text."""
    return value.isoformat() if isinstance(value, date) and not isinstance(value, datetime) else value


Day = Annotated[date, BeforeValidator(_day)]


class ClassRange(Frozen):
    """Every number, or every day, between two limits; each limit states whether it is included."""

    at_least: Number | Day | None = None
    above: Number | Day | None = None
    at_most: Number | Day | None = None
    below: Number | Day | None = None

    @model_validator(mode="after")
    def _consistent(self) -> ClassRange:
        limits = [v for v in (self.at_least, self.above, self.at_most, self.below) if v is not None]
        if not limits:
            raise ValueError("a range needs at_least, above, at_most or below")
        if self.at_least is not None and self.above is not None:
            raise ValueError("a range has at_least or above, not both")
        if self.at_most is not None and self.below is not None:
            raise ValueError("a range has at_most or below, not both")
        if len({isinstance(v, date) for v in limits}) > 1:
            raise ValueError("a range has numbers or days, not both")
        (low, low_in), (high, high_in) = self.ends
        if low > high or (low == high and not (low_in and high_in)):
            raise ValueError("a range is empty; exchange its limits")
        return self

    @property
    def of_days(self) -> bool:
        """Whether the limits are days."""
        return any(isinstance(v, date) for v in (self.at_least, self.above, self.at_most, self.below))

    @property
    def ends(self) -> tuple[tuple[float, bool], tuple[float, bool]]:
        """The lower and the upper end, and whether each is included; days as their number since the year 1."""
        low = self.at_least if self.at_least is not None else self.above
        high = self.at_most if self.at_most is not None else self.below
        return (_number(low, -math.inf), self.at_least is not None), (
            _number(high, math.inf),
            self.at_most is not None,
        )

    def holds(self, value: float) -> bool:
        """Whether a number, or a day as its number since the year 1, lies within."""
        (low, low_in), (high, high_in) = self.ends
        return (value > low or (low_in and value == low)) and (value < high or (high_in and value == high))

    def meets(self, other: ClassRange) -> bool:
        """Whether a value can lie in both."""
        if self.of_days != other.of_days:
            return False
        low, low_in = max((one.ends[0] for one in (self, other)), key=lambda end: (end[0], not end[1]))
        high, high_in = min((one.ends[1] for one in (self, other)), key=lambda end: (end[0], end[1]))
        return low < high or (low == high and low_in and high_in)


ClassValue = Annotated[
    StrictBool | StrictInt | Number | StrictStr | ClassRange, BeforeValidator(_text_of_day)
]


def _number(limit: float | date | None, absent: float) -> float:
    if limit is None:
        return absent
    return float(limit.toordinal()) if isinstance(limit, date) else float(limit)


def key_of(value: object) -> str | None:
    """One text for 1, 1.0, '1' and ' 1', and for 1.5 and '1.50'; the day of an instant; None for what is missing."""
    if hasattr(value, "tolist"):  # of numpy: also a list that is the value of one feature
        value = value.tolist()
    if value is None or value != value or str(value) in ("<NA>", "NaT"):
        return None
    if isinstance(value, date):  # an instant is one too
        return value.isoformat()[:10]
    text = str(value).strip()
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        return text
    return str(int(number)) if number == int(number) else repr(number)


def keys_of_class_value(value: object) -> frozenset[str]:
    """Every `key_of` an attribute that the class value means, in lower case for a truth value."""
    if isinstance(value, bool):
        return TRUE_WORDS if value else FALSE_WORDS
    key = key_of(value)
    return frozenset() if key is None else frozenset({key})


class Inventory(Frozen):
    """A landslide inventory: its file, its publisher, and which of its features count.

    `classes` names the values of `class_field` that mean new, reactivated and old landslides; `count` lists which of
    the three are labelled. Without `class_field` every feature is new.
    `dates` bounds the days of `date_field` that count, both included; a feature without a readable day, or with a month
    or year that is not wholly inside, does not count.
    `extent` is the mapped area: GeoJSON geometry, a path or URL, or "area" for the whole area of interest;
    where none was published, `extent_assumed` states in words what is assumed.
    """

    name: str = Field(min_length=1)
    url: str | None = Field(
        None, description="http(s) URL or path relative to the area file; None: no file known"
    )
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    layer: str | None = Field(None, description="layer or inner file of a container format")
    page: str | None = Field(None, description="landing page where a person finds the file")
    citation: str = Field(min_length=1)
    licence: str = Field(min_length=1, validation_alias=AliasChoices("licence", "license"))
    attribution: str | None = Field(None, description="words that the publisher wants with every product")
    class_field: str | None = None
    classes: dict[Class, tuple[ClassValue, ...]] = Field(default_factory=dict)
    count: tuple[Class, ...] = Field(("new",), min_length=1)
    date_field: str | None = Field(None, description="attribute with the day of each landslide")
    dates: tuple[Day, Day] | None = Field(None, description="first and last day of date_field that count")
    point_radius_m: Number | None = Field(None, gt=0, le=1000, description="radius given to point features")
    may_be_empty: bool = Field(
        False,
        exclude_if=lambda allowed: not allowed,
        description="whether no landslide of it need count in the area: the extent was mapped, and none was found",
    )
    extent: str | dict[str, Any] = "area"
    extent_layer: str | None = Field(None, description="layer or inner file of the extent's container format")
    extent_assumed: str | None = None
    note: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Inventory:
        if self.classes and self.class_field is None:
            raise ValueError("classes need class_field, the attribute that holds them")
        if self.class_field is not None:
            lacking = [name for name in self.count if name not in self.classes]
            if lacking:
                raise ValueError(f"count names {lacking} but classes does not list their values")
        for (one, values), (other, others) in combinations(self.classes.items(), 2):
            for value in values:
                same = next((v for v in others if _overlap(value, v)), None)
                if same is not None:
                    raise ValueError(
                        f"classes lists {_shown(value)} under {one} and {_shown(same)} under {other}, which share a "
                        "value; list each value once"
                    )
        if (self.date_field is None) != (self.dates is None):
            raise ValueError("date_field and dates (first and last day) go together; give both or none")
        if self.dates is not None and self.dates[1] < self.dates[0]:
            raise ValueError("dates ends before it starts; exchange the days")
        return self


def _overlap(one: object, other: object) -> bool:
    """Whether an attribute can be both class values."""
    if isinstance(one, ClassRange) and isinstance(other, ClassRange):
        return one.meets(other)
    if isinstance(other, ClassRange):
        one, other = other, one
    if isinstance(one, ClassRange):
        return any(one.holds(number) for number in _numbers(keys_of_class_value(other), one.of_days))
    return bool(keys_of_class_value(one) & keys_of_class_value(other))


def _numbers(keys: frozenset[str], of_days: bool) -> list[float]:
    found = []
    for key in keys:
        try:
            found.append(float(date.fromisoformat(key).toordinal()) if of_days else float(key))
        except ValueError:
            continue
    return found


def _shown(value: object) -> str:
    if isinstance(value, ClassRange):
        return str(value.model_dump(mode="json", exclude_none=True))
    return repr(value)
