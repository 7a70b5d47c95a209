"""What a recipe of labels records of an inventory: nothing that gives a right to read it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from shapely.geometry import box

from pipeline.catalogue.catalogue import InventoryFile
from pipeline.layers.labels import Labels
from tests.unit.pipeline.layers.test_label_rasters import GRID, INVENTORY


@pytest.mark.parametrize(
    "extent", ["https://USER:SECRET@x.example/extent.gpkg?sig=SECRET#SECRET", "/home/SECRET/extent.gpkg"]
)
def test_a_signed_address_of_an_extent_is_not_recorded(extent: str) -> None:
    inventory = INVENTORY.model_copy(
        update={"url": "https://x.example/slides.gpkg?sig=SECRET", "extent": extent}
    )
    found = InventoryFile(
        url="https://x.example/slides.gpkg", fingerprint="1", extent_url="extent.gpkg", extent_fingerprint="2"
    )
    inputs = SimpleNamespace(
        area=SimpleNamespace(inventory=inventory, footprint=box(0, 0, 1, 1)),
        catalogue=SimpleNamespace(inventory=found),
        grid=GRID,
    )
    (task,) = Labels().wanted(inputs).tasks  # type: ignore[arg-type]
    assert "extent.gpkg" in task.recipe.parameters["extent"]
    assert "SECRET" not in task.recipe.model_dump_json()
