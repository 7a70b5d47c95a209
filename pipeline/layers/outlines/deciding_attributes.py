"""Attributes that decide which features of an inventory count: their class and their day; and those left unused."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from pipeline.areas.inventory_rules import ClassRange, Inventory, key_of, keys_of_class_value
from pipeline.errors import SourceDataError, number_of
from pipeline.layers.outlines.feature_dates import Days, days_of
from pipeline.layers.outlines.reprojection import NAMED, Outcomes

MOST_CLASSES = 12
"""An attribute with more values than this is no class."""
_DATE_NAME = re.compile(r"date|year|(^|_)(day|time|dt|when)($|_)|jahr|fecha|annee", re.IGNORECASE)
_CLASS_NAME = re.compile(r"class|type|kind|status|activ|confid|certain|reliab|trigger", re.IGNORECASE)
Span = tuple[date, date]
"""The first and the last day on which a landslide of the event can have happened."""


def counted_features(frame: gpd.GeoDataFrame, inventory: Inventory, outcomes: Outcomes) -> gpd.GeoDataFrame:
    """The features whose class and day count; adds the column "class".

    Raises:
        SourceDataError: the file lacks a deciding attribute, or no feature counts and the inventory may not be empty.
    """
    return _of_days(_of_class(frame, inventory, outcomes), inventory, outcomes)


def _attribute(frame: gpd.GeoDataFrame, name: str, field: str, inventory: Inventory) -> list[object]:
    """The values of an attribute that a field of the area file names."""
    attributes = attributes_of(frame)
    if name not in attributes:
        raise SourceDataError(
            f"Inventory {inventory.name!r} has no attribute {name!r}.",
            f"Its attributes are: {', '.join(attributes) or 'none'}. Correct {field}.",
        )
    return list(frame[name])


def attributes_of(frame: gpd.GeoDataFrame) -> list[str]:
    """Names of the attributes of the features."""
    return [str(c) for c in frame.columns if c != frame.geometry.name]


def _of_class(frame: gpd.GeoDataFrame, inventory: Inventory, outcomes: Outcomes) -> gpd.GeoDataFrame:
    if inventory.class_field is None:
        outcomes.counts["by_class"] = {"new": len(frame)}
        return frame.assign(**{"class": "new"})
    values = _attribute(frame, inventory.class_field, "class_field", inventory)
    keys = [key_of(value) for value in values]
    names = np.array(_classes(values, keys, inventory), dtype=object)
    found, numbers = np.unique(names.astype(str), return_counts=True)
    outcomes.counts["by_class"] = dict(zip(found.tolist(), numbers.tolist(), strict=True))
    unlisted = pd.Series([str(k) for k, n in zip(keys, names, strict=True) if n == "unlisted"], dtype=object)
    if len(unlisted):
        outcomes.counts["unlisted_class_values"] = {
            str(k): int(v) for k, v in unlisted.value_counts().head(NAMED).items()
        }
    counts = np.isin(names.astype(str), inventory.count)
    if not counts.any() and not inventory.may_be_empty:
        shown = ", ".join(sorted({str(k) for k in keys})[:20])
        raise SourceDataError(
            f"No feature of inventory {inventory.name!r} is of class {' or '.join(inventory.count)}.",
            f"{inventory.class_field} holds: {shown}. Correct classes or count.",
        )
    return frame.assign(**{"class": names})[counts]


def _classes(values: list[object], keys: list[str | None], inventory: Inventory) -> list[str]:
    """The class of each value, or 'unlisted'."""
    meaning: dict[str, str] = {}
    truth: dict[str, str] = {}
    ranges: list[tuple[ClassRange, str]] = []
    for name, listed in inventory.classes.items():
        for value in listed:
            if isinstance(value, ClassRange):
                ranges.append((value, name))
            else:
                target = truth if isinstance(value, bool) else meaning
                target |= dict.fromkeys(keys_of_class_value(value), name)
    days = days_of(values) if any(one.of_days for one, _ in ranges) else [None] * len(values)

    def name_of(key: str | None, day: Days | None) -> str:
        if key is None:
            return "unlisted"
        found = meaning.get(key) or truth.get(key.lower())
        return found or next((name for one, name in ranges if _within(one, key, day)), "unlisted")

    return [name_of(key, day) for key, day in zip(keys, days, strict=True)]


def _within(one: ClassRange, key: str, days: Days | None) -> bool:
    """Whether a value lies in a range; a month or a year does if all its days do."""
    if one.of_days:
        return days is not None and all(one.holds(float(day.toordinal())) for day in days)
    try:
        return one.holds(float(key))
    except ValueError:
        return False


def _of_days(frame: gpd.GeoDataFrame, inventory: Inventory, outcomes: Outcomes) -> gpd.GeoDataFrame:
    if inventory.date_field is None or inventory.dates is None:
        return frame
    first, last = inventory.dates
    values = _attribute(frame, inventory.date_field, "date_field", inventory)
    days = days_of(values)
    counts = np.array([d is not None and first <= d[0] and d[1] <= last for d in days], dtype=bool)
    unread = [str(value) for value, d in zip(values, days, strict=True) if d is None]
    partly = sum(
        d is not None and d[0] <= last and d[1] >= first and not c for d, c in zip(days, counts, strict=True)
    )
    outcomes.counts["outside_the_dates"] = len(days) - int(counts.sum()) - len(unread) - partly
    outcomes.counts["partly_outside_the_dates"] = partly
    outcomes.counts["without_a_readable_date"] = len(unread)
    if unread:
        outcomes.counts["unreadable_dates"] = sorted(set(unread))[:NAMED]
    if not counts.any() and not inventory.may_be_empty:
        read = [d for d in days if d is not None]
        between = (
            f"its days are from {min(d[0] for d in read)} to {max(d[1] for d in read)}"
            if read
            else (f"it holds {', '.join(sorted(set(unread))[:5]) or 'nothing'}, of which none is a day")
        )
        raise SourceDataError(
            f"No feature of inventory {inventory.name!r} is of {first} to {last} by {inventory.date_field!r}.",
            f"Correct date_field or dates: {between}.",
        )
    return frame[counts]


def remarks_on_unused(frame: gpd.GeoDataFrame, inventory: Inventory, span: Span | None) -> list[str]:
    """What the attributes say of the features that count, and the area file does not use.

    A date that contradicts the event, and an attribute that looks like a class where `class_field` is not given.
    """
    remarks = []
    for name in attributes_of(frame):
        if name in {"class", inventory.class_field, inventory.date_field}:
            continue
        if (days := _looks_like_dates(frame, name)) is not None:
            remarks += _contradiction(name, days, span) if span is not None else []
        elif inventory.class_field is None and _CLASS_NAME.search(name):
            remarks += _possible_class(frame, name)
    return remarks


def _looks_like_dates(frame: gpd.GeoDataFrame, name: str) -> list[Days] | None:
    """The days of an attribute by its type, or by its name and its values; None where it has none."""
    column: Any = frame[name]
    if not pd.api.types.is_datetime64_any_dtype(column) and not _DATE_NAME.search(name):
        return None
    values = [value for value in column if key_of(value) is not None]
    days = [d for d in days_of(values) if d is not None]
    return days if days and 2 * len(days) >= len(values) else None


def _contradiction(name: str, days: list[Days], span: Span) -> list[str]:
    outside = [d for d in days if d[1] < span[0] or d[0] > span[1]]
    if not outside:
        return []
    return [
        f"{name!r} dates {len(outside)} of {number_of(len(days), 'landslide')} outside {span[0]} to {span[1]} "
        f"({min(d[0] for d in outside)} to {max(d[1] for d in outside)}); if it is the day of the landslide, state "
        f"date_field: {name} and dates in the area file"
    ]


def _possible_class(frame: gpd.GeoDataFrame, name: str) -> list[str]:
    values = pd.Series([str(key_of(value)) for value in frame[name]], dtype=object).value_counts()
    if not 1 < len(values) <= MOST_CLASSES:
        return []
    listed = ", ".join(f"{value}: {count}" for value, count in values.items())
    return [f"{name!r} is not used, and every feature counts ({listed}); if it decides, state class_field"]
