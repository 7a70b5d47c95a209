"""How a record is shown: short in a log, a table in Jupyter; neither is part of its JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from xml.etree import ElementTree

from pydantic import Field

from pipeline import records
from pipeline.records import Frozen, Utc, digest_of_json


class Row(Frozen):
    name: str
    size: int
    held: bool = False
    note: str = ""


class Plan(Frozen):
    area: str
    rows: tuple[Row, ...]
    names: tuple[str, ...] = ()
    by_name: dict[str, Row] = Field(default_factory=dict)
    when: Utc | None = None


class Wide(Frozen):
    a: str
    b: int = 0
    c: int = 0
    d: int = 0
    e: int = 0
    f: int = 0
    g: int = 0
    h: int = 0


def plan(rows: int, **other: object) -> Plan:
    made = tuple(Row(name=f"row-{n}", size=n, note="late" if n == 1 else "") for n in range(rows))
    return Plan.model_validate({"area": "here", "rows": made, **other})


def tables(record: Frozen) -> list[list[list[str]]]:
    """The cells of each table, row by row; reading it as XML shows that it is well formed."""
    root = ElementTree.fromstring(f"<div>{record._repr_html_()}</div>")
    return [[[cell.text or "" for cell in row] for row in table.iter("tr")] for table in root.iter("table")]


def test_a_repr_names_the_class_and_counts_what_is_long() -> None:
    assert repr(plan(300)) == "Plan(area='here', rows=300 items)"
    assert repr(Row(name="x", size=1)) == "Row(name='x', size=1)"
    assert repr(plan(1, names=("a", "b"))) == "Plan(area='here', rows=1 items, names=('a', 'b'))"
    assert (
        repr(plan(0, by_name={"a": Row(name="x", size=1)})) == "Plan(area='here', rows=(), by_name=1 items)"
    )
    when = datetime(2018, 9, 5, 18, tzinfo=UTC)
    assert repr(plan(0, when=when)) == "Plan(area='here', rows=(), when=2018-09-05T18:00:00+00:00)"


def test_a_repr_is_bounded_whatever_a_record_holds() -> None:
    long = Wide(a="x" * 10_000, b=1, c=1, d=1, e=1, f=1, g=1, h=1)
    assert len(repr(long)) < 200
    assert repr(long).endswith("f=1, ...)")
    assert str(long).startswith("a='xxx")
    assert len(repr(plan(5, names=tuple("y" * 1000 for _ in range(6))))) < 200


def test_jupyter_shows_two_columns_and_the_records_a_row_each() -> None:
    summary, rows = tables(plan(2, names=("<b>", "&")))
    assert summary[:3] == [["area", "'here'"], ["rows", "2 items"], ["names", "('<b>', '&')"]]
    # no record has another value of `held` than the default
    assert rows == [["name", "size", "note"], ["'row-0'", "0", "''"], ["'row-1'", "1", "'late'"]]
    assert len(tables(Row(name="x", size=1))) == 1


def test_a_table_in_jupyter_is_bounded() -> None:
    _, rows = tables(plan(1000))
    assert len(rows) == 1 + records.MOST_ROWS
    assert len(Wide(a="x" * 10**6)._repr_html_()) < 2000


def test_what_is_written_does_not_change_with_what_is_shown() -> None:
    made = plan(2)
    raw = made.model_dump(mode="json")
    assert Plan.model_validate(raw) == made
    assert raw["rows"][1] == {"name": "row-1", "size": 1, "held": False, "note": "late"}
    assert digest_of_json(raw) == digest_of_json(plan(2).model_dump(mode="json"))
