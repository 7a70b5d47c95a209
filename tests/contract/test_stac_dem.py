"""Real items of the elevation collections become tiles."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.archives import planetary
from pipeline.catalogue.dem_items import dem_tiles_in
from tests.contract.test_stac_search import ITEM_PAGES, recorded


@pytest.mark.parametrize(
    ("collection", "name", "ending"),
    [
        ("nasadem", "NASADEM_HGT_", "https://nasademeuwest.blob.core.windows.net/nasadem-cog/"),
        (
            "cop-dem-glo-30",
            "Copernicus_DSM_COG_10_",
            "https://elevationeuwest.blob.core.windows.net/copernicus-dem/",
        ),
    ],
)
def test_recorded_pages(shared_data: Path, collection: str, name: str, ending: str) -> None:
    pages = recorded(shared_data / ITEM_PAGES / f"test_smoke[{collection}].yaml")
    items = [
        item
        for _, url, _, answer in pages
        if url.endswith("items?limit=1")
        for item in json.loads(answer)["features"]
    ]
    (tile,) = dem_tiles_in(items, collection, {}).tiles
    assert tile.id.startswith(name)
    assert tile.collection == collection
    assert tile.asset.href.startswith(ending)
    assert planetary.needs_signing(tile.asset.href)
    west, south, east, north = tile.bbox
    assert 0.99 < east - west < 1.01 and 0.99 < north - south < 1.01


def test_recorded_copernicus_items(shared_data: Path) -> None:
    path = shared_data / "stac_planetary_computer_items/tests/data/cop-dem-glo-30-pc.json"
    items = json.loads(path.read_text())
    tiles = dem_tiles_in(items, "cop-dem-glo-30", {}).tiles
    assert [tile.id for tile in tiles] == sorted(item["id"] for item in items)
    assert len(tiles) == 4


def test_the_sdks_own_sample_is_signed_where_it_should_be(shared_data: Path) -> None:
    sample = json.loads(
        (shared_data / "stac_planetary_computer_sdk/tests/data-files/sample-item.json").read_text()
    )
    blobs = {key: asset["href"] for key, asset in sample["assets"].items() if ".blob.core" in asset["href"]}
    assert blobs
    assert {key for key, href in blobs.items() if planetary.needs_signing(href)} == {
        key for key, href in blobs.items() if "ai4edatasetspublicassets" not in href
    }
    others = [asset["href"] for asset in sample["assets"].values() if ".blob.core" not in asset["href"]]
    assert not any(planetary.needs_signing(href) for href in others)
