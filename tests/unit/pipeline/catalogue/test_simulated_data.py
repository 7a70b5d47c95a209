"""What says of itself that it is simulated makes a simulated cube, whatever area file asked for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.build import run as build
from pipeline.catalogue.catalogue import InventoryFile, content_digest, is_simulated
from pipeline.catalogue.item_fields import GRANULE_ATTRIBUTE, ITEM_PROPERTY, says_simulated
from pipeline.catalogue.slc import SlcHoldings
from pipeline.catalogue.snapshots import save_catalogue
from pipeline.cube.local_store import LocalStore
from pipeline.cube.read import open_cube
from pipeline.cube.versions import read_manifest
from pipeline.settings import settings
from tests.unit.made_slc import burst_item, granule_item
from tests.unit.pipeline.archives.test_search_area import dem_item, snapshot
from tests.unit.pipeline.build.test_build_pairs import catalogue_of, here
from tests.unit.pipeline.build.test_build_pairs import rtc as rtc
from tests.unit.pipeline.catalogue.test_passes import item


@pytest.fixture(autouse=True)
def own_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SLIDECUBE_LOCAL_ITEMS", "true")
    settings.cache_clear()
    yield
    settings.cache_clear()


def marked(one: dict[str, Any]) -> dict[str, Any]:
    return {**one, "properties": {**one.get("properties", {}), ITEM_PROPERTY: True}}


@pytest.mark.parametrize(
    ("said", "simulated"),
    [
        (marked(item()), True),
        (item(), False),
        ({"properties": {ITEM_PROPERTY: "true"}}, True),
        ({"properties": {ITEM_PROPERTY: False}}, False),
        ({"properties": {ITEM_PROPERTY: "no"}}, False),
        (granule_item(**{GRANULE_ATTRIBUTE: "true"}), True),
        (granule_item(**{GRANULE_ATTRIBUTE: "false"}), False),
        (granule_item(), False),
        (None, False), (5, False), ({"properties": 5, "umm": {"AdditionalAttributes": 5}}, False),
    ],
)  # fmt: skip
def test_an_item_says_what_it_is(said: Any, simulated: bool) -> None:
    assert says_simulated(said) is simulated


FILE = InventoryFile(url="https://inventories.example/slides.gpkg", fingerprint='"e"')


@pytest.mark.parametrize(
    "fields",
    [
        {"rtc_items": (item(), marked(item(name="b")))},
        {"dem_items": (marked(dem_item()),)},
        {"slc": SlcHoldings(granules=(granule_item(**{GRANULE_ATTRIBUTE: "true"}),))},
        {"slc": SlcHoldings(bursts=(burst_item(**{GRANULE_ATTRIBUTE: "true"}),))},
        {"slc": SlcHoldings(dem_items=(marked(dem_item()),))},
        {"inventory": FILE.model_copy(update={"simulated": True})},
    ],
    ids=["backscatter", "elevation", "granules", "bursts", "elevation of bursts", "inventory"],
)
def test_one_mark_of_any_kind_of_record_is_enough(fields: dict[str, Any]) -> None:
    assert not is_simulated(snapshot(inventory=FILE, slc=SlcHoldings(granules=(granule_item(),))))
    assert is_simulated(snapshot(**fields))


def test_a_catalogue_without_marks_has_the_digest_that_it_had() -> None:
    found = snapshot(inventory=FILE)
    assert content_digest(found) != content_digest(
        snapshot(inventory=FILE.model_copy(update={"simulated": True}))
    )
    assert content_digest(found) == content_digest(
        snapshot(inventory={**FILE.model_dump(exclude={"simulated"})})
    )


@pytest.mark.parametrize("by", ["item", "area", "nothing"])
def test_the_mark_reaches_plan_manifest_and_cube(rtc: dict[str, Any], tmp_path: Path, by: str) -> None:
    area = here(interferometry=None, simulated=by == "area")
    found = catalogue_of(area, marked(rtc) if by == "item" else rtc, None)
    plan = build.make_plan(area, found)
    assert any("simulated" in note for note in plan.notes) is (by == "item")
    published = build.build(area, Path(save_catalogue(found, LocalStore(tmp_path / "saved"))))
    with open_cube(published.uri) as cube:
        assert bool(cube.attrs["simulated"]) is (by != "nothing")
    assert bool(read_manifest(build.store_of(area), 1).attributes["simulated"]) is (by != "nothing")


def test_a_layer_that_is_kept_keeps_its_mark(rtc: dict[str, Any], tmp_path: Path) -> None:
    area = here(interferometry=None)
    found = catalogue_of(area, marked(rtc), None)
    build.build(area, Path(save_catalogue(found, LocalStore(tmp_path / "one"))))
    # the same files, listed without the mark
    build.build(area, Path(save_catalogue(catalogue_of(area, rtc, None), LocalStore(tmp_path / "two"))))
    with open_cube(build.store_of(area).uri) as cube:
        assert bool(cube.attrs["simulated"])
