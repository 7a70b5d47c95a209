"""Which features count: by class values, ranges, days and truth values; what decides and is unused is named."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import yaml
from pydantic import ValidationError
from shapely import Point

from pipeline.areas.area import Inventory
from pipeline.errors import SourceDataError
from pipeline.layers.label_rasters import rasterise_labels
from pipeline.layers.outlines.deciding_attributes import counted_features, remarks_on_unused
from pipeline.layers.outlines.feature_dates import days_of
from pipeline.layers.outlines.reprojection import Outcomes
from tests.unit.pipeline.layers.test_label_rasters import GRID, INVENTORY, frame_of, local

SPAN = (date(2018, 9, 5), date(2018, 10, 30))


def inventory(text: str) -> Inventory:
    """From YAML, as an area file has it."""
    return Inventory.model_validate({"name": "i", "citation": "c", "licence": "l", **yaml.safe_load(text)})


def counted(rules: str, **columns: list[Any]) -> tuple[list[int], dict[str, Any]]:
    """The positions of the features that count, and the counts of the report."""
    size = len(next(iter(columns.values())))
    data = {name: pd.Series(values, dtype=object) for name, values in columns.items()}
    frame = gpd.GeoDataFrame(data, geometry=[Point(i, 0) for i in range(size)], crs=32654)
    outcomes = Outcomes()
    found = counted_features(frame, inventory(rules), outcomes)
    return list(found.index), outcomes.counts


@pytest.mark.parametrize(
    ("classes", "values", "expected"),
    [
        ("[true]", [True, False, 1, 0, "yes", "No", "T", "maybe", None], [0, 2, 4, 6]),
        ("[no]", [True, False, "n", "F"], [1, 2, 3]),
        ("[2018-09-06]", ["2018-09-06", date(2018, 9, 6), datetime(2018, 9, 6, 3), "2018-09-07"], [0, 1, 2]),
        ("[{at_least: 0.5}]", [0.4, 0.5, "0.9", None, "high"], [1, 2]),
        ("[{above: 1, at_most: 3}, 7]", [1, 1.5, 3, 3.1, 7], [1, 2, 4]),
        ("[{below: 2}]", [-5, 2, 1.99, np.nan], [0, 2]),
        ("[{at_least: 2018-09-05, at_most: 2018-09-30}]",
         ["2018-09-05", datetime(2018, 9, 30, 23, tzinfo=UTC), "2018-10", "2018", 20180910, "2018-09"], [0, 1, 4]),
        ("[1.5, a]", [1.5, "1.50", "a", " a ", "b"], [0, 1, 2, 3]),
    ],
)  # fmt: skip
def test_classes(classes: str, values: list[Any], expected: list[int]) -> None:
    found, counts = counted(f"{{class_field: kind, classes: {{new: {classes}}}}}", kind=values)
    assert found == expected
    assert counts["by_class"].get("unlisted", 0) == len(values) - len(expected)


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ("[1]", "['1']"), ("[a, b]", "[c, ' b']"), ("[1.0]", "[{at_least: 1}]"), ("[true]", "[1]"),
        ("[true]", "['yes']"), ("[{at_most: 0.5}]", "[{at_least: 0.5}]"), ("[{above: 1, below: 4}]", "[{at_least: 3}]"),
        ("[2018-09-06]", "[{at_most: 2018-09-06}]"), ("[{below: 2}]", "[{at_most: 1}]"), ("[3]", "[{above: 2.9}]"),
        ("[true]", "[{above: 0}]"),
    ],
)  # fmt: skip
def test_a_value_of_two_classes_is_refused(new: str, old: str) -> None:
    for one, other in ((new, old), (old, new)):
        with pytest.raises(ValidationError, match="list each value once"):
            inventory(f"{{class_field: kind, classes: {{new: {one}, old: {other}}}}}")


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ("[{below: 0.5}]", "[{at_least: 0.5}]"), ("[1]", "[2, '01x']"), ("[true]", "[false]"), ("[true]", "[2]"),
        ("[{at_least: 2018-01-01}]", "[{at_least: 5}]"), ("[2]", "[{above: 2}]"),
        ("[2018-09-06]", "[{above: 2018-09-06}]"),
    ],
)  # fmt: skip
def test_classes_that_share_no_value_are_accepted(new: str, old: str) -> None:
    found = inventory(f"{{class_field: kind, classes: {{new: {new}, old: {old}}}}}")
    assert Inventory.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    "rules",
    [
        "{class_field: k, classes: {new: [{}]}}",
        "{class_field: k, classes: {new: [{at_least: 2, at_most: 1}]}}",
        "{class_field: k, classes: {new: [{above: 1, at_most: 1}]}}",
        "{class_field: k, classes: {new: [{above: 1, at_least: 1}]}}",
        "{class_field: k, classes: {new: [{at_least: 1, at_most: 2018-09-05}]}}",
        "{class_field: k, classes: {new: [.nan]}}",
        "{date_field: when}",
        "{dates: [2018-09-05, 2018-09-30]}",
        "{date_field: when, dates: [2018-09-30, 2018-09-05]}",
        "{date_field: when, dates: [20180905, 20180930]}",
        "{date_field: when, dates: [2018-09-05]}",
    ],
)
def test_rules_that_contradict_themselves_are_refused(rules: str) -> None:
    with pytest.raises(ValidationError):
        inventory(rules)


def test_days_outside_the_dates_do_not_count_and_are_reported() -> None:
    values = [
        "2008-05-12",
        "2018-09-06",
        "2021",
        20180930,
        "2018-09",
        "2018",
        None,
        "soon",
        datetime(2018, 9, 5, 18),
    ]
    found, counts = counted("{date_field: when, dates: [2018-09-05, 2018-09-30]}", when=values)
    assert found == [1, 3, 8]
    assert counts["outside_the_dates"] == 2
    assert counts["partly_outside_the_dates"] == 2
    assert counts["without_a_readable_date"] == 2
    assert counts["unreadable_dates"] == ["None", "soon"]
    for rules, name in (
        ("{date_field: absent, dates: [2018-09-05, 2018-09-30]}", "when"),
        ("{date_field: when, dates: [1999-01-01, 1999-12-31]}", "2008-05-12"),
    ):
        with pytest.raises(SourceDataError, match=name):
            counted(rules, when=values)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["06.09.2018", "30.09.2018"], [(2018, 9, 6), (2018, 9, 30)]),
        (["9/6/2018", "9/30/2018"], [(2018, 9, 6), (2018, 9, 30)]),
        (["9/6/2018", "9/7/2018"], [None, None]),  # the month may be either
        (["13/9/2018", "9/13/2018"], [None, None]),
        (["2018/9/6", "2018.09.06", "2018-09-06T03:07:59Z"], [(2018, 9, 6)] * 3),
        ([20180906, 20180906.0, "20180906", pd.Timestamp("2018-09-06 23:00")], [(2018, 9, 6)] * 4),
        (["2018-02-30", "20181301", 12, 1536192479000, "2018-09-06-01", True], [None] * 6),
    ],
)
def test_days_are_read_and_never_guessed(
    values: list[Any], expected: list[tuple[int, int, int] | None]
) -> None:
    assert days_of(values) == [None if d is None else (date(*d), date(*d)) for d in expected]


def test_longer_times_have_a_first_and_a_last_day() -> None:
    assert days_of(["2018", 2018.0, "2018-02", "201802"]) == [
        (date(2018, 1, 1), date(2018, 12, 31)), (date(2018, 1, 1), date(2018, 12, 31)),
        (date(2018, 2, 1), date(2018, 2, 28)), (date(2018, 2, 1), date(2018, 2, 28)),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["Date", "event_year", "DATE_OBS", "when"])
def test_an_unused_date_that_contradicts_the_event_is_named(name: str) -> None:
    values = pd.to_datetime(["2008-05-12", "2018-09-06", "2021-03-01"])
    column = values.year.to_numpy() if "year" in name else values
    frame = frame_of(local(50, 50), local(150, 50), local(250, 50), **{name: column})
    layer = rasterise_labels(frame, INVENTORY, GRID, None, SPAN)
    (remark,) = layer.report["remarks"]
    for word in (name, "2 of 3", "2008", "2021", "date_field"):
        assert word in remark
    assert remark in layer.attributes["landslides"]["remarks"]
    rules = {"date_field": name, "dates": (date(2018, 1, 1), date(2018, 12, 31))}
    used = rasterise_labels(frame, INVENTORY.model_copy(update=rules), GRID, None, SPAN)
    assert used.report["remarks"] == [] and used.report["polygons_counted"] == 1
    assert used.attributes["landslides"]["dates_counted"] == ["2018-01-01", "2018-12-31"]


def test_dates_of_the_event_and_other_attributes_are_not_named() -> None:
    frame = frame_of(
        local(50, 50), local(150, 50), updated=["x", "y"], date=["2018-09-06", "2018"], area=[2008, 1999]
    )
    assert rasterise_labels(frame, INVENTORY, GRID, None, SPAN).report["remarks"] == []


def test_an_unused_attribute_that_looks_like_a_class_is_named() -> None:
    frame = frame_of(
        local(50, 50), local(150, 50), local(250, 50), Type=["new", "old", "new"], name=["a", "b", "c"]
    )
    (remark,) = remarks_on_unused(frame, INVENTORY, None)
    assert "Type" in remark and "new: 2" in remark and "class_field" in remark
    used = INVENTORY.model_copy(update={"class_field": "Type", "classes": {"new": ("new",)}})
    assert remarks_on_unused(frame, used, None) == []
