"""A version states the licence and the attribution of everything in it, and nothing that is not true of it."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.build.contents import manifest_of, store_of
from pipeline.build.planning import make_plan
from pipeline.cube.layers import write_layer
from pipeline.cube.versions import publish
from pipeline.settings import settings
from tests.unit.pipeline.archives.test_search_area import dem_item, probed, snapshot
from tests.unit.pipeline.catalogue.test_passes import area, item
from tests.unit.test_golden_digests import layer_data


@pytest.fixture(autouse=True)
def data(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path / "data"))
    settings.cache_clear()
    yield
    settings.cache_clear()


def attributes(**fields: Any) -> dict[str, Any]:
    inventory = {
        "name": "made", "url": "https://labels.example/made.zip", "citation": "A. Nybody 2020", "license": "CC-BY-4.0",
        "attribution": "© Nobody",
    }  # fmt: skip
    where = area(bbox=(142.0, 42.69, 142.01, 42.70), inventory=inventory, license="open data", **fields)
    items, tiles = [item()], [dem_item(), dem_item("NASADEM_HGT_n42e142", bbox=[142.0, 42.0, 143.0, 43.0])]
    labels = dict(zip(("url", "fingerprint"), "ab", strict=True))
    found = snapshot(
        where, rtc_items=items, dem_items=tiles, probes=probed([*items, *tiles]), inventory=labels
    )
    plan = make_plan(where, found)
    for number, task in enumerate(plan.tasks):
        write_layer(store_of(where), task.recipe, layer_data(task.recipe, plan.grid.shape, number), plan.grid)
    manifest = manifest_of(where, make_plan(where, found), found, {})
    assert publish(store_of(where), manifest)[1]
    return manifest.attributes


def test_everything_in_a_version_is_credited() -> None:
    found = attributes(attribution="as the data agreement asks")
    assert found["license"] == "open data"
    for words in (
        "Copernicus Sentinel data 2018",
        "NASADEM",
        "A. Nybody 2020",
        "CC-BY-4.0",
        "© Nobody",
        "agreement",
    ):
        assert words in found["attribution"]


def test_simulated_data_are_credited_to_nobody() -> None:
    found = attributes(simulated=True)
    assert "simulated" in found["attribution"]
    for words in ("Copernicus", "NASADEM", "Nybody"):
        assert words not in found["attribution"]
