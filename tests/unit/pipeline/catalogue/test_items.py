"""Items of a radar archive: what is tolerated in them, and that a refusal names item and field."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.catalogue.items import read_item
from pipeline.errors import ArchiveError
from tests.unit.pipeline.catalogue.test_passes import item


def with_file(name: str, file: Any) -> dict[str, Any]:
    one = item()
    one["assets"][name] = file
    return one


@pytest.mark.parametrize(
    ("stated", "orbit"), [(23568, 23568), (23568.0, 23568), ("23568", 23568), (" 23568 ", 23568)]
)
def test_whole_numbers_come_in_three_types(stated: Any, orbit: int) -> None:
    assert read_item(item(**{"sat:absolute_orbit": stated})).overflight.absolute_orbit == orbit


@pytest.mark.parametrize(
    ("stated", "size"),
    [("900", 900), (900.0, 900), (0, 0), (-1, None), (True, None), ("big", None), ([], None)],
)
def test_a_size_that_is_none_is_left_out(stated: Any, size: int | None) -> None:
    read = read_item(with_file("vh", {"href": "https://here/vh.tiff", "file:size": stated}))
    assert read.slice.assets["vh"].size_bytes == size


def test_files_that_are_not_read_may_be_anything() -> None:
    for odd in (None, 5, [], {"href": 5}):
        assert set(read_item(with_file("thumbnail", odd)).slice.assets) == {"vv", "vh"}


def test_names_of_files_and_directions_may_be_in_capitals() -> None:
    one = item(**{"sat:orbit_state": "DESCENDING "})
    one["assets"] = {name.upper(): file for name, file in one["assets"].items()}
    read = read_item(one)
    assert list(read.slice.assets) == ["vh", "vv"]
    assert read.direction == "descending"


@pytest.mark.parametrize("nothing", [None, ""])
def test_where_start_and_end_are_empty_the_datetime_serves(nothing: str | None) -> None:
    read = read_item(item(start_datetime=nothing, end_datetime=nothing)).slice
    assert read.start == read.end == read_item(item()).slice.start


@pytest.mark.parametrize("odd", ["yesterday", 5, "", None])
def test_a_time_of_processing_that_is_none_sorts_first(odd: Any) -> None:
    sound = read_item(item(updated="2019-01-01T00:00:00Z")).processed
    assert read_item(item(updated=odd)).processed < sound


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sat:relative_orbit", 176),
        ("sat:relative_orbit", 0),
        ("sat:absolute_orbit", True),
        ("proj:epsg", "EPSG:1"),
    ],
)
def test_a_refusal_names_item_field_and_value(field: str, value: Any) -> None:
    with pytest.raises(ArchiveError) as caught:
        read_item(item(name="S1A_here", **{field: value}))
    assert all(word in caught.value.message for word in ("S1A_here", field, str(value).removeprefix("EPSG:")))
    assert caught.value.exit_code == 3 and caught.value.remedy and not caught.value.transient


def test_an_address_that_no_file_can_hold_is_refused() -> None:
    # half of a surrogate pair is allowed in JSON, but a catalogue that has it cannot be saved
    with pytest.raises(ArchiveError, match=r"assets\.vv\.href"):
        read_item(with_file("vv", {"href": "https://here/\ud800"}))
